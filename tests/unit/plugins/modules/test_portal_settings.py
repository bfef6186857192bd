# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal_settings module on real files, run in this process as Ansible runs it."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.tethys.channels.plugins.module_utils import settings_record
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file, owned_file
from ansible_collections.tethys.channels.plugins.module_utils.server import accounts
from ansible_collections.tethys.channels.plugins.modules import portal_settings
from hypothesis import given
from hypothesis import strategies as st

TEXT = "# ours since 2017\nsettings:\n  SECRET_KEY: portal-secret  # rotated\n  DEBUG: false\n"
LAYERS = {
    "CHANNEL_LAYERS": {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [{"host": "127.0.0.1", "port": 6379, "password": "redis-secret"}], "capacity": 1},
        }
    }
}


class Ended(Exception):
    """A module's exit_json or fail_json."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result)
        self.result = result


@pytest.fixture(autouse=True)
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a module end in this process, with what it would print."""

    def end(self: Any, result: dict[str, Any]) -> None:
        self.add_path_info(result)
        result["invocation"] = {"module_args": self.params}
        raise Ended(basic.remove_values(result, self.no_log_values))

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", lambda self, **result: end(self, result))
    monkeypatch.setattr(
        basic.AnsibleModule, "fail_json", lambda self, msg, **_: end(self, {"failed": True, "msg": msg})
    )


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _self, text: found.append(text))
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A TETHYS_HOME; what earlier runs keep is in another folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    config = folder / "portal_config.yml"
    config.write_text(TEXT)
    config.chmod(0o640)
    return folder


def run(home: Path, check: bool = False, diff: bool = False, **arguments: Any) -> dict[str, Any]:
    arguments.setdefault("path", str(home / "portal_config.yml"))
    arguments.update(_ansible_check_mode=check, _ansible_diff=diff)
    with patch_module_args(arguments), pytest.raises(Ended) as ended:
        portal_settings.main()
    return ended.value.result


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def config(home: Path) -> str:
    return (home / "portal_config.yml").read_text()


# -- present -------------------------------------------------------------------------------------------------------


def test_sets_once(home: Path) -> None:
    result = run(home, settings=LAYERS)
    assert result["changed"]
    assert config(home).startswith(TEXT)
    assert yaml.safe_load(config(home))["settings"]["CHANNEL_LAYERS"] == LAYERS["CHANNEL_LAYERS"]
    assert result["sha256"] == settings_record.sha256(config(home).encode())
    assert not result["others_can_read"]
    backup = Path(result["backup_file"])
    assert backup.read_text() == TEXT
    assert backup.name.startswith("portal_config.yml.")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640
    before = snapshot(home)
    again = run(home, settings=LAYERS)
    assert not again["changed"]
    assert again["backup_file"] == ""
    assert again["sha256"] == result["sha256"]
    assert snapshot(home) == before


