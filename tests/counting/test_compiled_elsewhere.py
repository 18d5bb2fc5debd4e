"""Compiled code that another process made: from torch's caches, and in AOTInductor's packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import auditor
from auditor.operations import MATRIX_FAMILIES

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

PROGRAM = """
import contextlib, json, sys
import torch
import torch._inductor.config
from torch import nn
from torch._dynamo.utils import counters
import auditor
torch._inductor.config.cpp.simdlen = 0  # code without vectors compiles in half the time

torch.manual_seed(0)
model = torch.compile(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)))
with auditor.count() if sys.argv[1] == "audited" else contextlib.nullcontext() as count:
    model(torch.randn(3, 4)).square().mean().backward()
told = {"traced anew": counters["aot_autograd"]["autograd_cache_miss"],
        "traces found": counters["aot_autograd"]["autograd_cache_hit"],
        "code made": counters["inductor"]["fxgraph_cache_miss"]}
if count is not None:
    told |= {"phases": count.operations.by_phase, "unpriced": count.unpriced}
print(json.dumps(told))
"""


def run(cache, audited, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "audited" if audited else "bare"],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("bundled", ["0", "1"], ids=["each cache for itself", "bundled"])
def test_a_fresh_process_counts_what_it_finds_in_the_caches(tmp_path, bundled):
    first = run(tmp_path, True, TORCHINDUCTOR_BUNDLED_AUTOGRAD_CACHE=bundled)
    second = run(tmp_path, True, TORCHINDUCTOR_BUNDLED_AUTOGRAD_CACHE=bundled)
    assert first["traced anew"] == second["traces found"] == 1
    assert second["traced anew"] == second["code made"] == 0
    assert second["phases"] == first["phases"]
    assert first["phases"]["forward"] > 0 < first["phases"]["backward"]
    assert second["unpriced"] == {}


def test_what_was_cached_without_the_auditor_is_traced_again_but_not_compiled_again(tmp_path):
    bare = run(tmp_path, False)
    audited, again = run(tmp_path, True), run(tmp_path, True)
    assert bare["code made"] == 2
    assert (audited["traced anew"], audited["code made"]) == (1, 0)
    assert (again["traced anew"], again["traces found"]) == (0, 1)
    assert again["phases"] == audited["phases"]
    assert again["unpriced"] == audited["unpriced"] == {}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)).eval()


def products(count) -> int:
    return count.operations.select(families=MATRIX_FAMILIES).executed_ops


def exported(model):
    return torch.export.export(model, (torch.randn(3, 4),), dynamic_shapes=({0: torch.export.Dim("rows", max=64)},))


def test_an_exported_program_counts_as_the_model(model):
    program = exported(model).module()
    with torch.no_grad(), auditor.count() as count:
        program(torch.randn(5, 4))
    assert products(count) == 2 * 5 * (4 * 8 + 8 * 4)
    assert count.unpriced == {}


def test_a_package_counts_by_the_description_that_it_takes_along(model, tmp_path):
    program = exported(model)
    with torch.no_grad():
        with auditor.count() as compiling:
            path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "with.pt2"))
        package = torch._inductor.aoti_load_package(path)
        with auditor.count() as count:
            package(torch.randn(5, 4))
            package(torch.randn(7, 4))
    assert products(compiling) == 0
    assert products(count) == 2 * (5 + 7) * (4 * 8 + 8 * 4)
    assert count.unpriced == {}


def test_a_package_made_without_the_auditor_is_named_at_each_call(model, tmp_path):
    path = torch._inductor.aoti_compile_and_package(exported(model), package_path=str(tmp_path / "without.pt2"))
    package = torch._inductor.aoti_load_package(path)
    with torch.no_grad(), auditor.count() as count:
        package(torch.randn(5, 4))
        package(torch.randn(7, 4))
    assert count.unpriced == {"torch.compile::undescribed_package": 2}
