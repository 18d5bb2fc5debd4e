"""Published figures are held to the digits they are printed with, by the convention they name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.accuracy import figures, peers
from benchmarks.accuracy.catalogue import models
from benchmarks.accuracy.figures import BIASES, RECURRENT, ROUNDING, Published, Step, way_to

OURS = {"convolutions": 1_000_000_000, "matrix products": 500_000_000}


@pytest.mark.parametrize(
    ("printed", "ours", "steps", "rest"),
    [
        ("1.5", 1_500_000_000, [], 0),
        ("1.5", 1_549_999_999, [Step(ROUNDING, -49_999_999)], 0),
        ("1.5", 1_550_000_000, [Step(ROUNDING, -50_000_000)], 0),
        ("1.5", 1_550_000_001, [], -50_000_001),
        ("1.50", 1_495_000_000, [Step(ROUNDING, 5_000_000)], 0),
        ("1.50", 1_494_999_999, [], 5_000_001),
        ("2", 1_500_000_000, [Step(ROUNDING, 500_000_000)], 0),
    ],
)
def test_half_a_unit_of_the_last_digit_is_rounding_and_more_is_unexplained(printed, ours, steps, rest):
    assert way_to(Published(printed, "matrix", "x"), {"convolutions": ours}, {}) == (steps, rest)


def test_what_others_count_beside_is_named():
    beside = {"batch_norm": 40_000_000, "conv": 1_000_000_000, "adaptive_avg_pool2d": 2_000_000}
    steps, rest = way_to(Published("1.542", "norms", "x"), OURS, beside)
    assert steps == [Step("counts adaptive_avg_pool2d", 2_000_000), Step("counts batch_norm", 40_000_000)]
    assert rest == 0


def test_recurrent_layers_that_they_leave_out_are_named():
    steps, rest = way_to(Published("1.5", "norms", "x"), {**OURS, RECURRENT: 700_000_000}, {})
    assert steps == [Step(f"leaves out {RECURRENT}", -700_000_000)]
    assert rest == 0


def test_a_figure_with_biases_is_met_to_the_operation():
    steps, rest = way_to(Published("1.500000010", "biases", "x"), OURS, {BIASES: 10})
    assert steps == [Step(f"counts {BIASES}", 10)]
    assert rest == 0
    assert way_to(Published("1.500000010", "biases", "x"), OURS, {BIASES: 11})[1] == -1


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="no such convention"):
        way_to(Published("1", "guess", "x"), OURS, {})


def test_each_published_figure_belongs_to_a_model_and_a_known_convention():
    lines = figures.TABLE.read_text(encoding="utf-8").splitlines()[1:]
    names = {line.partition(",")[0] for line in lines}
    assert names <= models().keys()
    found = [figure for name in names for _, figure in figures.published(name)]
    assert len(found) == len(lines) >= 25
    for figure in found:
        way_to(figure, OURS, {})
        assert figure.source


def test_a_module_is_measured_in_multiply_adds():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5))
    image = torch.randn(1, 3, 6, 6)
    assert peers.forward_macs(module, image) == {"convolutions": 16 * 4 * 27, "matrix products": 64 * 5}
    beside = peers.work_beside(module, image)
    assert beside[BIASES] == 5
    assert beside["batch_norm"] > 0