def test_no_secret_in_what_it_says(home: Path) -> None:
    for state in ("present", "absent"):
        result = run(home, diff=True, settings=LAYERS, state=state)
        assert result["changed"]
        said = json.dumps(result)
        assert "redis-secret" not in said
        assert "portal-secret" not in said
        assert "rotated" not in said
        assert result["invocation"]["module_args"]["settings"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
        assert "channels_redis.core.RedisChannelLayer" in said
        assert "********" in said
        # a capacity of 1 does not blot out every 1
        assert result["sha256"] == settings_record.sha256(config(home).encode())


def test_mode_owner_and_attributes_stay(home: Path) -> None:
    path = home / "portal_config.yml"
    path.chmod(0o4604)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
        path.chmod(0o604)
    before = path.stat()
    try:
        os.setxattr(path, "user.note", b"kept")
        noted = True
    except OSError:
        noted = False  # not on this file system
    run(home, settings=LAYERS)
    after = path.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino
    if noted:
        assert os.getxattr(path, "user.note") == b"kept"


def test_a_link_stays_a_link(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "etc" / "portal.yml"
    target.parent.mkdir()
    (home / "portal_config.yml").rename(target)
    (home / "portal_config.yml").symlink_to("../etc/portal.yml")
    result = run(home, settings=LAYERS)
    assert (home / "portal_config.yml").is_symlink()
    assert "CHANNEL_LAYERS" in target.read_text()
    assert result["realpath"] == str(target)
    assert Path(result["backup_file"]).parent == target.parent


def test_a_file_that_others_can_read_earns_a_warning(home: Path, warnings: list[str]) -> None:
    (home / "portal_config.yml").chmod(0o644)
    assert run(home, settings={"DEBUG": True})["others_can_read"]
    assert warnings == []
    run(home, settings=LAYERS)
    assert len(warnings) == 1
    assert "mode 0644" in warnings[0]
    assert str(home / "portal_config.yml") in warnings[0]


def test_no_backup_if_not_wanted(home: Path) -> None:
    assert run(home, settings=LAYERS, backup=False)["backup_file"] == ""
    assert [path.name for path in home.iterdir()] == ["portal_config.yml"]


@pytest.mark.parametrize("state", ["present", "absent", "restored"])
def test_check_mode_changes_nothing(home: Path, tmp_path: Path, state: str) -> None:
    original = str(tmp_path / "kept" / "original")
    if state != "present":
        run(home, settings=LAYERS, original=original)
    before = snapshot(tmp_path)
    predicted = run(home, check=True, diff=True, settings=LAYERS, original=original, state=state)
    assert snapshot(tmp_path) == before
    assert predicted["changed"]
    assert predicted["diff"]["before"] != predicted["diff"]["after"]
    done = run(home, diff=True, settings=LAYERS, original=original, state=state)
    assert {**done, "backup_file": "", "size": 0} == {**predicted, "backup_file": "", "size": 0}


def test_no_file_yet(home: Path) -> None:
    (home / "portal_config.yml").unlink()
    assert run(home, check=True, settings=LAYERS)["changed"]
    assert not run(home, state="absent", settings=LAYERS)["changed"]
    result = run(home, settings=LAYERS)
    assert result["failed"]
    assert "create it with `tethys gen portal_config`, or correct tethys_home." in result["msg"]


# -- a Redis that Sentinel watches ------------------------------------------------------------------------------------

# As a module's argument has them, and as redis-py takes them.
AS_TOLD = {"4": 1, "5": 1, "6": 3, "18": 4000}
AS_TAKEN = {4: 1, 5: 1, 6: 3, 18: 4000}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda options: options,
        lambda options: {"CHANNEL_LAYERS": {"default": {"CONFIG": {"hosts": [options, {"host": "h"}, options]}}}},
        lambda options: [[options], {"4": options}],
        lambda options: {"socket_keepalive_options": {"more": options}},
    ],
)
def test_numbers_of_socket_options_are_numbers_at_any_depth(wrap: Any) -> None:
    told = wrap({"socket_keepalive": True, "socket_keepalive_options": AS_TOLD, "4": "6", "sentinels": [["1", 2]]})
    taken = wrap({"socket_keepalive": True, "socket_keepalive_options": AS_TAKEN, "4": "6", "sentinels": [["1", 2]]})
    before = json.dumps(told)
    assert portal_settings.as_redis_takes_them(told) == taken
    assert json.dumps(told) == before
    # What was so already stays so.
    assert portal_settings.as_redis_takes_them(taken) == taken


@pytest.mark.parametrize("options", [None, True, "4", [], {}, {"TCP_KEEPIDLE": 1, "-4": 2, "": 3, "4.0": 4}])
def test_other_options_are_left_as_they_are(options: Any) -> None:
    settings = {"socket_keepalive_options": options}
    assert portal_settings.as_redis_takes_them(settings) == settings


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
SETTINGS = st.recursive(
    PLAIN, lambda held: st.lists(held) | st.dictionaries(st.text() | st.just("4"), held), max_leaves=20
)


@given(SETTINGS)
def test_everything_else_is_untouched(settings: Any) -> None:
    found = portal_settings.as_redis_takes_them(settings)
    assert (found, json.dumps(found)) == (settings, json.dumps(settings))


