# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record each playbook run of a test step, and let the runs share the modules that Ansible packs.

Packing modules with their module_utils takes a quarter of a run's CPU time on the controller. Ansible keeps what it has
packed until the run ends; here the next run of the same collection finds it, and with it each module's bytecode:
to compile it takes half of a module's start on the server. Ansible keeps no bytecode of a collection's plugins and of
Jinja's templates either; here the next run finds that, too.

Ansible also starts a process for each task, and in each imports the collection's Python, and reads the plugins by which
it reaches the server with their documentation; here they inherit it. Each of these processes would also collect garbage
among all objects of the run, which takes half of its CPU time; a run is over before memory is short.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import gc
import hashlib
import importlib
import importlib.util
import inspect
import io
import marshal
import os
import pkgutil
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from ansible import constants, release
from ansible.executor import module_common
from ansible.plugins import loader, strategy
from ansible.plugins.callback import CallbackBase
from ansible.utils.collection_loader import _collection_finder

try:
    from ansible._internal._templating import _jinja_bits as jinja_bits
except ImportError:
    # Before ansible-core 2.19.
    jinja_bits = None

COLLECTION = "ansible_collections.tethys.channels"

DOCUMENTATION = """
name: playbook_runs
type: aggregate
short_description: Record each playbook run of a test step
description:
  - Writes a line for each playbook run into the file that E(TETHYS_TEST_RUNS) names.
  - The line has the run's seconds, its CPU seconds with those of its modules on the server, and its playbook.
  - Keeps packed modules in the folder that E(TETHYS_TEST_MODULES) names, by the content of the installed collection.
author:
  - tethys.channels contributors
"""


def kept_for_collection(folder: Path) -> Path | None:
    """Return the folder for what is kept of the installed collection, or None if it is not a built one."""
    try:
        collection = importlib.import_module(COLLECTION)
        # Only a built collection has this file: the checksums of all others.
        content = (Path(next(iter(collection.__path__))) / "FILES.json").read_bytes()
    except (ImportError, OSError):
        return None
    kept = folder / hashlib.sha256(content).hexdigest()[:16]
    kept.mkdir(parents=True, exist_ok=True)
    return kept


def share_modules(kept: Path) -> None:
    """Have this run use the packed modules of earlier runs with the same installed collection."""
    (Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache").symlink_to(kept)


class Code:
    """The bytecode of the collection's plugins, from run to run."""

    def __init__(self, kept: Path) -> None:
        # It holds the paths of its sources, which tracebacks show.
        place = hashlib.sha256(str(sys.modules[COLLECTION].__path__).encode()).hexdigest()[:16]
        self.file = kept / f"{sys.implementation.cache_tag}-{place}"
        try:
            self.known: dict[str, Any] = marshal.loads(self.file.read_bytes())  # noqa: S302 - an earlier run wrote it
        except (OSError, EOFError, ValueError):
            self.known = {}
        self.before = len(self.known)

    def share(self) -> None:
        """Have Ansible take what is known, and note what it compiles."""
        importer = _collection_finder._AnsibleCollectionPkgLoaderBase
        get_code = importer.get_code

        def known_code(module: Any, name: str) -> Any:
            if name.startswith(f"{COLLECTION}.plugins.") and module._compiled_code is None:
                module._compiled_code = self.known.get(name)
            code = get_code(module, name)
            if name.startswith(f"{COLLECTION}.plugins.") and code is not None:
                self.known[name] = code
            return code

        importer.get_code = known_code

    def keep(self) -> None:
        """Write what is known now."""
        if len(self.known) > self.before:
            fresh = self.file.with_name(f"{self.file.name}.{os.getpid()}")
            fresh.write_bytes(marshal.dumps(self.known))
            fresh.rename(self.file)


class Templates:
    """The bytecode of Jinja's templates, a file for each, from run to run."""

    def __init__(self, kept: Path) -> None:
        versions = "-".join([sys.implementation.cache_tag, jinja2.__version__, release.__version__])
        self.folder = kept / f"templates-{versions}"
        self.folder.mkdir(exist_ok=True)
        # The file of the expression that is being compiled.
        self.expression: Path | None = None

    def file(self, environment: Any, kind: str, source: str) -> Path:
        """Return the file for a template's bytecode, which depends on the text and on how Jinja is to read it."""
        context = jinja_bits._TemplateCompileContext.current(optional=True)
        settings = [getattr(environment, name) for name in jinja_bits._TEMPLATE_OVERRIDE_FIELD_NAMES]
        about = [kind, str(source), bool(context and context.escape_backslashes), settings]
        return self.folder / hashlib.sha256(repr(about).encode()).hexdigest()

    def read(self, file: Path) -> Any:
        """Return the bytecode, or None if no run has kept it yet."""
        try:
            return marshal.loads(file.read_bytes())  # noqa: S302 - an earlier run wrote it
        except (OSError, EOFError, ValueError):
            return None

    def write(self, file: Path, code: Any) -> None:
        """Keep bytecode."""
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        fresh.write_bytes(marshal.dumps(code))
        fresh.rename(file)

    def share(self) -> None:
        """Have Ansible take what is known, and keep what it compiles."""
        environments = jinja_bits.AnsibleEnvironment
        compile_any, compile_an_expression = environments.compile, environments.compile_expression

        def known_code(environment: Any, source: Any, *given: Any, **named: Any) -> Any:
            """As `Environment.compile`: of a text, or of what an expression was parsed to."""
            is_text = isinstance(source, str) and not given and not named
            file = self.file(environment, "text", source) if is_text else self.expression
            code = self.read(file) if file and is_text else None
            if code is None:
                code = compile_any(environment, source, *given, **named)
                if file:
                    self.write(file, code)
            return code

        def known_expression(environment: Any, source: str, undefined_to_none: bool = True) -> Any:
            """As `Environment.compile_expression`."""
            file = self.file(environment, "expression", source)
            code = self.read(file)
            if code is not None:
                kind, variables = environment.template_class, environment.make_globals(None)
                template = kind.from_code(environment, code, variables, None)
                return jinja2.environment.TemplateExpression(template, undefined_to_none)
            self.expression = file
            try:
                return compile_an_expression(environment, source, undefined_to_none)
            finally:
                self.expression = None

        environments.compile, environments.compile_expression = known_code, known_expression


def with_bytecode(packed: bytes) -> bytes:
    """Return a packed module that holds the bytecode of its files, too.

    A Python of another version finds that it is not its own, and compiles as ever.
    """
    old, content = zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))), io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            source = old.read(entry)
            new.writestr(entry, source)
            if entry.filename.endswith(".py"):
                code = compile(source, entry.filename, "exec", dont_inherit=True)
                # The second word: the source is not checked.
                head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
                new.writestr(f"{entry.filename}c", head + marshal.dumps(code))
    return base64.b64encode(content.getvalue())


