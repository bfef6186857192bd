# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites as administrators write them: the upstream block in them is handled or refused, and nginx serves throughout.

Each test replaces the scenario's site, and restores it afterwards.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apart
import bed
import pytest

# Not the run's own folder, which has the record of the scenario's block.
STATE = "/root/nginx_sites_state"
MODULES = "/root/modules"
PIN = r"^/apps/[^/]+/(?:.+/)?(?:autoload\.js|ws)$"
TREE = "find /etc/nginx -printf '%P %M %u %g %l\\n' | sort; find /etc/nginx -type f -exec sha256sum {} + | sort -k2"
KEEP = f"rm -rf {STATE} && tar --format=posix -C /etc -cf /root/nginx_sites.tar nginx"
PUT_BACK = (
    "find /etc/nginx -mindepth 1 -delete && tar -C /etc -xf /root/nginx_sites.tar && nginx -t -q && nginx -s reload"
)

UPSTREAM = "upstream channels-backend {\n    server 127.0.0.1:8000;\n}\n"
SERVER = """server {
    listen 80;
    server_name portal.example.org;
    client_max_body_size 75M;
    location / {
        proxy_pass http://channels-backend;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_set_header Host $host;
    }
}
"""
MAIN = """user www-data;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
{modules}
events {{ worker_connections 768; }}
{stream}
http {{
    include mime.types;
    {http}
}}
"""


@pytest.fixture(scope="module", autouse=True)
def shipped(host: Any) -> None:
    """What the module is made of, on the server."""
    bed.ship(host, MODULES)


def module(host: Any, **arguments: Any) -> dict[str, Any]:
    """Run the module alone: it takes a tenth of a run through Ansible, which every playbook run shows to work."""
    text = shlex.quote(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "state_dir": STATE}}))
    name = "ansible_collections.tethys.channels.plugins.modules.nginx_upstream"
    run = host.run(f"cd / && printf %s {text} | PYTHONPATH={MODULES} timeout 120 python3 -m {name}")
    assert run.stdout.strip().startswith("{"), run.stdout + run.stderr
    return {**json.loads(run.stdout), "failed": run.rc != 0}


def put(host: Any, **arguments: Any) -> dict[str, Any]:
    """Have the upstream list the portal's ports."""
    return module(host, ports=apart.PORTS, pins=[PIN], **arguments)


def master(host: Any) -> int:
    """nginx's master process."""
    return int(host.check_output("pgrep -f '^nginx: master process'"))


def serves(host: Any) -> bool:
    """Whether a request through nginx gets the portal's answer."""
    url = "http://127.0.0.1/apps/channelchat/echo/"
    code = host.check_output(f"curl -s -m 20 -o /dev/null -w '%{{http_code}}' -H 'Host: portal.example.org' {url}")
    return str(code) == "200"


def loaded(host: Any) -> str:
    """The configuration on the disk, in one line for each directive: our block is looked for in it."""
    return " ".join(host.check_output("nginx -T 2>/dev/null | LC_ALL=C tr -d '\\r\\200-\\377'").split())


@contextmanager
def files(host: Any, reload: bool, **written: str) -> Iterator[None]:
    """Other files of nginx, by their names below /etc/nginx."""
    commands = [KEEP]
    for name, text in written.items():
        path, encoded = shlex.quote(f"/etc/nginx/{name}"), base64.b64encode(text.encode("latin-1")).decode()
        commands.append(f'mkdir -p "$(dirname {path})" && echo {encoded} | base64 -d >{path}')
    if reload:
        # nginx has ended its former workers once there is only one generation of them.
        commands.append("nginx -t -q && nginx -s reload && sleep 1")
    with bed.during(host, " && ".join(commands), PUT_BACK):
        try:
            yield
        finally:
            host.run(f"rm -rf {STATE}")


def handled(host: Any, path: str = apart.SITE, **written: str) -> None:
    """The block is found in that file, changed, changed again and given back, and nobody notices."""
    with files(host, True, **written):
        before, pid = host.check_output(TREE), master(host)
        assert serves(host)
        with bed.load(host, "--connections", "2", "--pause", "0.05") as figures:
            result = put(host)
            assert not result["failed"], result
            assert (result["changed"], result["path"]) == (True, path)
            assert serves(host)
            found = loaded(host)
            listed = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in apart.PORTS)
            assert f"hash $tethys_channels_process; {listed}" in found
            assert found.count("map $uri $tethys_channels_process {") == 1
            assert put(host)["changed"] is False
            assert put(host, down=[8001])["changed"]
            assert "server 127.0.0.1:8001 max_fails=0 down; server 127.0.0.1:8002 max_fails=0;" in loaded(host)
            assert serves(host)
            assert module(host, state="absent", port=8000)["changed"]
            assert serves(host)
        print(figures)
        assert figures["failed"] == 0, figures
        assert figures["requests"] > 4, figures
        # Every byte, every mode and every symbolic link, and nothing besides.
        assert host.check_output(TREE) == before
        assert master(host) == pid
        assert host.run(f"ls -A {STATE}").stdout == ""


