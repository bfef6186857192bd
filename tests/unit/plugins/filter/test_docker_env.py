# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each carrier, then what Tethys Docker does with the variable, up to the settings.

The shell and PyYAML are the real ones. Docker's reading of a Dockerfile and of an env file is played here, and held
against a real engine where there is one; Compose's replacing of variables is played by its documentation.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.docker_env import FilterModule
from hypothesis import example, given, settings
from hypothesis import strategies as st

docker_env = FilterModule().filters()["docker_env"]

NAME = "CHANNEL_LAYERS_CONFIG"
SEED = {"hosts": [{"host": "redis", "port": 6379}]}
# As it stands in the documentation of Tethys, in "Django Channels Layer", after ENV CHANNEL_LAYERS_CONFIG.
MANUAL = r'''"\"{'hosts':[{'host':\ 'redis',\ 'port':\ 6379}]}\""'''
NASTY = "a'b\"c \\d $e ${F} $$ %(g)s %h #i `j` {{ k }} {% l %} !m; & | > < ~ *? [n]\n\t\0\x7f é ñ 日本 😀 \u2028 \ufeff"


def from_dockerfile(written: str) -> str:
    """`ENV NAME=…`: within double quotes a backslash protects a quote, a dollar sign or itself, and else stays."""
    assert "\n" not in written
    inside = re.fullmatch(r'"((?:[^"\\$]|\\.)*)"', written)
    assert inside, "a quote, a variable or the end of the line comes too early"
    return re.sub(r'\\(["\\$])', r"\1", inside[1])


def from_compose(written: str) -> str:
    """`environment`, written as YAML by a filter and read by Compose, which then replaces variables."""
    text = yaml.safe_dump({"services": {"tethys": {"environment": {NAME: written}}}})
    read = yaml.safe_load(text)["services"]["tethys"]["environment"][NAME]

    def replace(found: re.Match[str]) -> str:
        assert found[0] == "$$", "a variable that is not set"
        return "$"

    return re.sub(r"\$\$|\$\w+|\$\{[^}]*\}|\$", replace, read)


def from_env_file(written: str) -> str:
    """`docker run --env-file`: everything after the first equals sign, as it stands."""
    assert written.splitlines() == [written]
    return f"{NAME}={written}".partition("=")[2]


CARRIERS: dict[str, Callable[[str], str]] = {
    "dockerfile": from_dockerfile,
    "compose": from_compose,
    "env_file": from_env_file,
}


def in_the_settings(variable: str) -> Any:
    """What the image makes of the variable: Salt's folded block, the shell, YAML. Exactly one word may arrive."""
    lines = [
        "tethys settings",
        "--set DEBUG False",
        f"--set CHANNEL_LAYERS.default.CONFIG {variable}",
        "--set LAST true",
    ]
    state = "state:\n  cmd.run:\n    - name: >\n" + "".join(f"        {line}\n" for line in lines)
    command = yaml.safe_load(state)["state"]["cmd.run"][0]["name"]
    shell_line = command.replace("tethys settings", "printf '%s\\0'", 1)
    out = subprocess.run(["sh", "-c", shell_line], capture_output=True, check=True).stdout.decode().split("\0")
    assert out[:5] == ["--set", "DEBUG", "False", "--set", "CHANNEL_LAYERS.default.CONFIG"]
    assert out[6:] == ["--set", "LAST", "true", ""]
    return yaml.safe_load(out[5])


def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        docker_env(*args, **kwargs)
    message = str(caught.value)
    assert message.startswith("docker_env: ")
    return message


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_documentations_own_value(carrier: str) -> None:
    assert in_the_settings(CARRIERS[carrier](docker_env(SEED, carrier))) == SEED


def test_how_it_looks() -> None:
    word = """'{"hosts": [{"host": "redis", "port": 6379}]}'"""
    assert docker_env(SEED, "compose") == docker_env(SEED, "env_file") == word
    assert docker_env(SEED) == docker_env(SEED, "dockerfile") == '"' + word.replace('"', '\\"') + '"'


def test_the_documentations_literal_does_not_arrive() -> None:
    """A recorded fact: the backslashes stay, and make one key of what is meant as a key and a value."""
    arrived = in_the_settings(from_dockerfile(MANUAL))
    assert arrived == {"hosts": [{"host": "\\ 'redis'", "\\ 'port':\\ 6379": None}]}
    assert arrived != SEED


