#!/bin/sh
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# As in Tethys Docker: the portal lives while the first process of the program that `tethys gen` writes does.
[ -L /run/tethys_asgi0.sock.lock ] && kill -0 "$(readlink /run/tethys_asgi0.sock.lock)"