def refused(host: Any, *words: str, **written: str) -> None:
    """The module says why not, and nothing has changed; nginx goes on with what it has read before."""
    with files(host, False, **written):
        before, pid = host.check_output(TREE), master(host)
        result = put(host)
        assert result["failed"], result
        for word in words:
            assert word in result["msg"], result["msg"]
        assert host.check_output(TREE) == before
        assert master(host) == pid
        assert serves(host)
        assert not host.file(STATE).exists


SITE = "sites-available/tethys"


@pytest.mark.parametrize(
    "site",
    [
        UPSTREAM.replace("\n", "") + " " + re.sub(r"\s+", " ", SERVER),
        (UPSTREAM + SERVER).replace("    ", "\t").replace("\n", "\r\n"),
        UPSTREAM.replace(" {", "\n  {  # { the { portal\n\n# server 10.0.0.1; }").replace("8000;", "8000\n\t; # }")
        + SERVER,
        UPSTREAM.replace("channels-backend", '"channels-backend"').replace("127.0.0.1:8000", "'localhost:8000'")
        + SERVER,
        UPSTREAM.replace("}", "    keepalive 16;\n    zone 'the portal}' 64k;\n}") + SERVER,
        "# F\xfcr das Portal, in Latin-1\n" + UPSTREAM + SERVER,
        SERVER + "map $http_user_agent $robot { default 0; '~bot;} {' 1; ~a\\;b\\{ 1; } # }\n" + UPSTREAM.strip(),
    ],
    ids=["one line", "tabs and CRLF", "comments", "quotes", "keepalive and zone", "Latin-1", "behind everything"],
)
def test_formatting(host: Any, site: str) -> None:
    handled(host, **{SITE: site})


def test_several_sites(host: Any) -> None:
    other = "upstream other { least_conn; server 127.0.0.1:8000; server 127.0.0.1:8001 backup; }\n" + SERVER.replace(
        "portal.example.org", "other.example.org"
    ).replace("channels-backend", "other")
    redirect = "server { listen 80 default_server; server_name _; return 301 https://$host$request_uri; }\n"
    handled(
        host,
        **{"sites-enabled/a-redirect": redirect, "conf.d/other.conf": other, SITE: UPSTREAM + SERVER},
    )


def test_an_upstream_that_is_included(host: Any) -> None:
    handled(
        host,
        "/etc/nginx/snippets/portal/upstream [main].conf",
        **{
            SITE: "include snippets/portal/*.conf;\n" + SERVER,
            "snippets/portal/upstream [main].conf": UPSTREAM,
            "snippets/portal/another.conf": "# nothing\n",
        },
    )


def test_the_whole_in_the_main_file(host: Any) -> None:
    handled(host, "/etc/nginx/nginx.conf", **{"nginx.conf": MAIN.format(modules="", stream="", http=UPSTREAM + SERVER)})


def test_an_include_in_the_block_that_brings_no_server(host: Any) -> None:
    handled(
        host,
        **{SITE: UPSTREAM.replace("}", "    include snippets/kept;\n}") + SERVER, "snippets/kept": "keepalive 4;\n"},
    )


def test_an_include_in_the_block_that_brings_servers(host: Any) -> None:
    refused(
        host,
        "takes its servers from /etc/nginx/snippets/servers",
        "tethys_asgi_layout to shared_socket",
        **{
            SITE: UPSTREAM.replace("server 127.0.0.1:8000;", "include snippets/servers;") + SERVER,
            "snippets/servers": "server 127.0.0.1:8000;\n",
        },
    )


def test_a_stream_of_the_same_name(host: Any) -> None:
    stream = (
        "stream { upstream channels-backend { server 127.0.0.1:5432; }"
        " server { listen 127.0.0.1:15432; proxy_pass channels-backend; } }"
    )
    main = MAIN.format(
        modules="load_module /opt/nginx-stream/usr/lib/nginx/modules/ngx_stream_module.so;",
        stream=stream,
        http="include sites-enabled/*;",
    )
    handled(host, **{"nginx.conf": main, SITE: UPSTREAM + SERVER})
    refused(host, "no block `upstream channels-backend`", **{"nginx.conf": main, SITE: "# nothing\n"})


