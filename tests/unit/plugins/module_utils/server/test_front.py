# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the web server on this host sends the portal's requests."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import front
from hypothesis import given
from hypothesis import strategies as st

HOME = "/var/lib/tethys"
# As `tethys gen nginx` writes it.
NGINX = """\
upstream channels-backend {
    server 127.0.0.1:8080;
}
server {
    listen 80;
    location /static { alias /var/lib/tethys/static; }
    location / { try_files $uri @proxy_to_app; }
    location @proxy_to_app { proxy_pass http://channels-backend; }
}
"""
# As `tethys gen apache` writes it.
APACHE = """\
ServerName portal.example.org
Listen 80
<VirtualHost *:80>
    ProxyPass /static !
    Alias /static /var/lib/tethys/static
    <Directory /var/lib/tethys/static>
        Require all granted
    </Directory>
    ProxyRequests Off
    ProxyPreserveHost On
    ProxyPassMatch ^/(.*/ws)$ ws://127.0.0.1:8080/$1
    ProxyPass / http://127.0.0.1:8080/
    ProxyPassReverse / http://127.0.0.1:8080/
</VirtualHost>
"""


@pytest.fixture
def nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is found in an nginx with this site, and no Apache."""
    main = tmp_path / "nginx.conf"
    (tmp_path / "sites").mkdir()
    main.write_text("events { }\nhttp { include sites/*; }\n")
    monkeypatch.setattr(front.root_files, "main_files", lambda _processes: [str(main)])
    monkeypatch.setattr(front.proc, "named", lambda _name: [])

    def find(site: str, other: str | None = None, masters: Any = (1,)) -> front.Fronts:
        (tmp_path / "sites/portal").write_text(site)
        processes = Mock(masters=lambda: list(masters), other_web_server=lambda: other)
        return front.find(processes, "channels-backend", [HOME])

    return find


def addresses(found: front.Fronts) -> list[tuple[str, int | None, bool]]:
    targets = found["portal"]["targets"] if found["portal"] else []
    return [(each["address"], each["port"], each["here"]) for each in targets]


def test_the_manuals_site(nginx: Any, tmp_path: Path) -> None:
    found = nginx(NGINX)
    assert found == {
        "portal": {
            "server": "nginx",
            "path": str(tmp_path / "sites/portal"),
            "line": 1,
            "each": True,
            "ours": False,
            "targets": [{"address": "127.0.0.1:8080", "port": 8080, "here": True}],
            "door": found["portal"]["door"],
        },
        "addresses": ["127.0.0.1:8080"],
    }


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (NGINX.replace("127.0.0.1:8080", "unix:/run/x.sock"), [("unix:/run/x.sock", None, True)]),
        (NGINX.replace("127.0.0.1:8080", "192.0.2.7:8080"), [("192.0.2.7:8080", 8080, False)]),
        (NGINX.replace("127.0.0.1:8080", "0.0.0.0:8080"), [("0.0.0.0:8080", 8080, True)]),
        (NGINX.replace("127.0.0.1:8080", "[::1]:8080"), [("[::1]:8080", 8080, True)]),
        (NGINX.replace("127.0.0.1:8080", "[2001:db8::7]:8080"), [("[2001:db8::7]:8080", 8080, False)]),
        (
            NGINX.replace("http://channels-backend", "http://[::1]:8001/").partition("}\n")[2],
            [("[::1]:8001", 8001, True)],
        ),
        (
            NGINX.replace("8080;", "8080; server 127.0.0.1:9 down; server 127.0.0.1:8 backup;"),
            [("127.0.0.1:8080", 8080, True)],
        ),
        # A site of another upstream's name is known by the portal's files.
        (NGINX.replace("channels-backend", "hydro"), [("127.0.0.1:8080", 8080, True)]),
        (
            NGINX.replace("http://channels-backend", "http://localhost:8001/").partition("}\n")[2],
            [("localhost:8001", 8001, True)],
        ),
        (
            NGINX.replace("http://channels-backend", "http://unix:/run/y.sock:/").partition("}\n")[2],
            [("unix:/run/y.sock", None, True)],
        ),
        (NGINX.replace("channels-backend", "hydro").replace(HOME, "/srv/www"), []),
        ("server { listen 80; root /var/www; }", []),
        ("this is no configuration", []),
    ],
    ids=str,
)
def test_where_nginx_sends_requests(nginx: Any, site: str, expected: list[Any]) -> None:
    assert addresses(nginx(site)) == expected


BESIDES = """\
server {
    root /var/lib/tethys/static;
    location /geoserver/ { proxy_pass http://127.0.0.1:8181; }
    location /wsgi/ { proxy_pass http://127.0.0.1:8282; }
    location / { proxy_pass http://127.0.0.1:8000; location /thredds { proxy_pass http://127.0.0.1:8383; } }
}
"""


@pytest.mark.parametrize(
    ("site", "ports"),
    [
        (BESIDES, [8000]),
        (
            BESIDES.replace("location / {", "location ^~ / { if ($a) { proxy_pass http://127.0.0.1:8001; }"),
            [8001, 8000],
        ),
        (
            BESIDES.replace("proxy_pass http://127.0.0.1:8000;", "try_files $uri @app;").replace(
                "{\n",
                "{ location @other { proxy_pass http://127.0.0.1:1; } location @app { proxy_pass http://[::1]:2; }\n",
            ),
            [2],
        ),
        (BESIDES.replace("location / {", "try_files $uri @a; location @a {"), [8000]),
        (BESIDES.replace("/wsgi/", "~ ^/(.*/ws)$"), [8282, 8000]),
        # Without any of these, whatever the site proxies.
        (BESIDES.replace("location / {", "location /hydro {"), [8181, 8282, 8000, 8383]),
    ],
    ids=str,
)
def test_what_a_site_proxies_besides_is_not_the_portals(nginx: Any, site: str, ports: list[int]) -> None:
    assert [port for _address, port, _here in addresses(nginx(site))] == ports


def test_a_site_of_another_upstreams_name_is_listed(nginx: Any) -> None:
    found = nginx(NGINX.replace("channels-backend", "hydro").replace(HOME, "/srv/www"))
    assert found == {"portal": None, "addresses": ["127.0.0.1:8080"]}


def test_an_nginx_that_does_not_run(nginx: Any) -> None:
    assert nginx(NGINX, masters=())["portal"] is not None, "Its configuration says what it will do."
    assert nginx(NGINX, masters=(), other="caddy") == {"portal": None, "addresses": []}


def test_a_block_of_ours(nginx: Any) -> None:
    text = NGINX.replace(
        "server 127.0.0.1:8080;", "server 127.0.0.1:8080 max_fails=0; server 127.0.0.1:8081 max_fails=0;"
    )
    found = nginx(text)["portal"]
    assert (found["ours"], len(found["targets"])) == (True, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_what_a_file_of_others_includes_is_not_read(nginx: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("upstream channels-backend { server 127.0.0.1:25; }\n")
    tmp_path.chmod(0o755)
    site = tmp_path / "sites/other"
    site.write_text(f"include {secret};\nupstream hydro {{ server 127.0.0.1:1; }}\n")
    os.chown(site, 65534, 65534)
    assert nginx("map $a $b { default 1; }")["portal"] is None
    os.chown(site, 0, 0)


@pytest.mark.parametrize(
    "text", ["include a;" * 6000, "server { " * 9000, "proxy_pass http://a;" * 3000, "upstream a { } " * 4000]
)
def test_a_site_of_64_kib_takes_no_time(nginx: Any, text: str) -> None:
    began = time.monotonic()
    nginx(text)
    assert time.monotonic() - began < 10


MANY = 5000
SERVERS = "".join(f"server 10.0.{number // 256}.{number % 256}:80;\n" for number in range(MANY))
BLOCKS = "".join(f"upstream u{number} {{ server 10.0.0.1:80; server 10.0.0.2:80; }}\n" for number in range(MANY))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that are checked to be this server's."""
    found: list[str] = []
    monkeypatch.setattr(front.nginx_config, "is_this_server", lambda address: bool(found.append(address)))
    return found


@pytest.mark.parametrize(
    "text",
    [
        f"upstream channels-backend {{ {SERVERS} }}",
        BLOCKS,
        f"upstream a {{ {SERVERS} }} server {{ root {HOME}; {'location / { proxy_pass http://a; }' * 100} }}",
    ],
    ids=["a block", "blocks", "a block for many sites"],
)
def test_no_more_addresses_are_looked_at_than_are_returned(nginx: Any, asked: list[str], text: str) -> None:
    nginx(text)
    assert len(asked) <= 4 * front.MOST_TARGETS


# -- Apache ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def apache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is found in an Apache with this site, and an nginx that does not run."""
    monkeypatch.setattr(front.root_files, "main_files", lambda _processes: [])
    monkeypatch.setattr(front.proc, "named", lambda name: [7] if name == "apache2" else [])
    monkeypatch.setattr(front.proc, "is_roots", lambda _pid: True)
    monkeypatch.setattr(front, "APACHE_FILES", (str(tmp_path / "*.conf"),))

    def find(site: str) -> front.Fronts:
        (tmp_path / "portal.conf").write_text(site)
        processes = Mock(masters=lambda: [], other_web_server=lambda: "apache2")
        return front.find(processes, "channels-backend", [HOME])

    return find


def test_the_site_of_tethys_gen_apache(apache: Any, tmp_path: Path) -> None:
    found = apache(APACHE)
    assert found == {
        "portal": {
            "server": "Apache",
            "path": str(tmp_path / "portal.conf"),
            "line": 3,
            "each": True,
            "ours": False,
            "targets": [{"address": "127.0.0.1:8080", "port": 8080, "here": True}],
            "door": found["portal"]["door"],
        },
        "addresses": ["127.0.0.1:8080"],
    }


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (
            APACHE.replace("http://127.0.0.1:8080", "http://10.255.0.1"),
            [("127.0.0.1:8080", 8080, True), ("10.255.0.1:80", 80, False)],
        ),
        (
            APACHE.replace("ProxyRequests Off", "ProxyPass /thredds http://localhost:8081/"),
            [("127.0.0.1:8080", 8080, True)],
        ),
        (
            APACHE.replace("http://127.0.0.1:8080/\n    ProxyPassR", "unix:/run/x.sock|http://localhost/\n ProxyPassR"),
            [("127.0.0.1:8080", 8080, True), ("unix:/run/x.sock", None, True)],
        ),
        (APACHE.replace(HOME, "/srv/www"), []),
        ("# ProxyPass / http://127.0.0.1:1/\n", []),
    ],
    ids=str,
)
def test_where_apache_sends_requests(apache: Any, site: str, expected: list[Any]) -> None:
    assert addresses(apache(site)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"ProxyPass /a{number} http://10.0.0.{number % 256}:{number}/\n" for number in range(1, MANY)),
        f"<VirtualHost *>\nDocumentRoot {HOME}\nProxyPass / http://10.0.0.1/\n</VirtualHost>\n" * 2000,
    ],
    ids=["lines", "sites"],
)
def test_no_more_addresses_of_apache_are_looked_at_than_are_returned(apache: Any, asked: list[str], text: str) -> None:
    apache(text)
    assert len(asked) <= 2 * front.MOST_TARGETS


