# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bundle for servers without the Internet holds. The scenario debian13 uses a whole one."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/bundle, which has no suffix."""
    sys.dont_write_bytecode = True  # a cache beside it would be one more file in scripts/
    spec = spec_from_loader("bundle", SourceFileLoader("bundle", str(ROOT / "scripts" / "bundle")))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_collection_is_packed_without_the_files_that_the_package_ansible_leaves_out(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "some" / "thing"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("x", encoding="utf-8")
    about = {"version": "1.2.3", "dependencies": {"other.thing": ">=1"}}
    manifest = {"collection_info": about, "file_manifest_file": {"chksum_sha256": "of the whole list"}}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    files = {"files": [{"name": "."}, {"name": "README.md"}, {"name": "tests"}, {"name": "tests/a.py"}]}
    (folder / "FILES.json").write_text(json.dumps(files), encoding="utf-8")
    monkeypatch.setattr(script, "COLLECTIONS", tmp_path)
    assert script.pack_collection("some.thing", tmp_path) == ["other.thing"]
    with tarfile.open(tmp_path / "some-thing-1.2.3.tar.gz") as archive:
        names = archive.getnames()
        packed: dict[str, Any] = {}
        for name in ("MANIFEST.json", "FILES.json"):
            stream = archive.extractfile(name)
            assert stream
            packed[name] = stream.read()
    assert sorted(names) == ["FILES.json", "MANIFEST.json", "README.md"]
    assert json.loads(packed["FILES.json"]) == {"files": [{"name": "."}, {"name": "README.md"}]}
    digest = json.loads(packed["MANIFEST.json"])["file_manifest_file"]["chksum_sha256"]
    assert digest == hashlib.sha256(packed["FILES.json"]).hexdigest()


def test_a_collection_that_is_not_installed_is_named(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(script.Failed, match="no/such is not there"):
        script.pack_collection("no.such", tmp_path)


def test_what_is_unpacked_on_a_server_is_roots(script: ModuleType) -> None:
    member = tarfile.TarInfo("a file")
    member.uid, member.gid, member.uname, member.mode = 1000, 1000, "somebody", 0o666
    member = script.owned_by_root(member)
    assert (member.uid, member.gid, member.uname, member.mode) == (0, 0, "root", 0o644)


def test_an_image_that_cannot_be_fetched_is_named_with_the_fix(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(script.Failed, match=r"^--image is no/such:1, which cannot be .*: name one"):
        script.save_image("no/such:1", tmp_path / "redis.tar")
