# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that the portal's processes keep: the administrator's, the adopted program's and conda's."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.files.expected_files import put_all_right
from ansible_collections.tethys.channels.plugins.module_utils.server import conda_variables, kept_environment
from hypothesis import given
from hypothesis import strategies as st

SECRET = "s3cr3t 'quoted' \"twice\" $HOME `id` \\ % ; # ü"


class Server:
    """A conda environment, a program file and the file of the variables."""

    def __init__(self, folder: Path) -> None:
        self.prefix, self.program, self.file = folder / "env", folder / "asgi.conf", folder / "tethys.env"
        (self.prefix / "conda-meta").mkdir(parents=True)
        (self.prefix / "etc/conda/env_vars.d").mkdir(parents=True)

    def conda(self, **values: object) -> None:
        (self.prefix / "conda-meta/state").write_text(json.dumps({"version": 1, "env_vars": values}))

    def package(self, name: str, **values: object) -> None:
        (self.prefix / f"etc/conda/env_vars.d/{name}.json").write_text(json.dumps(values))

    def put(self, dry: bool = False, **values: str) -> tuple[list[str], list[dict[str, str]]]:
        """Write the file as a run does."""
        asked = {"path": str(self.file), "group": str(os.getgid()), "program": str(self.program)}
        given_values = json.dumps(values) if values else None
        rows = kept_environment.expected({**asked, "prefix": str(self.prefix), "given": given_values})
        return put_all_right([{**rows[0], "owner": str(os.getuid())}], dry)

    def seen(self) -> dict[str, str]:
        """What a process has that reads it, as the program's command does."""
        line = f"cd /; . {self.file} </dev/null; exec env -0"
        done = subprocess.run(
            ["/bin/bash", "-c", line], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
        )
        assert done.stderr == b""
        rows = dict(row.split("=", 1) for row in done.stdout.decode().split("\0") if row)
        return {name: value for name, value in rows.items() if name not in ("PATH", "PWD", "OLDPWD", "SHLVL", "_")}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server(tmp_path)
    here = {
        "fcgi-program:asgi": {"command": "x", "environment": 'TETHYS_HOME="/h",GDAL_DATA="/adopted",AWS_PROFILE="p"'}
    }
    files = [kept_environment.Supervisor, str(found.program), here]
    monkeypatch.setattr(
        kept_environment,
        "Supervisor",
        type("S", (), {"files": lambda _self: [type("F", (), {"path": files[1], "sections": files[2]})]}),
    )
    return found


