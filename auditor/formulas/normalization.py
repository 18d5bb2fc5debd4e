"""Softmax and the norms: n elements in m groups that are normalised together.

==================  ====================  ====================================================================
operator            operations            which
==================  ====================  ====================================================================
softmax             ``5n``                maximum, difference, exp, sum, quotient
log-softmax         ``5n + m``            maximum, difference, exp, sum, log, difference
their gradients     ``4n``                product (or exp), sum, difference, product
layer, group norm   ``5n + 4m``           sum, mean; difference; square, sum, mean; + eps, root; product
batch norm          ``5n + 4m``           the same, ``6m`` for running statistics; ``2n + 2m`` evaluating
RMS norm            ``3n + 3m``           square, sum, mean; + eps, root; product
affine part         ``n`` each            product with the weight, addition of the bias
==================  ====================  ====================================================================

Gradients: ``2n`` to normalise again (RMS ``n``) where a gradient needs it; ``7n + 2m`` for the input (RMS
``5n + m``), ``n`` more with a weight; ``2n`` for the weight, ``n`` for the bias; by the output mask. Batch
norm when evaluating: ``n`` for the input, ``n`` more with a weight.
"""

from __future__ import annotations

from functools import partial
from math import prod

from auditor.formulas import registry
from auditor.formulas.sizes import reduced
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.NORMALIZATION)

_ALL = (True, True, True)


@formula("aten::_softmax", "aten::_safe_softmax", "aten::_masked_softmax", "aten::softmax.int_out", source="5n")
def softmax(x: Shape, *_: Argument) -> int:
    return 5 * x.numel


@formula("aten::_log_softmax", "aten::log_softmax.int_out", source="5n + m")
def log_softmax(x: Shape, dim: int, *_: Argument) -> int:
    return 5 * x.numel + reduced(x, dim)


@formula("aten::_softmax_backward_data", "aten::_log_softmax_backward_data", source="4n")
@formula("aten::_masked_softmax_backward", source="4n")
def softmax_backward(grad: Shape, *_: Argument) -> int:
    return 4 * grad.numel


def _given(*parts: Argument) -> int:
    return sum(part is not None for part in parts)


def _normalised(x: Shape, groups: int, *affine: Argument) -> int:
    return (5 + _given(*affine)) * x.numel + 4 * groups


def _gradients(x: Shape, groups: int, weight: Argument, mask: Argument) -> int:
    wants_input, wants_weight, wants_bias = mask if isinstance(mask, tuple) else _ALL
    n = x.numel
    total = 2 * n if wants_input or wants_weight else 0
    if wants_input:
        total += (7 + _given(weight)) * n + 2 * groups
    return total + (2 * n if wants_weight else 0) + (n if wants_bias else 0)


def _rows(x: Shape, normalized: tuple[int, ...]) -> int:
    return prod(x[: len(x) - len(normalized)])


@formula("aten::native_layer_norm", source="5n + 4m, affine n each")
def layer_norm(x: Shape, normalized: tuple[int, ...], weight: Argument, bias: Argument, *_: Argument) -> int:
    return _normalised(x, _rows(x, normalized), weight, bias)


@formula("aten::native_layer_norm_backward", source="by the output mask")
def layer_norm_backward(_grad: Shape, x: Shape, normalized: tuple[int, ...], *rest: Argument) -> int:
    _mean, _rstd, weight, _bias, mask = rest[:5]
    return _gradients(x, _rows(x, normalized), weight, mask)


@formula("aten::native_group_norm", source="5n + 4m, affine n each")
def group_norm(x: Shape, weight: Argument, bias: Argument, batch: int, *rest: Argument) -> int:
    groups = rest[2]
    return _normalised(x, batch * groups if isinstance(groups, int) else batch, weight, bias)


@formula("aten::native_group_norm_backward", source="by the output mask")
def group_norm_backward(_grad: Shape, x: Shape, *rest: Argument) -> int:
    _mean, rstd, weight, _batch, _channels, _positions, _groups, mask = rest[:8]
    return _gradients(x, rstd.numel if isinstance(rstd, Shape) else 0, weight, mask)


@formula("aten::_fused_rms_norm", source="3n + 3m, weight n")
def rms_norm(x: Shape, normalized: tuple[int, ...], weight: Argument, *_: Argument) -> int:
    return (3 + _given(weight)) * x.numel + 3 * _rows(x, normalized)


@formula("aten::_fused_rms_norm_backward", source="by the output mask")
def rms_norm_backward(_grad: Shape, x: Shape, normalized: tuple[int, ...], *rest: Argument) -> int:
    _rstd, weight, mask = rest[:3]
    wants_input, wants_weight = mask if isinstance(mask, tuple) else _ALL[:2]
    n = x.numel
    total = n if wants_input or wants_weight else 0
    if wants_input:
        total += (5 + _given(weight)) * n + _rows(x, normalized)
    return total + (2 * n if wants_weight else 0)