def test_the_file_has_numbers(home: Path) -> None:
    hosts = [{"master_name": "m", "sentinels": [["192.0.2.1", 26379]], "socket_keepalive_options": AS_TOLD}]
    settings = {"CHANNEL_LAYERS": {"default": {"BACKEND": "b", "CONFIG": {"hosts": hosts, "18": "18"}}}}
    assert run(home, check=True, settings=settings)["changed"]
    assert run(home, settings=settings)["changed"]
    written = yaml.safe_load(config(home))["settings"]["CHANNEL_LAYERS"]["default"]["CONFIG"]
    assert written == {"hosts": [{**hosts[0], "socket_keepalive_options": AS_TAKEN}], "18": "18"}
    before = snapshot(home)
    assert not run(home, settings=settings)["changed"]
    assert not run(home, check=True, settings=settings)["changed"]
    assert snapshot(home) == before
    hosts[0]["socket_keepalive_options"] = {**AS_TOLD, "18": 4001}
    assert run(home, settings=settings)["changed"]
    assert "18: 4001" in config(home)


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"settings: [1]\n", "line 1, column 11: `settings` is not a mapping"),
        (b"settings:\n  A: \xff\n", "line 2, column 6: the byte 0xFF is not UTF-8"),
        (b"settings:\n\tA: 1\n", "line 2, column 1: this is not YAML (a tab cannot stand here)"),
        (b"", "the top level is not a mapping"),
    ],
)
def test_a_refused_file_is_left_alone(home: Path, tmp_path: Path, raw: bytes, said: str) -> None:
    (home / "portal_config.yml").write_bytes(raw)
    before = snapshot(tmp_path)
    result = run(home, settings=LAYERS, original=str(tmp_path / "kept" / "original"))
    assert result["failed"]
    assert result["msg"].startswith(str(home / "portal_config.yml"))
    assert said in result["msg"]
    assert snapshot(tmp_path) == before


def test_no_regular_file(home: Path) -> None:
    (home / "portal_config.yml").unlink()
    os.mkfifo(home / "portal_config.yml")
    assert "is not a regular file; correct tethys_home" in run(home, settings=LAYERS)["msg"]
    assert "is not a regular file" in run(home, path=str(home), settings=LAYERS)["msg"]
    (home / "loop").symlink_to("loop")
    assert "lead in a circle" in run(home, path=str(home / "loop"), settings=LAYERS)["msg"]


