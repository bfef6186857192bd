# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring pip into an empty virtual environment from the interpreter's own copy, then install what ansible-test asks for.

ansible-test runs this in place of the bootstrap script that it would fetch.
"""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys

ensurepip.bootstrap()
environment = {name: value for name, value in os.environ.items() if name not in ("PIP_CONFIG_FILE", "GET_PIP")}
wanted = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", *wanted], env=environment, check=False).returncode)
