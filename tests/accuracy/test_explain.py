"""Every operation by which FlopCounterMode differs from a tally has a reason, or is said to have none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import auditor
from auditor.tally import Signature
from benchmarks.accuracy import peers
from benchmarks.accuracy.catalogue import models
from benchmarks.accuracy.explain import (
    GROUPS,
    NO_FORMULA,
    against_flop_counter,
    flop_counter_ops,
)
from benchmarks.accuracy.steps import counted, step_of, subject_of

OWN = sorted(name for name, model in models().items() if model.library == "torch")


def tally_of(step):
    with auditor.count() as count:
        step()
    return count.tally


def theirs_of(step):
    with FlopCounterMode(display=False) as counter:
        step()
    return {packet._qualified_op_name: ops for packet, ops in counter.get_flop_counts().get("Global", {}).items()}


@pytest.mark.parametrize("name", OWN)
def test_nothing_is_left_unexplained(name):
    model = models()[name]
    step = step_of(subject_of(model))
    with counted() as count:
        step()
    comparison = against_flop_counter(count.tally, peers.flop_counter(model))
    assert comparison.unexplained_ops == 0
    assert comparison.ours_ops > 0
    apart = sum(each.theirs_ops - each.ours_ops for each in comparison.differences)
    assert apart == comparison.theirs_ops - comparison.ours_ops


def test_a_depthwise_weight_gradient_is_too_much_by_the_channels():
    x = torch.randn(2, 8, 6, 6, requires_grad=True)
    layer = nn.Conv2d(8, 8, 3, groups=8)

    def step():
        layer(x).sum().backward()

    comparison = against_flop_counter(tally_of(step), theirs_of(step))
    (row,) = comparison.differences
    one_ops = 2 * 2 * 4 * 4 * 8 * 9  # the forward pass, and each gradient
    assert (row.operator, row.why) == ("aten::convolution_backward", GROUPS)
    assert (row.ours_ops, row.theirs_ops) == (2 * one_ops, one_ops + 8 * one_ops)


def test_attention_on_a_cpu_and_products_with_vectors_have_no_formula_there():
    q, vector = torch.randn(1, 2, 8, 4), torch.randn(8)

    def step():
        nn.functional.scaled_dot_product_attention(q, q, q)
        torch.mv(torch.ones(3, 8), vector)

    comparison = against_flop_counter(tally_of(step), theirs_of(step))
    assert {each.operator: each.why for each in comparison.differences} == {
        "aten::_scaled_dot_product_flash_attention_for_cpu": NO_FORMULA,
        "aten::mv": NO_FORMULA,
    }
    assert comparison.ours_ops == 4 * 2 * 8 * 8 * 4 + 2 * 3 * 8


@pytest.mark.parametrize("error_ops", [-2, 2, 1000])
def test_what_no_formula_answers_for_is_unexplained(error_ops):
    def step():
        torch.ones(3, 4) @ torch.ones(4, 5)

    theirs = {"aten::mm": 2 * 3 * 4 * 5 + error_ops}
    comparison = against_flop_counter(tally_of(step), theirs)
    assert comparison.unexplained_ops == abs(error_ops)
    assert [each.why for each in comparison.differences] == [""]


def test_an_operator_that_only_they_counted_is_unexplained():
    comparison = against_flop_counter(tally_of(lambda: None), {"mine::op": 7})
    assert comparison.unexplained_ops == comparison.theirs_ops == 7
    assert comparison.ours_ops == 0


def test_an_operator_that_torch_does_not_know_is_nothing_to_them():
    assert flop_counter_ops(Signature("mine::unheard_of", "[]")) == 0


@settings(max_examples=25, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    dimensions=st.integers(1, 3),
    stride=st.integers(1, 2),
    transposed=st.booleans(),
    needs_input=st.booleans(),
)
def test_every_convolution_is_explained(groups, dimensions, stride, transposed, needs_input):
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dimensions}d")
    layer = kind(4, 8, 2, stride=stride, groups=groups)
    x = torch.randn(2, 4, *[5] * dimensions, requires_grad=needs_input)

    def step():
        layer(x).sum().backward()

    comparison = against_flop_counter(tally_of(step), theirs_of(step))
    assert comparison.unexplained_ops == 0
    assert [each.why for each in comparison.differences] == ([GROUPS] if groups > 1 else [])
