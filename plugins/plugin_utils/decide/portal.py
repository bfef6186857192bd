# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The portal: its environment, TETHYS_HOME, portal_config.yml, and what its user may not read or write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from ansible_collections.tethys.channels.plugins.module_utils.facts import Access
from ansible_collections.tethys.channels.plugins.module_utils.secrets import is_secret
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import is_of_the_system
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import (
    AUTO,
    given,
    start_problem,
    start_refusal,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject, sentence
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import written_options
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import is_mapping, mapping_of, unique
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show


class Portal(Subject):
    """The portal and its user."""

    def portal_reasons(self) -> None:
        """The environment, the home, the file and the user."""
        if not self.is_root:
            self.problems.append(not_root())
            return
        blocked = [row for row in self.portal.get("access") or [] if not row["ok"]]
        prefix = str(self.asked["tethys_conda_prefix"])
        # That the user cannot start the environment's Python is reported once, with the path that blocks it.
        if not any(row["path"].startswith(prefix) for row in blocked):
            self._prefix_reasons()
        self._home_and_user_reasons()
        self._config_reasons()
        self._environment_reasons()
        places = [row["blocked_by"] or row["path"] for row in blocked]
        for place in unique(places):
            rows = [row for row, at in zip(blocked, places) if at == place]
            self.problems.append(self._access_reason(place, rows))

    def _prefix_reasons(self) -> None:
        """Why the environment cannot be used."""
        portal, asked = self.portal, self.asked
        if portal.get("prefix_problem"):
            self.refuse(
                "prefix-unusable",
                "tethys_conda_prefix",
                f"tethys_conda_prefix is {show(asked['tethys_conda_prefix'])}: {sentence(portal['prefix_problem'])}"
                " Set it to the environment in which `tethys` is installed (`conda env list` shows it).",
            )
        # If the portal could not be inspected for another reason, nothing is known about the environment.
        elif not (portal.get("home_problem") or portal.get("user_problem")) and not (portal.get("versions") or {}).get(
            "tethys_platform"
        ):
            self.refuse(
                "tethys-missing",
                "tethys_conda_prefix",
                f"tethys_conda_prefix is {show(asked['tethys_conda_prefix'])}, and tethys-platform is not installed"
                " there: set it to the environment in which `tethys` is installed (`conda env list` shows it).",
            )

    def _home_and_user_reasons(self) -> None:
        """Why TETHYS_HOME or the portal's user cannot be used."""
        portal, asked = self.portal, self.asked
        if portal.get("home_problem"):
            self.refuse(
                "home-unusable",
                "tethys_home",
                f"tethys_home is {show(asked['tethys_home'])}: {sentence(portal['home_problem'])}"
                " Set it to the folder of portal_config.yml.",
            )
        if asked["tethys_user"] and portal.get("user_problem"):
            self.refuse(
                "user-unusable",
                "tethys_user",
                f"tethys_user is {show(asked['tethys_user'])}: {sentence(portal['user_problem'])}"
                " Set it to a user of this server.",
            )
        elif not portal.get("user"):
            self.refuse(
                "user-missing",
                "tethys_user",
                "tethys_user is not set and no web server's user (nginx, www-data, apache) was found on this server:"
                " set it to the user that is to run the portal.",
            )

    def _config_reasons(self) -> None:
        """Why portal_config.yml cannot be edited."""
        portal = self.portal
        config = portal.get("config") or {}
        if config.get("problem"):
            self.refuse(
                "config-unsafe",
                str(config.get("path")),
                f"{config.get('path')} cannot be edited safely: {sentence(config['problem'])}"
                " Correct the file and run again.",
            )
        elif self.goal in ("site", "restart") and start_problem(portal):
            found = start_refusal(self.asked, portal, self.server)
            if found and self._has_unread_variables:
                self.warn(
                    "portal-start-unknown",
                    found.subject,
                    f"{sentence(found.text)} The check ran without the variables of asgi_service_environment, or of a"
                    " program file that a user other than root can change: if the portal starts with them, ignore this"
                    " warning.",
                )
            elif found:
                self.problems.append(found)
        elif portal.get("settings_problem") and not portal.get("prefix_problem") and not portal.get("home_problem"):
            self.warn(
                "settings-unreadable",
                "portal_config.yml",
                f"The portal's settings could not be read: {sentence(portal['settings_problem'])}",
            )

    def database_warnings(self, processes: int | None) -> None:
        """Name connections that the database does not accept, or that processes keep without using them."""
        database = (self.portal.get("settings") or {}).get("database")
        limit = self.portal.get("connection_limit")
        if not database:
            return
        if database["keeps_connections"] and "sqlite" not in (database["engine"] or ""):
            accepts = "" if limit is None else f", and the database accepts {limit} connections"
            self.warn(
                "database-connections-kept",
                "portal_config.yml",
                "CONN_MAX_AGE of the database is not 0: an ASGI process runs each request in a new thread, and leaves"
                f" the thread's connection open without using it again{accepts}. Remove CONN_MAX_AGE from DATABASES in"
                " portal_config.yml.",
            )
        most = (processes or 0) * (database["pool"] or 0)
        if limit is not None and most > limit:
            self.warn(
                "database-connections-exceeded",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {processes}: with a pool of {database['pool']} connections in each process,"
                f" the portal may open {most} connections, and its database accepts {limit}."
                " Set a smaller max_size in DATABASES, or raise max_connections of the database server.",
            )

    def layer_options_lines(self) -> Iterable[str]:
        """Announce the options of the present layer that the run does not write again."""
        layers = mapping_of((self.portal.get("settings") or {}).get("channel_layers"))
        present = mapping_of(mapping_of(layers.get("default")).get("CONFIG"))
        options = self.values.get("portal_config_layer_options")
        asked = written_options(options, self.asked["tethys_layer_backend"])
        changes = []
        for name, value in present.items():
            after = asked.get(name)
            # What is secret was masked on the server, so a new value cannot be compared with it.
            if name == "hosts" or (after is not None and (is_secret(name) or str(after) == str(value))):
                continue
            old = "" if is_secret(name) else f" {show(value)}"
            changes.append(f"{name}{old} {'is removed' if after is None else f'becomes {show(after)}'}")
        if changes:
            yield (
                f"portal_config.yml: of the channel layer's CONFIG, {', '.join(changes)}. To keep an option, add it to"
                " portal_config_layer_options."
            )

    def _environment_reasons(self) -> None:
        """Why the file of the processes' variables cannot be used, or that the processes restart because it changes."""
        names = self.server.get("environment")
        own = given(self.values, "asgi_service_environment")
        problem = names.get("problem") if names else None
        if problem and own == AUTO:
            made = Problem("environment-unreadable", "asgi_service_environment", problem)
            (self.problems if self.goal in ("site", "restart") else self.warnings).append(made)
        if not names or problem or names["kept"] is None or self.goal != "site":
            return
        set_here = set(mapping_of(own))
        changed = {name for name in names.get("changed", []) if name not in set_here}
        if is_mapping(own):
            changed |= set_here ^ set(names["kept"])
        if changed:
            self.announce.append(
                f"{self.names.environment} changes ({', '.join(map(show, sorted(changed)))}): the processes restart one"
                " at a time."
            )

    @property
    def _has_unread_variables(self) -> bool:
        """Whether the processes get variables that the check of the portal's start was not given.

        It gets those that only root can change, and of a program that runs as the portal's user or as root.
        """
        if given(self.values, "asgi_service_environment") != AUTO:
            return True
        programs = self.server.get("programs") or []
        program = programs[0] if programs else None
        names = self.server.get("environment")
        is_kept = bool(names and names["kept"] is not None)
        if not program or program["managed"] or not program.get("environment") or is_kept:
            return False
        trust = self.server.get("trust")
        is_open = any(row["path"] == program["path"] for row in trust["open"]) if trust else False
        return is_open or program["user"] not in ("root", self.portal.get("user"))

    def _access_reason(self, place: str, rows: list[Access]) -> Problem:
        """One sentence for everything that one file or folder keeps from the portal's user."""
        user, owner, need = self.portal.get("user"), rows[0].get("owner"), rows[0]["need"]
        inside_it = [row["path"] for row in rows if row["path"] != place]
        inside = unique(inside_it)
        if inside:
            paths = " and ".join(inside[:2]) + (f" and {len(inside) - 2} more" if len(inside) > 2 else "")
            what, right = f"enter {place}, and has to reach {paths}", "x"
        else:
            what = {"traverse": "enter", "execute": "run", "read": "read", "write": "write to"}[need] + f" {place}"
            right = {"traverse": "x", "execute": "rx", "read": "r", "write": "rwX"}[need]
        target, ways_out = str(rows[0].get("real") or place), []
        own = self._can_be_given(target)
        if own or (right == "x" and self._is_on_the_way(target)):
            ways_out.append(f"give it access (`{shell_words('setfacl', '-m', f'u:{user}:{right}', target)}`)")
        elif is_of_the_system(target):
            ways_out.append(f"have the portal use another place, since {target} is the system's own")
        else:
            ways_out.append(
                f"have the portal use a place in tethys_home, or give it access to {target} yourself if that is only"
                " the portal's"
            )
        if own and need == "write" and not inside:
            ways_out.append(f"hand that over (`{shell_words('chown', '-h', user, target)}`)")
        if owner and owner not in (user, "root"):
            ways_out.append(f"set tethys_user to {owner}, the owner")
        return Problem(
            "user-lacks-access",
            place,
            f"tethys_user {user} (who would run the portal) cannot {what}: {', or '.join(ways_out)}.",
        )

    def _can_be_given(self, path: str) -> bool:
        """Return whether a printed command may give the portal's user rights on a path without links.

        Only in TETHYS_HOME and the environment, which the inventory names: an app can choose any other.
        """
        place = PurePosixPath(path)
        return ".." not in place.parts and any(each in (place, *place.parents) for each in self._own_folders)

    def _is_on_the_way(self, path: str) -> bool:
        """Return whether a path is a folder above TETHYS_HOME or the environment, and not the system's."""
        return any(PurePosixPath(path) in each.parents for each in self._own_folders) and not is_of_the_system(path)

    @property
    def _own_folders(self) -> list[PurePosixPath]:
        return [PurePosixPath(str(self.asked[name])) for name in ("tethys_home", "tethys_conda_prefix")]

    def leftover_reasons(self, before: str) -> Iterable[Problem]:
        """Report files of the portal's previous user in its data folders that the new user cannot write."""
        user = self.portal.get("user")
        for row in self.portal.get("leftovers") or []:
            if row["owner"] == before:
                folder = str(row.get("real") or row["folder"])
                # -execdir: with -exec, a folder that its user exchanges for a link meanwhile leads chown elsewhere.
                command = f"{shell_words('find', folder, '-user', before, '-execdir', 'chown', '-h', user)} {{}} +"
                hand_over = f" (`{command}`)" if self._can_be_given(folder) else ""
                more = f" and {row['count'] - 1} more in {row['folder']}" if row["count"] > 1 else ""
                stay = f", or set tethys_user to {before}" if before != "root" else ""
                yield (
                    Problem(
                        "file-of-previous-user",
                        str(row["folder"]),
                        f"tethys_user {user} (who would run the portal) cannot write {row['example']}{more}, of"
                        f" {before}, who runs it now: give those to the new user{hand_over}{stay}.",
                    )
                )


def not_root() -> Problem:
    """The tasks lack the rights that they need."""
    return Problem(
        "not-root",
        "ansible_become",
        "The tasks do not run as root: set ansible_become to true, or ansible_user to root, for this host.",
    )
