"""Layers that Inductor freezes for inference: weights reordered ahead, an activation or a second operand fused in.

They cost what the layer costs, and beside it what is done to each result: the steps of the activation, by its name in
`activation`, and one for each further operand.
"""

from __future__ import annotations

from functools import partial

from auditor.errors import FormulaError
from auditor.formulas import registry
from auditor.formulas.activation import GELU_OPS, UNARY
from auditor.formulas.convolution import convolution, result_positions
from auditor.formulas.sizes import multiply_adds
from auditor.operations import Family
from auditor.tally import Argument, Shape

_STEPS = {"relu": 1, "tanh": 1, "sigmoid": 4, "swish": UNARY["silu"], "gelu": GELU_OPS["none"], **UNARY}

linear = partial(registry.formula, family=Family.MATMUL, source="[..,K] x [N,K]")
conv = partial(registry.formula, family=Family.CONVOLUTION, source="as aten::convolution, padding before stride")
beside = partial(registry.beside, family=Family.POINTWISE, source="the activation's steps, 1 per further operand")


def _steps(activation: Argument, algorithm: Argument = None) -> int:
    if activation in (None, "none"):
        return 0
    if activation == "gelu" and algorithm == "tanh":
        return GELU_OPS["tanh"]
    if not isinstance(activation, str) or activation not in _STEPS:
        raise FormulaError(f"no steps known for the fused activation {activation!r}")
    return _STEPS[activation]


def _linear(x: Shape, weight: Shape) -> int:
    return multiply_adds(x.numel * weight[0], x)


def _linear_results(x: Shape, weight: Shape) -> int:
    return x.numel // x[-1] * weight[0] if x[-1] else 0


@linear("mkldnn::_linear_pointwise")
def frozen_linear(x: Shape, weight: Shape, *_: Argument) -> int:
    return _linear(x, weight)


@beside("mkldnn::_linear_pointwise")
def frozen_linear_steps(x: Shape, weight: Shape, _bias: Argument, *rest: Argument) -> int:
    activation, _scalars, algorithm = rest
    return _steps(activation, algorithm) * _linear_results(x, weight)


@linear("mkldnn::_linear_pointwise.binary")
def frozen_linear_and(x: Shape, _other: Shape, weight: Shape, *_: Argument) -> int:
    return _linear(x, weight)


@beside("mkldnn::_linear_pointwise.binary")
def frozen_linear_and_steps(x: Shape, _other: Shape, weight: Shape, *_: Argument) -> int:
    return _linear_results(x, weight)


@linear("mkl::_mkl_linear")
def packed_linear(x: Shape, _packed: Shape, weight: Shape, *_: Argument) -> int:
    return _linear(x, weight)


@conv("mkldnn::_convolution_pointwise")
def frozen_convolution(
    x: Shape, weight: Shape, bias: Shape | None, padding: Argument, stride: Argument, dilation: Argument, *_: Argument
) -> int:
    return convolution(x, weight, bias, stride, padding, dilation, False)


@beside("mkldnn::_convolution_pointwise")
def frozen_convolution_steps(x: Shape, weight: Shape, _bias: Argument, *rest: Argument) -> int:
    padding, stride, dilation, _groups, activation, _scalars, algorithm = rest
    results = x[0] * weight[0] * result_positions(x[2:], weight[2:], stride, padding, dilation)
    return _steps(activation, algorithm) * results


def _second_operand(x: Shape, weight: Shape, *rest: Argument) -> int:
    _bias, padding, stride, dilation, _groups, _binary, _alpha, activation, _scalars, algorithm = rest
    results = x[0] * weight[0] * result_positions(x[2:], weight[2:], stride, padding, dilation)
    return (1 + _steps(activation, algorithm)) * results


@conv("mkldnn::_convolution_pointwise.binary")
def frozen_convolution_and(x: Shape, _other: Shape, weight: Shape, *rest: Argument) -> int:
    return frozen_convolution(x, weight, *rest)  # type: ignore[arg-type]


@beside("mkldnn::_convolution_pointwise.binary")
def frozen_convolution_and_steps(x: Shape, _other: Shape, weight: Shape, *rest: Argument) -> int:
    return _second_operand(x, weight, *rest)


@conv("mkldnn::_convolution_pointwise_.binary")
def frozen_convolution_into(_other: Shape, x: Shape, weight: Shape, *rest: Argument) -> int:
    return frozen_convolution(x, weight, *rest)  # type: ignore[arg-type]


@beside("mkldnn::_convolution_pointwise_.binary")
def frozen_convolution_into_steps(_other: Shape, x: Shape, weight: Shape, *rest: Argument) -> int:
    return _second_operand(x, weight, *rest)