def _batch_norm(x: Shape, affine: tuple[Argument, ...], running: Argument, *, training: Argument) -> int:
    channels = x[1]
    if training is True:
        return _normalised(x, channels, *affine) + (6 * channels if isinstance(running, Shape) else 0)
    return (2 + _given(*affine)) * x.numel + 2 * channels


@formula(
    "aten::native_batch_norm",
    "aten::_native_batch_norm_legit",
    "aten::_native_batch_norm_legit_functional",
    "aten::cudnn_batch_norm",
    "aten::miopen_batch_norm",
    source="5n + 4m + 6m, affine n each; evaluating 2n + 2m",
)
def batch_norm(x: Shape, weight: Argument, bias: Argument, running: Argument, *rest: Argument) -> int:
    return _batch_norm(x, (weight, bias), running, training=rest[1])


@formula("aten::_native_batch_norm_legit.no_stats", source="5n + 4m, affine n each")
@formula("aten::_native_batch_norm_legit.no_stats_out", source="5n + 4m, affine n each")
def batch_norm_no_stats(x: Shape, weight: Argument, bias: Argument, training: Argument, *_: Argument) -> int:
    return _batch_norm(x, (weight, bias), None, training=training)


@formula(
    "aten::_native_batch_norm_legit_no_training",
    "aten::_batch_norm_no_update",
    source="2n + 2m, affine n each",
)
def batch_norm_evaluating(x: Shape, weight: Argument, bias: Argument, *_: Argument) -> int:
    return _batch_norm(x, (weight, bias), None, training=False)


@formula(
    "aten::_batch_norm_with_update",
    "aten::_batch_norm_with_update_functional",
    source="5n + 4m + 6m, affine n each",
)
def batch_norm_with_update(x: Shape, weight: Argument, bias: Argument, running: Argument, *_: Argument) -> int:
    return _batch_norm(x, (weight, bias), running, training=True)


@formula("aten::native_batch_norm_backward", "aten::batch_norm_backward", source="by the output mask")
def batch_norm_backward(_grad: Shape, x: Shape, weight: Argument, *rest: Argument) -> int:
    _mean, _var, _save_mean, _save_invstd, training, _eps, mask = rest[:7]
    if training is True:
        return _gradients(x, x[1], weight, mask)
    wants_input, wants_weight, wants_bias = mask if isinstance(mask, tuple) else _ALL
    each = (1 + _given(weight) if wants_input else 0) + (4 if wants_weight else 0) + (1 if wants_bias else 0)
    return each * x.numel


@formula("aten::cudnn_batch_norm_backward", "aten::miopen_batch_norm_backward", source="all three gradients")
def cudnn_batch_norm_backward(x: Shape, _grad: Shape, weight: Argument, *_: Argument) -> int:
    return _gradients(x, x[1], weight, _ALL)


# Synchronised batch norm: the parts above, by process.
@formula("aten::batch_norm_stats", "aten::batch_norm_update_stats", source="4n + 4m")
def batch_norm_stats(x: Shape, *_: Argument) -> int:
    return 4 * x.numel + 4 * x[1]


@formula(
    "aten::batch_norm_gather_stats",
    "aten::batch_norm_gather_stats_with_counts",
    source="6 per process and channel",
)
def batch_norm_gather(_x: Shape, means: Shape, *_: Argument) -> int:
    return 6 * means.numel


@formula("aten::batch_norm_elemt", source="2n, affine n each")
def batch_norm_elemt(x: Shape, weight: Argument, bias: Argument, *_: Argument) -> int:
    return (2 + _given(weight, bias)) * x.numel


@formula("aten::batch_norm_backward_reduce", source="two sums and the product: 4n; the weight's m")
def batch_norm_backward_reduce(_grad: Shape, x: Shape, *_: Argument) -> int:
    return 4 * x.numel + x[1]


@formula("aten::batch_norm_backward_elemt", source="5n, weight n")
def batch_norm_backward_elemt(
    _grad: Shape, x: Shape, _mean: Shape, _invstd: Shape, weight: Argument, *_: Argument
) -> int:
    return (5 + _given(weight)) * x.numel


@formula("aten::_weight_norm_interface", source="square, sum, quotient per element; a root per row")
def weight_norm(v: Shape, g: Shape, *_: Argument) -> int:
    return 3 * v.numel + 2 * g.numel


@formula("aten::_weight_norm_interface_backward", source="product, sum; two products and a difference; 4 per row")
def weight_norm_backward(grad: Shape, _v: Shape, g: Shape, *_: Argument) -> int:
    return 5 * grad.numel + 4 * g.numel


@formula("aten::embedding_renorm", source="norm and product of each row named")
def embedding_renorm(weight: Shape, indices: Shape, *_: Argument) -> int:
    return indices.numel * (3 * weight[-1] + 2)
