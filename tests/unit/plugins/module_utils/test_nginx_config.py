# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's language as nginx reads it, what is found in a configuration, and the edits of one upstream block."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import nginx_blocks, nginx_config
from ansible_collections.tethys.channels.plugins.module_utils.nginx_blocks import (
    plain_upstream,
    restored_upstream,
    write_upstream,
)
from ansible_collections.tethys.channels.plugins.module_utils.nginx_config import (
    NginxFileError,
    NginxSyntaxError,
    Tree,
    block_text,
    parse,
    quoted,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from hypothesis import given
from hypothesis import strategies as st

CORPUS = Path(__file__).parents[2] / "corpus" / "nginx"
NAME = "channels-backend"
SERVERS = [("127.0.0.1:8000", False), ("127.0.0.1:8001", True)]
PIN = r"^/apps/[^/]+/(?:.+/)?(?:autoload\.js|ws)$"


def words(text: str) -> list[list[str]]:
    return [[each.name, *each.args] for each in parse(text).directives]


# -- the language -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b;", [["a", "b"]]),
        ("a\tb\r\n\r c;d;", [["a", "b", "c"], ["d"]]),
        ("a 'b c' \"d;{}#\" ;", [["a", "b c", "d;{}#"]]),
        ('a "b\\"c" \'d\\\'e\' f\\ g;', [["a", 'b"c', "d'e", "f\\ g"]]),
        ('a "\\t\\n\\r\\\\ \\d \\.";', [["a", "\t\n\r\\ \\d \\."]]),
        ("a b\"c 'd e' f'g;", [["a", 'b"c', "d e", "f'g"]]),
        ("a ${b}c $d{e;} f;", [["a", "${b}c", "$d"], ["f"]]),
        ("a b#c; # d; e\nf;", [["a", "b#c"], ["f"]]),
        ("a # in between {\n b;", [["a", "b"]]),
        ("a b\\;c;", [["a", "b\\;c"]]),
        ("if ($a ~ \"b\") { c; }", [["if", "($a", "~", "b", ")"]]),
        ("a {}b{c d;}", [["a"], ["b"]]),
        ("\ufeffa b;", [["a", "b"]]),
        ("a b};", [["a", "b}"]]),
        ("# only a comment", []),
        ("", []),
    ],
)  # fmt: skip
def test_words(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a b", 1, "not ended"),
        ("a;\n;", 2, 'unexpected ";"'),
        ("{ a; }", 1, 'unexpected "{"'),
        ("a {\n b;\n", 1, '"a" is not closed'),
        ("a }b;", 1, 'unexpected "}"'),
        ("a;\n}\n", 2, 'unexpected "}"'),
        ("a { b }", 1, 'unexpected "}"'),
        ("\n\na 'b;\n", 3, "a string is not closed"),
        ("a 'b'c;", 1, "directly behind a string"),
        ("a b;\\", 1, "a backslash ends the file"),
        ("a_by_lua_block { '}' ", 1, "Lua"),
    ],
)
def test_what_nginx_cannot_read_either(text: str, line: int, what: str) -> None:
    with pytest.raises(NginxSyntaxError, match=what) as raised:
        parse(text)
    assert raised.value.line == line


def test_spans() -> None:
    text = "# one\nhttp { # two\n  server { listen 80; }\n}\n"
    parsed = parse(text)
    http = parsed.directives[0]
    assert text[http.start : http.end].startswith("http {")
    assert text[http.start : http.end].endswith("}\n}")
    assert http.body is not None
    assert text[http.body[0] : http.body[1]] == " # two\n  server { listen 80; }\n"
    assert [text[start:end] for start, end in parsed.comments] == ["# one", "# two"]
    listen = http.children[0].children[0]
    assert (text[listen.start : listen.end], listen.body) == ("listen 80;", None)
    assert nginx_config.line_of(text, listen.start) == 3


def test_lua_is_left_alone() -> None:
    text = 'a_by_lua_block { x = \'}\' -- }\n y = "}\\"}" z = [[ } ]] --[==[ } ]] ]==] t = { { } } } b c;'
    assert words(text) == [["a_by_lua_block"], ["b", "c"]]


