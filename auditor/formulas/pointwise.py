"""Elementwise arithmetic: so many operations per element of the broadcast result.

One operation is an addition, subtraction, multiplication, division, comparison, selection, bitwise step,
rounding, or one function of the mathematical library (``exp``, ``log``, ``sqrt``, ``tanh``, ``erf``, ``pow``,
...), whatever the hardware makes of it. What is composed of these is spelt out: ``sigmoid`` is 4 (negate,
``exp``, add, divide), ``silu`` 4, ``gelu`` 5. A scaling factor that defaults to 1 (``alpha`` of ``add``,
``value`` of ``addcmul``) is not counted: its value is not kept. A complex number counts as one number. The
lists of ``_foreach_`` operators cost what their elements cost.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.formulas import registry
from auditor.formulas.sizes import elementwise, elementwise_lists
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.POINTWISE)

# (operations per element, tensor operands that come first): operators, without ``aten::``
PER_ELEMENT: dict[tuple[int, int], str] = {
    (1, 1): """
        abs acos acosh angle asin asinh atan atanh bitwise_not ceil conj_physical _conj_physical cos cosh
        deg2rad digamma erf erfc erfinv exp exp2 expm1 floor i0 isinf isnan isneginf isposinf lgamma log log10
        log1p log2 logical_not neg rad2deg reciprocal relu round rsqrt sgn sign signbit sin sinh sqrt tan tanh
        trunc special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0
        special_bessel_y1 special_erfcx special_i0e special_i1 special_i1e special_log_ndtr
        special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0
        special_modified_bessel_k1 special_ndtri special_scaled_modified_bessel_k0
        special_scaled_modified_bessel_k1 special_spherical_bessel_j0""",
    (2, 1): "frac frexp special_entr _masked_scale",
    (3, 1): "logit nan_to_num sinc",
    (4, 1): "sigmoid",
    (1, 2): """
        __lshift__ __rshift__ __ilshift__ __irshift__ add atan2 bitwise_and bitwise_left_shift bitwise_or
        bitwise_right_shift bitwise_xor clamp_max clamp_min copysign div eq floor_divide fmax fmin fmod gcd ge
        gt heaviside hypot igamma igammac lcm le logical_and logical_or logical_xor lt max.other max.out
        maximum min.other min.out minimum mul ne nextafter polygamma pow remainder rsub special_zeta sub
        special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
        special_chebyshev_polynomial_w special_hermite_polynomial_h special_hermite_polynomial_he
        special_laguerre_polynomial_l special_legendre_polynomial_p special_shifted_chebyshev_polynomial_t
        special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v
        special_shifted_chebyshev_polynomial_w""",
    (2, 2): "_add_relu ldexp logit_backward special_xlog1py xlogy",
    (4, 2): "polar",
    (5, 2): "logaddexp logaddexp2",
    (1, 3): "masked_fill where",
    (2, 3): "addcdiv addcmul",
    (3, 3): "lerp",
}

FOREACH: dict[tuple[int, int], str] = {
    (1, 1): """
        abs acos asin atan ceil cos cosh erf erfc exp expm1 floor lgamma log log10 log1p log2 neg reciprocal
        round rsqrt sign sin sinh sqrt tan tanh trunc""",
    (2, 1): "frac",
    (4, 1): "sigmoid",
    (1, 2): "add clamp_max clamp_min div maximum minimum mul pow sub",
    (2, 3): "addcdiv addcmul",
    (3, 3): "lerp",
}


def _register() -> None:
    for (each, operands), names in PER_ELEMENT.items():
        price = partial(elementwise, each=each, operands=operands)
        formula(*(f"aten::{name}" for name in names.split()), source=f"{each} per element")(price)
    for (each, operands), names in FOREACH.items():
        price = partial(elementwise_lists, each=each, operands=operands)
        formula(*(f"aten::_foreach_{name}" for name in names.split()), source=f"{each} per element")(price)


_register()

# With a condition alone it is a search for indices.
registry.leave("aten::where")


@formula("aten::clamp", source="one comparison per bound that is given")
def clamp(x: Shape, low: Argument = None, high: Argument = None, *_: Argument) -> int:
    bounds = (low is not None) + (high is not None)
    return elementwise(x, low, high, each=bounds, operands=3)


@formula("aten::mvlgamma", source="p times: lgamma, shift, sum")
def mvlgamma(x: Shape, p: int, *_: Argument) -> int:
    return 3 * p * x.numel


@formula("inductor::accumulate_grad_", source="1 per element added to a gradient that is there")
def accumulate_grad(_variable: Shape, grad: Shape | None, new: Shape | None, *_: Argument) -> int:
    return new.numel if grad is not None and new is not None else 0
