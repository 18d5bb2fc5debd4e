"""Operators that only compiled graphs hold, against what they stand for."""

from __future__ import annotations

import pytest

from auditor.formulas import Pricer
from auditor.operations import Family
from auditor.tally import NUMBER, Shape, Signature, encode_arguments


def parts(op, *arguments):
    price = Pricer().of(Signature(op, encode_arguments(arguments)))
    assert price.amount is not None, price.problem
    return dict(price.parts)


QUERY, KEY, VALUE = Shape((2, 4, 6, 8)), Shape((2, 2, 10, 8)), Shape((2, 2, 10, 16))
SCORES = 2 * 4 * 6 * 10


@pytest.mark.parametrize(("kept", "skipped"), [(None, 0), (-1, 0), (0, SCORES), (100, SCORES - 100), (10**30, 0)])
def test_flex_attention_is_attention_that_knows_what_its_mask_keeps(kept, skipped):
    forward = parts("higher_order::flex_attention", QUERY, KEY, VALUE, kept)[Family.ATTENTION]
    assert forward == (2 * SCORES * (8 + 16), 0, 2 * skipped * (8 + 16))
    backward = parts("higher_order::flex_attention_backward", QUERY, KEY, VALUE, kept)[Family.ATTENTION]
    assert backward == (4 * SCORES * (8 + 16), 2 * SCORES * 8, 4 * skipped * (8 + 16))


def test_a_frozen_linear_layer_is_the_layer_and_its_activation():
    frozen = parts("mkldnn::_linear_pointwise", Shape((3, 4)), Shape((5, 4)), None, "gelu", (), "tanh")
    assert frozen[Family.MATMUL].executed_ops == 2 * 3 * 4 * 5
    assert frozen[Family.POINTWISE].executed_ops == 9 * 3 * 5


@pytest.mark.parametrize(
    ("op", "operands", "steps"),
    [
        ("mkldnn::_convolution_pointwise", lambda x, w: (x, w), 1),
        ("mkldnn::_convolution_pointwise.binary", lambda x, w: (x, x, w), 2),
        ("mkldnn::_convolution_pointwise_.binary", lambda x, w: (x, x, w), 2),
    ],
)
def test_a_frozen_convolution_is_the_convolution_and_what_is_fused_into_it(op, operands, steps):
    x, weight = Shape((2, 3, 8, 8)), Shape((5, 3, 3, 3))
    rest = ("relu", (), None) if steps == 1 else ("add", NUMBER, "relu", (), None)
    frozen = parts(op, *operands(x, weight), None, (0, 0), (1, 1), (1, 1), 1, *rest)
    assert frozen[Family.CONVOLUTION].executed_ops == 2 * 2 * 5 * 36 * 27
    assert frozen[Family.POINTWISE].executed_ops == steps * 2 * 5 * 36


def test_an_activation_that_nobody_knows_has_no_price():
    signature = Signature(
        "mkldnn::_linear_pointwise", encode_arguments([Shape((3, 4)), Shape((5, 4)), None, "novel", (), None])
    )
    assert Pricer().of(signature).amount is None


def test_primitives_cost_what_the_operators_cost_that_they_are_part_of():
    x = Shape((3, 4))
    assert parts("prims::fma", x, x, x) == {Family.POINTWISE: (24, 0, 0)}
    assert parts("prims::inductor_random", (3, 4), Shape(()), "rand", None) == {Family.POINTWISE: (12, 0, 0)}
    assert parts("prims::convert_element_type", x, NUMBER) == {}
