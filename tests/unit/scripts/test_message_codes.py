# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every code that a message ends with is in the reference of messages."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script, which has no suffix."""
    sys.dont_write_bytecode = True  # a cache beside it would be one more file in scripts/
    loader = importlib.machinery.SourceFileLoader("message_codes", str(ROOT / "scripts" / "message-codes"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_every_code_has_a_row(script: ModuleType) -> None:
    assert script.main(["--check"], ROOT) == 0


def test_a_code_without_a_row_is_an_error(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / script.PAGE).parent.mkdir(parents=True)
    shutil.copy(ROOT / script.PAGE, tmp_path / script.PAGE)
    (tmp_path / "plugins").mkdir()
    source = tmp_path / "plugins" / "a.py"
    code = "self.refuse('new-code', 'port', f'tethys_port is {port}: ' 'set it to `auto`')"
    source.write_text(code, encoding="utf-8")
    assert script.main(["--check"], tmp_path) == 1
    assert "new-code" in capsys.readouterr().err
    assert script.main([], tmp_path) == 0
    assert script.main(["--check"], tmp_path) == 0
    page = (tmp_path / script.PAGE).read_text(encoding="utf-8")
    assert "   * - ``[new-code]``\n     - ``tethys_port is …: set it to `auto'``\n" in page
    # The pages' other parts stay.
    assert page.startswith((ROOT / script.PAGE).read_text(encoding="utf-8").partition(script.BEGIN)[0])