def test_other_ways_of_apache() -> None:
    text = (
        f'DocumentRoot {HOME}/static\n<Location "/">\n ProxyPass http://127.0.0.1:1\n</Location>\n'
        "RewriteRule /(.*) ws://127.0.0.1:2/$1 [P,L]\nRewriteRule /x http://127.0.0.1:3/ [R]\n"
        "<Proxy balancer://b>\nBalancerMember http://127.0.0.1:4\n</Proxy>\n"
    )
    (site,) = front.apache_sites("/a.conf", text)
    assert site.folders == [f"{HOME}/static"]
    assert site.proxied == [("/", "127.0.0.1:1"), ("/(.*)", "127.0.0.1:2"), ("/", "127.0.0.1:4")]


@given(st.text(max_size=500))
def test_any_text_of_apache_is_read(text: str) -> None:
    assert list(front.apache_sites("/a.conf", text))


@pytest.mark.parametrize(
    "text", ["[P " * 30_000, "rewriterule a [P " + "P " * 30_000, '"' * 60_000, "alias a b\n" * 6000]
)
def test_a_file_of_apache_takes_no_time(text: str) -> None:
    began = time.monotonic()
    list(front.apache_sites("/a.conf", text))
    assert time.monotonic() - began < 5


# -- where browsers reach the site -------------------------------------------------------------------------------------