def test_what_conda_activate_sets(server: Server) -> None:
    server.package("a", PROJ_DATA="/opt/proj", GDAL_DATA="/package")
    server.package("b", GDAL_DATA="/later")
    server.conda(EARTHDATA_TOKEN=SECRET, PROJ_DATA="***unset***")
    assert conda_variables.of_conda(str(server.prefix)) == ({"GDAL_DATA": "/later", "EARTHDATA_TOKEN": SECRET}, [])
    server.put()
    assert server.seen() == {"GDAL_DATA": "/later", "AWS_PROFILE": "p", "EARTHDATA_TOKEN": SECRET}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TETHYS_HOME", "/elsewhere"),
        ("A", "two\nlines"),
        ("A", "a\x1b[31m"),
        ("A", 7),
        ("A", None),
        ("A", ["x"]),
        ("A B", "x"),
        ("A;id", "x"),
        ("SUPERVISOR_GROUP_NAME", "x"),
        ("UID", "0"),
        ("A", "x" * 9000),
    ],
    ids=str,
)
def test_what_conda_has_and_a_process_cannot_get_is_named(server: Server, name: str, value: Any) -> None:
    server.conda(**{name: value, "B": "good"})
    assert kept_environment.names(str(server.prefix), str(server.file)) == {
        "kept": None,
        "conda": ["B"],
        "rejected": [name],
    }


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"env_vars": 7}', "{" * 60_000, "x" * 70_000])
def test_a_state_that_is_none(server: Server, text: str) -> None:
    (server.prefix / "conda-meta/state").write_text(text)
    assert conda_variables.of_conda(str(server.prefix)) == ({}, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_condas_files_are_read_as_their_owner(server: Server, tmp_path: Path) -> None:
    """The environment's owner links to what only root can read."""
    secret = tmp_path / "shadow"
    secret.write_text(json.dumps({"env_vars": {"STOLEN": "x"}}))
    secret.chmod(0o600)
    os.chown(server.prefix, 65534, 65534)
    link = server.prefix / "conda-meta/state"
    link.symlink_to(secret)
    assert conda_variables.of_conda(str(server.prefix)) == ({}, [])
    os.chown(secret, 65534, 65534)


def test_condas_files_have_one_deadline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdefgh":
        server.package(name, **{name.upper(): "x"})
    asked: list[float] = []

    def slow(path: str, who: Any, most_bytes: int, seconds: float = 10.0) -> bytes:
        asked.append(seconds)
        time.sleep(0.1)
        return Path(path).read_bytes()

    monkeypatch.setattr(conda_variables, "read_file", slow)
    monkeypatch.setattr(conda_variables, "SECONDS", 0.45, raising=False)
    started = time.monotonic()
    good, _rejected = conda_variables.of_conda(str(server.prefix))
    assert time.monotonic() - started < 0.75
    assert set(good) < set("ABCDEFGH")
    assert max(asked) <= 0.45
    assert asked == sorted(asked, reverse=True)


def test_the_first_of_condas_files_that_is_rejected_ends_it(server: Server) -> None:
    server.conda(OF_STATE="x")
    server.package("a", A="x")
    os.mkfifo(server.prefix / "etc/conda/env_vars.d/b.json")
    server.package("c", C="x")
    assert conda_variables.of_conda(str(server.prefix)) == ({"A": "x", "OF_STATE": "x"}, [])


def test_the_number_of_condas_variables_is_bounded(server: Server) -> None:
    """An owner gave 657,000 in files of 64 KiB each, which took 7 s and 150 MiB."""
    server.conda(OF_STATE="x")
    server.package("a", A="x")
    server.package("b", **{f"B{number}": "x" for number in range(1000)})
    server.package("c", C="x")
    assert conda_variables.of_conda(str(server.prefix)) == ({"A": "x", "OF_STATE": "x"}, [])
    server.conda(**{f"S{number}": "x" for number in range(1001)})
    assert conda_variables.of_conda(str(server.prefix)) == ({}, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_condas_folder_is_read_as_its_owner(server: Server, tmp_path: Path) -> None:
    """The environment's owner links to a folder that only root can read."""
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o711)
    (closed / "a.json").write_text('{"STOLEN": "x"}')
    (closed / "a.json").chmod(0o644)
    link = server.prefix / "etc/conda/env_vars.d"
    link.rmdir()
    os.chown(server.prefix, 65534, 65534)
    link.symlink_to(closed)
    assert conda_variables.of_conda(str(server.prefix)) == ({}, [])


def test_what_was_adopted_stays(server: Server) -> None:
    written, _diff = server.put()
    assert written == [str(server.file)]
    server.program = Path("/gone")
    assert server.put() == ([], [])
    assert server.seen() == {"GDAL_DATA": "/adopted", "AWS_PROFILE": "p"}
    # A variable that conda has only from now on, and no more then.
    server.conda(GDAL_DATA="/conda", NEW="x")
    server.put()
    assert server.seen() == {"AWS_PROFILE": "p", "GDAL_DATA": "/conda", "NEW": "x"}
    server.conda()
    server.put()
    assert server.seen() == {"AWS_PROFILE": "p", "GDAL_DATA": "/adopted"}


def test_what_the_administrator_sets_takes_its_place(server: Server) -> None:
    server.conda(A="conda", B="conda")
    server.put(A="given", C="given")
    assert server.seen() == {"A": "given", "B": "conda", "C": "given"}
    server.put()
    assert kept_environment.names(str(server.prefix), str(server.file))["kept"] == ["A", "C"]
    server.conda(B="conda")
    server.put()
    assert server.seen() == {"A": "given", "B": "conda", "C": "given"}, "It stays while conda has the same name."


LARGE = "#" * 200_000


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"export A=x\n\nexport B='open\n", "cannot be read: line 3 has a quote or a backslash without its end"),
        (
            f"export A=x\n{kept_environment.CONDAS}export B='open\n".encode(),
            "cannot be read: line 3 has a quote or a backslash without its end",
        ),
        (b"export A=\xff\n", "is not UTF-8 text"),
        (LARGE.encode(), "is larger than 131072 bytes"),
        (None, "is no regular file"),
    ],
    ids=["quote", "quote-of-conda", "bytes", "large", "folder"],
)
def test_a_file_that_cannot_be_read_is_not_taken_for_none(server: Server, content: bytes | None, why: str) -> None:
    if content is None:
        server.file.mkdir()
    else:
        server.file.write_bytes(content)
    with pytest.raises(kept_environment.Unusable, match=why) as error:
        server.put()
    assert (error.value.path, error.value.why) == (str(server.file), why)
    found = kept_environment.names(str(server.prefix), str(server.file))
    assert (found["kept"], found["problem"]) == ([], str(error.value))
    if content is not None:
        assert server.file.read_bytes() == content
        # What is given replaces it.
        server.put(A="given")
        assert server.seen() == {"A": "given"}


