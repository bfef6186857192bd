# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What decisions consist of: inputs, facts, problems, and the constants that several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames, is_name
from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem, codes, texts
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import mapping_of, texts_of

__all__ = ("Facts", "Found", "Inputs", "Problem", "Refusal", "codes", "refused", "texts")

# A mapping whose entries a decision reads one by one.
Data = Mapping[str, object]

# Where a portal has the CA certificate with which it verifies the Redis that it shares with others.
SHARED_CA_HERE = PortalNames().shared_ca
LARGEST_PORT = 65535
DEFAULT_REDIS_PORT = 6379
# The label of our container that contains its transport.
TRANSPORT_LABEL = "tethys.channels.transport"
# The label of a container of a portal that has a name: that name.
PORTAL_LABEL = "tethys.channels.portal"
# The label of every container of this collection's: a digest of its configuration.
CONFIG_LABEL = "tethys.channels.config"
APART = "socket_per_process"
CORE_BACKEND = "channels_redis.core.RedisChannelLayer"
PUBSUB_BACKEND = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY_BACKEND = "channels.layers.InMemoryChannelLayer"
BACKENDS = (CORE_BACKEND, PUBSUB_BACKEND, MEMORY_BACKEND)
# What stands for a value that the run chooses.
AUTO = "auto"
POLICIES = ("single", "pin")
LAYOUTS = ("shared_socket", "socket_per_process")
# Every ASGI process is a whole portal in memory, so no server runs this many. What arrives above it is another
# variable's value in the wrong place, most often the port, and would bring the server down.
MAX_PROCESSES = 1000


class Refusal(Exception):
    """The run would lose data or cannot work; has one problem for each thing that is wrong."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(" ".join(problem.text for problem in problems))


def refused(code: str, subject: str, text: str) -> Refusal:
    """Return the refusal for one problem."""
    return Refusal(Problem(code, subject, text))


def names_of(asked: Data) -> PortalNames:
    """Return the names of a portal's own; one whose name is refused has those of the first portal until then."""
    name = asked.get("tethys_portal_name")
    return PortalNames(name if isinstance(name, str) and is_name(name) else "")


@dataclass(frozen=True)
class Inputs:
    """What the inventory says.

    Args:
        asked: the `tethys_` variables, each with its default.
        options: the roles' variables that matter to the decision.
        values: the host's variables that the user wrote.
        names: the names of all of the host's variables.
        known: the names of the user's own variables that only look like the collection's.
    """

    asked: Data
    options: Data
    values: Data = field(default_factory=dict)
    names: tuple[str, ...] = ()
    known: object = ()

    @classmethod
    def given(cls, asked: Data, options: Data, found: Data) -> Inputs:
        """Return the inputs in what a filter was given."""
        names = tuple(texts_of(found.get("names")))
        return cls(asked, options, mapping_of(found.get("values")), names, found.get("known") or [])


class Gathered(TypedDict, total=False):
    """What `gather` returned, without the parts that a host has not."""

    portal: Portal | None
    server: Server | None
    packages: Data | None
    redis: Data | None


@dataclass(frozen=True)
class Facts:
    """What the modules found: the portal, its server, the packages to install, and a Redis that is not ours."""

    portal: Portal = field(default_factory=Portal)
    server: Server = field(default_factory=Server)
    packages: Data = field(default_factory=dict)
    redis: Data = field(default_factory=dict)

    @classmethod
    def given(cls, found: Gathered) -> Facts:
        """Return the facts in what was gathered."""
        portal: Portal = found.get("portal") or {}
        server: Server = found.get("server") or {}
        return cls(portal, server, found.get("packages") or {}, found.get("redis") or {})


@dataclass
class Found:
    """What a decision about one subject comes to: problems, warnings, and what users notice of the run."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    announce: list[str] = field(default_factory=list)

    def refuse(self, code: str, subject: str, text: str) -> None:
        """Add a problem that ends the run."""
        self.problems.append(Problem(code, subject, text))

    def warn(self, code: str, subject: str, text: str) -> None:
        """Add a problem that does not end the run."""
        self.warnings.append(Problem(code, subject, text))

    def add(self, other: Found) -> None:
        """Add what was found about another subject."""
        self.problems += other.problems
        self.warnings += other.warnings
        self.announce += other.announce