DOOR = """\
upstream channels-backend {{ server 127.0.0.1:8000; }}
server {{
    {}
    location / {{ try_files $uri @proxy_to_app; }}
    location @proxy_to_app {{ proxy_pass http://channels-backend; {} }}
}}
"""
WEBSOCKETS = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"


def door(found: front.Fronts) -> Any:
    assert found["portal"]
    return found["portal"]["door"]


@pytest.mark.parametrize(
    ("lines", "address", "port", "tls", "name"),
    [
        ("listen 80; server_name portal.example.org;", "127.0.0.1", 80, False, "portal.example.org"),
        ("", "127.0.0.1", 80, False, ""),
        ("listen 8443 ssl; server_name _;", "127.0.0.1", 8443, True, ""),
        ("listen 80; listen 443 ssl http2;", "127.0.0.1", 443, True, ""),
        ("listen 443; ssl on;", "127.0.0.1", 443, True, ""),
        ("listen [::]:80;", "::1", 80, False, ""),
        ("listen 80; listen [::]:80; server_name a.org;", "127.0.0.1", 80, False, "a.org"),
        ("listen [::]:443 ssl ipv6only=off; server_name a.org;", "::1", 443, True, "a.org"),
        ("listen [::1];", "::1", 80, False, ""),
        ("listen 127.0.0.2:81;", "127.0.0.2", 81, False, ""),
        ("listen localhost:82;", "127.0.0.1", 82, False, ""),
        ("listen 127.0.0.3;", "127.0.0.3", 80, False, ""),
        ("listen *:83 default_server;", "127.0.0.1", 83, False, ""),
        (r"server_name *.a.org ~^x\.org$ .b.org $hostname localhost c.org d.org;", "127.0.0.1", 80, False, "c.org"),
        ("server_name localhost;", "127.0.0.1", 80, False, "localhost"),
        ("listen 443 quic; listen 443 ssl;", "127.0.0.1", 443, True, ""),
    ],
)
def test_where_browsers_reach_it(nginx: Any, lines: str, address: str, port: int, tls: bool, name: str) -> None:
    found = door(nginx(DOOR.format(lines, WEBSOCKETS)))
    assert (found["address"], found["port"], found["tls"], found["name"]) == (address, port, tls, name)
    assert found["line"] == 2
    assert found["missing"] == []


