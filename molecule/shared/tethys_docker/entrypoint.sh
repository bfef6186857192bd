#!/usr/bin/env bash
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# In place of micromamba's: the environment is active for what the container starts with, and for nothing that `docker
# exec` starts.
export CONDA_PREFIX="$CONDA_HOME/envs/$CONDA_ENV_NAME"
export PATH="$CONDA_PREFIX/bin:$PATH"
for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
    [ -e "$script" ] && . "$script"
done
exec "$@"
