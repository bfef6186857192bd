# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start programs. Nothing else in this collection does.

Each program runs in a separate session, without a terminal, with the environment it is given and no other. Every
process that descends from it is ended with it, also one that made its own session and lost its parent: root starts it
in a separate control group, which the kernel ends as a whole. Where none can be made (a container with a read-only
/sys/fs/cgroup, or not as root), orphans become this process's children (PR_SET_CHILD_SUBREAPER) and are ended one by
one; then a process that forks and exits all the time can escape. Without that too, the process group is ended.

This is not for a command that leaves a service behind: that would be ended too.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import IO, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.cgroup import new_cgroup

# Both outputs together. The text of the largest honest answer, of a container engine, is below 1 MiB.
MOST_BYTES = 8 * 1024 * 1024
# How long ended processes may take to disappear.
END_SECONDS = 2.0
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37
_CHUNK = 65536
# How often an exited program is noticed whose output somebody else still holds open.
_POLL_SECONDS = 0.05
_WAIT_SECONDS = 0.002
_BY_SHELL = ("/bin/sh", "-c", 'exec "$@"', "sh")


class CommandFailed(Exception):
    """A program gave no complete answer; the text is one sentence without a period at its end."""


class NotStarted(CommandFailed):
    """The program cannot be started; ``reason`` is the system's."""

    def __init__(self, program: str, reason: str) -> None:
        self.reason = reason.rstrip(".")
        super().__init__(f"{program} cannot be started: {self.reason}")


class TimedOut(CommandFailed):
    """The program did not end before the deadline, and was ended."""


class TooMuchOutput(CommandFailed):
    """The program wrote more than the limit, and was ended."""


class Completed(NamedTuple):
    """How a program ended: its exit code (negative for a signal) and what it wrote."""

    code: int
    out: str
    err: str


def _collects_orphans(wanted: bool | None = None) -> bool:
    """Make this process the parent of orphans below it, or not; return whether it was before. None changes nothing."""
    try:
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
        before = ctypes.c_int(0)
        prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
        if wanted is not None:
            prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(wanted), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return False
    return bool(before.value)


def _in_turn(*steps: Callable[[], None] | None) -> Callable[[], None] | None:
    """Return what a child does before its program starts, or None where that is nothing."""
    due = [step for step in steps if step]

    def prepare() -> None:
        for step in due:
            step()

    return prepare if due else None