@pytest.mark.parametrize(
    "lines",
    [
        "listen unix:/run/x.sock;",
        "listen 80 proxy_protocol;",
        "listen 192.0.2.7:80;",
        "listen 99999;",
        "listen 443 ssl; ssl_verify_client on;",
    ],
)
def test_what_no_browser_reaches_here(nginx: Any, lines: str) -> None:
    assert door(nginx(DOOR.format(lines, WEBSOCKETS))) is None


def test_of_several_sites_the_one_with_tls(nginx: Any) -> None:
    plain, other = DOOR.format("server_name a.org;", ""), "server { location /wiki { proxy_pass http://127.0.0.1:1; } }"
    site = (
        f"server {{ listen 443 ssl; server_name b.org; location / {{ proxy_pass http://channels-backend; }} }} {other}"
    )
    assert door(nginx(plain + site))["name"] == "b.org"
    assert door(nginx(plain + other))["name"] == "a.org"


@pytest.mark.parametrize(
    ("locations", "silence", "missing"),
    [
        ("location / { proxy_pass http://channels-backend; }", None, 3),
        (f"proxy_read_timeout 5; location / {{ proxy_pass http://channels-backend; {WEBSOCKETS} }}", 5, 0),
        (
            f"location / {{ proxy_pass http://channels-backend; proxy_read_timeout 5; }}"
            f" location /ws/ {{ proxy_pass http://channels-backend; proxy_read_timeout 1m30s; {WEBSOCKETS} }}",
            90,
            0,
        ),
        (
            f"location / {{ proxy_pass http://channels-backend; proxy_read_timeout 5; }}"
            f" location ~ /ws {{ proxy_pass http://channels-backend; proxy_read_timeout 1h; {WEBSOCKETS} }}",
            3600,
            0,
        ),
        (
            f"location ^~ / {{ proxy_pass http://channels-backend; proxy_read_timeout 300ms; {WEBSOCKETS}"
            " location /static { } } location ~ /ws { proxy_pass http://channels-backend; }",
            0.3,
            0,
        ),
        (
            f"location / {{ proxy_pass http://channels-backend; location ~* /WS/ {{ {WEBSOCKETS}"
            " proxy_pass http://channels-backend; proxy_read_timeout soon; } }",
            None,
            0,
        ),
        ("location = /ws/app-lifecycle/x/ { proxy_pass http://channels-backend; } location / { }", None, 3),
        # What is tried in vain costs nothing.
        ("location / { proxy_pass http://channels-backend; } location ~ (a*)*$ { deny all; }", None, 3),
        (f"location / {{ proxy_pass http://channels-backend; }} location ~ '^/{'.?' * 40}Z' {{ deny all; }}", None, 3),
        ("location / { proxy_pass http://channels-backend; } location ~ '((.?)){60}Z' { deny all; }", None, 3),
        ("location / { proxy_pass http://channels-backend; } location ~ ( { deny all; }", None, 3),
    ],
)
def test_what_happens_to_websockets(nginx: Any, locations: str, silence: float | None, missing: int) -> None:
    site = f"upstream channels-backend {{ server 127.0.0.1:8000; }} server {{ {locations} }}"
    found = door(nginx(site))
    assert (found["silence"], len(found["missing"])) == (silence, missing)


