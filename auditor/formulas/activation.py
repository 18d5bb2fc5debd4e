"""Activation functions and their gradients: operations per element, spelt out as in `pointwise`.

Where a kernel knows several forms (``gelu`` by ``erf`` or by ``tanh``), the form is among its arguments.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.formulas import registry
from auditor.formulas.sizes import elementwise
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.POINTWISE)

GELU_OPS = {
    "none": 5,  # x / sqrt 2, erf, + 1, times x, halved
    "tanh": 9,  # cube 2, scale, + x, scale, tanh, + 1, times x, halved
}
GELU_BACKWARD_OPS = {
    "none": 11,  # distribution 4, density 4, times x, sum, times the gradient
    "tanh": 19,  # tanh and what is in it 6, left part 3, right part 9, times the gradient
}
GATED_OPS = 5  # sigmoid 4, product
GATED_BACKWARD_OPS = 9  # sigmoid 4, left gradient 1, right gradient 4
GATED_TANGENT_OPS = 9  # sigmoid 4, three products, difference, sum

# operators, without ``aten::``; how many operations; how many tensor operands come first
UNARY: dict[str, int] = {
    "threshold": 1,
    "hardtanh": 2,
    "leaky_relu": 2,
    "hardshrink": 2,
    "elu": 3,  # comparison, expm1, scale
    "softshrink": 3,
    "softplus": 3,  # exp, log1p, threshold
    "silu": 4,  # negate, exp, + 1, divide
    "celu": 4,
    "hardsigmoid": 4,
    "mish": 4,  # exp, log1p, tanh, product
    "rrelu_with_noise": 3,
    "rrelu_with_noise_functional": 3,
    "hardswish": 5,
    "log_sigmoid_forward": 6,  # minimum, absolute, negate, exp, log1p, difference
}
GRADIENTS: dict[str, int] = {
    "threshold_backward": 1,
    "hardtanh_backward": 2,
    "leaky_relu_backward": 2,
    "hardshrink_backward": 2,
    "softshrink_backward": 2,
    "rrelu_with_noise_backward": 1,
    "hardsigmoid_backward": 3,
    "sigmoid_backward": 3,  # (1 - y) y times the gradient
    "tanh_backward": 3,  # 1 - y y, times the gradient
    "softplus_backward": 5,  # exp, + 1, divide, times the gradient, threshold
    "hardswish_backward": 5,
    "log_sigmoid_backward": 5,
    "silu_backward": 9,  # sigmoid 4, 1 - s, times x, + 1, times s, times the gradient
    "mish_backward": 12,
}


def _register() -> None:
    for operands, table in ((1, UNARY), (2, GRADIENTS)):
        for name, each in table.items():
            price = partial(elementwise, each=each, operands=operands)
            formula(f"aten::{name}", source=f"{each} per element")(price)
    formula("aten::_prelu_kernel", source="comparison, product")(partial(elementwise, each=2, operands=2))
    gradient = partial(elementwise, each=4, operands=3)
    formula("aten::_prelu_kernel_backward", source="comparison, both products, selection")(gradient)


_register()


@formula("aten::gelu", source="5 by erf, 9 by tanh")
def gelu(x: Shape, approximate: str = "none", *_: Argument) -> int:
    return GELU_OPS[approximate] * x.numel


@formula("aten::gelu_backward", source="11 by erf, 19 by tanh")
def gelu_backward(grad: Shape, _x: Shape, approximate: str = "none", *_: Argument) -> int:
    return GELU_BACKWARD_OPS[approximate] * grad.numel


@formula("aten::elu_backward", source="comparison, exp, two products")
def elu_backward(grad: Shape, *_: Argument) -> int:
    return 4 * grad.numel


@formula("aten::glu", source="sigmoid and product per element of the result, half of the input")
def glu(x: Shape, *_: Argument) -> int:
    return GATED_OPS * (x.numel // 2)


@formula("aten::glu_backward", source="sigmoid and both gradients per element of the result")
def glu_backward(grad: Shape, *_: Argument) -> int:
    return GATED_BACKWARD_OPS * grad.numel


@formula("aten::glu_jvp", source="sigmoid, three products, difference and sum per element of the result")
def glu_jvp(gated: Shape, *_: Argument) -> int:
    return GATED_TANGENT_OPS * gated.numel
