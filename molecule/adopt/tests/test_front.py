# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery check through nginx and Apache, right and wrong, on the manual's portal as `remove` has left it.

All sites exist at once, each with a different upstream; one call checks them all.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import bed
import pytest

MODULES = "/root/modules"
PORT, PREFIX_PORT = 8080, 8010
NAME = "portal.example.org"
UPSTREAM = "upstream {name} {{ server 127.0.0.1:{port}; }}\n"
WEBSOCKETS = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
HOST = "proxy_set_header Host $host;"
SITE = "server {{ {listen} location / {{ proxy_pass http://{name}; {lines} }} }}\n"
# By name: the line with `listen` and `server_name`, the lines of its location, the port of its upstream.
SITES = {
    "tls": (f"listen 8443 ssl; server_name {NAME}; CERT(portal)", WEBSOCKETS + HOST, PORT),
    "prefix": (f"listen 8081; server_name {NAME};", WEBSOCKETS + HOST, PREFIX_PORT),
    "port": (f"listen 8082; server_name {NAME};", WEBSOCKETS + HOST, 8009),
    "upgrade": (f"listen 8083; server_name {NAME};", HOST, PORT),
    "name": ("listen 8084; server_name other.example.org;", WEBSOCKETS + HOST, PORT),
    "certificate": (f"listen 8444 ssl; server_name {NAME}; CERT(other)", WEBSOCKETS + HOST, PORT),
    "timeout": (f"listen 8085; server_name {NAME};", WEBSOCKETS + HOST + "proxy_read_timeout 5s;", PORT),
    "host": (f"listen 8086; server_name {NAME};", WEBSOCKETS, PORT),
}
FILE = "/etc/nginx/conf.d/fronts.conf"
APACHE = "/etc/apache2/sites-enabled/tethys.conf"
RELOAD = "nginx -t -q && nginx -s reload && sleep 1"


def written() -> str:
    """The configuration with all sites."""
    text = ""
    for name, (listen, lines, port) in SITES.items():
        for which in ("portal", "other"):
            files = f"ssl_certificate /root/{which}.pem; ssl_certificate_key /root/{which}.key;"
            listen = listen.replace(f"CERT({which})", files)
        text += UPSTREAM.format(name=name, port=port) + SITE.format(name=name, listen=listen, lines=lines)
    return text