@pytest.mark.parametrize(
    ("text", "address", "port", "tls", "name"),
    [
        (APACHE, "127.0.0.1", 80, False, "portal.example.org"),
        (APACHE.replace("*:80>", "*:443>\nSSLEngine on"), "127.0.0.1", 443, True, "portal.example.org"),
        (APACHE.replace("*:80>", "[::]:80>\nServerName https://b.org:443"), "::1", 80, False, "b.org"),
        (
            APACHE.replace("<VirtualHost *:80>", '<VirtualHost "127.0.0.2">'),
            "127.0.0.2",
            80,
            False,
            "portal.example.org",
        ),
        (APACHE.replace("*:80", "_default_:8080 192.0.2.1:1"), "127.0.0.1", 8080, False, "portal.example.org"),
        (APACHE.replace("ServerName portal.example.org\n", ""), "127.0.0.1", 80, False, ""),
        (
            f"{APACHE}\n{APACHE.replace('*:80>', '*:443>').replace('ProxyRequests', 'SSLEngine On # ')}",
            "127.0.0.1",
            443,
            True,
            "portal.example.org",
        ),
    ],
    ids=["as written", "TLS", "IPv6", "no port", "any", "no name", "both"],
)
def test_where_browsers_reach_apache(apache: Any, text: str, address: str, port: int, tls: bool, name: str) -> None:
    found = door(apache(text))
    assert (found["address"], found["port"], found["tls"], found["name"]) == (address, port, tls, name)


def test_an_apache_that_no_browser_reaches_here(apache: Any) -> None:
    assert door(apache(APACHE.replace("*:80", "192.0.2.1:80"))) is None
    assert door(apache(APACHE.replace("ProxyRequests", "SSLVerifyClient require\n ProxyRequests"))) is None
    assert door(apache(APACHE.replace("ProxyRequests", "SSLVerifyClient optional\n ProxyRequests")))
