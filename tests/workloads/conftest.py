"""What the tests of the workload share: the script as a file, as a module, and run at a tiny size."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "workloads" / "train_gpt.py"
TINY = (
    "--layers=2",
    "--heads=2",
    "--width=32",
    "--context=32",
    "--batch=4",
    "--accumulate=1",
    "--device=cpu",
)


@pytest.fixture(scope="session")
def script() -> Path:
    return SCRIPT


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    return TINY


@pytest.fixture(scope="session")
def train_gpt() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_gpt", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_script(train_gpt, tiny, capsys):
    """Run the workload at a tiny size; answers with its printed lines."""

    def run(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert train_gpt.main([*tiny, *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def benchmark(script: Path, monkeypatch):
    """A module of the benchmark, by its name."""
    monkeypatch.syspath_prepend(str(script.parents[1]))
    names = {path.stem for path in script.parents[1].glob("*.py")} | {"workloads", "workloads.train_gpt"}
    for name in names & sys.modules.keys():
        monkeypatch.delitem(sys.modules, name)
    yield importlib.import_module
    for name in names & sys.modules.keys():
        del sys.modules[name]