def test_a_file_beyond_reason(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (portal_settings, settings_record):
        monkeypatch.setattr(module, "MAX_BYTES", 10)
    assert "which no portal_config.yml is" in run(home, settings=LAYERS)["msg"]


def test_another_file_than_expected(home: Path) -> None:
    seen = settings_record.sha256(TEXT.encode())
    assert run(home, settings={"A": 1}, expected_sha256=seen.upper())["changed"]
    before = snapshot(home)
    result = run(home, settings=LAYERS, expected_sha256=seen)
    assert "has been changed since it was read at the start; run again." in result["msg"]
    assert snapshot(home) == before


def test_a_file_changed_meanwhile(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody saves the file between our reading and our writing."""
    path = home / "portal_config.yml"
    create = atomic_file.create

    def slow(*arguments: Any, **named: Any) -> None:
        create(*arguments, **named)
        path.write_text(TEXT + "  THEIRS: 1\n")

    monkeypatch.setattr(atomic_file, "create", slow)
    result = run(home, settings=LAYERS, original=str(tmp_path / "kept" / "original"))
    assert "was changed by somebody else just now, so it was left alone; run again." in result["msg"]
    assert [file.name for file in home.iterdir()] == ["portal_config.yml"]
    assert config(home) == TEXT + "  THEIRS: 1\n"
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize("step", ["write", "rename"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EPERM, errno.EIO])
def test_a_failed_write_leaves_the_old_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: int
) -> None:
    def fail(*_arguments: Any, **_named: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync" if step == "write" else "rename", fail)
    before = snapshot(home)
    result = run(home, settings=LAYERS, original=str(tmp_path / "kept" / "original"))
    assert result["failed"]
    assert "was left as it was" in result["msg"]
    assert result["msg"].count("\n") == 0
    assert snapshot(home) == before
    kept = tmp_path / "kept"
    assert not kept.exists() or list(kept.iterdir()) == []


def test_a_full_disk(tmp_path: Path) -> None:
    """A file system of 64 kB with room for the file, but not for another."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this user cannot mount a small file system: " + mounted.stderr.decode().strip())
    try:
        path = disk / "portal_config.yml"
        path.write_text(TEXT + "  # " + "x" * 40000 + "\n")
        before = snapshot(disk)
        result = run(disk, settings=LAYERS)
        assert "the disk is full; free some space." in result["msg"]
        assert snapshot(disk) == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_a_killed_run_left_is_cleared_away(home: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = home / f".portal_config.yml.{int(dead.stdout)}.tethys_channels"
    left.write_text("secret")
    running = home / f".portal_config.yml.{os.getppid()}.tethys_channels"
    running.write_text("another run")
    other = home / ".portal_config.yml.swp"
    other.write_text("an editor's")
    run(home, check=True, settings=LAYERS)
    assert left.exists()
    run(home, settings=LAYERS, backup=False)
    assert sorted(path.name for path in home.iterdir()) == sorted([other.name, running.name, "portal_config.yml"])


def test_a_link_in_the_way_is_not_followed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder may belong to another user, who must not have root write elsewhere."""
    monkeypatch.setattr(owned_file.OwnedFile, "clear", lambda _self: None)  # put there right after that
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    Path(atomic_file.temporary(str(home / "portal_config.yml"))).symlink_to(victim)
    assert run(home, settings=LAYERS)["failed"]
    assert victim.read_text() == "untouched"
    assert config(home) == TEXT


# -- absent and restored -------------------------------------------------------------------------------------------


@pytest.fixture
def original(tmp_path: Path) -> str:
    return str(tmp_path / "kept" / "portal_config.original")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
def test_a_link_of_the_portals_user_to_a_file_of_roots_is_not_followed(home: Path, tmp_path: Path) -> None:
    """The password would be in another file then, which the user chose."""
    tmp_path.chmod(0o755)
    victim = tmp_path / "other.yml"
    victim.write_text(TEXT)
    (home / "portal_config.yml").unlink()
    (home / "portal_config.yml").symlink_to(victim)
    for path in (home, home / "portal_config.yml"):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    result = run(home, settings=LAYERS)
    assert "portal_config.yml is a symbolic link of user nobody, and leads to a file of user root" in result["msg"]
    assert victim.read_text() == TEXT
    assert [path.name for path in home.iterdir()] == ["portal_config.yml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
def test_the_owner_writes_and_no_set_user_id_bit_is_copied(home: Path, original: str) -> None:
    for path in (home, home / "portal_config.yml"):
        os.chown(path, 65534, 65534)
    (home / "portal_config.yml").chmod(0o4750)
    result = run(home, settings=LAYERS, original=original)
    for path in (home / "portal_config.yml", Path(result["backup_file"])):
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (65534, 0o750)
    restore(home, original)
    assert config(home) == TEXT
    assert [path.name for path in home.iterdir()] == ["portal_config.yml"]


def test_absent(home: Path) -> None:
    run(home, settings=LAYERS)
    assert run(home, state="absent", remove=["CHANNEL_LAYERS"])["changed"]
    assert config(home) == TEXT
    assert not run(home, state="absent", settings=LAYERS)["changed"]


def restore(home: Path, original: str, **more: Any) -> dict[str, Any]:
    return run(home, state="restored", original=original, **more)


def test_restored_byte_for_byte(home: Path, original: str) -> None:
    before = snapshot(home)[str(home / "portal_config.yml")][1:]
    run(home, settings=LAYERS, original=original)
    kept = Path(original)
    assert kept.read_text() == TEXT
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(original + ".json").stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    run(home, settings={"CHANNEL_LAYERS": {"default": {"BACKEND": "another"}}, "DEBUG": True}, original=original)
    run(home, settings={"X": 1}, remove=["DEBUG"], original=original)
    assert kept.read_text() == TEXT
    result = restore(home, original)
    assert (result["changed"], result["restored"]) == (True, "file")
    assert [path.name for path in home.iterdir()] == ["portal_config.yml"]  # our backups are gone
    assert snapshot(home)[str(home / "portal_config.yml")][1:] == before
    assert list(kept.parent.iterdir()) == []
    again = restore(home, original)
    assert (again["changed"], again["restored"]) == (False, "nothing")


@pytest.mark.parametrize("when", ["between runs", "after the last run", "both"])
def test_restored_keeps_what_others_changed(home: Path, original: str, when: str) -> None:
    path = home / "portal_config.yml"
    run(home, settings=LAYERS, original=original)
    expected = TEXT
    if when != "after the last run":
        path.write_text(config(home).replace("DEBUG: false", "DEBUG: true  # theirs"))
        expected = expected.replace("DEBUG: false", "DEBUG: true  # theirs")
    run(home, settings={"CHANNEL_LAYERS": {"default": {"BACKEND": "another"}}}, original=original)
    if when != "between runs":
        path.write_text(config(home) + "# the end\n")
        expected += "# the end\n"
    result = restore(home, original)
    assert result["restored"] == "setting"
    assert config(home) == expected
    assert Path(result["backup_file"]).exists()
    assert not Path(original).exists()


def test_restored_setting_that_was_there(home: Path, original: str) -> None:
    path = home / "portal_config.yml"
    text = (
        TEXT + "  CHANNEL_LAYERS:  # ours\n      default: {BACKEND: channels.layers.InMemoryChannelLayer}  # for now\n"
    )
    path.write_text(text)
    run(home, settings=LAYERS, original=original)
    path.write_text("# theirs\n" + config(home))
    restore(home, original)
    assert config(home) == "# theirs\n" + text


def test_a_file_put_back_by_hand_starts_anew(home: Path, original: str) -> None:
    path = home / "portal_config.yml"
    run(home, settings=LAYERS, original=original)
    path.write_text(config(home) + "# theirs\n")
    run(home, settings={"X": 1}, original=original)
    path.write_text(TEXT)
    run(home, settings=LAYERS, original=original)
    assert restore(home, original)["restored"] == "file"
    assert config(home) == TEXT


def test_restored_where_only_the_record_is_left(home: Path, original: str) -> None:
    run(home, settings=LAYERS, original=original)
    (home / "portal_config.yml").write_text(TEXT)
    result = restore(home, original)
    assert (result["changed"], result["restored"]) == (True, "nothing")
    assert not Path(original).exists()


@pytest.mark.parametrize("point", range(1, 7))
def test_killed_anywhere(home: Path, original: str, monkeypatch: pytest.MonkeyPatch, point: int) -> None:
    """A run that stops dead at any write, followed by another, ends in the same state; so does `restored`."""
    calls = 0

    class Killed(BaseException):
        pass

    def dying(function: Any) -> Any:
        def step(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= point:  # nothing works any more, not even the clearing up
                raise Killed
            return function(*arguments, **keywords)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "create", dying(atomic_file.create))
        patch.setattr(os, "rename", dying(os.rename))
        patch.setattr(os, "unlink", dying(os.unlink))
        arguments = {"path": str(home / "portal_config.yml"), "settings": LAYERS, "original": original}
        with patch_module_args(arguments), pytest.raises((Killed, Ended)):
            portal_settings.main()
    assert config(home) in (TEXT, *([config(home)] if "redis-secret" in config(home) else []))
    # the dead run's files carry its process number; this process is still alive
    for folder in (home, Path(original).parent):
        for left in folder.glob(".*.tethys_channels"):
            left.rename(left.with_name(left.name.replace(str(os.getpid()), "999999999")))
    run(home, settings=LAYERS, original=original)
    assert yaml.safe_load(config(home))["settings"]["CHANNEL_LAYERS"] == LAYERS["CHANNEL_LAYERS"]
    assert list(home.glob(".*.tethys_channels")) == []
    restore(home, original)
    assert config(home) == TEXT


def test_a_record_of_another_file(home: Path, original: str, tmp_path: Path) -> None:
    run(home, settings=LAYERS, original=original)
    other = tmp_path / "other.yml"
    other.write_text(TEXT)
    assert "give another `original`" in run(home, path=str(other), settings=LAYERS, original=original)["msg"]
    Path(original + ".json").write_text("{")
    assert "is damaged" in restore(home, original)["msg"]


def test_restored_without_a_file_keeps_the_record(home: Path, original: str) -> None:
    run(home, settings=LAYERS, original=original)
    (home / "portal_config.yml").unlink()
    assert f"the original is kept in {original}" in restore(home, original)["msg"]
    assert Path(original).read_text() == TEXT


def test_restored_needs_a_record(home: Path) -> None:
    assert "state=restored needs `original`" in run(home, state="restored")["msg"]


# -- PyYAML --------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_yaml(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    asked: list[str] = []
    monkeypatch.setattr(portal_settings.portal_yaml, "HAS_YAML", False)
    monkeypatch.setattr(portal_settings, "has_respawned", lambda: False)

    def probe(interpreters: list[str], module: str) -> str | None:
        asked.extend(interpreters)
        return next((one for one in interpreters if one.startswith("/opt")), None) if module == "yaml" else None

    monkeypatch.setattr(portal_settings, "probe_interpreters_for_module", probe)
    return iter([asked])


def test_goes_on_with_another_python_of_the_systems(
    home: Path, no_yaml: Iterator[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def respawn(interpreter: str) -> None:
        raise Ended({"respawned": interpreter})

    monkeypatch.setattr(portal_settings, "respawn_module", respawn)
    monkeypatch.setattr(portal_settings, "probe_interpreters_for_module", lambda found, _module: found[-1])
    assert run(home, settings=LAYERS) == {"respawned": "/usr/local/bin/python3"}


def test_root_never_runs_the_python_of_the_environment(home: Path, no_yaml: Iterator[list[str]]) -> None:
    """The portal's user can replace it."""
    result = run(home, settings=LAYERS, prefix="/opt/conda/envs/tethys")
    assert "install the package python3-yaml" in result["msg"]
    assert next(no_yaml) == portal_settings.SYSTEM_PYTHONS


@pytest.mark.parametrize("settings", [LAYERS, {"DEBUG": False}])
def test_a_dry_run_has_the_portals_python_compute_it(
    home: Path, tmp_path: Path, no_yaml: Iterator[list[str]], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the portal's user, with nothing written and no secret shown."""
    (tmp_path / "prefix" / "bin").mkdir(parents=True)
    python = tmp_path / "prefix" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nid -u >{tmp_path}/prefix/who\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    me = accounts.account_of(os.geteuid())
    monkeypatch.setattr(portal_settings, "runner_for", lambda *_asked: me)
    before = snapshot(home)
    result = run(home, check=True, diff=True, settings=settings, prefix=str(tmp_path / "prefix"))
    assert (tmp_path / "prefix" / "who").read_text().strip() == str(me.uid)
    assert snapshot(home) == before
    with monkeypatch.context() as patch:
        patch.setattr(portal_settings.portal_yaml, "HAS_YAML", True)
        wanted = run(home, check=True, diff=True, settings=settings)
    for name in ("changed", "sha256", "diff"):
        assert result.get(name) == wanted.get(name), name
    assert "redis-secret" not in json.dumps(result)
    assert "PyYAML is needed" in run(home, settings=settings, prefix=str(tmp_path / "prefix"))["msg"]


def test_an_answer_of_the_portals_python_is_not_trusted(
    home: Path, tmp_path: Path, no_yaml: Iterator[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [({"sha256": "a" * 64, "before": [], "after": []}, "it ended early", []), ({}, None, [])]
    monkeypatch.setattr(portal_settings, "run_in_portal", lambda *_given, **_more: answers.pop())
    for _each in range(2):
        assert "PyYAML is needed" in run(home, check=True, settings=LAYERS, prefix=str(tmp_path))["msg"]


def test_says_so_where_nothing_has_pyyaml(home: Path, no_yaml: Iterator[list[str]]) -> None:
    assert next(no_yaml) == []
    result = run(home, settings=LAYERS)
    assert "PyYAML is needed to edit portal_config.yml" in result["msg"]
    assert config(home) == TEXT
