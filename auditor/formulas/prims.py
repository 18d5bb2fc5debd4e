"""Torch's primitive operators, into which compilers take others apart: priced as the operators they make up.

What of them moves data stands in `moving`, what draws numbers in `random`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.formulas import registry
from auditor.formulas.indexing import index_put
from auditor.formulas.linalg import fft_complex, fft_real, fft_to_real
from auditor.formulas.pooling import max_pool
from auditor.formulas.reduction import fold
from auditor.formulas.sizes import elementwise, reduced
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

_LOW_MEMORY_POOL = "prims::_low_memory_max_pool_with_offsets"

# (operations per element, tensor operands that come first), as in `pointwise`
PER_ELEMENT: dict[tuple[int, int], str] = {
    (1, 1): """
        abs acos acosh asin asinh atan atanh bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 bitwise_not
        cbrt ceil conj_physical cos cosh digamma erf erf_inv erfc erfcx exp exp2 expm1 floor inductor_cvt_e8m0_rceil
        isfinite lgamma log log10 log1p log2 ndtri neg reciprocal round rsqrt sign signbit sin sinh
        spherical_bessel_j0 sqrt tan tanh trunc""",
    (2, 1): "frexp",
    (1, 2): """
        add atan2 bitwise_and bitwise_or bitwise_xor div eq fmax fmin fmod gcd ge gt hypot igamma igammac le lt
        maximum minimum mul ne nextafter pow remainder shift_left shift_right_arithmetic sub zeta""",
    (1, 3): "where",
    (2, 3): "fma",
}


def _register() -> None:
    for (each, operands), names in PER_ELEMENT.items():
        price = partial(elementwise, each=each, operands=operands)
        ops = (f"prims::{name}" for name in names.split())
        registry.formula(*ops, family=Family.POINTWISE, source=f"{each} per element")(price)
    sums = ("prims::sum", "prims::prod", "prims::amax", "prims::amin", "prims::xor_sum")
    registry.formula(*sums, family=Family.REDUCTION, source="1 per element")(fold)
    registry.formula("prims::_unsafe_index_put_", family=Family.REDUCTION, source="accumulating: 1 per element put")(
        index_put
    )
    registry.formula(_LOW_MEMORY_POOL, family=Family.OTHER, source="1 per element of a window")(
        partial(max_pool, count=2)
    )


_register()
fourier = partial(registry.formula, family=Family.OTHER)
fourier("prims::fft_r2c", source="half of 5 N log2 N")(fft_real)
fourier("prims::fft_c2c", source="5 N log2 N")(fft_complex)


@fourier("prims::fft_c2r", source="half of 5 N log2 N, of the real sizes")
def fft_c2r(x: Shape, dims: tuple[int, ...], last: int, *_: Argument) -> int:
    return fft_to_real(x, dims, 0, last)


@registry.formula("prims::var", family=Family.REDUCTION, source="mean, difference, square, mean")
def var(x: Shape, dims: Argument, *_: Argument) -> int:
    return 4 * x.numel + 2 * reduced(x, dims)


@registry.formula("prims::prepare_softmax_online", family=Family.NORMALIZATION, source="maximum, difference, exp, sum")
def softmax_parts(x: Shape, *_: Argument) -> int:
    return 4 * x.numel
