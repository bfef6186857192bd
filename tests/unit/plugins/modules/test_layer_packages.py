# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real pip in a real environment, with distributions made here, without an index."""

from __future__ import annotations

import contextlib
import ensurepip
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import portal_state
from ansible_collections.tethys.channels.plugins.module_utils.packages import environment, trust
from ansible_collections.tethys.channels.plugins.module_utils.server import accounts
from ansible_collections.tethys.channels.plugins.modules import layer_packages as module

NOBODY = 65534
LEAST_MEMORY = 256 * 2**20
DEFAULTS: dict[str, Any] = {
    "requirements": ["channels_redis>=4.2", "redis>=4.6,<8"],
    "allowed": ["channels_redis", "redis", "msgpack", "hiredis", "async-timeout"],
    "allow_moves": False,
    "index_url": None,
    "extra_index_urls": None,
    "proxy": None,
    "cert": None,
    "no_index": True,
    "timeout": 120,
}


def wheel(
    folder: Path, name: str, version: str, needs: tuple[str, ...] = (), modules: int = 1, script: str = ""
) -> Path:
    """Write a wheel of a package with so many modules."""
    info = f"{name}-{version}.dist-info"
    files = {f"{name}/__init__.py": f"version = '{version}'\n"}
    files.update({f"{name}/m{number}.py": f"n = {number}\n" * 50 for number in range(1, modules)})
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {need}\n" for need in needs
    )
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {name}:version\n"
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(inner, text)
    return path


def site_packages(prefix: Path) -> Path:
    (here,) = list(prefix.glob("lib/python3*/site-packages"))
    return here


def put(prefix: Path, *names: str) -> None:
    """Install distributions as pip would, only faster: of these wheels, by unpacking them."""
    for name in names:
        with zipfile.ZipFile(prefix.parent / "wheels" / f"{name}-py3-none-any.whl") as archive:
            archive.extractall(site_packages(prefix))


def remove(prefix: Path, name: str) -> None:
    """Uninstall a distribution."""
    for folder in (site_packages(prefix) / name, *site_packages(prefix).glob(f"{name}-*.dist-info")):
        shutil.rmtree(folder)


def files_of(prefix: Path) -> dict[str, Any]:
    """Everything in the environment with its mode, owner and content, but for byte code, a cache."""
    found: dict[str, Any] = {}
    for path in sorted(prefix.rglob("*")):
        if path.suffix == ".pyc" or path.name == "__pycache__":
            continue
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path.relative_to(prefix))] = (status.st_mode, status.st_uid, content)
    return found


def python_for_all() -> str:
    """A Python that other users can start too, where there is one."""
    for python in ("/usr/bin/python3", sys.executable):
        started = subprocess.run([python, "-c", "import venv, sys; assert sys.version_info >= (3, 8)"], check=False)
        if started.returncode == 0:
            return python
    raise AssertionError("this very Python cannot make an environment")