def test_condas_variables_that_differ_from_the_file_are_named(server: Server) -> None:
    def changed() -> Any:
        return kept_environment.names(str(server.prefix), str(server.file)).get("changed")

    server.conda(A="1", B="2")
    assert changed() is None, "There is no file."
    server.put()
    assert changed() is None
    server.conda(B="3", C="4")
    assert changed() == ["A", "B", "C"]


def test_a_line_may_export_several(server: Server) -> None:
    server.file.write_text("export A=1 B='2 3' C\n")
    server.put()
    assert server.seen() == {"A": "1", "B": "2 3"}


def test_the_total_of_condas_variables_is_bounded(server: Server) -> None:
    server.conda(**{f"V{number:02}": "'" * 1000 for number in range(40)})
    good, rejected = conda_variables.of_conda(str(server.prefix))
    assert (len(good), len(rejected)) == (6, 34)
    server.put()
    assert len(server.seen()) == 6 + 2


COMMAND = "/srv/env/bin/daphne tethys_portal.asgi:application"


def portals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *files: tuple[str, str, dict[str, str]]) -> dict[str, str]:
    """The variables that a child of the user web gets, where Supervisor reads these files."""
    found = [type("F", (), {"path": path, "sections": {title: section}}) for path, title, section in files]
    monkeypatch.setattr(kept_environment, "Supervisor", lambda portal: type("S", (), {"files": lambda _self: found})())
    monkeypatch.setattr(kept_environment.PortalNames, "environment", str(tmp_path / "kept.env"))
    monkeypatch.setattr(kept_environment, "writable_by_others", lambda path: [1] if "/open" in path else [])
    return kept_environment.of_portal("/srv/env", "/srv/home", "web")


def test_a_child_of_the_portals_user_gets_the_programs_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"command": COMMAND, "environment": 'TETHYS_HOME="/srv/home",DB_PASSWORD="s3cr3t"'}
    other = {"command": COMMAND, "environment": 'TETHYS_HOME="/srv/other",DB_PASSWORD="other"'}
    several = [("/a.conf", "program:asgi", other), ("/b.conf", "program:portal", section)]
    assert portals(tmp_path, monkeypatch, *several) == {"DB_PASSWORD": "s3cr3t"}
    for user in ("web", "root"):
        row = ("/b.conf", "program:asgi", {**section, "user": user})
        assert portals(tmp_path, monkeypatch, row) == {"DB_PASSWORD": "s3cr3t"}


def test_a_child_of_the_portals_user_gets_nothing_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = {"command": COMMAND, "environment": 'TETHYS_HOME="/srv/home",LD_PRELOAD="/tmp/x.so"'}
    assert portals(tmp_path, monkeypatch) == {}
    assert portals(tmp_path, monkeypatch, ("/open.conf", "program:asgi", section)) == {}
    assert portals(tmp_path, monkeypatch, ("/a.conf", "program:asgi", {**section, "user": "somebody"})) == {}
    assert portals(tmp_path, monkeypatch, ("/a.conf", "eventlistener:asgi", section)) == {}
    assert portals(tmp_path, monkeypatch, ("/a.conf", "program:nginx", {"command": "nginx"})) == {}


def test_a_child_of_the_portals_user_gets_what_an_earlier_run_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ("/a.conf", "program:asgi", {"command": COMMAND, "environment": 'A="program"'})
    (tmp_path / "kept.env").write_text(f"export A=kept\n{kept_environment.CONDAS}export B=conda\n", encoding="utf-8")
    assert portals(tmp_path, monkeypatch, program) == {"A": "kept"}
    monkeypatch.setattr(kept_environment, "writable_by_others", lambda path: [1])
    assert kept_environment.of_portal("/srv/env", "/srv/home", "web") == {}


def test_no_value_is_shown_and_only_the_group_reads_it(server: Server) -> None:
    server.conda(EARTHDATA_TOKEN=SECRET)
    for dry in (True, False):
        _written, diff = server.put(dry)
        assert diff == [{"prepared": f"{server.file} does not exist\n"}]
    assert "s3cr3t" not in json.dumps(kept_environment.names(str(server.prefix), str(server.file)))
    assert server.file.stat().st_mode & 0o777 == 0o640


VALUES = st.text(st.characters(blacklist_categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"]), max_size=60)


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), VALUES, max_size=3))
def test_any_value_comes_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("env") / "e"
    good = {name: value for name, value in values.items() if conda_variables.accepted(name, value)}
    path.write_text(kept_environment.HEADER + kept_environment._exports(good) + kept_environment.CONDAS)
    found = kept_environment._of_file(str(path))
    assert found is not None
    assert found.own == good