class Running:
    """A program that runs until ``end``. Use it as a context manager.

    Of several in a process, the one that began last has to end first: what it finds orphaned, it ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str = "/",
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        become: Callable[[], None] | None = None,
    ) -> None:
        """Start it.

        Args:
            become: called in the child before the program starts, to become another user.

        Raises:
            NotStarted: it cannot be started. One that another user starts ends with code 126 or 127 instead.
        """
        self._others = set(proc.children("self"))
        self._collected = _collects_orphans(True)
        self._cgroup = new_cgroup()
        # A program of another user may lie, or its interpreter, on a file system that hangs. The shell, which is
        # root's, begins at once, and what it waits for has the caller's deadline.
        command = [*(_BY_SHELL if become else ()), *command]
        try:
            self.process = subprocess.Popen(
                list(command),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=dict(env),
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=_in_turn(self._cgroup.enter if self._cgroup else None, become),
            )
        except BaseException as error:
            # A handler of a signal may raise anything.
            self._end_cgroup()
            self._end_orphans()
            if not isinstance(error, (OSError, ValueError, subprocess.SubprocessError)):
                raise
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise NotStarted(command[0], str(why)) from error

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.end()

    def exit_code(self, deadline: float) -> int | None:
        """Return the program's exit code, negative for a signal, or None where it still runs at the deadline.

        It is not reaped before ``end``: until then, no other process can get its process ID.
        """
        while True:
            found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            if time.monotonic() >= deadline:
                return None
            time.sleep(_WAIT_SECONDS)

    def end(self) -> None:
        """End the program and everything that descends from it."""
        self._end_cgroup()
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            # The leader of a group that has another user by now, after a set-user-ID program.
            self.process.kill()
            self.process.wait(END_SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._end_orphans()

    def _end_cgroup(self) -> None:
        if self._cgroup:
            self._cgroup.end(time.monotonic() + END_SECONDS)

    def _end_orphans(self) -> None:
        """End the processes that became children of this one meanwhile, and theirs, until there is none."""
        until = time.monotonic() + END_SECONDS
        while time.monotonic() < until:
            # A child keeps its number until it is waited for, so no signal can reach another process.
            orphans = set(proc.children("self")) - self._others
            if not orphans:
                break
            for pid in orphans:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)
        if not self._collected:
            _collects_orphans(False)


def run_command(
    command: Sequence[str],
    *,
    seconds: float,
    env: Mapping[str, str],
    cwd: str = "/",
    stdin: str | bytes = "",
    most_bytes: int = MOST_BYTES,
    become: Callable[[], None] | None = None,
) -> Completed:
    """Run a program to its end and return its exit code and what it wrote.

    The call ends with the program itself: a process that it left behind is ended, and not waited for.

    Args:
        command: the program and its arguments; no shell reads them.
        seconds: the time for all of it, from the start to the last byte read.
        env: the program's whole environment.
        stdin: what it reads; without it, its standard input is empty.
        most_bytes: how much it may write, to standard output and standard error together.
        become: called in the child before the program starts, to become another user.

    Raises:
        CommandFailed: NotStarted, TimedOut or TooMuchOutput. It has been ended by then.
    """
    deadline = time.monotonic() + seconds
    given = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
    reads = subprocess.PIPE if given else subprocess.DEVNULL
    pipe = subprocess.PIPE
    with Running(command, env=env, cwd=cwd, stdin=reads, stdout=pipe, stderr=pipe, become=become) as running:
        outputs = _exchange(running, given, deadline, most_bytes)
        if outputs and sum(map(len, outputs)) > most_bytes:
            raise TooMuchOutput(f"{command[0]} wrote more than {most_bytes} bytes")
        code = running.exit_code(deadline)
        if code is None or not outputs:
            raise TimedOut(f"{command[0]} did not end within {seconds:g} s")
        out, err = outputs
    return Completed(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _exchange(running: Running, given: bytes, deadline: float, most_bytes: int) -> list[bytes]:
    """Write and read until the program has ended, closed its outputs or written too much; nothing at the deadline."""
    process = running.process
    read: dict[int, list[bytes]] = {stream.fileno(): [] for stream in (process.stdout, process.stderr) if stream}
    waiting, size = memoryview(given), 0
    with selectors.DefaultSelector() as selector:
        for fd in read:
            selector.register(fd, selectors.EVENT_READ)
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        while size <= most_bytes and read.keys() & selector.get_map().keys():
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            # Asked before the outputs: what it wrote before its end is there by now.
            ended = running.exit_code(0) is not None
            ready = [key.fd for key, _events in selector.select(0 if ended else min(left, _POLL_SECONDS))]
            if ended and not read.keys() & ready:
                break
            for fd in ready:
                if fd in read:
                    chunk = os.read(fd, _CHUNK)
                    size += len(chunk)
                    read[fd].append(chunk)
                    done = not chunk
                else:
                    waiting = waiting[_written(fd, waiting) :]
                    done = not waiting
                if done:
                    selector.unregister(fd)
                    if fd not in read and process.stdin:
                        process.stdin.close()
    return [b"".join(chunks) for chunks in read.values()]


def _written(fd: int, data: memoryview) -> int:
    """Write what a pipe takes, and return how much; all of it where nobody reads any more."""
    try:
        return os.write(fd, data[:_CHUNK])
    except BrokenPipeError:
        return len(data)
