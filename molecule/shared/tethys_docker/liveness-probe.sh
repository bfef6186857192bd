#!/bin/sh
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# As in Tethys Docker: supervisord, nginx and the first process of the program that `tethys gen` writes have to run.
runs() {
    kill -0 "$1" 2> /dev/null || { echo "$2 does not run" >&2; exit 1; }
}
runs "$(cat /var/run/supervisord.pid)" supervisord
runs "$(cat /run/nginx.pid)" nginx
[ -L /run/tethys_asgi0.sock.lock ] || { echo "no lock of the first process" >&2; exit 1; }
runs "$(readlink /run/tethys_asgi0.sock.lock)" "the first process"
