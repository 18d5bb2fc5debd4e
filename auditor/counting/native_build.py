"""The native tally as a loaded library: built once for a version of torch and of Python, then found in the cache."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from auditor.console import say
from auditor.errors import NativeUnavailable

NAME = "auditor_native_tally"
_FOLDER = Path(__file__).parent
SOURCES = tuple(_FOLDER / name for name in ("native_tally.cpp", "native_ending.cpp"))
HEADERS = (_FOLDER / "native_ending.h",)
LIMIT_S = 240.0
_LONGEST_REASON = 300
# Built, loaded and tried where a failure, a hang or a crash is nobody else's. Without NDEBUG torch's headers assert.
_PROGRAM = """
import sys, torch
from torch.utils import cpp_extension
name, folder, *sources = sys.argv[1:]
library = cpp_extension.load(name, sources, extra_cflags=["-O2", "-g0", "-DNDEBUG"], build_directory=folder)
library.start(lambda what: None, lambda *call: False)
library.wrap([("aten::mm", 1)], False)
library.set_active(True)
torch.mm(torch.ones(2, 3), torch.ones(3, 4))
if [row[3] for row in library.drain()] != [1]:
    sys.exit("error: the library was built, and does not count")
"""


@cache
def load(limit_s: float = LIMIT_S) -> ModuleType:
    """The library, built where it is not yet.

    Raises: NativeUnavailable: there is no compiler, building failed or took longer than ``limit_s``, or the library
    does not load.
    """
    path = build(limit_s)
    try:
        loader = importlib.machinery.ExtensionFileLoader(NAME, str(path))
        spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
        assert spec is not None  # noqa: S101 - there is a loader
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except (ImportError, OSError) as error:
        raise NativeUnavailable(f"the native counter does not load: {error}") from error
    return module


def built_path() -> Path:
    """Where the library for this torch, this Python and this source lies or will lie."""
    source = hashlib.sha256(b"\0".join(path.read_bytes() for path in (*SOURCES, *HEADERS))).hexdigest()[:16]
    version = f"torch-{torch.__version__}-{sysconfig.get_config_var('SOABI')}-{platform.machine()}-{source}"
    return _cache_folder() / version / f"{NAME}.so"


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "auditor" / "native"


def build(limit_s: float = LIMIT_S) -> Path:
    """The library's path, with the library there; one process builds, others wait for it.

    Raises: NativeUnavailable.
    """
    try:
        path = built_path()
        if is_whole(path):
            return path
        _look_for_tools()
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline_s = time.monotonic() + limit_s
        with _lock(path.with_suffix(".lock"), deadline_s):
            if not is_whole(path):
                _compile(path, deadline_s)
    except (OSError, RuntimeError) as error:
        raise NativeUnavailable(f"the native counter cannot be built: {error}") from error
    return path


def is_whole(path: Path) -> bool:
    """Whether the library is there, as it was built: a damaged one would end the process that loads it."""
    try:
        return _digest_path(path).read_text(encoding="ascii") == hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return False


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _look_for_tools() -> None:
    """What building needs is on the search path; else an error that names it."""
    wanted = os.environ.get("CXX") or "c++"
    if shutil.which(wanted.split()[0], path=_search_path()) is None:
        where = "as CXX says" if os.environ.get("CXX") else "on PATH, and CXX names none"
        raise NativeUnavailable(f"the native counter cannot be built: no C++ compiler {wanted!r} {where}")
    if shutil.which("ninja", path=_search_path()) is None:
        raise NativeUnavailable("the native counter cannot be built: no ninja on PATH (pip install ninja)")


@contextlib.contextmanager
def _lock(path: Path, deadline_s: float) -> Iterator[None]:
    with path.open("w", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise NativeUnavailable("another process has been building it for too long") from None
                time.sleep(0.2)
        yield


def _compile(path: Path, deadline_s: float) -> None:
    """Torch's own extension loader, in a process of its own: what it prints or breaks is its own."""
    folder = path.parent / f"build-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    say("building the native counter for this torch, once (about half a minute)")
    try:
        _run([sys.executable, "-c", _PROGRAM, NAME, str(folder), *map(str, SOURCES)], deadline_s)
        built = folder / f"{NAME}.so"
        with built.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.sha256(file.read()).hexdigest()
        built.replace(path)
        _digest_path(path).write_text(digest, encoding="ascii")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], deadline_s: float) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDITOR_")}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment, "MAX_JOBS": "1", "PATH": _search_path()},
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=max(1.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise NativeUnavailable("building the native counter took too long, and was given up") from None
    if process.returncode != 0:
        raise NativeUnavailable(f"the native counter cannot be built: {_reason(output.decode(errors='replace'))}")


def _search_path() -> str:
    """The interpreter's own folder first: ninja may be installed beside it."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["the compiler said nothing"]
    return next((line for line in lines if "error: " in line), lines[-1])[:_LONGEST_REASON].rstrip(".")