def test_a_syntax_error_elsewhere(host: Any) -> None:
    broken = {"conf.d/unfinished.conf": "server {\n    listen 8081;\n    lissten 8082;\n}\n", SITE: UPSTREAM + SERVER}
    words = ["lissten", "in /etc/nginx/conf.d/unfinished.conf:3", "correct that first"]
    refused(host, "unknown directive", *words, **broken)
    # The playbook says so before it has changed anything.
    with files(host, False, **broken):
        bed.refused(host, "tethys_asgi_layout is socket_per_process", *words)
        assert serves(host)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (
            UPSTREAM.replace("channels-backend", "portal") + SERVER.replace("channels-backend", "portal"),
            ["add `upstream channels-backend { server 127.0.0.1:8000; }`", "behind portal, set nginx_upstream_name"],
        ),
        (UPSTREAM + UPSTREAM + SERVER, ['duplicate upstream "channels-backend"', "correct that first"]),
        (
            UPSTREAM.replace("}", "    server 192.0.2.1:8000;\n}") + SERVER,
            ["192.0.2.1:8000, which is not this server", "nginx_upstream_name"],
        ),
        (UPSTREAM + SERVER.replace("http://channels-backend", "http://127.0.0.1:8000"), ["no `proxy_pass`"]),
        (UPSTREAM.replace("{", "{ ip_hash;") + SERVER, ["`ip_hash`", "tethys_bokeh_policy"]),
    ],
    ids=["another name", "twice", "another server", "unused", "a method of its own"],
)
def test_what_cannot_be_managed(host: Any, site: str, words: list[str]) -> None:
    refused(host, *words, **{SITE: site})


def test_a_change_that_nginx_would_not_take(host: Any) -> None:
    with files(host, True, **{SITE: UPSTREAM + SERVER}):
        before, pid = host.check_output(TREE), master(host)
        result = module(host, ports=apart.PORTS, pins=["^/apps/(unclosed"])
        assert result["failed"], result
        assert "/etc/nginx/sites-enabled/tethys" in result["msg"]
        assert "unclosed" in result["msg"]
        assert host.check_output(TREE) == before
        assert master(host) == pid
        assert serves(host)


def test_another_name(host: Any) -> None:
    with files(host, True, **{SITE: (UPSTREAM + SERVER).replace("channels-backend", "portal")}):
        before = host.check_output(TREE)
        assert put(host, name="portal")["changed"]
        assert "upstream portal { # tethys.channels" in loaded(host)
        assert serves(host)
        assert module(host, name="portal", state="absent", port=8000)["changed"]
        assert host.check_output(TREE) == before
        assert serves(host)


PROGRAM = """[program:nginx]
command=/usr/sbin/nginx -g "daemon off;"
autorestart=true
stopsignal=QUIT
"""


@contextmanager
def started_by(host: Any, start: str, stop: str) -> Iterator[None]:
    """nginx held by something else than systemd."""
    gone = "timeout 30 sh -c 'while pgrep -x nginx >/dev/null; do sleep 0.1; done'"
    there = "timeout 30 sh -c 'until curl -s -o /dev/null http://127.0.0.1/; do sleep 0.1; done'"
    with bed.during(host, f"systemctl stop nginx && {start} && {there}", f"{stop}; {gone}; systemctl start nginx"):
        yield


def test_nginx_under_supervisor(host: Any) -> None:
    program = "/etc/supervisor/conf.d/nginx_supervisord.conf"
    encoded = base64.b64encode(PROGRAM.encode()).decode()
    with started_by(
        host,
        f"echo {encoded} | base64 -d >{program} && supervisorctl update nginx",
        f"supervisorctl stop nginx; rm {program}; supervisorctl update nginx",
    ):
        assert "supervisord" in host.check_output(f"ps -o args= -p $(ps -o ppid= -p {master(host)})")
        handled(host, **{SITE: UPSTREAM + SERVER})
        assert "RUNNING" in host.check_output("supervisorctl status nginx")


def test_nginx_by_hand_with_another_main_file(host: Any) -> None:
    written = {
        "own/main.conf": MAIN.format(modules="", stream="", http="include ./site;"),
        "own/mime.types": "types { text/html html; }\n",
        "own/site": UPSTREAM + SERVER,
    }
    with files(host, False, **written), started_by(host, "nginx -c /etc/nginx/own/main.conf", "nginx -s quit"):
        before, pid = host.check_output(TREE), master(host)
        assert serves(host)
        assert put(host)["path"] == "/etc/nginx/own/site"
        assert serves(host)
        assert module(host, state="absent", port=8000)["changed"]
        assert serves(host)
        assert master(host) == pid
        assert host.check_output(TREE) == before


def test_nginx_that_does_not_run(host: Any) -> None:
    with bed.during(host, "systemctl stop nginx", "systemctl start nginx"):
        before = host.check_output(TREE)
        result = put(host)
        assert "does not run on this server" in result["msg"]
        assert "tethys_asgi_layout to shared_socket" in result["msg"]
        assert host.check_output(TREE) == before


def test_all_is_as_it_was(host: Any) -> None:
    assert host.run("nginx -t").rc == 0
    assert serves(host)
    assert "channels-backend" in apart.nginx_file(host)
