# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificate of a shared Redis host: whether its files can be used, and when it is made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import address_reason
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import RedisOptions
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Data, Problem
from ansible_collections.tethys.channels.plugins.plugin_utils.role_variables import role_options
from ansible_collections.tethys.channels.plugins.plugin_utils.tls import certificate_problem, not_made_here, out_of_time
from ansible_collections.tethys.channels.plugins.plugin_utils.values import nearest, show

FILES = ("redis_container_tls_cert", "redis_container_tls_key", "redis_container_tls_ca")
# The private CA's key, which has no variable, among the texts of the files.
AUTHORITY_KEY = "authority_key"
# How the names of all variables of the certificate begin.
TLS_VARIABLES = "redis_container_tls"


class CertificateFound(TypedDict, total=False):
    """The texts of the certificate's files on the controller, and which are there and have none.

    Args:
        files: the texts, by their variables and `authority_key`.
        unreadable: those, or `redis_container_tls_dir`, that are there and say nothing.
    """

    files: Mapping[str, str]
    unreadable: Sequence[str]


def _authority_reasons(name: str, folder: str, found: CertificateFound) -> Iterable[Problem]:
    """The problems of the private CA's folder: another user's file is never overwritten."""
    out = f"set it to an empty folder, or give certificates of your own by {', '.join(FILES)}."
    unreadable = found.get("unreadable") or []
    files = found.get("files") or {}
    if name.lower() == "ca":
        yield (
            Problem(
                "host-named-ca",
                "redis_container_tls_dir",
                f"{name} is the name of this host, and redis_container_tls_dir is {show(folder)}, where ca.key and"
                " ca.crt are the CA's: give the host another name in the inventory.",
            )
        )
    elif "redis_container_tls_dir" in unreadable:
        yield (
            Problem(
                "tls-folder-unusable",
                "redis_container_tls_dir",
                f"redis_container_tls_dir is {show(folder)}, which is not a folder or one that this user of the"
                f" controller cannot enter: correct that, {out}",
            )
        )
    elif unreadable:
        whose = {FILES[0]: f"{name}.crt", FILES[1]: f"{name}.key", FILES[2]: "ca.crt", AUTHORITY_KEY: "ca.key"}
        names = " and ".join(whose[one] for one in unreadable)
        yield (
            Problem(
                "tls-file-unreadable",
                "redis_container_tls_dir",
                f"redis_container_tls_dir is {show(folder)}, where the user who runs Ansible cannot read {names}"
                f" (or it is empty): correct that, {out}",
            )
        )
    else:
        foreign = not_made_here(name, *(str(files.get(one) or "") for one in (*FILES, AUTHORITY_KEY)))
        if foreign:
            yield (
                Problem(
                    "tls-file-foreign",
                    "redis_container_tls_dir",
                    f"redis_container_tls_dir is {show(folder)}, and this collection did not create its content:"
                    f" {foreign}. To keep that, {out}",
                )
            )


def _folder_reasons(name: str, folder: object, found: CertificateFound) -> Iterable[Problem]:
    """Yield the problems of the folder in which the private CA is created and kept."""
    if folder and not str(folder).startswith(("/", "~/")):
        yield Problem(
            "tls-folder-relative",
            "redis_container_tls_dir",
            f"redis_container_tls_dir is {show(folder)}: set it to a folder of this controller, as a full path.",
        )
    elif not folder:
        yield Problem(
            "tls-folder-missing",
            "redis_container_tls_dir",
            "redis_container_tls_dir is not set: set it to a folder of this controller in which a private CA for"
            f" Redis's certificates is created and kept, or give your certificates by {', '.join(FILES)}.",
        )
    else:
        yield from _authority_reasons(name, str(folder), found)


def tls_reasons(name: str, values: Data, found: CertificateFound) -> Iterable[Problem]:
    """The problems of the certificate, the administrator's own or that of the private CA."""
    files: Mapping[str, str] = found.get("files") or {}
    given = [name for name in FILES if values.get(name)]
    missing = [name for name in FILES if name not in given]
    if not given:
        yield from _folder_reasons(name, values.get("redis_container_tls_dir"), found)
        return
    if missing:
        yield Problem(
            "tls-files-incomplete",
            given[0],
            f"{given[0]} is given without {' and '.join(missing)}: give all three, or none of them.",
        )
        return
    absent = [name for name in FILES if not files.get(name)]
    for one in absent:
        if one in (found.get("unreadable") or []):
            why = "that file is empty, or this user of the controller cannot read it"
        else:
            why = "there is no such file on the controller"
        yield Problem("tls-file-unreadable", one, f"{one} is {show(values[one])}, and {why}: correct it.")
    if absent or address_reason(values.get("redis_container_address"), None):
        return
    cert, key, ca = (str(files[name]) for name in FILES)
    problem = certificate_problem(cert, key, ca, str(values["redis_container_address"]))
    if problem:
        yield (
            Problem(
                "certificate-unusable",
                FILES[0],
                f"{FILES[0]} is {show(values[FILES[0]])}, and this certificate {problem}: correct {', '.join(FILES)}"
                " together.",
            )
        )


def is_about_tls(problem: Problem) -> bool:
    """Whether a problem of the certificate's variables is known already, be it a misspelt name."""
    meant = nearest(problem.subject, role_options()) if problem.code == "unknown-variable" else None
    return (meant or problem.subject).startswith(TLS_VARIABLES)


def authority_due(options: RedisOptions, files: Mapping[str, str]) -> bool:
    """Whether the certificate of the CA itself is to be renewed, together with the one that it gives.

    Its key stays, so that what it has given is good until its own end.
    """
    authority = str(files.get(FILES[2]) or "")
    return bool(authority and certificate_due(options, files) and out_of_time(authority, int(options["renew_days"])))


def next_authority(options: RedisOptions, files: Mapping[str, str]) -> str:
    """The certificate of the CA as it will be; empty if it is to be created or renewed."""
    return "" if authority_due(options, files) else str(files.get(FILES[2]) or "")


def certificate_due(options: RedisOptions, files: Mapping[str, str]) -> str | None:
    """Why the certificate of the private CA has to be created or renewed."""
    if options["certificate_given"]:
        return None
    cert, key, ca = (str(files.get(name) or "") for name in FILES)
    if not (cert and key and ca):
        return "does not exist yet"
    return certificate_problem(cert, key, ca, str(options["address"]), int(options["renew_days"]))
