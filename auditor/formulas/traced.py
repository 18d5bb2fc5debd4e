"""Operators that stand only in traced graphs: torch's primitives, Inductor's own, and attention written as functions.

A primitive costs what the operator costs that it is part of. ``flex_attention`` computes what the attention kernels
do (see `attention`), and is given how many scores lie in the blocks that its mask keeps: the others are skippable. What
its functions do to each score is counted by their own operators; which scores a mask keeps inside of a block is not
computed by arithmetic on the data and not counted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.formulas import registry
from auditor.formulas.attention import Attention
from auditor.formulas.pooling import max_pool
from auditor.formulas.random import draw_new
from auditor.formulas.reduction import fold, var
from auditor.formulas.sizes import elementwise
from auditor.operations import Amount, Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

# (operations per element, tensor operands that come first): primitives, without ``prims::``
PER_ELEMENT: dict[tuple[int, int], str] = {
    (1, 1): """
        abs acos acosh asin asinh atan atanh bessel_i0 bessel_i1 bessel_j0 bessel_j1 bitwise_not cbrt ceil
        conj_physical cos cosh digamma erf erf_inv erfc erfcx exp exp2 expm1 floor imag isfinite lgamma log log10
        log1p log2 ndtri neg reciprocal round rsqrt sign signbit sin sinh spherical_bessel_j0 sqrt tan tanh trunc
        inductor_cvt_e8m0_rceil""",
    (2, 1): "bessel_i0e bessel_i1e frexp",
    (1, 2): """
        add atan2 bitwise_and bitwise_or bitwise_xor div eq fmax fmin fmod gcd ge gt hypot igamma igammac le lt
        maximum minimum mul ne nextafter pow remainder shift_left shift_right_arithmetic sub zeta""",
    (1, 3): "where",
    (2, 3): "fma",
}
_MOVES = """
    _make_token _sink_tokens as_strided as_strided_scatter broadcast_in_dim cat clone collapse collapse_view conj
    convert_element_type copy_strided copy_to device_put empty empty_permuted empty_strided fill full full_like
    inductor_force_stride_order item iota maximum_value minimum_value real reshape resize rev scalar_tensor split_dim
    squeeze transpose view_of view_of_dtype _unsafe_index_put_
"""
_SEEDS = "inductor_lookup_seed inductor_rand_eager_offset inductor_rand_eager_offsets inductor_seed inductor_seeds"
_OFFSETS = "_low_memory_max_pool_offsets_to_indices"


def _prims(names: str) -> list[str]:
    return [f"prims::{name}" for name in names.split()]


for (_each, _operands), _names in PER_ELEMENT.items():
    _price = partial(elementwise, each=_each, operands=_operands)
    registry.formula(*_prims(_names), family=Family.POINTWISE, source=f"{_each} per element")(_price)
registry.formula(*_prims("sum prod amax amin xor_sum"), family=Family.REDUCTION, source="1 per element")(fold)
registry.formula("prims::var", family=Family.REDUCTION, source="mean, difference, square, mean")(var)
registry.formula(*_prims("inductor_random normal uniform"), family=Family.POINTWISE, source="1 per number drawn")(
    draw_new
)
registry.formula(
    "prims::_low_memory_max_pool_with_offsets", family=Family.REDUCTION, source="1 per element of a window"
)(partial(max_pool, count=2))
registry.free(*_prims(_MOVES), why="data moved, named, cast or written")
registry.free(*_prims(_SEEDS), why="a seed for a generator")
registry.free(*_prims(_OFFSETS), why="positions written another way")


@registry.formula("prims::inductor_randint", family=Family.POINTWISE, source="1 per number drawn")
def draw_integers(_low: Argument, _high: Argument, size: Argument, *_: Argument) -> int:
    return draw_new(size)


@registry.formula("prims::prepare_softmax_online", family=Family.NORMALIZATION, source="max, difference, exp, sum")
def softmax_statistics(x: Shape, *_: Argument) -> int:
    return 4 * x.numel


def _flex(query: Shape, key: Shape, value: Shape, kept: Argument) -> Attention:
    """``[B,H,S,D]``; ``kept`` is how many scores are in blocks that the mask keeps, None or negative if not known."""
    batch, heads, queries, width = query
    scores = batch * heads * queries * key[2]
    masked = max(scores - kept, 0) if isinstance(kept, int) and kept >= 0 else 0
    return Attention(
        query=query,
        batch_heads=1,
        queries=batch * heads * queries,
        keys=key[2],
        key_width=width,
        value_width=value[3],
        masked=masked,
    )


@registry.formula("higher_order::flex_attention", family=Family.ATTENTION, source="2 products")
def flex_attention(*arguments: Argument) -> Amount:
    return _flex(*arguments).forward()  # type: ignore[arg-type]


@registry.formula("higher_order::flex_attention_backward", family=Family.ATTENTION, source="4 products, 1 again")
def flex_attention_backward(*arguments: Argument) -> Amount:
    return _flex(*arguments).backward()  # type: ignore[arg-type]


@registry.beside("higher_order::flex_attention", family=Family.NORMALIZATION, source="softmax")
def flex_softmax(*arguments: Argument) -> Amount:
    return _flex(*arguments).softmax()  # type: ignore[arg-type]


@registry.beside("higher_order::flex_attention_backward", family=Family.NORMALIZATION, source="softmax")
def flex_softmax_backward(*arguments: Argument) -> Amount:
    return _flex(*arguments).softmax_backward()  # type: ignore[arg-type]
