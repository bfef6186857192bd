# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback that records the playbook runs of a test step and lets them share packed modules."""

from __future__ import annotations

import base64
import dataclasses
import functools
import importlib.util
import io
import os
import sys
import zipfile
import zipimport
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleTemplateSyntaxError
from ansible.parsing.dataloader import DataLoader

FILE = Path(__file__).parents[3] / "molecule" / "shared" / "testing" / "callback" / "playbook_runs.py"


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The plugin's file, in a run whose temporary folder is empty."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("playbook_runs", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "constants", SimpleNamespace(DEFAULT_LOCAL_TMP=str(tmp_path / "run")))
    (tmp_path / "run").mkdir()
    return module


def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    """An installed collection."""
    (tmp_path / "collection").mkdir(exist_ok=True)
    if content:
        (tmp_path / "collection" / "FILES.json").write_text(content)
    package = ModuleType("ansible_collections.tethys.channels")
    package.__path__ = [str(tmp_path / "collection")]
    monkeypatch.setitem(sys.modules, package.__name__, package)


def test_runs_of_the_same_collection_share_modules(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache, kept = tmp_path / "run" / "ansiballz_cache", []
    for content in ("one", "one", "two"):
        installed(monkeypatch, tmp_path, content)
        callback.share_modules(callback.kept_for_collection(tmp_path / "modules"))
        kept.append(cache.resolve(strict=True))
        cache.unlink()
    assert kept[0] == kept[1] != kept[2]


def test_a_tree_that_is_not_installed_shares_nothing(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path, "")
    assert callback.kept_for_collection(tmp_path / "modules") is None


def test_runs_of_the_same_collection_share_bytecode(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path, "one")
    kept, compiled = callback.kept_for_collection(tmp_path / "modules"), list[str]()

    class Importer:
        _compiled_code = None

        def get_code(self, name: str) -> Any:
            if self._compiled_code is None:
                compiled.append(name)
                self._compiled_code = compile("ANSWER = 42", name, "exec")
            return self._compiled_code

    def run() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(callback._collection_finder, "_AnsibleCollectionPkgLoaderBase", Importer)
            patched.setattr(Importer, "get_code", Importer.get_code)
            code = callback.Code(kept)
            code.share()
            for name in (f"{callback.COLLECTION}.plugins.filter.one", "ansible_collections.other.one.plugins.filter"):
                found: dict[str, Any] = {}
                exec(Importer().get_code(name), found)  # noqa: S102 - the line above
                assert found["ANSWER"] == 42
            code.keep()

    run()
    run()
    # What belongs to another collection may change between two runs.
    assert [name.rpartition(".")[2] for name in compiled] == ["one", "filter", "filter"]
    [file] = kept.iterdir()
    file.write_bytes(b"half of it")
    run()
    assert len(compiled) == 5


def test_runs_share_the_bytecode_of_templates(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    template = pytest.importorskip("ansible.template")
    if callback.jinja_bits is None:
        pytest.skip("Templates are not kept before ansible-core 2.19.")
    environments, compiled = callback.jinja_bits.AnsibleEnvironment, list[str]()
    generate = environments._generate

    def count(*given: Any, **named: Any) -> Any:
        compiled.append("")
        return generate(*given, **named)

    monkeypatch.setattr(environments, "_generate", count)

    def run(text: str = r"{{ x * 7 }} {{ 'a\tb' | upper }}", expression: str = "x + 1") -> list[Any]:
        with monkeypatch.context() as patched:
            for name in ("compile", "compile_expression"):
                patched.setattr(environments, name, getattr(environments, name))
            callback.Templates(tmp_path).share()
            templar = template.Templar(loader=DataLoader(), variables={"x": 6})
            return [
                templar.template(template.trust_as_template(text)),
                templar.template(template.trust_as_template(text), escape_backslashes=False),
                templar.evaluate_expression(template.trust_as_template(expression)),
            ]

    assert run() == run() == ["42 A\\TB", "42 A\tB", 7]
    assert len(compiled) == 3
    assert run("{{ x }}", "x") == [6, 6, 6]
    assert len(compiled) == 6
    for file in tmp_path.glob("templates-*/*"):
        file.write_bytes(b"half of it")
    assert run("{{ x }}", "x") == [6, 6, 6]
    assert len(compiled) == 9
    with pytest.raises(AnsibleTemplateSyntaxError):
        run("{{ x")


def packed(**files: str) -> bytes:
    """These files as Ansible packs a module."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return base64.b64encode(content.getvalue())


def test_a_packed_module_brings_its_bytecode(callback: ModuleType, tmp_path: Path) -> None:
    with_bytecode = base64.b64decode(callback.with_bytecode(packed(of_tests__one="ANSWER: None | int = 42")))
    with zipfile.ZipFile(io.BytesIO(with_bytecode)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert files["of_tests/one.py"] == b"ANSWER: None | int = 42"

    def answer(name: str, **changed: bytes) -> Any:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, content in files.items():
                archive.writestr(file, changed.get(file.rpartition(".")[2], content))
        found: dict[str, Any] = {}
        exec(zipimport.zipimporter(f"{tmp_path / name}/of_tests").get_code("one"), found)  # noqa: S102 - a file of this test
        return found["ANSWER"]

    assert answer("compiled.zip", py=b"ANSWER = 'compiled on the server'") == 42
    # That of another Python is left.
    assert answer("other.zip", py=b"ANSWER = 43", pyc=b"????" + files["of_tests/one.pyc"][4:]) == 43


def test_what_ansible_keeps_has_bytecode(callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Kept:
        zip_data: bytes
        metadata: str

        def dump(self, path: str) -> None:
            Path(path).write_bytes(self.zip_data)

    monkeypatch.setattr(callback, "module_common", SimpleNamespace(_CachedModule=Kept))
    callback.keep_bytecode()
    kept = Kept(packed(one=""), "")
    kept.dump(str(tmp_path / "kept"))
    with zipfile.ZipFile(io.BytesIO(base64.b64decode((tmp_path / "kept").read_bytes()))) as archive:
        assert archive.namelist() == ["one.py", "one.pyc"]
    monkeypatch.setattr(callback, "module_common", SimpleNamespace())
    callback.keep_bytecode()


def test_each_run_is_one_line(callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TETHYS_TEST_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("TETHYS_TEST_MODULES", raising=False)
    monkeypatch.setattr(callback, "strategy", ModuleType("strategy"))
    calls: list[str] = []
    monkeypatch.setattr(
        callback, "gc", SimpleNamespace(freeze=lambda: calls.append("freeze"), disable=lambda: calls.append("disable"))
    )
    for name in ("/a/site.yml", "/a/check.yml"):
        plugin = callback.CallbackModule()
        plugin.v2_playbook_on_start(SimpleNamespace(_file_name=name))
        plugin.v2_playbook_on_stats(None)
    rows = [line.split() for line in (tmp_path / "runs").read_text().splitlines()]
    assert [row[2] for row in rows] == ["site.yml", "check.yml"]
    # What the process has used since it started.
    assert all(0 < float(row[1]) <= sum(os.times()[:4]) + 0.1 for row in rows)
    assert calls == ["freeze", "disable"] * 2


def test_a_result_ends_the_wait_for_it(callback: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Event:
        def set(self) -> None:
            calls.append("result")

        def wait(self, seconds: float) -> None:
            calls.append("wait")

        def clear(self) -> None:
            calls.append("clear")

    ansibles = ModuleType("strategy")
    monkeypatch.setattr(callback, "strategy", ansibles)
    monkeypatch.setattr(callback, "threading", SimpleNamespace(Event=Event))
    monkeypatch.setattr(callback, "time", SimpleNamespace(sleep=calls.append))
    monkeypatch.setattr(callback.constants, "DEFAULT_INTERNAL_POLL_INTERVAL", 0.01, raising=False)
    callback.wait_for_results()
    results = ansibles.deque()
    results.append("the first")
    ansibles.time.sleep(0.01)
    # While no process is free.
    ansibles.time.sleep(0.0001)
    assert results.popleft() == "the first"
    assert calls == ["result", "wait", "clear", 0.01]


def test_what_plugins_read_once_is_read_before_the_first_task(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    held = ModuleType("ansible_collections.tethys.channels.plugins.filter.held")
    held.of_the_collection = functools.lru_cache(lambda: read.append("once"))  # type: ignore[attr-defined]
    held.of_an_argument = functools.lru_cache(read.append)  # type: ignore[attr-defined]
    package = ModuleType("ansible_collections.tethys.channels.plugins.filter")
    package.__path__ = []
    found = {package.__name__: package, held.__name__: held}

    def import_module(name: str) -> ModuleType:
        if name not in found:
            raise ImportError(name)
        return found[name]

    monkeypatch.setattr(callback, "importlib", SimpleNamespace(import_module=import_module))
    monkeypatch.setattr(
        callback, "pkgutil", SimpleNamespace(walk_packages=lambda _path, _prefix: [SimpleNamespace(name=held.__name__)])
    )
    callback.import_plugins()
    assert read == ["once"]
