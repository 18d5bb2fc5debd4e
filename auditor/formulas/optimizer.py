"""Optimizer steps in one kernel: what the same step costs operator by operator, one tensor at a time.

Per element of the parameters, in the order of torch's single-tensor code:

=========  ====  ===================================================================================
AdamW      12    decay 1, first moment 3, second moment 1 + 2, root 1, correction 1, eps 1, update 2
Adam       11    the same without decay
amsgrad    +1    the maximum of the second moments
SGD        1     update; with a momentum buffer 2 more after the first step, nesterov 1 more
Adagrad    6     sum of squares 2, root 1, eps 1, update 2
maximize   +1    the gradient negated
=========  ====  ===================================================================================

Weight decay is a number, and numbers are not kept: AdamW is counted with it, the others without, as their
defaults are. Where it is set otherwise, the step does one operation per element less (AdamW) or more than is
counted here. A gradient scale adds one division.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.formulas import registry
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.OPTIMIZER)

ADAMW_OPS, ADAM_OPS, ADAGRAD_OPS = 12, 11, 6


def _elements(tensors: tuple[Shape, ...]) -> int:
    return sum(tensor.numel for tensor in tensors)


def _adam(parameters: tuple[Shape, ...], rest: tuple[Argument, ...], each: int) -> int:
    """After the parameters: 5 lists, lr, beta1, beta2, decay, eps, amsgrad, maximize, scale, found_inf."""
    amsgrad, maximize, scale = rest[10:13]
    return (each + (amsgrad is True) + (maximize is True) + (scale is not None)) * _elements(parameters)


@formula("aten::_fused_adamw", source="12 per element; amsgrad, maximize and a gradient scale 1 each")
def adamw(parameters: tuple[Shape, ...], *rest: Argument) -> int:
    return _adam(parameters, rest, ADAMW_OPS)


@formula("aten::_fused_adam", source="11 per element; amsgrad, maximize and a gradient scale 1 each")
def adam(parameters: tuple[Shape, ...], *rest: Argument) -> int:
    return _adam(parameters, rest, ADAM_OPS)


@formula("aten::_fused_sgd", source="1 per element, momentum 2, nesterov 1, maximize and a gradient scale 1 each")
def sgd(parameters: tuple[Shape, ...], _grads: Argument, buffers: Argument, *rest: Argument) -> int:
    _decay, _momentum, _rate, _dampening, nesterov, maximize, first, scale = rest[:8]
    momentum = 2 if buffers and first is not True else 0
    return (1 + momentum + (nesterov is True) + (maximize is True) + (scale is not None)) * _elements(parameters)


@formula("aten::_fused_adagrad", source="6 per element; maximize and a gradient scale 1 each")
def adagrad(parameters: tuple[Shape, ...], *rest: Argument) -> int:
    maximize, scale = rest[7:9]
    return (ADAGRAD_OPS + (maximize is True) + (scale is not None)) * _elements(parameters)


@formula(
    "aten::_amp_foreach_non_finite_check_and_unscale",
    source="a comparison and a product per gradient element",
)
def unscale(gradients: tuple[Shape, ...], *_: Argument) -> int:
    return 2 * _elements(gradients)


@formula("aten::_amp_update_scale", source="comparison, product, counter, comparison")
def update_scale(scale: Shape, *_: Argument) -> int:
    return 4 * scale.numel
