# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What layer_packages runs in an environment's own Python. This module runs in that Python and uses nothing of Ansible.

Which versions are there, whether they are enough, what a change would break, and how to put back what was there.
It needs `packaging`, and takes pip's own copy: an environment without pip cannot be changed anyhow.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Callable, Iterator

# What an installation of the layer may change.
ITS_OWN = ("channels_redis", "redis", "msgpack", "hiredis", "async-timeout")


class NoPip(Exception):
    """The environment cannot compare versions or change any."""


def packaging(part: str) -> Any:
    """A module of `packaging`, from pip's copy or from its own distribution."""
    for name in ("pip._vendor.packaging", "packaging"):
        try:
            return importlib.import_module(f"{name}.{part}")
        except ImportError:
            continue
    raise NoPip(f"{sys.prefix} has no pip: add it with `{shlex.quote(sys.executable)} -m ensurepip`.")


def canonical(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def site_packages() -> Path:
    """The folder that pip installs pure Python into."""
    return Path(sysconfig.get_paths()["purelib"])


def installed() -> dict[str, importlib.metadata.Distribution]:
    """The distributions by name, the one that Python would import first where there are two."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for dist in importlib.metadata.distributions():
        # A metadata folder that an interrupted installation left behind may have neither name nor version.
        name = dist.metadata["Name"]
        if name and dist.metadata["Version"]:
            found.setdefault(canonical(name), dist)
    return found


def requires(dist: importlib.metadata.Distribution, extras: set[str]) -> Iterator[Any]:
    """The requirements of a distribution that hold in this Python and with these extras."""
    requirements = packaging("requirements")
    for text in dist.requires or []:
        try:
            requirement = requirements.Requirement(text)
        except requirements.InvalidRequirement:
            continue  # old metadata that pip does not read either
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def meets(requirement: Any, version: str) -> bool:
    """Whether a version is one that the requirement allows."""
    return bool(requirement.specifier.contains(version, prereleases=True))


def metadata_folders(here: Path, names: list[str]) -> list[Path]:
    """The metadata folders of these distributions, readable or not."""
    return [folder for folder in here.glob("*.dist-info") if canonical(folder.name.split("-")[0]) in names]


def damaged(names: list[str]) -> list[str]:
    """The distributions of these that an interrupted installation left incomplete.

    pip writes RECORD last, so without it some files are missing too.
    """
    here = site_packages()
    found = set()
    for folder in metadata_folders(here, names):
        dist = importlib.metadata.Distribution.at(folder)
        # Whether it is there is not asked: that fails where this user cannot enter the folder.
        files = dist.files if os.access(str(folder / "METADATA"), os.R_OK) else None
        # Of what lies outside, scripts, an administrator may remove some; and byte code is only a cache.
        mine = [file for file in files or [] if ".." not in file.parts and file.suffix != ".pyc"]
        if not mine or not all(os.access(str(here / file), os.R_OK) for file in mine):
            found.add(canonical(folder.name.split("-")[0]))
    return sorted(found)


def look(job: dict[str, Any]) -> dict[str, Any]:
    """The versions, and each reason why the requirements are not met."""
    requirements = packaging("requirements")
    dists = installed()
    reasons: list[str] = []
    refused: list[str] = []
    for text in job["requirements"]:
        try:
            requirement = requirements.Requirement(text)
        except requirements.InvalidRequirement:
            requirement = None
        if requirement is None or requirement.url:
            refused.append(f"{text!r} is no requirement: write a name and versions, such as channels_redis>=4.2.")
            continue
        if requirement.marker and not requirement.marker.evaluate():
            continue
        dist = dists.get(canonical(requirement.name))
        needed = [(requirement, dist)]
        if dist is not None:
            needed += [(below, dists.get(canonical(below.name))) for below in requires(dist, requirement.extras)]
        for need, have in needed:
            if have is None:
                reasons.append(f"{need.name} is not installed")
            elif not meets(need, have.version):
                reasons.append(f"{need.name} is {have.version}, not {need.specifier}")
    broken = damaged([canonical(name) for name in job["allowed"]])
    for folder in job["find_links"]:
        if not os.access(folder, os.R_OK | os.X_OK):
            refused.append(f"The wheel folder {folder} does not exist, or the environment's owner cannot read it.")
    here = site_packages()
    return {
        "pip": dists["pip"].version if "pip" in dists else None,
        "versions": {name: dist.version for name, dist in dists.items()},
        "canonical": {name: canonical(name) for name in job["allowed"]},
        "reasons": sorted(set(reasons)) + [f"{name} is incomplete" for name in broken],
        "damaged": broken,
        "refused": refused,
        "site_packages": str(here),
        "writable": os.access(str(here), os.W_OK | os.X_OK),
    }


def unreadable(job: dict[str, Any]) -> dict[str, Any]:
    """The distributions of these that this user cannot read whole."""
    here, dists = site_packages(), installed()
    return {"unreadable": [name for name in job["names"] if name not in dists or not is_readable(dists[name], here)]}


def is_readable(dist: importlib.metadata.Distribution, here: Path) -> bool:
    """Whether this user can read a distribution whole."""
    if dist.read_text("METADATA") is None:
        # The lists of an .egg-info name files of the source, which are not installed. What can be imported counts.
        tops = (dist.read_text("top_level.txt") or "").split()
        paths = [path for top in tops for path in (here / top, here / f"{top}.py") if os.path.lexists(path)]
        wanted = {path: os.R_OK | os.X_OK if path.is_dir() else os.R_OK for path in paths}
        return bool(paths) and all(os.access(path, mode) for path, mode in wanted.items())
    files = [here / file for file in dist.files or [] if ".." not in file.parts]
    return bool(files) and all(os.access(str(file), os.R_OK) for file in files if file.suffix != ".pyc")


def lacking(requirements: list[str]) -> list[str]:
    """Why an environment needs an installation, or at least a closer look; empty where it has all."""
    try:
        found = look({"requirements": requirements, "allowed": ITS_OWN, "find_links": []})
    except NoPip as problem:
        return [str(problem)]
    return [*found["refused"], *found["reasons"]]


def breaks(job: dict[str, Any]) -> dict[str, Any]:
    """What other distributions, content today, would no longer find with the planned versions."""
    planned = {canonical(name): version for name, version in job["planned"].items()}
    dists = installed()
    found = []
    for name, dist in sorted(dists.items()):
        if name in planned:
            continue
        for need in requires(dist, set()):
            moved = canonical(need.name)
            if moved not in planned or moved not in dists:
                continue
            if meets(need, dists[moved].version) and not meets(need, planned[moved]):
                found.append(f"{name} {dist.version} needs {need.name}{need.specifier}")
    return {"breaks": found}


def tops(here: Path, path: Path) -> Path:
    """What has to be saved to have that file back: the entry of site-packages that it is in, or the file itself."""
    try:
        return here / path.relative_to(here).parts[0]
    except ValueError:
        return path


def wheel_paths(wheel: Path, here: Path) -> Iterator[Path]:
    """Where the files of a wheel will lie."""
    paths = sysconfig.get_paths()
    with zipfile.ZipFile(str(wheel)) as archive:
        for name in archive.namelist():
            first, _slash, rest = name.partition("/")
            if not first.endswith(".data"):
                yield here / name
                continue
            kind, _slash, below = rest.partition("/")
            if below and kind in paths:
                yield Path(paths[kind]) / below
        for name in archive.namelist():
            if name.endswith(".dist-info/entry_points.txt"):
                points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
                points.optionxform = str  # type: ignore[assignment, method-assign]
                points.read_string(archive.read(name).decode("utf-8"))
                for section in ("console_scripts", "gui_scripts"):
                    if points.has_section(section):
                        for script in points.options(section):
                            yield Path(paths["scripts"]) / script


def leftovers(here: Path) -> set[str]:
    """What pip has renamed while it replaces a distribution: `redis` is `~edis` until the new one is in place."""
    return {path.name for path in here.glob("~*")}


def save(job: dict[str, Any]) -> dict[str, Any]:
    """Save every file that the wheels, or the distributions they replace, have or will have.

    Files and not distributions are saved, since the version that is there may be had from nowhere any more.
    """
    here = site_packages()
    dists = installed()
    roots: set[Path] = set()
    for wheel in Path(job["wheels"]).iterdir():
        name = canonical(wheel.name.split("-")[0])
        roots.update(tops(here, path) for path in wheel_paths(wheel, here))
        roots.update(metadata_folders(here, [name]))
        dist = dists.get(name)
        if dist is None or name in job["damaged"] or Path(str(dist.locate_file(""))) != here:
            continue  # new, or past knowing, or of another place, where it stays
        if dist.files is None:
            return {"refused": [f"{name} in {sys.prefix} has no list of its files: replace it by hand with pip."]}
        roots.update(tops(here, Path(os.path.normpath(str(dist.locate_file(file))))) for file in dist.files)
    inside = sorted(str(root) for root in roots if Path(sys.prefix) in root.parents)
    with tarfile.open(job["archive"], "w") as archive:
        for root in inside:
            if os.path.lexists(root):
                archive.add(root, arcname=os.path.relpath(root, sys.prefix))
    return {"roots": inside, "leftovers": sorted(leftovers(here))}


def delete(path: Path) -> None:
    """Delete a file, a link or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif os.path.lexists(str(path)):
        path.unlink()


def restore(job: dict[str, Any]) -> dict[str, Any]:
    """Put back what `save` saved, and delete what has come instead."""
    here = site_packages()
    for root in job["roots"]:
        delete(Path(root))
    for name in leftovers(here) - set(job["leftovers"]):
        delete(here / name)
    with tarfile.open(job["archive"]) as archive:
        # Our own archive of the moment before. The name of the filter is unknown to Pythons that do not need it.
        archive.extraction_filter = lambda member, _path: member
        archive.extractall(sys.prefix)  # noqa: S202
    return {}


def clear(job: dict[str, Any]) -> dict[str, Any]:
    """Delete the metadata that interrupted installations left: pip cannot replace what has no RECORD."""
    for folder in metadata_folders(site_packages(), job["damaged"]):
        if not ((folder / "RECORD").is_file() and (folder / "METADATA").is_file()):
            delete(folder)
    return {}


def tidy(job: dict[str, Any]) -> dict[str, Any]:
    """Delete what interrupted installations of the same packages had renamed, and pip would warn of for ever."""
    here = site_packages()
    stems = {Path(root).name.split("-")[0][1:] for root in job["roots"]}
    for name in leftovers(here):
        if name[1:].split("-")[0] in stems:
            delete(here / name)
    return {}


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "look": look,
    "breaks": breaks,
    "unreadable": unreadable,
    "save": save,
    "restore": restore,
    "clear": clear,
    "tidy": tidy,
}


def main() -> None:
    """Do the job that standard input describes, and answer in the last line of standard output."""
    job = json.load(sys.stdin)
    try:
        answer = JOBS[job["job"]](job)
    except NoPip as problem:
        answer = {"problem": str(problem)}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
