# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a run may skip the roles, because the server is unchanged since the last verified run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan

# Entries of a plan that describe the server and come from the facts, not from the variables.
OF_PROCESSES = ("port", "address", "group", "arguments", "environment", "pins", "watch")
GONE_BY = (*OF_PROCESSES, "user", "program_path", "selinux", "platform")
# Entries that are done once, and that no digest of the server shows as due.
CHANGES = ("moves", "install_docker_library", "install_yaml", "adopted_container", "adopted_program", "left_container")


def verdict(run: Subject, step: Mapping[str, object], refused: bool) -> Plan:
    """Return the digest of a plan, and whether the server is as a verified run with that digest left it.

    Args:
        run: the inputs and the facts; `proved_plan` is the digest that `module_utils/proof_record.py` found valid.
        step: the plan so far.
        refused: whether anything speaks against the run.
    """
    portal, server = run.portal, run.server
    nginx = server.get("nginx")
    path = nginx.get("path") if nginx else None
    # Which class the layer has may depend on what else runs there.
    of_portal = [portal.get("group"), portal.get("site_packages"), run.asked["tethys_layer_backend"]]
    digest = _digest([step[name] for name in GONE_BY], of_portal, path)
    as_proved = (
        run.goal == "site"
        and not refused
        and server.get("proved_plan") == digest
        and not any(step[name] for name in CHANGES)
        and (server.get("watch") or not step["watch"])
        # If the delivery check cannot verify messages, it cannot replace the other checks.
        and portal.get("lifecycle_consumer") is not False
        # Of an earlier layout, what nginx had before is still to be put back.
        and run.apart == ("nginx_upstream.original" in (server.get("state") or []))
    )
    return {"sum": digest, "as_proved": as_proved}


def _digest(*parts: object) -> str:
    """Return a digest of parts of a plan."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
