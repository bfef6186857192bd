# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layer's class: what a run announces that changes it, and why a portal does not have the default."""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.plugin_utils.class_choice import channel_workers, named_workers
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    AUTO,
    CORE_BACKEND,
    PUBSUB_BACKEND,
    Problem,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import list_of, mapping_of

BACKEND = "tethys_layer_backend"
# What an app may do with core and not with pub/sub, besides naming a channel itself.
ONLY_INSIDE = (
    " With pub/sub, only a WebSocket's own consumer can add it to a group or remove it: elsewhere, as in a view or a"
    " Celery task, group_add raises RuntimeError, and group_discard has no effect."
)


def change(given: str, now: object, wanted: str, during: str) -> Problem | None:
    """Return the announcement of another class, or None.

    Args:
        given: what the inventory says.
        now: the class that the portal has.
        wanted: the class that the run gives it.
        during: what users notice of it, as a sentence.
    """
    if now not in (CORE_BACKEND, PUBSUB_BACKEND) or wanted not in (CORE_BACKEND, PUBSUB_BACKEND) or now == wanted:
        return None
    keep = f" To keep the class, set tethys_layer_backend to {now}." if given == AUTO else ""
    limits = ONLY_INSIDE if wanted == PUBSUB_BACKEND else ""
    return Problem(
        "layer-class-changes",
        BACKEND,
        f"tethys_layer_backend is {given}: CHANNEL_LAYERS changes from {now} to {wanted}. {during}{limits}{keep}",
    )


def kept(given: str, wanted: str, reason: str) -> Problem | None:
    """Return why a portal keeps the core class though nobody asked for it, or None; `reason` is empty without one."""
    if given != AUTO or not reason:
        return None
    return Problem(
        "layer-class-kept",
        BACKEND,
        f"tethys_layer_backend is {given}: {reason}, so the layer's class is {wanted}. Set"
        " tethys_layer_backend to that class to keep it when this reason is gone, without this message.",
    )


class LayerClass(Subject):
    """The layer's class."""

    def class_reasons(self) -> None:
        """Announce another class, and what does not follow it."""
        wanted = str(self.asked[BACKEND])
        given = str(self.options.get("layer_backend", wanted))
        why = kept(given, wanted, str(self.options.get("core_reason") or ""))
        changes = change(given, (self.portal.get("settings") or {}).get("layer_backend"), wanted, self._during())
        self.warnings += [each for each in (why, changes) if each]
        self._keepalive(wanted)
        workers = self.server.get("workers") or []
        # One that is not ours has the rights that its administrator gave.
        own = self.redis in ("container", "shared")
        if changes and workers:
            refuses = ", and after the run Redis refuses them" if own else ""
            self.warn(
                "workers-keep-class",
                BACKEND,
                f"tethys_layer_backend is {given}: processes of the portal that this collection does not restart may"
                f" have read the former class from portal_config.yml. Their messages then reach no WebSocket{refuses}:"
                f" {named_workers(workers)}. Restart them after the run.",
            )
        of_channels = channel_workers(workers)
        if of_channels and wanted == PUBSUB_BACKEND:
            effect = (
                "Redis refuses a channel that is named without the layer's prefix, so these workers receive nothing"
                if own
                else "each worker of a channel receives every message, and none that was sent while it did not run"
            )
            self.warn(
                "workers-need-core",
                BACKEND,
                f"tethys_layer_backend is {given}: with {wanted}, {effect}: {named_workers(of_channels)}. Set"
                f" tethys_layer_backend to {CORE_BACKEND} to use them.",
            )

    def _keepalive(self, wanted: str) -> None:
        """Announce what changes in the hosts of a shared Redis although the class stays."""
        settings = self.portal.get("settings") or {}
        hosts = list_of(settings.get("layer_hosts"))
        lacking = [host for host in hosts if "socket_keepalive" not in mapping_of(host)]
        if self.redis == "shared" and wanted == PUBSUB_BACKEND == settings.get("layer_backend") and lacking:
            self.announce.append(
                "CHANNEL_LAYERS changes: its hosts get socket_keepalive, by which the pub/sub class finds out that a"
                " shared Redis vanished. The processes restart one at a time."
            )

    def _during(self) -> str:
        """Return what is noticed while processes of both classes run."""
        others = ", nor of another portal that has the other class" if self.redis in ("shared", "given") else ""
        return (
            "Every process restarts, and until the last one has, a message from a process of one class reaches no"
            f" WebSocket of a process of the other{others}."
        )
