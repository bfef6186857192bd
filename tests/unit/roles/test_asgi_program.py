# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of the portal's Supervisor program. A change of one byte has Supervisor restart every process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.tethys.channels.plugins.filter.asgi_processes import asgi_processes
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames

ROLE = Path(__file__).parents[3] / "roles" / "asgi_service"
PREFIX = "/opt/conda/envs/tethys"
# As the release before it followed port, address and program wrote them.
PROGRAM = """\
[fcgi-program:{group}]
socket=tcp://127.0.0.1:{port}
process_name={name}
numprocs={numprocs}
user=www-data
directory=/opt/conda/envs/tethys/lib/python3.12/site-packages
environment=TETHYS_HOME="/var/lib/tethys",CONDA_PREFIX="/opt/conda/envs/tethys",CONDA_DEFAULT_ENV="tethys",\
PATH="/opt/conda/envs/tethys/bin:/usr/local/bin:/usr/bin:/bin",USER="www-data",LANG="C.UTF-8",PYTHONUNBUFFERED="1"
; The environment is activated by its own scripts, as conda does; exec leaves no shell between Supervisor and daphne.
command=/bin/bash -c 'export HOME=~www-data; ulimit -Sn 65536 || ulimit -Sn $(ulimit -Hn); for script in \
/opt/conda/envs/tethys/etc/conda/activate.d/*.sh; do if [ -r "$script" ]; then . "$script" </dev/null; fi; done; exec \
/opt/conda/envs/tethys/bin/python /opt/conda/envs/tethys/bin/daphne -u /run/tethys/{socket}.sock --fd 0 \
--access-log - --proxy-headers tethys_portal.asgi:application'
autostart=true
autorestart=true
; TERM lets daphne remove its socket and lock; QUIT, as `tethys gen` has it, leaves them behind.
stopsignal=TERM
stopwaitsecs=15
stopasgroup=true
killasgroup=true
stdout_logfile=/var/log/tethys_channels/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=5
redirect_stderr=true
"""
HEADER = (
    ";\n; Ansible managed\n;\n"
    "; The role tethys.channels.asgi_service writes this file; `tethys gen asgi_service` would overwrite it.\n"
)


def trusted(value: Any) -> Any:
    return trust_as_template(value) if isinstance(value, str) else value


def program(variables: dict[str, Any] | None = None, **planned: Any) -> str:
    """The program's text for these variables and this step."""
    known: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        values = yaml.safe_load((ROLE / part / "main.yml").read_text(encoding="utf-8"))
        known.update({name: trusted(value) for name, value in values.items()})
    names = PortalNames(planned.get("portal_name", ""))
    step: dict[str, Any] = {
        "portal_name": names.portal,
        "state_dir": names.state,
        "environment_path": names.environment,
        "group_of_one": names.group_of_one,
    }
    step |= {"user": "www-data", "port": 8000, "address": "127.0.0.1", "group": "asgi", "arguments": [], "bokeh": []}
    step.update({"environment": False, "site_packages": f"{PREFIX}/lib/python3.12/site-packages", **planned})
    known.update(
        ansible_managed="Ansible managed",
        tethys_home="/var/lib/tethys",
        tethys_conda_prefix=PREFIX,
        tethys_asgi_processes=3,
        tethys_portal_name=names.portal,
        __preflight_plan={"asgi_service": step},
    )
    known.update(variables or {})
    text = (ROLE / "templates" / "asgi_supervisord.conf.j2").read_text(encoding="utf-8")
    # As the lookup that the role uses does.
    templar = Templar(loader=DataLoader(), variables=known)
    # In a play, Ansible finds it automatically.
    templar._engine.environment.filters["tethys.channels.asgi_processes"] = asgi_processes
    return str(templar.template(trust_as_template(text), escape_backslashes=False))


def test_one_program_for_all() -> None:
    name = "tethys_asgi%(process_num)d"
    assert program() == HEADER + PROGRAM.format(group="asgi", port=8000, name=name, numprocs=3, socket=name)


def test_a_program_for_each() -> None:
    each = [
        PROGRAM.format(
            group=f"tethys_asgi{number}",
            port=8000 + number,
            name=f"tethys_asgi{number}",
            numprocs=1,
            socket=f"tethys_asgi_{8000 + number}",
        )
        for number in range(3)
    ]
    assert program({"tethys_asgi_layout": "socket_per_process"}) == HEADER + "\n".join(each)


@pytest.mark.parametrize("layout", ["shared_socket", "socket_per_process"])
def test_what_is_there_is_followed(layout: str) -> None:
    text = program({"tethys_asgi_layout": layout}, port=8080, address="0.0.0.0", group="tethys_asgi")  # noqa: S104
    first = "tethys_asgi0" if layout == "socket_per_process" else "tethys_asgi"
    assert f"[fcgi-program:{first}]\nsocket=tcp://0.0.0.0:8080\n" in text
    assert ("socket=tcp://0.0.0.0:8082\n" in text) is (layout == "socket_per_process")


@pytest.mark.parametrize(
    ("layout", "groups"),
    [("shared_socket", ["tethys_staging_asgi"]), ("socket_per_process", [f"tethys_staging_asgi{n}" for n in range(3)])],
)
def test_a_portal_with_a_name_has_all_of_its_own(layout: str, groups: list[str]) -> None:
    planned = {"portal_name": "staging", "group": "tethys_staging_asgi", "environment": True}
    text = program({"tethys_asgi_layout": layout}, **planned)
    assert re.findall(r"^\[fcgi-program:(.*)\]$", text, re.MULTILINE) == groups
    assert set(re.findall(r"daphne -u (\S+)/", text)) == {"/run/tethys-staging"}
    assert set(re.findall(r"stdout_logfile=(\S+)/", text)) == {"/var/log/tethys_channels-staging"}
    assert set(re.findall(r"for script in (\S+)", text)) == {"/etc/tethys_channels-staging.env"}


def test_what_is_kept_is_in_the_command() -> None:
    text = program(arguments=["--websocket_timeout", "3600"], environment=True)
    assert "for script in /etc/tethys_channels.env /opt/conda/envs/tethys/etc/conda/activate.d/*.sh; do" in text
    assert "--access-log - --proxy-headers --websocket_timeout 3600 tethys_portal.asgi:application'" in text


@pytest.mark.parametrize(
    ("bokeh", "variables"),
    [
        ([{"app": "plots", "name": "wave", "url": "/apps/plots/wave/"}], {}),
        ("unknown", {}),
        ([], {"tethys_bokeh": "in_use"}),
        ([], {"tethys_layer_backend": "channels.layers.InMemoryChannelLayer"}),
    ],
)
def test_no_program_is_written_that_breaks_the_bokeh_rule(bokeh: Any, variables: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError, match="tethys_asgi_processes is 3"):
        program(variables, bokeh=bokeh)
    assert "numprocs=1\n" in program({**variables, "tethys_asgi_processes": 1}, bokeh=bokeh)


def test_the_bokeh_rule_is_applied_before_the_first_change() -> None:
    first = yaml.safe_load((ROLE / "tasks" / "provision.yml").read_text(encoding="utf-8"))[0]
    assert "__asgi_service_processes" in first["ansible.builtin.assert"]["that"]
    assert "when" not in first
