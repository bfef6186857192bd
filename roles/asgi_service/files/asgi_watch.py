# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill an ASGI process that has stopped answering, so that Supervisor starts it again.

The role tethys.channels.asgi_service installs this program, and systemd runs it as root. Its one argument is a JSON
file with the unix socket of each process by its name in Supervisor (`processes`), the folder whose lock a run of
Ansible holds while it restarts processes (`state`), and Supervisor's configuration files, of which the first that
exists counts (`supervisor`).
"""

import base64
import configparser
import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import select
import socket
import stat
import sys
import time
import xmlrpc.client
from pathlib import Path

# The server answers this with "400 Bad Request" in its event loop, without a view, and logs nothing.
QUESTION = b"?\r\n\r\n"
# Seconds. Three misses take at least 40 and at most 55.
EVERY, TIMEOUT, MISSES = 15, 10, 3
# A process may take so long until it first answers. After a kill, others are left alone for so long, and it for longer.
GRACE, REST, REST_OF_ONE = 90, 60, 300
KEPT_ACTS = 50
# What stands before the digest of a password.
HASHED = "{SHA}"


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over Supervisor's unix socket, with the login that its configuration has."""

    def __init__(self, configuration):
        parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
        parser.read(configuration)
        if "unix_http_server" not in parser:
            raise OSError(f"{configuration} has no [unix_http_server]")
        server = parser["unix_http_server"]
        password = server.get("password", "")
        # Supervisor's own client has the password of which its server may have only a digest.
        plain = parser.get("supervisorctl", "password", fallback="")
        if password == HASHED + hashlib.sha1(plain.encode()).hexdigest():  # noqa: S324 - as Supervisor has it
            password = plain
        self.login = f"{server.get('username', '')}:{password}"
        super().__init__()
        self.path = server.get("file", "/var/run/supervisor.sock").replace("%(here)s", os.path.dirname(configuration))  # noqa: PTH120

    def send_headers(self, connection, headers):
        """Send the login with each request. Python before 3.8 takes no headers when a transport is made."""
        if self.login != ":":
            token = base64.b64encode(self.login.encode()).decode()
            headers = [*headers, ("Authorization", f"Basic {token}")]
        super().send_headers(connection, headers)

    def make_connection(self, _host):
        """Return a separate connection for each request."""
        connection = http.client.HTTPConnection("supervisor", timeout=TIMEOUT)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(TIMEOUT)
        connection.sock.connect(self.path)
        return connection


def connected(configurations):
    """Return the interface of the Supervisor with the first of these configurations that exists."""
    found = [path for path in configurations if Path(path).exists()]
    if not found:
        raise OSError("there is no " + " or ".join(configurations))
    return xmlrpc.client.ServerProxy("http://supervisor", UnixTransport(found[0])).supervisor


def say(text):
    """Write a line of the log."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


def silent(paths, seconds):
    """Return which of these sockets answer nothing within so many seconds.

    One that does not exist or refuses is not among them: Supervisor starts a process that has ended.
    """
    waiting, late = {}, set()
    for path in paths:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        waiting[client] = None
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):  # the folder is the portal's user's
                client.connect(path)
                client.send(QUESTION)
                waiting[client] = path
        except BlockingIOError:  # its queue of connections is full
            late.add(path)
        except OSError:
            continue
    asked = {client: path for client, path in waiting.items() if path}
    end = time.monotonic() + seconds
    while asked and time.monotonic() < end:
        for client in select.select(list(asked), [], [], max(0.0, end - time.monotonic()))[0]:
            del asked[client]
    for client in waiting:
        client.close()
    return late | set(asked.values())


def is_locked(folder):
    """Return whether a run of Ansible is changing this server."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Watch:
    """How often each process has missed, and when it was killed."""

    def __init__(self, config, rpc=None):
        self.sockets, self.state, self.rpc = config["processes"], Path(config["state"]), rpc
        self.misses, self.killed = {}, {}

    def look(self):
        """Ask every process, and kill the one that has missed most often, if that is too often."""
        pids = {}
        for name in self.sockets:
            try:
                row = self.rpc.getProcessInfo(name)
            except xmlrpc.client.Fault:  # none of that name now
                continue
            if row["statename"] == "RUNNING" and row["now"] - row["start"] >= GRACE:
                pids[name] = row["pid"]
        late = silent([self.sockets[name] for name in pids], TIMEOUT)
        self.misses = {name: self.misses.get(name, 0) + 1 for name in pids if self.sockets[name] in late}
        for name in sorted(self.misses, key=self.misses.get, reverse=True):
            if self.misses[name] >= MISSES and self.may_kill(name):
                self.kill(name, pids[name])
                return

    def may_kill(self, name):
        """Return whether enough time has passed since the last kills, and no run is under way."""
        now = time.monotonic()
        rested = all(now - at >= (REST_OF_ONE if other == name else REST) for other, at in self.killed.items())
        return rested and not is_locked(self.state)

    def kill(self, name, pid):
        """Kill a process; Supervisor starts it again. TERM would wait for the event loop that hangs."""
        self.rpc.signalProcess(name, "KILL")
        self.killed[name] = time.monotonic()
        self.misses.pop(name, None)
        say(f"{name} (pid {pid}) did not answer {MISSES} times: killed")
        path = self.state / "watch_acts.json"
        try:
            acts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            acts = []
        acts.append({"time": int(time.time()), "process": name, "pid": pid})
        new = self.state / "watch_acts.new"
        new.write_text(json.dumps(acts[-KEPT_ACTS:]), encoding="utf-8")
        new.replace(path)

    def note(self, problem):
        """Write down why no process can be watched, for `check`, or delete that note."""
        path = self.state / "watch_problem"
        try:
            if problem:
                path.write_text(problem, encoding="utf-8")
            elif path.exists():
                path.unlink()
        except OSError as error:
            say(f"cannot write {path}: {error.strerror}")


def main():
    """Look for ever."""
    with Path(sys.argv[1]).open("r+", encoding="utf-8") as file:
        # A run sees by the lock that these very settings are in use.
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        run(json.load(file))


def run(config):
    """Query the processes until systemd stops this program."""
    watch, failures = Watch(config), 0
    while True:
        start, problem = time.monotonic(), ""
        try:
            # Each time, because an administrator may change the login.
            watch.rpc = connected(config["supervisor"])
            watch.look()
        except (OSError, configparser.Error, http.client.HTTPException, xmlrpc.client.Error) as error:
            problem = str(error)
            say(f"cannot watch: {problem}")
        failures = failures + 1 if problem else 0
        # After a boot or a restart of Supervisor, its socket may appear later than this program asks.
        watch.note(problem if failures >= MISSES else "")
        time.sleep(max(1.0, EVERY - (time.monotonic() - start)))


if __name__ == "__main__":
    main()