def keep_bytecode() -> None:
    """Have Ansible keep packed modules with their bytecode; before ansible-core 2.19 it keeps them in another way."""
    kept = getattr(module_common, "_CachedModule", None)
    if kept is None:
        return
    dump = kept.dump

    def dump_with_bytecode(module: Any, path: str) -> None:
        dump(dataclasses.replace(module, zip_data=with_bytecode(module.zip_data)), path)

    kept.dump = dump_with_bytecode


def import_plugins() -> None:
    """Import what the collection's filters and actions are made of, before the first process for a task starts.

    What they read once of the collection's own files is read here too.
    """
    for kind in ("action", "filter", "plugin_utils"):
        try:
            package = importlib.import_module(f"{COLLECTION}.plugins.{kind}")
        except ImportError:
            continue
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for kept in vars(module).values():
                if hasattr(kept, "cache_info") and not inspect.signature(kept).parameters:
                    kept()


def read_plugins() -> None:
    """Read what each process for a task would read again: the plugins by which it reaches the server, and Jinja's."""
    for name in ("community.docker.docker", "local", "ssh"):
        loader.connection_loader.get(name, class_only=True)
    loader.shell_loader.get("sh", class_only=True)
    loader.become_loader.get("sudo", class_only=True)
    loader.filter_loader.get("ansible.builtin.combine")
    loader.test_loader.get("ansible.builtin.match")


def wait_for_results() -> None:
    """Have Ansible wait until a task has a result, where it looks for one 100 times a second.

    Where all its processes are busy it looks for the end of one 5,000 times a second; here 100 times.
    """
    arrived = threading.Event()

    class Results(collections.deque[Any]):
        def append(self, result: Any) -> None:
            super().append(result)
            arrived.set()

    def sleep(seconds: float) -> None:
        if seconds < constants.DEFAULT_INTERNAL_POLL_INTERVAL:
            time.sleep(constants.DEFAULT_INTERNAL_POLL_INTERVAL)
        else:
            # It continues after half a second anyway, in case the process died.
            arrived.wait(0.5)
            arrived.clear()

    vars(strategy).update(deque=Results, time=SimpleNamespace(sleep=sleep))


class CallbackModule(CallbackBase):
    """Record each playbook run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "playbook_runs"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Record when the run started."""
        self.started = time.monotonic()
        self.playbook = Path(playbook._file_name).name
        folder = os.environ.get("TETHYS_TEST_MODULES")
        kept = kept_for_collection(Path(folder)) if folder else None
        self.code = Code(kept) if kept else None
        if kept and self.code:
            share_modules(kept)
            keep_bytecode()
            self.code.share()
            if jinja_bits:
                Templates(kept).share()
        if "tethys" in str(playbook._file_name):
            import_plugins()
        read_plugins()
        wait_for_results()
        gc.freeze()
        gc.disable()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the line."""
        if self.code:
            self.code.keep()
        with Path(os.environ["TETHYS_TEST_RUNS"]).open("a", encoding="utf-8") as stream:
            # What this process used since it started, and those for its tasks.
            cpu = sum(os.times()[:4])
            stream.write(f"{time.monotonic() - self.started:.1f} {cpu:.1f} {self.playbook}\n")
