"""Fake quantisation: scale, shift, round, clamp twice, shift and scale back; observers and gradients."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.formulas import registry
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.POINTWISE)

_QUANTIZE_OPS = 7


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
def quantize(x: Shape, *_: Argument) -> int:
    return 5 * x.numel


@formula("aten::dequantize", source="shift, scale: 2 per element")
def dequantize(x: Shape, *_: Argument) -> int:
    return 2 * x.numel