def in_memory() -> str | None:
    """A file system in memory that runs programs, where a copy of the environment takes a quarter of the CPU time."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        return None
    found = os.statvfs(memory)
    small = found.f_bavail * found.f_frsize < LEAST_MEMORY
    return None if small or found.f_flag & (os.ST_NOEXEC | os.ST_RDONLY) else str(memory)


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder that every user can enter, with wheels and a portal's environment in it."""
    folder = Path(tempfile.mkdtemp(prefix="layer_packages_", dir=in_memory()))
    folder.chmod(0o755)
    wheels = folder / "wheels"
    wheels.mkdir()
    (folder / "temporary").mkdir()
    (folder / "temporary").chmod(0o1777)
    for version, asgiref in (("4.0.0", "3.7"), ("4.3.2", "3.9")):
        wheel(wheels, "channels", version, (f"asgiref>={asgiref}",))
    for version in ("3.7.2", "3.11.0"):
        wheel(wheels, "asgiref", version)
    wheel(wheels, "channels_redis", "4.3.0", ("redis>=4.6", "msgpack~=1.0", "channels>=4.2.2"))
    for version in ("4.6.0", "7.4.0", "8.1.0"):
        wheel(wheels, "redis", version, modules=5)
    wheel(wheels, "msgpack", "1.1.0", script="msgpack-tool")
    wheel(wheels, "cache_app", "1.0", ("redis<5",))
    environment = folder / "environment"
    subprocess.run([python_for_all(), "-m", "venv", "--without-pip", str(environment)], check=True)
    # Debian keeps the wheel elsewhere.
    wheels_of_python = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(ensurepip.__file__).parent / "_bundled"
    (bundled,) = Path(wheels_of_python).glob("pip-*.whl")
    subprocess.run(
        [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index", str(bundled)],
        check=True,
        env={"PYTHONPATH": str(bundled)},
    )
    put(environment, "channels-4.3.2", "asgiref-3.11.0")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def prefix(base: Path) -> Iterator[Path]:
    """A copy of the environment, for one test."""
    copy = base / "copy"
    shutil.copytree(base / "environment", copy, symlinks=True)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture(autouse=True)
def own_settings(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip is configured for on the machine that runs the tests has no say in them."""
    monkeypatch.setattr(environment, "TEMPORARY", str(base / "temporary"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def params_for(prefix: Path, **given: Any) -> dict[str, Any]:
    return {**DEFAULTS, "prefix": str(prefix), "find_links": [str(prefix.parent / "wheels")], **given}


def run(prefix: Path, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    return module.work(params_for(prefix, **given), check_mode)


def refused(prefix: Path, **given: Any) -> str:
    before = files_of(prefix)
    with pytest.raises(trust.Failed) as caught:
        run(prefix, **given)
    assert files_of(prefix) == before
    assert not list((prefix.parent / "temporary").iterdir())
    return str(caught.value)


LAYER = ("channels_redis-4.3.0", "msgpack-1.1.0", "redis-7.4.0")


def test_a_fresh_portal(prefix: Path) -> None:
    before = files_of(prefix)
    predicted = run(prefix, check_mode=True)
    assert files_of(prefix) == before
    answer = run(prefix)
    assert answer == {**predicted, "installed": {"channels-redis": "4.3.0", "msgpack": "1.1.0", "redis": "7.4.0"}}
    assert answer["changed"] is True
    assert answer["moves"] == [
        {"name": "channels-redis", "from": None, "to": "4.3.0"},
        {"name": "msgpack", "from": None, "to": "1.1.0"},
        {"name": "redis", "from": None, "to": "7.4.0"},
    ]
    assert answer["reasons"] == ["channels_redis is not installed", "redis is not installed"]
    assert answer["diff"]["after"] == "channels-redis==4.3.0\nmsgpack==1.1.0\nredis==7.4.0\n"
    assert (site_packages(prefix) / "redis" / "__init__.py").read_text() == "version = '7.4.0'\n"
    assert (prefix / "bin" / "msgpack-tool").exists()
    assert not list((prefix.parent / "temporary").iterdir())


def test_nothing_to_do_needs_no_pip(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(prefix, *LAYER)
    monkeypatch.setattr(environment.Environment, "pip", lambda *_: pytest.fail("pip was started"))
    answer = run(prefix, find_links=None, no_index=False)
    assert answer["changed"] is False
    assert answer["moves"] == answer["reasons"] == []
    assert answer["installed"]["redis"] == "7.4.0"


@pytest.mark.parametrize(
    ("there", "reasons"),
    [
        (LAYER, []),
        ((), ["channels_redis is not installed", "redis is not installed"]),
        (("channels_redis-4.3.0", "msgpack-1.1.0", "redis-8.1.0"), ["redis is 8.1.0, not <8,>=4.6"]),
    ],
)
def test_the_look_at_the_portal_knows_it_too(prefix: Path, there: tuple[str, ...], reasons: list[str]) -> None:
    put(prefix, *there)
    assert run(prefix, check_mode=True)["reasons"] == reasons
    me = accounts.account_of(os.geteuid()).name
    portal = portal_state.look(str(prefix), str(prefix), me, 20, DEFAULTS["requirements"])
    assert portal["lacking"] == reasons
    assert portal_state.look(str(prefix), str(prefix), me, 20)["lacking"] is None, "Nobody asked."


def test_the_look_at_the_portal_wants_a_closer_one(prefix: Path) -> None:
    me = accounts.account_of(os.geteuid()).name
    odd = "redis @ file:///redis.whl"
    portal = portal_state.look(str(prefix), str(prefix), me, 20, [odd])
    assert odd in portal["lacking"][0]
    assert odd in refused(prefix, requirements=[odd])
    shutil.rmtree(site_packages(prefix) / "pip")
    for folder in site_packages(prefix).glob("pip-*"):
        shutil.rmtree(folder)
    shutil.rmtree(site_packages(prefix) / "packaging", ignore_errors=True)
    assert "has no pip" in portal_state.look(str(prefix), str(prefix), me, 20, ["redis"])["lacking"][0]


def test_a_client_that_is_too_new(prefix: Path) -> None:
    put(prefix, "channels_redis-4.3.0", "msgpack-1.1.0", "redis-8.1.0")
    answer = run(prefix)
    assert answer["moves"] == [{"name": "redis", "from": "8.1.0", "to": "7.4.0"}]
    assert answer["reasons"] == ["redis is 8.1.0, not <8,>=4.6"]


def test_a_dependency_that_is_missing(prefix: Path) -> None:
    put(prefix, "channels_redis-4.3.0", "redis-7.4.0")
    answer = run(prefix)
    assert answer["reasons"] == ["msgpack is not installed"]
    assert answer["moves"] == [{"name": "msgpack", "from": None, "to": "1.1.0"}]


def test_an_old_portal_is_not_moved_unasked(prefix: Path) -> None:
    for name in ("channels", "asgiref"):
        remove(prefix, name)
    put(prefix, "channels-4.0.0", "asgiref-3.7.2")
    message = refused(prefix)
    assert "(asgiref 3.7.2 -> 3.11.0, channels 4.0.0 -> 4.3.2)" in message
    assert "set channels_redis_allow_moves to true" in message
    assert message.endswith("Nothing has been changed.")
    assert refused(prefix, check_mode=True) == message
    answer = run(prefix, allow_moves=True)
    assert {"name": "channels", "from": "4.0.0", "to": "4.3.2"} in answer["moves"]
    assert answer["installed"]["channels"] == "4.3.2"


def test_what_another_app_needs_is_not_broken(prefix: Path) -> None:
    put(prefix, "cache_app-1.0", "redis-4.6.0")
    message = refused(prefix, requirements=["channels_redis>=4.2", "redis>=7"])
    assert "cache-app 1.0 needs redis<5" in message
    assert run(prefix, requirements=["channels_redis>=4.2", "redis>=4.6,<8"])["installed"]["redis"] == "4.6.0"


def test_pip_that_cannot_say_what_it_would_do(prefix: Path) -> None:
    (info,) = prefix.glob("lib/python3*/site-packages/pip-*.dist-info")
    metadata = (info / "METADATA").read_text().splitlines()
    changed = ["Version: 21.3.1" if line.startswith("Version: ") else line for line in metadata]
    (info / "METADATA").write_text("\n".join(changed))
    message = refused(prefix)
    assert "pip 21.3.1" in message
    assert "-m pip install --upgrade 'pip>=22.2'" in message


def test_no_pip(prefix: Path) -> None:
    remove(prefix, "pip")
    assert "has no pip" in refused(prefix)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"requirements": ["redis>=99"]}, "No matching distribution found for redis>=99"),
        ({"requirements": ["--upgrade"]}, "'--upgrade' is no requirement"),
        ({"requirements": ["redis @ file:///tmp/redis.whl"]}, "is no requirement"),
        ({"find_links": ["/nowhere"]}, "The wheel folder /nowhere does not exist"),
        ({"index_url": "https://index.example.org/ simple"}, "index_url has an entry with a blank"),
    ],
)
def test_what_cannot_be_done(prefix: Path, given: dict[str, Any], said: str) -> None:
    assert said in refused(prefix, **given)


def test_a_prefix_without_python() -> None:
    with pytest.raises(trust.Failed, match="tethys_conda_prefix is /nowhere, where there is no bin/python"):
        run(Path("/nowhere"))


def older_redis(prefix: Path) -> None:
    """An environment with an older redis, and with a file in it that belongs to no distribution."""
    put(prefix, "redis-4.6.0")
    (site_packages(prefix) / "redis" / "by_hand.py").write_text("kept = True\n")


def test_a_failing_installation_leaves_all_as_it_was(prefix: Path) -> None:
    older_redis(prefix)
    # pip installs by name, so redis would be in place by the time it finds a file where a folder of zzz belongs.
    here = site_packages(prefix)
    (here / "zzz").write_text("in the way\n")
    wheels = prefix.parent / "more"
    wheels.mkdir(exist_ok=True)
    wheel(wheels, "zzz", "1.0")
    links = [str(prefix.parent / "wheels"), str(wheels)]
    message = refused(prefix, requirements=["channels_redis>=4.2", "redis>=7,<8", "zzz"], find_links=links)
    assert "pip install failed" in message
    assert message.endswith("The environment is as it was before.")
    (here / "zzz").unlink()
    assert run(prefix, requirements=["channels_redis>=4.2", "redis>=7,<8"])["installed"]["redis"] == "7.4.0"


def test_what_could_not_be_put_back_is_said(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older_redis(prefix)
    real_ask, real_pip = environment.Environment.ask, environment.Environment.pip

    def ask(self: environment.Environment, job: str, *args: Any, **params: Any) -> dict[str, Any]:
        return {} if job == "restore" else real_ask(self, job, *args, **params)

    def fail_late(self: environment.Environment, *arguments: str) -> None:
        real_pip(self, *arguments)
        if "--force-reinstall" in arguments:
            raise trust.Failed("It failed.")

    monkeypatch.setattr(environment.Environment, "ask", ask)
    monkeypatch.setattr(environment.Environment, "pip", fail_late)
    with pytest.raises(trust.Failed, match=r"redis was 4\.6\.0 and is 7\.4\.0"):
        run(prefix, requirements=["channels_redis>=4.2", "redis>=7,<8"])


START = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.tethys.channels.plugins.module_utils.packages import environment
from ansible_collections.tethys.channels.plugins.modules import layer_packages
environment.TEMPORARY = sys.argv[2]
with patch_module_args(json.loads(sys.argv[1])):
    layer_packages.main()
"""


def slow(prefix: Path) -> subprocess.Popen[str]:
    """The module as a program, in the middle of an installation that takes long enough to be hit there."""
    wheels = prefix.parent / "slow"
    wheels.mkdir(exist_ok=True)
    for inner in (prefix.parent / "wheels").iterdir():
        shutil.copy(inner, wheels)
    wheel(wheels, "redis", "7.5.0", modules=1500)
    given = params_for(prefix, find_links=[str(wheels)], requirements=["redis>=7.5,<8", "channels_redis>=4.2"])
    arguments = {name: value for name, value in given.items() if value is not None}
    process = subprocess.Popen(
        [sys.executable, "-c", START, json.dumps(arguments), str(prefix.parent / "temporary")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    here = site_packages(prefix)
    end = time.monotonic() + 60
    while not (here / "redis" / "m9.py").exists():
        assert time.monotonic() < end, "pip did not come so far"
        assert process.poll() is None
        time.sleep(0.005)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_leaves_all_as_it_was(prefix: Path, number: signal.Signals) -> None:
    older_redis(prefix)
    before = files_of(prefix)
    process = slow(prefix)
    process.send_signal(number)
    out, _err = process.communicate(timeout=60)
    answer = json.loads(out)
    assert answer["failed"] is True
    assert f"was interrupted ({number.name})" in answer["msg"]
    assert answer["msg"].endswith("The environment is as it was before.")
    assert files_of(prefix) == before
    assert not list((prefix.parent / "temporary").iterdir())


def test_a_killed_run_is_finished_by_the_next(prefix: Path) -> None:
    older_redis(prefix)
    process = slow(prefix)
    for path in Path("/proc").glob("[0-9]*"):
        # pip leads a separate session; with nothing left to undo it, it must be killed too.
        with contextlib.suppress(OSError, IndexError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == process.pid:
                os.kill(int(path.name), signal.SIGKILL)
    process.kill()
    process.communicate(timeout=60)
    for folder in (prefix.parent / "temporary").iterdir():
        shutil.rmtree(folder)
    here = site_packages(prefix)
    assert not list(here.glob("redis-*.dist-info/RECORD"))
    answer = run(prefix)
    assert answer["installed"]["redis"] == "7.4.0"
    assert len(list(here.glob("redis-*.dist-info"))) == 1
    assert not list(here.glob("~*"))
    assert run(prefix)["changed"] is False


@pytest.mark.parametrize("lost", ["RECORD", "METADATA", "*"])
def test_metadata_that_an_interrupted_installation_left(prefix: Path, lost: str) -> None:
    put(prefix, *LAYER)
    (info,) = site_packages(prefix).glob("redis-*.dist-info")
    for path in list(info.glob(lost)):
        path.unlink()
    answer = run(prefix)
    assert "redis is incomplete" in answer["reasons"]
    assert [move["to"] for move in answer["moves"]] == ["7.4.0"]
    assert run(prefix)["changed"] is False


def test_a_file_that_is_missing(prefix: Path) -> None:
    put(prefix, *LAYER)
    lost = site_packages(prefix) / "redis" / "m2.py"
    lost.unlink()
    answer = run(prefix)
    assert answer["moves"] == [{"name": "redis", "from": "7.4.0", "to": "7.4.0"}]
    assert lost.exists()


def test_a_time_limit(prefix: Path) -> None:
    assert "was not done within the 0 s that timeout allows" in refused(prefix, timeout=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_packages_belong_to_the_environments_owner(prefix: Path) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("there is no Python that another user can start")
    for path in [prefix, *prefix.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    run(prefix)
    assert {status[1] for status in files_of(prefix).values()} == {NOBODY}
    assert {path.lstat().st_uid for path in prefix.rglob("*.pyc")} == {NOBODY}


# --- who runs pip -----------------------------------------------------------------------------------------------------


def give(*paths: Path) -> None:
    for path in paths:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.fixture
def as_root(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of root's, in which nothing must be started."""
    if os.geteuid() != 0:
        pytest.skip("makes files of several users")
    monkeypatch.setattr(environment, "run_command", lambda *_given, **_named: pytest.fail("something was started"))
    return prefix


@pytest.mark.parametrize(
    "name", ["", "bin", "bin/python3", "lib", "lib/{}/site-packages", "lib/{}/site-packages/pip/__init__.py"]
)
def test_pip_does_not_run_as_root_where_others_can_change_it(as_root: Path, name: str) -> None:
    place = as_root / name.format(site_packages(as_root).parent.name)
    if place.is_symlink():
        place.unlink()
        shutil.copy(sys.executable, place)
    if "site-packages" in name and place.is_dir():
        place.chmod(0o757)
    else:
        give(place)
    message = refused(as_root)
    assert "its packages belong to root, and pip runs as root only where nobody else can change it, and" in message
    assert str(place) in message


@pytest.mark.parametrize(
    "name", ["pyvenv.cfg", "pip.conf", "lib/libssl.so.3", "lib/python311.zip", "lib/{}/site-packages/redis/m1.py"]
)
def test_what_root_loads_reads_or_replaces_counts(as_root: Path, name: str) -> None:
    put(as_root, "redis-4.6.0")
    place = as_root / name.format(site_packages(as_root).parent.name)
    place.touch()
    give(place)
    assert f"its owner nobody can change {place}: run `chown -h root {place}`." in refused(as_root)


def test_an_environment_in_somebodys_home_is_given_back(
    as_root: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwuid(NOBODY)
    home = pwd.struct_passwd((*nobody[:5], str(base), nobody[6]))
    monkeypatch.setattr(pwd, "getpwall", lambda: [home])
    give(base)
    try:
        message = refused(as_root)
    finally:
        os.chown(base, 0, 0)
    assert (
        f"its owner nobody can change {base}: run `chown -hR nobody: {as_root}`, after which pip runs as nobody."
        in message
    )


@pytest.mark.parametrize("name", ["bin/tool", "lib/libz.so", "lib/{}/site-packages/pip/more"])
def test_what_a_link_leads_to_counts(as_root: Path, base: Path, name: str) -> None:
    target = base / "theirs"
    target.touch()
    give(target)
    (as_root / name.format(site_packages(as_root).parent.name)).symlink_to(target)
    assert f"its owner nobody can change {target}: replace" in refused(as_root)


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder of root's for a Python, in a folder of the system where there is one."""
    if request.param == "tmp":
        yield tmp_path / "home"
        return
    if not Path(request.param).is_dir():
        pytest.skip(f"{request.param} is not there")
    folder = Path(tempfile.mkdtemp(prefix="layer_packages_home_", dir=request.param))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("home", ["tmp", "/dev/shm", "/usr/local"], indirect=True)
@pytest.mark.parametrize("theirs", ["lib/{}/os.py", "lib/{}", "lib"])
def test_the_standard_library_of_a_venv_counts(as_root: Path, home: Path, theirs: str) -> None:
    """Wherever it is, with its folders."""
    name = site_packages(as_root).parent.name
    (home / "lib" / name).mkdir(parents=True)
    (home / "lib" / name / "os.py").touch()
    place = home / theirs.format(name)
    give(place)
    (as_root / "pyvenv.cfg").write_text(f"home = {home}/bin\n")
    assert f"its owner nobody can change {place}: run `chown -h root {place}`." in refused(as_root)


def test_wheels_of_others_count(as_root: Path, base: Path) -> None:
    (base / "more").mkdir(exist_ok=True)
    theirs = wheel(base / "more", "redis", "7.5.0")
    give(theirs)
    message = refused(as_root, find_links=[str(theirs.parent)])
    assert message.startswith(f"channels_redis_find_links has {theirs.parent}: ")
    assert f"its owner nobody can change {theirs}: run `chown -h root {theirs}`." in message


def give_all(folder: Path) -> None:
    give(folder, *folder.rglob("*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
def test_root_runs_nothing_of_an_app_in_a_folder_of_its_developer(prefix: Path, base: Path) -> None:
    """Python imports sitecustomize, and pip what is optional to it, from every folder that a .pth file names."""
    app = base / "developer"
    app.mkdir(exist_ok=True)
    # The name may be anybody's; whoever writes the file is who runs it.
    ran = base / "temporary" / "ran"
    code = f"open({str(ran)!r}, 'a').write(__name__)\n"
    for name in ("sitecustomize", "usercustomize", "keyring", "brotli", "setuptools", "_distutils_hack"):
        (app / f"{name}.py").write_text(code)
        give(app / f"{name}.py")
    (app / "cache_app.egg-info").mkdir(exist_ok=True)
    (app / "cache_app.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: cache_app\nVersion: 1.0\n")
    (app / "cache_app.egg-info" / "requires.txt").write_text("redis<5\n")
    give_all(app)
    (site_packages(prefix) / "app.pth").write_text(f"# an app\n{app}\n")
    (site_packages(prefix) / "code.pth").write_text(f"import sys; {code}")
    (site_packages(prefix) / "sitecustomize.py").write_text(code)
    put(prefix, "redis-4.6.0")
    # It still counts as installed.
    assert "cache-app 1.0 needs redis<5" in refused(prefix, requirements=["channels_redis>=4.2", "redis>=7"])
    assert run(prefix)["installed"] == {"channels-redis": "4.3.0", "msgpack": "1.1.0", "redis": "4.6.0"}
    assert not ran.exists()
    assert (prefix / "bin" / "msgpack-tool").read_text().splitlines()[0] == f"#!{prefix}/bin/python"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
def test_folders_of_data_in_an_app_do_not_count(prefix: Path) -> None:
    app = site_packages(prefix) / "tethysapp" / "dam"
    for name in ("workspaces", "public"):
        (app / name).mkdir(parents=True)
        (app / name / "file").touch()
        give_all(app / name)
    assert run(prefix)["changed"] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="is about root")
def test_root_builds_no_wheel(prefix: Path, tmp_path: Path) -> None:
    """A build starts a Python that reads .pth files, and runs what the distribution says."""
    ran = tmp_path / "ran"
    source = tmp_path / "hiredis-3.0"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(ran)!r}, 'w')\n")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: hiredis\nVersion: 3.0\n")
    shutil.make_archive(str(tmp_path / "sources" / source.name), "gztar", tmp_path, source.name)
    message = refused(prefix, requirements=["hiredis"], find_links=[str(tmp_path / "sources")])
    assert "No matching distribution found for hiredis. (As root, pip takes wheels alone.)" in message
    assert not ran.exists()


def test_a_folder_on_the_way_counts(as_root: Path, base: Path) -> None:
    give(base)
    try:
        assert f"its owner nobody can change {base}" in refused(as_root)
    finally:
        os.chown(base, 0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
def test_who_owns_the_link_to_site_packages_runs_pip(prefix: Path) -> None:
    """A link of the environment's owner led root into a folder of root's."""
    here = site_packages(prefix)
    roots = prefix.parent / "roots"
    shutil.rmtree(roots, ignore_errors=True)
    here.rename(roots)
    here.symlink_to(roots)
    give(prefix, *(path for path in prefix.rglob("*") if roots not in path.resolve().parents))
    before = files_of(roots)
    assert trust.owner_of(str(here)).uid == NOBODY
    assert "The user nobody cannot write to" in refused(prefix)
    assert files_of(roots) == before
    shutil.rmtree(roots)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_gives_no_file_away(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where names can be swapped, it would be another file of root's."""
    put(prefix, *LAYER)
    give(prefix, *prefix.rglob("*"))
    for name in ("chown", "lchown", "fchown"):
        monkeypatch.setattr(os, name, lambda *_given, **_named: pytest.fail("a file was given away"))
    assert run(prefix, check_mode=True)["reasons"] == []


def test_a_mask_for_oneself_alone_does_not_hold(prefix: Path) -> None:
    mask = os.umask(0o077)
    try:
        run(prefix)
    finally:
        os.umask(mask)
    for path in (site_packages(prefix) / "channels_redis", site_packages(prefix) / "redis" / "m1.py"):
        assert path.stat().st_mode & 0o044 == 0o044


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_the_portals_user_cannot_read_is_installed_anew(prefix: Path) -> None:
    put(prefix, *LAYER)
    (site_packages(prefix) / "redis").chmod(0o700)
    assert run(prefix)["changed"] is False
    portal = portal_state.look(str(prefix), str(prefix), "nobody", 20, DEFAULTS["requirements"])
    assert portal["lacking"] == ["redis is incomplete"]
    answer = run(prefix, user="nobody")
    assert answer["reasons"] == ["redis cannot be read by the user nobody"]
    assert answer["moves"] == [{"name": "redis", "from": "7.4.0", "to": "7.4.0"}]
    assert (site_packages(prefix) / "redis").stat().st_mode & 0o055 == 0o055


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("readable", [True, False])
def test_what_setup_py_installed_is_read_by_its_modules(prefix: Path, readable: bool) -> None:
    """The lists of an .egg-info name files of the source, which do not exist."""
    put(prefix, *LAYER)
    here = site_packages(prefix)
    shutil.rmtree(here / "redis-7.4.0.dist-info")
    egg = here / "redis-7.4.0.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: redis\nVersion: 7.4.0\n")
    (egg / "SOURCES.txt").write_text("setup.py\nredis/__init__.py\ntests/test_redis.py\n")
    (egg / "top_level.txt").write_text("redis\n")
    (here / "redis").chmod(0o755 if readable else 0o700)
    reasons = run(prefix, check_mode=True, user="nobody")["reasons"]
    assert reasons == ([] if readable else ["redis cannot be read by the user nobody"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_egg_info_that_names_no_module_is_not_taken_for_readable(prefix: Path) -> None:
    put(prefix, *LAYER)
    here = site_packages(prefix)
    shutil.rmtree(here / "redis-7.4.0.dist-info")
    (here / "redis-7.4.0.egg-info").write_text("Metadata-Version: 2.1\nName: redis\nVersion: 7.4.0\n")
    assert run(prefix, check_mode=True, user="nobody")["reasons"] == ["redis cannot be read by the user nobody"]


# --- what the owner of the environment answers ------------------------------------------------------------------------


def test_a_fifo_as_report_is_no_report(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.Environment, "pip", lambda _self, *given: os.mkfifo(given[3]))
    assert "report.json is no regular file" in refused(prefix)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"reasons": [], "ansible_facts": {"ansible_python_interpreter": "/evil"}}', "has the key ansible_facts"),
        ('{"versions": {"redis": 7}}', "versions"),
        ("[" * 5000, "answer"),
        ("{", "is not JSON"),
    ],
)
def test_another_answer_is_not_taken(prefix: Path, answer: str, why: str) -> None:
    python = prefix / "bin" / "python"
    python.unlink()
    python.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    python.chmod(0o755)
    message = refused(prefix)
    assert "gave another answer" in message
    assert why in message


def test_who_may_not_write_is_told_how(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment.Environment.ask

    def ask(self: environment.Environment, job: str, *args: Any, **params: Any) -> dict[str, Any]:
        answer = real(self, job, *args, **params)
        return {**answer, "writable": False} if job == "look" else answer

    monkeypatch.setattr(environment.Environment, "ask", ask)
    assert "run the task as root (become: true)" in refused(prefix)


SECRET = "s3cr%2Fet"


def test_addresses_go_into_the_environment(tmp_path: Path) -> None:
    params = params_for(
        tmp_path,
        index_url=f"https://joe:{SECRET}@index.example.org/simple",
        extra_index_urls=["https://a.example.org", "https://b.example.org"],
        proxy=f"http://joe:{SECRET}@proxy.example.org",
        find_links=["/srv/the wheels"],
        cert="/etc/ca.pem",
    )
    env = environment.pip_environment(
        params, {"PIP_TARGET": "/elsewhere", "PIP_INDEX_URL": "https://old", "https_proxy": "x"}
    )
    assert env["PIP_INDEX_URL"] == params["index_url"]
    assert env["PIP_EXTRA_INDEX_URL"] == "https://a.example.org https://b.example.org"
    assert env["PIP_FIND_LINKS"] == "file:///srv/the%20wheels"
    assert (env["PIP_PROXY"], env["PIP_CERT"], env["PIP_NO_INDEX"]) == (params["proxy"], "/etc/ca.pem", "1")
    assert env["https_proxy"] == "x"
    assert "PIP_TARGET" not in env


def test_no_password_in_a_message(prefix: Path) -> None:
    address = f"http://joe:{SECRET}@127.0.0.1:9/simple"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_RETRIES", "1")
        message = refused(prefix, index_url=address, no_index=False, find_links=None)
    assert "Connection refused" in message
    for secret in (SECRET, "s3cr/et", "joe"):
        assert secret not in message


def test_pips_errors_are_short() -> None:
    versions = ", ".join(str(number) for number in range(500))
    output = f"Looking in indexes: x\nERROR: Could not find a version of redis>=99 (from versions: {versions})\n\n"
    assert environment.errors_of(output) == "Could not find a version of redis>=99."
    assert environment.errors_of("") == "it said nothing."
    assert len(environment.errors_of("ERROR: " + "x" * 5000)) <= 801