def test_the_documentations_literal_without_backslashes_arrives() -> None:
    """Between quotes the shell keeps blanks together, so nothing has to protect them."""
    assert in_the_settings(from_dockerfile(MANUAL.replace("\\ ", " "))) == SEED


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "channels_redis.core.RedisChannelLayer",
        "",
        {"hosts": [{"host": "redis", "password": NASTY}], NASTY: NASTY},
        {"a": [None, True, False, 0, -1, 2**70, 1.5, 1e17, 1e-7, float("inf")], "b": {}, "c": [[], [{}]]},
        {"yes": "no", "null": "~", "1": 1, 1: "1", "2026-11-22": "2026-11-22", "0x1": "1e3", "=": "<<", "<<": "="},
        {"k" * 5000: "v" * 5000},
    ],
)
def test_what_arrives_is_what_was_given(carrier: str, value: Any) -> None:
    assert in_the_settings(CARRIERS[carrier](docker_env(value, carrier))) == value


texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text(alphabet="'\"\\$`%#{}! \n:,[]&*~")
structures = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.integers(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("carrier", CARRIERS)
@settings(deadline=None)
@given(value=st.dictionaries(texts, structures, max_size=4))
@example(value={"a": "it's", "b": "\\'", "c": "\\\\'", "d": "$${x}$"})
def test_any_structure_arrives(carrier: str, value: Any) -> None:
    before = copy.deepcopy(value)
    written = docker_env(value, carrier)
    assert value == before
    assert written.isascii()
    assert written.isprintable()
    assert in_the_settings(CARRIERS[carrier](written)) == value


@pytest.mark.parametrize("value", [None, 5, 1.5, True, b"x", object()])
def test_what_is_no_structure(value: Any) -> None:
    assert "not a mapping, list or text" in refused(value)


@pytest.mark.parametrize("value", [{"a": b"x"}, {"a": {1, 2}}, [object()], {"a": [complex(1)]}])
def test_what_yaml_cannot_write_plainly(value: Any) -> None:
    assert "not a text, number, boolean, list or mapping" in refused(value)


@pytest.mark.parametrize("key", [None, True, 1.5, (1, 2)])
def test_keys_that_are_none(key: Any) -> None:
    assert "a key that is neither" in refused({"a": {key: 1}})


@pytest.mark.parametrize("value", ["\ud800", {"a": ["x\udfff"]}, {"\ud83d": 1}])
def test_half_a_character(value: Any) -> None:
    assert "lone surrogate" in refused(value)


def test_a_value_without_an_end() -> None:
    value: dict[str, Any] = {}
    value["again"] = [value]
    assert "nested without an end" in refused(value)


def test_a_value_that_linux_would_not_hand_on() -> None:
    assert "characters long" in refused({"password": "secret" * 20000})
    assert "secret" not in refused({"password": "secret" * 20000})


@pytest.mark.parametrize("carrier", ["docker-compose", "envfile", "", None, ["compose"]])
def test_a_carrier_that_does_not_exist(carrier: Any) -> None:
    message = refused(SEED, carrier)
    for known in CARRIERS:
        assert known in message


def engine_answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False, timeout=30).returncode == 0


def test_a_real_engine_reads_the_same(tmp_path: Path) -> None:
    """A Dockerfile and an env file with every value of these tests that is hard to read, and the manual's literal."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    values = [SEED, {"password": NASTY}, {"a": "\\'", "b": '\\\\"', "c": "$x ${y} $$", "d": "\\"}, ["`", "#", "\\\n"]]
    lines = [f"ENV V{number}={docker_env(value)}\n" for number, value in enumerate(values)]
    (tmp_path / "Dockerfile").write_text("FROM scratch\n" + "".join(lines) + f"ENV MANUAL {MANUAL}\n")
    (tmp_path / "env").write_text(
        "".join(f"F{number}={docker_env(value, 'env_file')}\n" for number, value in enumerate(values))
    )

    def docker(*arguments: str) -> str:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    image = docker("build", "--quiet", str(tmp_path))
    try:
        container = docker("create", "--env-file", str(tmp_path / "env"), image, "none")
        try:
            seen = json.loads(docker("inspect", "--format", "{{json .Config.Env}}", container))
        finally:
            docker("rm", container)
    finally:
        docker("rmi", image)
    variables = dict(entry.split("=", 1) for entry in seen)
    for number, value in enumerate(values):
        assert variables[f"V{number}"] == from_dockerfile(docker_env(value))
        assert variables[f"F{number}"] == from_env_file(docker_env(value, "env_file"))
        assert in_the_settings(variables[f"V{number}"]) == in_the_settings(variables[f"F{number}"]) == value
    assert variables["MANUAL"] == from_dockerfile(MANUAL)
