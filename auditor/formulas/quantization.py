"""Fake quantisation: scale, shift, round, clamp twice, shift and scale back; observers and gradients.

Operators on quantised tensors cost what their plain forms do, 2 for each element brought back (shift, scale) and
5 for each one quantised again; what compares only (clamping, pooling) works on the stored numbers. Layers whose
weights are packed into an object (``quantized::linear`` and its like) have no price: an object has no sizes.
"""

from __future__ import annotations

from functools import partial
from math import prod

from auditor.formulas import registry
from auditor.formulas.sizes import broadcast, elementwise, multiply_adds, shapes
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.POINTWISE)

_QUANTIZE_OPS = 7
_BACK_OPS, _AGAIN_OPS = 2, 5

# operators, without ``quantized::``: operations per element
PER_ELEMENT = {
    "add": 1,
    "add_out": 1,
    "add_relu": 2,
    "add_relu_out": 2,
    "add_scalar": 1,
    "add_scalar_out": 1,
    "add_scalar_relu": 2,
    "add_scalar_relu_out": 2,
    "mul": 1,
    "mul_out": 1,
    "mul_relu": 2,
    "mul_relu_out": 2,
    "mul_scalar": 1,
    "mul_scalar_out": 1,
    "mul_scalar_relu": 2,
    "mul_scalar_relu_out": 2,
    "leaky_relu": 2,
    "prelu": 2,
    "elu": 3,
    "celu": 4,
    "dropout": 3,
    "sigmoid": 4,
    "hardswish": 5,
    "softmax": 5,
}
COMPARING = {"clamp": 2, "relu6": 2, "threshold": 1}


def quantized(*operands: Argument, each: int) -> int:
    """``each`` operations per element, around them the steps from and to stored numbers."""
    read = [part for part in operands[:2] if isinstance(part, Shape)]
    return (each + _BACK_OPS * len(read) + _AGAIN_OPS) * prod(broadcast(read))


for _name, _each in PER_ELEMENT.items():
    formula(f"quantized::{_name}", source=f"{_each} per element, 2 back, 5 again")(partial(quantized, each=_each))
for _name, _each in COMPARING.items():
    formula(f"quantized::{_name}", source=f"{_each} per element")(partial(elementwise, each=_each, operands=1))
for _name, _each in {"qadd": 1, "qadd_relu": 2, "qmul": 1}.items():
    _price = partial(elementwise, each=_each + 2 * _BACK_OPS + _AGAIN_OPS, operands=4)
    formula(f"onednn::{_name}", source=f"{_each} per element, 2 back each, 5 again")(_price)
formula("_quantized::add", source="1 per element, 2 back each, 5 again")(partial(quantized, each=1))


@registry.formula("quantized::matmul", family=Family.MATMUL, source="[..,M,K] x [..,K,N]")
def quantized_matmul(a: Shape, b: Shape, *_: Argument) -> int:
    return multiply_adds(prod(broadcast([a[:-2], b[:-2]])) * a[-2] * a[-1] * b[-1], a)


@formula(
    "aten::quantized_batch_norm", "quantized::batch_norm", "quantized::batch_norm1d", source="2 per element, 2 and 5"
)
@formula("quantized::batch_norm2d", "quantized::batch_norm3d", "onednn::qbatch_norm2d", source="2 per element, 2 and 5")
def quantized_batch_norm(x: Shape, *_: Argument) -> int:
    """The statistics are folded into one factor and one shift for each channel: 4 each."""
    return (2 + _BACK_OPS + _AGAIN_OPS) * x.numel + 4 * x[1]


@formula("quantized::batch_norm_relu", "quantized::batch_norm1d_relu", source="3 per element, 2 and 5")
@formula("quantized::batch_norm2d_relu", "quantized::batch_norm3d_relu", source="3 per element, 2 and 5")
def quantized_batch_norm_relu(x: Shape, *_: Argument) -> int:
    return quantized_batch_norm(x) + x.numel


@formula(
    "aten::fake_quantize_per_tensor_affine_cachemask",
    "aten::fake_quantize_per_channel_affine_cachemask",
    "aten::_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    "aten::_fake_quantize_learnable_per_tensor_affine",
    "aten::_fake_quantize_learnable_per_channel_affine",
    source="7 per element",
)
def fake_quantize(x: Shape, *_: Argument) -> int:
    return _QUANTIZE_OPS * x.numel


@formula(
    "aten::_fake_quantize_learnable_per_tensor_affine_backward",
    "aten::_fake_quantize_learnable_per_channel_affine_backward",
    source="7 to find the bounds again; selection, scale gradient 4, shift gradient 2",
)
def fake_quantize_backward(_grad: Shape, x: Shape, *_: Argument) -> int:
    return (_QUANTIZE_OPS + 7) * x.numel


@formula(
    "aten::_fused_moving_avg_obs_fq_helper",
    "aten::_fused_moving_avg_obs_fq_helper_functional",
    source="minimum and maximum 2 per element, and 7",
)
def observed_fake_quantize(x: Shape, *_: Argument) -> int:
    return (_QUANTIZE_OPS + 2) * x.numel


@formula(
    "aten::quantize_per_tensor",
    "aten::quantize_per_channel",
    source="scale, round, shift, clamp: 5 per element",
)
@formula("aten::quantize_per_tensor_dynamic", source="scale, round, shift, clamp: 5 per element")
def quantize(x: Argument, *_: Argument) -> int:
    """One tensor, or each of a list."""
    return _AGAIN_OPS * sum(part.numel for part in shapes([x]))


@formula("quantization::_FloatToBfloat16Quantized", source="rounded: 1 per element")
def to_bfloat16(x: Shape, *_: Argument) -> int:
    return x.numel


@formula("aten::dequantize", "static_runtime::dequantize_copy", source="shift, scale: 2 per element")
def dequantize(x: Argument, *_: Argument) -> int:
    """One tensor, or each of a list."""
    return _BACK_OPS * sum(part.numel for part in shapes([x]))
