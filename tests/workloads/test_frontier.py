"""One rank of each kind, times their number, is the closed form of a step over all ranks: to the operation.

What is traced has the published widths of a 405B dense model and of a 671B mixture of experts, in four stages, with a
layer where that is enough; `make frontier` traces all layers in sixteen. The form is worked out here, from sizes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)  # a process for each kind of rank, on a machine that may be busy


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> list[dict]:
    """What was traced: what `make frontier` left, where that asks, else a small one with layers checkpointed."""
    if done := os.environ.get("FRONTIER_TRACED"):
        return json.loads(Path(done).read_text())
    place = tmp_path_factory.mktemp("frontier") / "traced.json"
    short = ["--layers=1", "--stages=4", "--checkpointing=with", f"--json={place}"]
    command = [sys.executable, str(ROOT / "benchmarks" / "frontier.py"), *short]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=890, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(place.read_text())


def documents(traced: list[dict], model: str) -> list[dict]:
    found = [document for document in traced if document["model"] == model]
    assert found
    return found


def over_all_ranks(document: dict) -> dict[tuple[str, str], list[int]]:
    """By phase and family: algorithmic, repeated and skippable operations of the step."""
    found: dict[tuple[str, str], list[int]] = {}
    for kind in document["kinds"]:
        assert not kind["unpriced"]
        for phase, family, _, _, *amounts in kind["operations"]:
            sums = found.setdefault((phase, family), [0, 0, 0])
            for place, amount in enumerate(amounts):
                sums[place] += int(amount) * kind["ranks"]
    return found


@dataclass
class Form:
    """What every token and every pair of tokens costs, summed over layers; a multiply-add is 2."""

    sequences: int  # of a step
    context: int
    products: int  # weights that a token meets
    products_again: int  # of them, those that a checkpointed layer meets once more
    head: int
    keys: int  # widths of queries and keys over all heads and layers
    values: int

    def matmul(self, checkpointing: bool) -> dict[str, int]:
        """Forward each weight once; backward once for the input's gradient and once for its own."""
        tokens = self.sequences * self.context
        forward = 2 * tokens * (self.products + self.head)
        again = 2 * tokens * self.products_again if checkpointing else 0
        return {"forward": forward, "backward": 2 * forward, "recompute": again}

    def attention(self, checkpointing: bool) -> dict[str, list[int]]:
        """Forward scores and mixes; backward twice that, and the scores again. Pairs above the diagonal are masked."""
        pairs, masked = self.context**2, self.context * (self.context - 1) // 2
        one = 2 * (self.keys + self.values) * self.sequences
        forward = [one * pairs, 0, one * masked]
        backward = [2 * one * pairs, 2 * self.keys * pairs * self.sequences, 2 * one * masked]
        return {"forward": forward, "backward": backward, "recompute": forward if checkpointing else [0, 0, 0]}


def dense(layers: int, stages: int) -> Form:
    d, key_width, hidden, vocabulary = 16384, 8 * 128, 53248, 128256
    layer = d * d + 2 * d * key_width + d * d + 3 * d * hidden
    # A recomputation stops at the last tensor that is needed: nobody needs what the layer's last product gives.
    again = layers * (layer - hidden * d)
    return Form(128 * stages, 8192, layers * layer, again, d * vocabulary, layers * d, layers * d)


def mixture(layers: int, stages: int) -> Form:
    dense_layers, routed_layers = 3, layers - 3
    d, heads, key_width, value_width = 7168, 128, 128 + 64, 128
    attention = d * 1536 + 1536 * heads * key_width + d * (512 + 64) + 512 * heads * (128 + value_width)
    attention += heads * value_width * d
    plain = 3 * d * 18432
    routed = d * 256 + (8 + 1) * 3 * d * 2048  # the router, eight experts and the shared one
    products = layers * attention + dense_layers * plain + routed_layers * routed
    # In a layer of experts what is needed last, the experts' rows before they are weighed, comes after all products.
    again = products - dense_layers * 18432 * d
    keys, values = layers * heads * key_width, layers * heads * value_width
    return Form(128 * stages, 4096, products, again, d * 129280, keys, values)


DENSE, MIXTURE = "405B dense", "671B mixture of experts"
FORMS = {DENSE: (dense, 128 * 8), MIXTURE: (mixture, 128)}


@pytest.mark.parametrize("model", FORMS)
def test_rank_times_world_is_the_closed_form(traced, model):
    worked_out, ranks_of_a_stage = FORMS[model]
    for document in documents(traced, model):
        stages = document["stages"]
        form, world = worked_out(document["layers"], stages), stages * ranks_of_a_stage
        assert (document["world"], document["sequences"]) == (world, form.sequences)
        assert sum(kind["ranks"] for kind in document["kinds"]) == world
        found = over_all_ranks(document)
        nothing = [0, 0, 0]
        for phase, ops in form.matmul(document["checkpointing"]).items():
            assert found.get((phase, "matmul"), nothing) == [ops, 0, 0], phase
        for phase, amounts in form.attention(document["checkpointing"]).items():
            assert found.get((phase, "attention"), nothing) == amounts, phase


def test_the_update_costs_twelve_an_element_wherever_its_shard_lies(traced):
    d, hidden, vocabulary = 16384, 53248, 128256
    for document in documents(traced, DENSE):
        layers = document["layers"]
        cut = layers * (2 * d * d + 2 * d * 1024 + 3 * d * hidden) + 2 * vocabulary * d
        norms = (layers * 2 + 1) * d  # which each of the eight tensor-parallel ranks has whole
        if layers == 126:
            assert cut + norms == 405_853_388_800  # as published
        # Each parameter of each rank counts its own steps: nine in a layer, one embedding, a norm and a head.
        steps = (layers * 9 + 1 + 2) * 128 * 8
        assert over_all_ranks(document)["optimizer", "optimizer"] == [12 * (cut + 8 * norms) + steps, 0, 0]


def test_of_the_mixture_every_parameter_is_updated_once(traced):
    d = 7168
    attention = d * 1536 + 1536 * 128 * 192 + d * 576 + 512 * 128 * 256 + 128 * 128 * d
    norms = 2 * d + 1536 + 512
    for document in documents(traced, MIXTURE):
        layers = document["layers"]
        routed = layers - 3
        parameters = layers * (attention + norms) + 3 * 3 * d * 18432 + 2 * 129280 * d + d
        parameters += routed * (d * 256 + (256 + 1) * 3 * d * 2048)
        steps = (layers * 9 + 3 * 3 + routed * 7 + 1 + 2) * 128
        assert over_all_ranks(document)["optimizer", "optimizer"] == [12 * parameters + steps, 0, 0]


def test_uneven_routing_moves_work_between_ranks_and_adds_none(traced):
    for document in documents(traced, MIXTURE):
        work = {
            kind["name"]: sum(int(row[4]) for row in kind["operations"] if row[1] == "matmul")
            for kind in document["kinds"]
        }
        busy, idle = work["second stage, busy experts"], work["second stage, idle experts"]
        assert busy > idle
        assert busy + idle == 2 * work["other stages"]
