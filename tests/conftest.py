"""What every room's tests share: the real workload, and a signing key of their own."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Machines that run the tests are shared: how long an example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def workload_path() -> Path:
    """The training script that the README, the tests and the benchmarks share."""
    return ROOT / "benchmarks" / "workloads" / "train_gpt.py"


@pytest.fixture(scope="session")
def train_gpt(workload_path: Path) -> ModuleType:
    """The same script as a module."""
    spec = importlib.util.spec_from_file_location("train_gpt", workload_path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_gpt"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the key of whoever runs it."""
    monkeypatch.setenv("AUDITOR_KEY", str(tmp_path_factory.mktemp("key") / "key.pem"))


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    """What one test compiles is not there for the next: neither torch's caches, nor what was seen of it."""
    yield
    utils = sys.modules.get("torch._dynamo.utils")
    if utils is not None and utils.counters:
        sys.modules["torch"]._dynamo.reset()  # type: ignore[attr-defined]
        utils.counters.clear()
    compiled = sys.modules.get("auditor.counting.compiled")
    if compiled is not None:
        compiled._unseen.clear()


@pytest.fixture(scope="session")
def samples() -> list[Any]:
    """Torch's own list of operators with sample inputs; it imports a test library and needs only its name."""
    stand_in = types.ModuleType("expecttest")
    stand_in.TestCase = __import__("unittest").TestCase  # type: ignore[attr-defined]
    added = sys.modules.setdefault("expecttest", stand_in) is stand_in
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from torch.testing._internal import common_utils
            from torch.testing._internal.common_methods_invocations import op_db
            from torch.testing._internal.opinfo import core
        except ImportError as error:
            pytest.skip(f"torch's own samples cannot be imported: {error}")
        finally:
            if added:
                del sys.modules["expecttest"]
    # For each sample torch would walk the stack in search of its own kind of test: a tenth of a second under pytest.
    common_utils.extract_test_fn = core.extract_test_fn = lambda: None
    return op_db
