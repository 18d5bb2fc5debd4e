"""Losses and their gradients: operations per element, spelt out as in `pointwise`, then the sum.

The reduction is 0 for none, 1 for the mean, 2 for the sum.
"""

from __future__ import annotations

from functools import partial

from auditor.formulas import registry
from auditor.formulas.sizes import broadcast, elementwise
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.POINTWISE)

_CTC_OPS = 12  # one step of one label: three exp, two sums, maximum, three differences, log, two sums

FORWARD: dict[str, int] = {
    "mse_loss": 2,  # difference, square
    "soft_margin_loss": 4,  # product, negate, exp, log1p
    "smooth_l1_loss": 6,  # difference, absolute, comparison, square, halve, divide
    "huber_loss": 6,
}
BACKWARD: dict[str, int] = {
    "mse_loss_backward": 3,  # difference, double, times the gradient
    "soft_margin_loss_backward": 5,
    "smooth_l1_loss_backward": 4,
    "huber_loss_backward": 4,
}


def _folded(elements: int, reduction: Argument) -> int:
    """What it takes to reduce the losses: a sum, and for the mean a division."""
    if isinstance(reduction, int) and reduction in (1, 2):
        return elements + (reduction == 1)
    return 0


def pair_loss(x: Shape, target: Shape, *arguments: Argument, each: int) -> int:
    """``each`` operations per pair of elements, then the reduction."""
    elements = elementwise(x, target, each=1, operands=2)
    return each * elements + _folded(elements, arguments[0])


def _register() -> None:
    for name, each in FORWARD.items():
        formula(f"aten::{name}", source=f"{each} per element, then the reduction")(partial(pair_loss, each=each))
    for name, each in BACKWARD.items():
        price = partial(elementwise, each=each, operands=3)
        formula(f"aten::{name}", source=f"{each} per element")(price)


_register()


@formula("aten::binary_cross_entropy", source="two logs, two differences, two products, sum, negate; weight 1")
def binary_cross_entropy(x: Shape, _target: Shape, weight: Argument = None, reduction: int = 1, *_: Argument) -> int:
    return (8 + (weight is not None)) * x.numel + _folded(x.numel, reduction)


@formula("aten::binary_cross_entropy_backward", source="two differences, product, quotient, product; weight 1")
def binary_cross_entropy_backward(_grad: Shape, x: Shape, _target: Shape, weight: Argument = None, *_: Argument) -> int:
    return (5 + (weight is not None)) * x.numel


@formula("aten::binary_cross_entropy_with_logits", source="log-sigmoid 6, product, two differences; weights")
def bce_with_logits(x: Shape, target: Shape, *arguments: Argument) -> int:
    weight, positive_weight, reduction = arguments[:3]
    elements = broadcast([x, target])
    number = Shape(elements).numel
    each = 9 + (weight is not None) + 3 * (positive_weight is not None)
    return each * number + _folded(number, reduction)


@formula("aten::nll_loss_forward", "aten::nll_loss2d_forward", source="a choice and a sign per target; weight 1")
def nll_loss(_x: Shape, target: Shape, weight: Argument, reduction: int, *_: Argument) -> int:
    return (1 + (weight is not None)) * target.numel + _folded(target.numel, reduction)


@formula(
    "aten::nll_loss_backward",
    "aten::nll_loss2d_backward",
    source="a sign and a quotient per target; weight 1",
)
def nll_loss_backward(_grad: Shape, _x: Shape, target: Shape, weight: Argument, *_: Argument) -> int:
    return (2 + (weight is not None)) * target.numel


@formula("aten::multi_margin_loss", source="difference, sum, maximum, power and sum per class")
def multi_margin_loss(x: Shape, *_: Argument) -> int:
    return 5 * x.numel


@formula("aten::multi_margin_loss_backward", source="difference, sum, comparison and two products per class")
def multi_margin_loss_backward(_grad: Shape, x: Shape, *_: Argument) -> int:
    return 5 * x.numel


@formula("aten::multilabel_margin_loss_forward", source="difference, sum, maximum, sum for each pair of classes")
def multilabel_margin_loss(x: Shape, *_: Argument) -> int:
    return 4 * x.numel * (x[-1] if x else 1)


@formula("aten::multilabel_margin_loss_backward", source="difference, sum, comparison, two sums for each pair")
def multilabel_margin_loss_backward(_grad: Shape, x: Shape, *_: Argument) -> int:
    return 5 * x.numel * (x[-1] if x else 1)


def _labels(log_probs: Shape, targets: Shape) -> int:
    """Labels with the blanks around them, of the whole batch; padding of the targets counted."""
    batch = log_probs[1] if len(log_probs) == 3 else 1
    return 2 * targets.numel + batch


@formula(
    "aten::_ctc_loss",
    "aten::_cudnn_ctc_loss",
    "aten::miopen_ctc_loss",
    source="12 per step and label or blank",
)
def ctc_loss(log_probs: Shape, targets: Shape, *_: Argument) -> int:
    return _CTC_OPS * log_probs[0] * _labels(log_probs, targets)


@formula("aten::_ctc_loss_backward", source="12 per step and label or blank, 4 per step and class")
def ctc_loss_backward(_grad: Shape, log_probs: Shape, targets: Shape, *_: Argument) -> int:
    return ctc_loss(log_probs, targets) + 4 * log_probs.numel
