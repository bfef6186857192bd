# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What merge_settings writes, read by Tethys itself: Django's settings.CHANNEL_LAYERS is the expected one.

TETHYS_TEST_PYTHON is the Python of an environment with tethys-platform in it; nothing is written there. Files that
merge_settings refuses are not Tethys's to read.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml import merge_settings

CORPUS = Path(__file__).parents[1] / "unit" / "corpus" / "portal_config"
CASES = sorted(CORPUS / f"{path.name[: -len('.expected.yml')]}.yml" for path in CORPUS.glob("*.expected.yml"))
LAYERS: dict[str, Any] = {
    "CHANNEL_LAYERS": {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [{"host": "127.0.0.1", "port": 6379, "password": "it's: \"#é\\"}], "capacity": 100},
        }
    }
}
PYTHON = os.environ.get("TETHYS_TEST_PYTHON", "")
pytestmark = pytest.mark.portal

# For each folder named on stdin the settings module is imported again, in a child each; what it imports is there.
READER = """
import importlib, json, os, sys
importlib.import_module("tethys_portal.settings")
for line in sys.stdin:
    home = os.environ["TETHYS_HOME"] = line.strip()
    pid = os.fork()
    if not pid:
        try:
            del sys.modules["tethys_portal.settings"]
            layers = importlib.import_module("tethys_portal.settings").CHANNEL_LAYERS
            try:
                answer = json.dumps({"layers": layers}, default=str)
            except ValueError:  # a layer that contains itself
                answer = json.dumps({"layers": {}})
        except BaseException as error:
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        with open(os.path.join(home, "answer.json"), "w") as file:
            file.write(answer)
        os._exit(0)
    os.waitpid(pid, 0)
"""
FRESH = CORPUS / "fresh.yml"


def put(folder: Path, raw: bytes) -> Path:
    folder.mkdir()
    (folder / "portal_config.yml").write_bytes(raw)
    return folder


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What Tethys says to each corpus file before (`case`) and after (`case+`) the edit."""
    folder = tmp_path_factory.mktemp("homes")
    homes: list[Path] = []
    for path in CASES:
        raw = path.read_bytes()
        homes.append(put(folder / path.stem, raw))
        homes.append(put(folder / f"{path.stem}+", merge_settings(raw.decode(), LAYERS).encode()))
    start = put(folder / "start of the reader", FRESH.read_bytes())
    subprocess.run(
        [PYTHON, "-B", "-c", READER],
        input="".join(f"{home}\n" for home in homes),
        text=True,
        check=True,
        timeout=300,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TETHYS_HOME": str(start), "LANG": "C.UTF-8"},
    )
    return {home.name: json.loads((home / "answer.json").read_text()) for home in homes}


def test_enough_of_the_corpus_is_read(answers: dict[str, dict[str, Any]]) -> None:
    read = [name for name, answer in answers.items() if name.endswith("+") and "layers" in answer]
    assert len(read) >= 30, answers


@pytest.mark.parametrize("case", [path.stem for path in CASES])
def test_tethys_reads_what_was_asked_for(answers: dict[str, dict[str, Any]], case: str) -> None:
    before, after = answers[case], answers[f"{case}+"]
    assert "error" not in before
    assert after["layers"]["default"] == LAYERS["CHANNEL_LAYERS"]["default"]
    # the other layers are still what they were; without a setting, Tethys has a default one
    others = before["layers"] if isinstance(before["layers"], dict) else {}
    for name, layer in others.items():
        if name != "default":
            assert after["layers"][name] == layer