WORD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)


def spelt(word: str) -> str:
    """Any word, as somebody careful writes it."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(WORD, min_size=1, max_size=5), st.sampled_from([" ", "\n", "\t # ; { } ' \"\n"]))
def test_every_word_is_read_as_it_was_meant(meant: list[str], blank: str) -> None:
    text = "a" + blank + blank.join(spelt(word) for word in meant) + ";"
    assert words(text) == [["a", *meant]]


@given(st.text(st.sampled_from("ab\"'\\${}; #\n\t\r)"), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse(text)
    except NginxSyntaxError as error:
        assert 1 <= error.line <= text.count("\n") + 1
        return
    # Nothing but white space and comments is outside the directives.
    rest = list(text)
    for start, end in [*((each.start, each.end) for each in parsed.directives), *parsed.comments]:
        rest[start:end] = [" "] * (end - start)
    assert not "".join(rest).strip(" \t\r\n")


# -- the edit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", sorted(CORPUS.glob("*.conf")), ids=lambda case: case.stem)
def test_corpus(case: Path) -> None:
    raw = case.read_bytes()
    text = raw.decode("utf-8", "surrogateescape")
    written = write_upstream(text, NAME, SERVERS, [PIN])
    assert written.encode("utf-8", "surrogateescape") == case.with_suffix(".expected").read_bytes()
    assert write_upstream(written, NAME, SERVERS, [PIN]) == written
    assert restored_upstream(written, NAME, block_text(text, NAME)).encode("utf-8", "surrogateescape") == raw


def test_the_corpus_is_there() -> None:
    assert len(list(CORPUS.glob("*.conf"))) > 8


BLANKS = st.sampled_from([" ", "\n", "\n\n", "\t", "\n    ", "\n\t", " # { server x; }\n", "  ", "\n# hash }\n  "])
INNER = st.sampled_from(
    ["server 127.0.0.1:8000;", "server\tlocalhost weight=2 ;", "keepalive 8;", "zone 'a b;' 64k;", "server unix:/x;"]
)


@st.composite
def sites(draw: st.DrawFn) -> str:
    """A site with an upstream block, in any writing."""
    inner = "".join(draw(BLANKS) + directive for directive in draw(st.lists(INNER, max_size=4)))
    block = f"upstream{draw(BLANKS)}{NAME}{draw(BLANKS)}{{{inner}{draw(BLANKS)}}}"
    before = draw(
        st.sampled_from(["", "map $uri $x { default 1; }", "upstream other { server 127.0.0.1:1; }", "# one\n"])
    )
    after = draw(st.sampled_from(["", "server { location / { proxy_pass http://channels-backend; } }", "# the end"]))
    site = before + draw(BLANKS) + block + draw(BLANKS) + after
    if draw(st.booleans()):
        site = f"http {{{draw(BLANKS)}{site}\n}}\nstream {{ upstream {NAME} {{ server 127.0.0.1:5432; }} }}\n"
    return site.replace("\n", "\r\n") if draw(st.booleans()) else site


PORTS = st.lists(st.tuples(st.integers(1, 65535).map(lambda port: f"127.0.0.1:{port}"), st.booleans()), min_size=1)
PINS = st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=15), max_size=3)


@given(sites(), PORTS, PINS, PORTS, PINS)
def test_edits_touch_nothing_else(
    site: str,
    servers: list[tuple[str, bool]],
    pins: list[str],
    others: list[tuple[str, bool]],
    other_pins: list[str],
) -> None:
    once = write_upstream(site, NAME, servers, pins)
    assert write_upstream(once, NAME, servers, pins) == once
    # What came in between leaves nothing.
    between = write_upstream(site, NAME, others, other_pins)
    assert write_upstream(between, NAME, servers, pins) == once
    # Outside the block no byte changes but for the map, and that one goes again.
    assert restored_upstream(once, NAME, block_text(site, NAME)) == site
    [block] = nginx_config.blocks(parse(once), NAME)
    assert [child.args[0] for child in block.children if child.name == "server"] == [
        address for address, _down in servers
    ]
    kept = [
        (each.name, each.args)
        for each in nginx_config.blocks(parse(site), NAME)[0].children
        if each.name not in ("server", "hash")
    ]
    assert [(each.name, each.args) for each in block.children if each.name not in ("server", "hash")] == kept
    assert once.count("# { server x; }") == site.count("# { server x; }")
    assert ("\n" in once.replace("\r\n", "")) == ("\n" in site.replace("\r\n", "") or "\r\n" not in site)


@given(sites(), st.integers(1, 65535))
def test_a_plain_block_has_nothing_of_ours(site: str, port: int) -> None:
    plain = plain_upstream(write_upstream(site, NAME, SERVERS, [PIN]), NAME, port)
    assert "tethys" not in plain
    [block] = nginx_config.blocks(parse(plain), NAME)
    assert [child.args for child in block.children if child.name == "server"] == [(f"127.0.0.1:{port}",)]


def test_two_portals_of_one_file_keep_their_maps() -> None:
    site = "upstream channels-backend { server 127.0.0.1:8000; }\nupstream s { server 127.0.0.1:8010; }\n"
    mine = PortalNames("my-site").map_variable
    first = write_upstream(site, "channels-backend", SERVERS, [PIN])
    both = write_upstream(first, "s", [("127.0.0.1:8010", False)], ["^/b"], mine)
    assert both.count("map $uri $tethys_channels_process {") == 1
    assert both.count(f"map $uri {mine} {{") == both.count(f"hash {mine};") == 1
    # Each writes only its own again, and takes away only its own.
    assert write_upstream(both, "channels-backend", SERVERS, [PIN]) == both
    gone = plain_upstream(both, "s", 8010, mine)
    assert mine not in gone
    assert gone.count("$tethys_channels_process") == 2
    assert all(
        nginx_blocks.looks_like_ours(block)
        for block in (
            "upstream s { hash $tethys_channels_process; server 127.0.0.1:1; }",
            f"upstream s {{ hash {mine}; server 127.0.0.1:1; }}",
        )
    )


def test_pins_come_and_go() -> None:
    site = f"upstream {NAME} {{\n  server 127.0.0.1:8000;\n  keepalive 8;\n}}\n"
    pinned = write_upstream(site, NAME, SERVERS, [PIN, "^/b"])
    [the_map, block] = parse(pinned).directives
    assert the_map.args == ("$uri", "$tethys_channels_process")
    assert [(each.name, *each.args) for each in the_map.children] == [
        ("default", "$request_id"),
        ("~" + PIN, nginx_blocks.KEY),
        ("~^/b", nginx_blocks.KEY),
    ]
    # A keepalive has to come behind the balancing method.
    assert [each.name for each in block.children] == ["hash", "server", "server", "keepalive"]
    assert block.children[0].args == ("$tethys_channels_process",)
    for none in ([], None):
        assert write_upstream(pinned, NAME, SERVERS, none) == write_upstream(site, NAME, SERVERS)
    assert "map" not in write_upstream(pinned, NAME, SERVERS)


def test_the_users_own_hash_and_map_stay() -> None:
    site = (
        "# tethys.channels.nginx_upstream is what I read about\nmap $uri $mine { default 1; }\n"
        f"upstream {NAME} {{ hash $mine; server 127.0.0.1:8000; }}\n"
    )
    written = write_upstream(site, NAME, SERVERS)
    assert "hash $mine;" in written
    assert written.startswith(site[: site.index("upstream channels")])


def test_a_map_that_was_moved_goes() -> None:
    site = f"upstream {NAME} {{ server 127.0.0.1:8000; }}\n"
    moved = site + "map $uri $tethys_channels_process { default $request_id; }\n"
    assert restored_upstream(moved, NAME, block_text(site, NAME)) == site


@pytest.mark.parametrize(
    "site", ["", "server { }", f"upstream {NAME} {{ }} upstream {NAME} {{ }}", f"stream {{ upstream {NAME} {{ }} }}"]
)
def test_not_exactly_one_block(site: str) -> None:
    with pytest.raises(ValueError, match="where one is expected"):
        write_upstream(site, NAME, SERVERS)


def test_no_server() -> None:
    with pytest.raises(ValueError, match="needs a server"):
        write_upstream(f"upstream {NAME} {{ server a; }}", NAME, [])


# -- pins -------------------------------------------------------------------------------------------------------------


def test_the_key_always_leads_to_the_first_server() -> None:
    assert (zlib.crc32(nginx_blocks.KEY.encode()) >> 16) & 0x7FFF == 0


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_a_quoted_word_is_read_as_it_is(word: str) -> None:
    assert words(f"a {quoted(word)};") == [["a", word]]


def test_a_quoted_regex_stays_readable() -> None:
    assert quoted("~" + PIN) == f'"~{PIN}"'


@pytest.mark.parametrize("word", ["a\nb", "a\0", "\x7f"])
def test_control_characters_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        quoted(word)


# -- the whole configuration ------------------------------------------------------------------------------------------


def tree(files: dict[str, str], globs: dict[str, list[str]] | None = None) -> Tree:
    return Tree("main", files.__getitem__, lambda pattern: (globs or {}).get(pattern, [pattern]))


def test_what_an_include_brings_stands_in_its_place() -> None:
    found = tree(
        {
            "main": "events {} http { include sites/*; include gz; types { include mime; } } stream { include tcp; }",
            "sites/a": f"upstream {NAME} {{ include servers; keepalive 8; }} include snippet;",
            "sites/b": "upstream b { server 127.0.0.1:1; }",
            "servers": "server 127.0.0.1:8000;",
            "snippet": "charset utf-8;",
            "gz": "gzip on;",
            "tcp": f"upstream {NAME} {{ server 127.0.0.1:5432; }}",
        },
        {"sites/*": ["sites/a", "sites/b"]},
    )
    assert [(node.args[0], node.file) for node in found.upstreams()] == [(NAME, "sites/a"), ("b", "sites/b")]
    block = found.upstreams()[0]
    assert [(child.name, child.file) for child in block.children] == [("server", "servers"), ("keepalive", "sites/a")]
    assert [node.name for node in found.http()] == ["upstream", "charset", "upstream", "gzip", "types"]
    assert [files for _directive, files in found.includes["sites/a"]] == [["servers"], ["snippet"]]
    assert "mime" not in found.texts


def test_a_file_is_named_where_it_cannot_be_read() -> None:
    with pytest.raises(NginxFileError, match=r"^bad, line 2: "):
        tree({"main": "http { include bad; }", "bad": "\na b"})
    with pytest.raises(NginxFileError, match="main includes itself"):
        tree({"main": "include main;"})


def site(http: str = "", server: str = "", location: str = "") -> str:
    return f"http {{ {http} server {{ {server} location / {{ proxy_pass http://{NAME}; {location} }} }} }}"


UPGRADE = "proxy_set_header Upgrade $http_upgrade;"
CONNECTION = 'proxy_set_header Connection "upgrade";'
VERSION = "proxy_http_version 1.1;"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (site(location=VERSION + UPGRADE + CONNECTION), []),
        (site(location="proxy_set_header upgrade $http_upgrade; proxy_set_header connection $how;" + VERSION), []),
        (site(http=VERSION, server=UPGRADE + CONNECTION), []),
        (site(http=VERSION + UPGRADE + CONNECTION, location="proxy_set_header Host $host;"), [UPGRADE, CONNECTION]),
        (site(server=UPGRADE + CONNECTION, location="proxy_http_version 1.0;"), [VERSION]),
        (site(location=VERSION + UPGRADE + 'proxy_set_header Connection "";'), [CONNECTION]),
        (site(), [VERSION, UPGRADE, CONNECTION]),
    ],
)
def test_what_websockets_lack(text: str, missing: list[str]) -> None:
    [proxy_pass] = tree({"main": text}).passes(NAME)
    assert nginx_config.missing_for_websockets(proxy_pass) == missing


def test_nginx_that_speaks_http_1_1_by_itself() -> None:
    [proxy_pass] = tree({"main": site(location=UPGRADE + CONNECTION)}).passes(NAME)
    assert nginx_config.missing_for_websockets(proxy_pass, http_1_1_by_default=True) == []
    [proxy_pass] = tree({"main": site(location=UPGRADE + CONNECTION + "proxy_http_version 1.0;")}).passes(NAME)
    assert nginx_config.missing_for_websockets(proxy_pass, http_1_1_by_default=True) == [VERSION]


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("http://channels-backend", True),
        ("https://Channels-Backend/", True),
        ("http://channels-backend$request_uri", True),
        ("http://channels-backend-2", False),
        ("http://channels-backend:8000", False),
        ("http://127.0.0.1:8000", False),
        ("$backend", False),
    ],
)
def test_where_a_proxy_pass_leads(url: str, leads: bool) -> None:
    found = tree({"main": f"http {{ server {{ location / {{ if ($a) {{ proxy_pass {url}; }} }} }} }}"})
    assert bool(found.passes(NAME)) == leads
    assert found.passes_by_variable() == url.startswith("$")


@pytest.mark.parametrize(
    ("address", "local", "port"),
    [
        ("127.0.0.1:8000", True, 8000),
        ("127.8.9.1", True, 80),
        ("localhost:81", True, 81),
        ("[::1]:8000", True, 8000),
        ("unix:/run/portal.sock", True, None),
        ("0.0.0.0:8001", True, 8001),
        ("[::]:8001", True, 8001),
        ("0.0.0.0", True, 80),  # noqa: S104 - compared
        ("UNIX:/run/portal.sock", True, None),
        ("192.0.2.77:8000", False, 8000),
        ("[2001:db8::77]:8000", False, 8000),
        ("127.0.0.1.example.org:8000", False, 8000),
        ("backend", False, 80),
    ],
)
def test_addresses(address: str, local: bool, port: int | None) -> None:
    assert (nginx_config.is_this_server(address), nginx_config.port_of(address)) == (local, port)


@pytest.mark.parametrize(
    ("inner", "method"),
    [
        ("", None),
        ("zone a 64k; keepalive 8;", None),
        ("hash $tethys_channels_process;", None),
        ("ip_hash;", "ip_hash"),
        ("least_conn; random two;", "random"),
        ("hash $uri consistent;", "hash"),
    ],
)
def test_the_users_own_method(inner: str, method: str | None) -> None:
    [block] = tree({"main": f"http {{ upstream {NAME} {{ {inner} server 127.0.0.1:1; }} }}"}).upstreams()
    own = nginx_blocks.own_method(block)
    assert (own.name if own else None) == method


@pytest.mark.parametrize(
    ("inner", "managed", "alike"),
    [
        ("server 127.0.0.1:8000;", False, False),
        ("server 127.0.0.1:8000 max_fails=0; server 127.0.0.1:8001 max_fails=0 down;", False, True),
        ("server 10.0.0.1:8000 max_fails=0;", False, False),
        ("# tethys.channels.nginx_upstream writes\n server 127.0.0.1:8000;", True, True),
        ("hash $tethys_channels_process; server a;", True, True),
        ("# tethys is served by this\n", False, False),
    ],
)
def test_what_is_ours(inner: str, managed: bool, alike: bool) -> None:
    block = f"upstream {NAME} {{ {inner} }}"
    assert (nginx_blocks.is_managed(block), nginx_blocks.looks_like_ours(block)) == (managed, alike)


def test_what_was_added_to_the_block_meanwhile_stays() -> None:
    site = f"upstream {NAME} {{\n    # ours\n    server 127.0.0.1:8000 fail_timeout=0;\n}}\n"
    written = write_upstream(site, NAME, SERVERS, [PIN])
    edited = written.replace("    # ours\n", "    # ours\n    keepalive 32;\n")
    assert edited != written
    assert restored_upstream(edited, NAME, block_text(site, NAME)) == site.replace(
        "{\n    # ours\n    server 127.0.0.1:8000 fail_timeout=0;\n",
        "{\n    server 127.0.0.1:8000 fail_timeout=0;\n    # ours\n    keepalive 32;\n",
    )
