# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code in the portal's container attacks the run that starts a module there: it can lie about its portal, no more.

Runs before the tests of the other file, on what the first run left, and leaves it so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import bed
import pytest

BIN = "/opt/conda/envs/tethys/bin"
SEEN = "/tmp/hostile"
# Where later tasks would put and start their files on the server, as root.
THERE = "/opt/hostile-there"
FACTS = f'"ansible_facts": {{"ansible_remote_tmp": "{THERE}", "ansible_python_interpreter": "{THERE}/python"}}'
# Its Python adds to each answer of a module what Ansible acts on, and writes to the terminal.
LIAR = rf"""#!/bin/bash
{BIN}/python.kept "$@" | sed -u 's|^{{"result": {{|&{FACTS}, |; s|"warnings": \[|&"\\u001b[31mred\\u009b0m", |'
echo answer >> {SEEN}/liar
"""
# What Python imports of its user's own, wherever -I does not keep it from that.
CUSTOM = f"""
import sys
with open("{SEEN}/custom", "a") as file:
    file.write(repr(sys.orig_argv)[:3000] + chr(10))
"""
# Another process of the portal's user, which writes a false answer into the pipes of the module's process.
WRITER = f"""
import contextlib, glob, os, stat, time
forged = b'{{"result": {{"changed": false, "portal": {{}}, {FACTS}}}, "warnings": []}}'
while True:
    for path in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError):
            if b"_Shipped" not in open(path + "/cmdline", "rb").read():
                continue
            for fd in glob.glob(path + "/fd/*"):
                with contextlib.suppress(OSError):
                    if stat.S_ISFIFO(os.stat(fd).st_mode):
                        # Closed at once: else the run would wait for its end, until its timeout.
                        with open(os.open(fd, os.O_WRONLY | os.O_NONBLOCK), "wb") as pipe:
                            pipe.write(forged)
                        open("{SEEN}/writer", "a").write(".")
    time.sleep(0.01)
"""


def put(host: Any, path: str, text: str) -> None:
    """Write a file in the container, as its root."""
    host.run(f"docker exec -i tethys sh -c 'cat > {path} && chmod 0755 {path}' <<'END'\n{text}END")


@pytest.fixture
def attackers(host: Any) -> Iterator[None]:
    """The container with its attackers at work."""
    site = host.check_output("docker exec --user www tethys python3 -c 'import site; print(site.USER_SITE)'").strip()
    versioned = host.check_output(f"docker exec tethys {BIN}/python -c 'import sys; print(*sys.version_info[:2])'")
    site = re.sub(r"python3\.\d+", "python" + ".".join(versioned.split()), site)
    host.check_output(f"docker exec tethys sh -c 'mkdir -p {site} {SEEN} && chmod 1777 {SEEN}'")
    put(host, f"{site}/usercustomize.py", CUSTOM)
    put(host, "/usr/local/bin/writer", f"#!/usr/bin/python3\n{WRITER}")
    host.check_output("docker exec --user www -d tethys /usr/local/bin/writer")
    host.check_output(f"docker exec tethys mv {BIN}/python {BIN}/python.kept")
    put(host, f"{BIN}/python", LIAR)
    yield
    host.check_output(
        f"docker exec tethys sh -c 'mv -f {BIN}/python.kept {BIN}/python;"
        f" pkill -f ^/usr/bin/python3./usr/local/bin/writer;"
        f" rm -rf {site}/usercustomize.py /usr/local/bin/writer {SEEN}'; rm -rf {THERE}"
    )


def test_code_in_the_container(host: Any, attackers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of what Ansible acts on passes, and nothing of the container's users runs in the module's process."""
    # Ansible's own defaults, with which such facts count.
    monkeypatch.setenv("ANSIBLE_INJECT_FACT_VARS", "1")
    monkeypatch.setenv("ANSIBLE_PIPELINING", "0")
    before = host.check_output("docker ps --no-trunc --format '{{.ID}}'; find /srv /etc -xdev -newer /root/srv.before")
    # Whether an app uses Bokeh is read from the portal, whose answer is refused.
    run = bed.playbook("tethys_docker", within=200, tethys_bokeh="auto")
    assert "the answer of portal_info was not accepted" in bed.refusal(run), run.stdout
    assert not re.search("[\x1b\x80-\x9f]", run.stdout)
    assert not host.file(THERE).exists
    seen = host.check_output(f"docker exec tethys sh -c 'ls {SEEN}; cat {SEEN}/custom'")
    assert {"custom", "liar", "writer"} <= set(seen.split())
    assert "_Shipped" not in seen
    after = host.check_output("docker ps --no-trunc --format '{{.ID}}'; find /srv /etc -xdev -newer /root/srv.before")
    assert after == before