def probed(host: Any, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the delivery check says of the site with each upstream."""
    common = {
        "prefix": bed.PREFIX,
        "home": bed.HOME,
        "user": "www-data",
        "ports": [PORT],
        "processes": 1,
        "sends": False,
    }
    given = shlex.quote(json.dumps({name: {**common, "upstream": name, **case} for name, case in cases.items()}))
    run = host.run(f"cd {MODULES} && timeout 300 python3 through_front.py {given}")
    assert run.stdout.startswith("{"), run.stdout + run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    assert all("codes" in answer for answer in found.values()), found
    return found


def codes(answer: dict[str, Any]) -> list[str]:
    """What is wrong by a delivery check."""
    return [row["code"] for row in answer["codes"]]


@pytest.fixture(scope="module", autouse=True)
def apache_installs(host: Any) -> None:
    """Apache is fetched and installed beside the tests of nginx, which has its port."""
    install = (
        "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends apache2"
        " && a2enmod -q proxy proxy_http proxy_wstunnel"
        " && rm /etc/apache2/sites-enabled/* && : > /etc/apache2/ports.conf"
    )
    host.check_output(f"systemd-run --quiet --unit apache-installs sh -c {shlex.quote(install)}")


@pytest.fixture(scope="module")
def behind_nginx(host: Any, apache_installs: None) -> Iterator[dict[str, Any]]:
    """The delivery check through each site of nginx."""
    bed.ship(host, MODULES)
    certificates = " && ".join(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=x"
        f" -addext subjectAltName=DNS:{name} -keyout /root/{file}.key -out /root/{file}.pem 2>/dev/null"
        for file, name in (("portal", NAME), ("other", "other.example.org"))
    )
    home = bed.home("prefixed", "sed -i 's/^settings:/&\\n  PREFIX_URL: tethys/' portal_config.yml")
    daphne = (
        f"systemd-run --quiet --unit prefixed --uid www-data -E TETHYS_HOME={bed.HOME}-prefixed"
        f" {bed.PREFIX}/bin/daphne -b 127.0.0.1 -p {PREFIX_PORT} tethys_portal.asgi:application"
        f" && for i in $(seq 60); do curl -s -o /dev/null -H 'Host: {NAME}' http://127.0.0.1:{PREFIX_PORT}/tethys/"
        " && break; sleep 0.5; done"
    )
    write = f"echo {shlex.quote(written())} > {FILE} && {RELOAD}"
    with bed.during(
        host,
        f"{certificates} && {home} && {daphne} && {write}",
        f"rm {FILE}; {RELOAD}; systemctl stop prefixed; rm -r {bed.HOME}-prefixed",
    ):
        cases: dict[str, dict[str, Any]] = {name: {} for name in SITES}
        cases["tls"] = {"sends": True}
        cases["prefix"] = {"sends": True, "home": f"{bed.HOME}-prefixed", "ports": [PREFIX_PORT]}
        cases["timeout"] = {"sends": True, "idle_seconds": 7}
        yield probed(host, cases)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("tls", f"https://{NAME}:8443/"),
        ("prefix", f"http://{NAME}:8081/tethys/"),
    ],
)
def test_delivery_through_nginx(behind_nginx: dict[str, Any], name: str, at: str) -> None:
    answer = behind_nginx[name]
    assert answer["ok"], answer["problems"]
    assert (answer["front"]["at"], answer["front"]["page"]) == (at, 200)
    assert answer["front"]["received"] == answer["front"]["sockets"] >= 4


def test_an_unknown_issuer_is_a_warning(behind_nginx: dict[str, Any]) -> None:
    [warning] = behind_nginx["tls"]["warnings"]
    assert f"could not be verified for {NAME}: self-signed certificate" in warning


@pytest.mark.parametrize(
    ("name", "found", "words"),
    [
        ("port", ["front-page"], "answers HTTP 502"),
        (
            "upgrade",
            ["front-sockets-refused"],
            "Add `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
            ' proxy_set_header Connection "upgrade";`'
            f" beside the `proxy_pass` at {FILE}, line 8",
        ),
        ("name", ["front-host-not-allowed"], "ALLOWED_HOSTS lacks other.example.org"),
        ("certificate", ["front-certificate"], f"not valid for {NAME}: Hostname mismatch"),
        ("timeout", ["front-timeout-short", "front-sockets-closed"], "silent for 5 s"),
        ("host", ["front-host-not-sent"], "`proxy_set_header Host $host;`"),
    ],
)
def test_an_nginx_that_is_wrong(behind_nginx: dict[str, Any], name: str, found: list[str], words: str) -> None:
    answer = behind_nginx[name]
    assert codes(answer) == found, answer["problems"]
    assert any(words in text for text in answer["problems"]), answer["problems"]
    assert all(FILE in text for text in answer["problems"])


@pytest.fixture(scope="module")
def without_nginx(host: Any, behind_nginx: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same with nginx stopped, then with Apache: its site as Tethys writes it, and with the printed line."""
    host.check_output("supervisorctl stop nginx")
    try:
        found = probed(host, {"channels-backend": {}})
        host.check_output(
            "while systemctl is-active -q apache-installs; do sleep 0.5; done;"
            f" cd / && PATH={bed.PREFIX}/bin:$PATH TETHYS_HOME={bed.HOME} tethys gen apache --tethys-port {PORT}"
            f" --overwrite -d /root && cp /root/tethys_apache.conf {APACHE} && systemctl restart apache2"
        )
        as_written = probed(host, {"channels-backend": {}})["channels-backend"]
        [text] = as_written["problems"] or [""]
        line = text.partition("Add `")[2].partition("`")[0]
        host.check_output(
            f"awk -v line={shlex.quote(line)} '/ProxyPass [/] /{{print line}} {{print}}' /root/tethys_apache.conf"
            f" > {APACHE} && systemctl reload apache2 && sleep 1"
        )
        routed = probed(host, {"channels-backend": {"sends": True}})["channels-backend"]
        yield {"stopped": found["channels-backend"], "as written": as_written, "routed": routed}
    finally:
        host.check_output("systemctl stop apache2; supervisorctl start nginx")


def test_an_nginx_that_is_stopped(without_nginx: dict[str, Any]) -> None:
    answer = without_nginx["stopped"]
    assert codes(answer) == ["front-unreachable"]
    assert "nginx (/etc/nginx/sites-enabled/tethys, line " in answer["problems"][0]
    assert "does not answer at 127.0.0.1 port 80: Connection refused. Start it" in answer["problems"][0]


def test_apache_as_tethys_writes_it_has_no_route(without_nginx: dict[str, Any]) -> None:
    answer = without_nginx["as written"]
    assert codes(answer) == ["front-sockets-refused"]
    assert "could not be opened: HTTP 404. Add `ProxyPassMatch ^/(" in answer["problems"][0]
    assert f"before `ProxyPass /` in {APACHE}, and reload Apache." in answer["problems"][0]


def test_delivery_through_apache_with_that_line(without_nginx: dict[str, Any]) -> None:
    answer = without_nginx["routed"]
    assert answer["ok"], answer["problems"]
    assert answer["front"]["through"].startswith(f"Apache ({APACHE}, line ")
    assert answer["front"]["received"] == answer["front"]["sockets"] >= 4
