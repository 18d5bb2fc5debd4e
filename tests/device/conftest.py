"""The kernels on the host: the same sources, compiled by g++ with the words that CUDA adds to C++ defined otherwise."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from auditor.resources import tree

HERE = Path(__file__).resolve().parent
KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(')


class OnCpu:
    """A source file of ``kernels/``, each of its kernels to be run by `run`."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def run(self, kernel: str, *words: int, grid: int = 1, block: int = 1) -> None:
        """Run a kernel of so many blocks and threads; its arguments are whole numbers, addresses among them."""
        packed = (ctypes.c_ulonglong * len(words))(*(word & 2**64 - 1 for word in words))
        self._library[f"run_{kernel}"](grid, block, packed)


@pytest.fixture(scope="session")
def on_cpu(tmp_path_factory) -> Callable[[str], OnCpu]:
    """Compiles a source file of ``kernels/`` for the host."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    folder = tmp_path_factory.mktemp("on_cpu")

    @cache
    def compiled(name: str) -> OnCpu:
        source = tree("kernels") / name
        program = folder / f"{name}.cpp"
        runs = "".join(f"RUN_ON_CPU({kernel})\n" for kernel in KERNEL.findall(source.read_text(encoding="utf-8")))
        program.write_text(f'#include "on_cpu.h"\n#include "{source}"\n{runs}', encoding="utf-8")
        options = ["-std=c++17", "-O1", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-shared", "-fPIC", f"-I{HERE}"]
        library = folder / f"{name}.so"
        made = subprocess.run(
            ["g++", *options, "-o", str(library), str(program)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return OnCpu(library)

    return compiled
