"""What Inductor fuses into layers that it freezes for inference: an activation, a second operand.

The layers stand in `matmul` and `convolution`. Here stands, beside them, what is done to each result: the steps of the
activation, by its name in `activation`, and one for each further operand.
"""

from __future__ import annotations

from functools import partial

from auditor.errors import FormulaError
from auditor.formulas import (
    matmul,  # noqa: F401 - registers what this stands beside
    registry,
)
from auditor.formulas.activation import GELU_OPS, UNARY
from auditor.formulas.convolution import result_positions
from auditor.operations import Family
from auditor.tally import Argument, Shape

_STEPS = {"relu": 1, "tanh": 1, "sigmoid": 4, "swish": UNARY["silu"], "gelu": GELU_OPS["none"], **UNARY}

beside = partial(registry.beside, family=Family.POINTWISE, source="the activation's steps, 1 per further operand")


def _steps(activation: Argument, algorithm: Argument = None) -> int:
    if activation in (None, "none"):
        return 0
    if activation == "gelu" and algorithm == "tanh":
        return GELU_OPS["tanh"]
    if not isinstance(activation, str) or activation not in _STEPS:
        raise FormulaError(f"no steps known for the fused activation {activation!r}")
    return _STEPS[activation]


def _linear_results(x: Shape, weight: Shape) -> int:
    return x.numel // x[-1] * weight[0] if x[-1] else 0


@beside("mkldnn::_linear_pointwise")
def frozen_linear_steps(x: Shape, weight: Shape, _bias: Argument, *rest: Argument) -> int:
    activation, _scalars, algorithm = rest
    return _steps(activation, algorithm) * _linear_results(x, weight)


@beside("mkldnn::_linear_pointwise.binary")
def frozen_linear_and_steps(x: Shape, _other: Shape, weight: Shape, *_: Argument) -> int:
    return _linear_results(x, weight)


@beside("mkldnn::_convolution_pointwise")
def frozen_convolution_steps(x: Shape, weight: Shape, _bias: Argument, *rest: Argument) -> int:
    padding, stride, dilation, _groups, activation, _scalars, algorithm = rest
    results = x[0] * weight[0] * result_positions(x[2:], weight[2:], stride, padding, dilation)
    return _steps(activation, algorithm) * results


def _second_operand(x: Shape, weight: Shape, *rest: Argument) -> int:
    _bias, padding, stride, dilation, _groups, _binary, _alpha, activation, _scalars, algorithm = rest
    results = x[0] * weight[0] * result_positions(x[2:], weight[2:], stride, padding, dilation)
    return (1 + _steps(activation, algorithm)) * results


@beside("mkldnn::_convolution_pointwise.binary")
def frozen_convolution_and_steps(x: Shape, _other: Shape, weight: Shape, *rest: Argument) -> int:
    return _second_operand(x, weight, *rest)


@beside("mkldnn::_convolution_pointwise_.binary")
def frozen_convolution_into_steps(_other: Shape, x: Shape, weight: Shape, *rest: Argument) -> int:
    return _second_operand(x, weight, *rest)
