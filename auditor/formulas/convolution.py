"""Convolutions: 2 operations for every pair of a result (or, transposed, an input) position and a weight.

Positions that fall on padding count like others, as kernels compute them and other counters count them. Each
of the two gradients pairs the same positions with the same weights as the forward, so it costs what the
forward costs, grouped or not; which gradients are computed is in the output mask. (Torch's own counter leaves
the groups out of the weight gradient and so finds ``groups`` times too much.) The bias is the last addition
of each result; its gradient is a sum of its own and stands beside, in the reductions.
"""

from __future__ import annotations

from functools import partial
from math import prod

from auditor.formulas import registry
from auditor.formulas.sizes import multiply_adds, numbers
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.CONVOLUTION)
beside = registry.beside


def _products(batch: int, positions: int, weight: Shape) -> int:
    return multiply_adds(batch * positions * weight.numel, weight)


def result_positions(
    sizes: tuple[int, ...], kernel: tuple[int, ...], stride: Argument, padding: Argument, dilation: Argument
) -> int:
    """How many positions a result has: ``floor((n + 2p - d(k-1) - 1) / s) + 1`` along each dimension."""
    count = len(sizes)
    steps, pads, gaps = numbers(stride, count), numbers(padding, count), numbers(dilation, count)
    along = [
        (size + 2 * pad - gap * (taps - 1) - 1) // step + 1
        for size, taps, step, pad, gap in zip(sizes, kernel, steps, pads, gaps, strict=True)
    ]
    return prod(max(size, 0) for size in along)


@formula(
    "aten::convolution",
    "aten::_convolution",
    "aten::convolution_overrideable",
    source="[N,C,..] with [O,C/groups,..]; transposed: one pair per input position",
)
def convolution(
    x: Shape,
    weight: Shape,
    _bias: Shape | None,
    stride: Argument,
    padding: Argument,
    dilation: Argument,
    transposed: bool,
    *_: Argument,
) -> int:
    if transposed:
        return _products(x[0], prod(x[2:]), weight)
    return _products(x[0], result_positions(x[2:], weight[2:], stride, padding, dilation), weight)


@formula("aten::convolution_backward", source="the forward's products once for each of input and weight")
def convolution_backward(
    grad: Shape,
    x: Shape,
    weight: Shape,
    _bias_sizes: Argument,
    _stride: Argument,
    _padding: Argument,
    _dilation: Argument,
    transposed: bool,
    _output_padding: Argument,
    _groups: int,
    mask: tuple[bool, ...],
    *_: Argument,
) -> int:
    return _gradients(grad, x, weight, mask, transposed=transposed)


@formula("aten::convolution_backward_overrideable", source="as convolution_backward, without the bias' sizes")
def convolution_backward_overrideable(
    grad: Shape,
    x: Shape,
    weight: Shape,
    _stride: Argument,
    _padding: Argument,
    _dilation: Argument,
    transposed: bool,
    _output_padding: Argument,
    _groups: int,
    mask: tuple[bool, ...],
    *_: Argument,
) -> int:
    return _gradients(grad, x, weight, mask, transposed=transposed)


def _gradients(grad: Shape, x: Shape, weight: Shape, mask: tuple[Argument, ...], *, transposed: bool) -> int:
    positions = prod((x if transposed else grad)[2:])
    return _products(x[0], positions, weight) * sum(wanted is True for wanted in mask[:2])


@beside(
    "aten::convolution_backward",
    family=Family.REDUCTION,
    source="the bias gradient adds up the result's gradient",
)
def bias_gradient(grad: Shape, *arguments: Argument) -> int:
    mask = arguments[9]
    return grad.numel if isinstance(mask, tuple) and mask[2] else 0


@formula("aten::cudnn_convolution", source="as convolution, padding before stride")
def cudnn_convolution(
    x: Shape, weight: Shape, padding: Argument, stride: Argument, dilation: Argument, *_: Argument
) -> int:
    return _products(x[0], result_positions(x[2:], weight[2:], stride, padding, dilation), weight)


@formula(
    "aten::mkldnn_convolution",
    "aten::miopen_convolution",
    "aten::miopen_depthwise_convolution",
    "aten::_mps_convolution",
    "mkldnn::_convolution_pointwise",
    source="as convolution, with a bias, padding before stride; what is fused to it is not counted",
)
def mkldnn_convolution(
    x: Shape,
    weight: Shape,
    _bias: Shape | None,
    padding: Argument,
    stride: Argument,
    dilation: Argument,
    *_: Argument,
) -> int:
    return cudnn_convolution(x, weight, padding, stride, dilation)


@formula(
    "aten::cudnn_convolution_relu",
    "aten::miopen_convolution_relu",
    source="as convolution; the relu stands beside",
)
def convolution_relu(
    x: Shape,
    weight: Shape,
    _bias: Shape | None,
    stride: Argument,
    padding: Argument,
    dilation: Argument,
    *_: Argument,
) -> int:
    return cudnn_convolution(x, weight, padding, stride, dilation)


@formula(
    "aten::cudnn_convolution_add_relu",
    "aten::miopen_convolution_add_relu",
    source="as convolution; the rest beside",
)
def convolution_add_relu(
    x: Shape,
    weight: Shape,
    _z: Shape,
    _alpha: Argument,
    _bias: Shape | None,
    stride: Argument,
    padding: Argument,
    dilation: Argument,
    *_: Argument,
) -> int:
    return cudnn_convolution(x, weight, padding, stride, dilation)


@beside("aten::cudnn_convolution_relu", "aten::miopen_convolution_relu", family=Family.POINTWISE, source="relu: 1")
def fused_relu(
    x: Shape,
    weight: Shape,
    _bias: Shape | None,
    stride: Argument,
    padding: Argument,
    dilation: Argument,
    *_: Argument,
) -> int:
    return x[0] * weight[0] * result_positions(x[2:], weight[2:], stride, padding, dilation)


@beside(
    "aten::cudnn_convolution_add_relu",
    "aten::miopen_convolution_add_relu",
    family=Family.POINTWISE,
    source="add, relu: 2",
)
def fused_add_relu(_x: Shape, _weight: Shape, z: Shape, *_: Argument) -> int:
    return 2 * z.numel


@formula(
    "aten::cudnn_convolution_transpose",
    "aten::miopen_convolution_transpose",
    source="one pair per input position",
)
@formula("aten::_mps_convolution_transpose", source="one pair per input position")
@formula("mkldnn::_convolution_transpose_pointwise", source="one pair per input position")
@formula("aten::slow_conv_transpose2d", "aten::slow_conv_transpose3d", source="one pair per input position")
def convolution_transpose(x: Shape, weight: Shape, *_: Argument) -> int:
    return _products(x[0], prod(x[2:]), weight)


@formula(
    "aten::_slow_conv2d_forward",
    "aten::slow_conv3d_forward",
    "aten::slow_conv_dilated2d",
    "aten::slow_conv_dilated3d",
    "aten::_conv_depthwise2d",
    "aten::conv_depthwise3d",
    source="as convolution, with the kernel's sizes, and without dilation where none is given",
)
def native_convolution(
    x: Shape,
    weight: Shape,
    kernel: tuple[int, ...],
    _bias: Shape | None,
    stride: Argument,
    padding: Argument,
    dilation: Argument = 1,
    *_: Argument,
) -> int:
    gaps = 1 if isinstance(dilation, Shape) else dilation
    return _products(x[0], result_positions(x[2:], kernel, stride, padding, gaps), weight)


@formula("aten::_slow_conv2d_backward", source="the forward's products once for each of input and weight")
def slow_conv2d_backward(grad: Shape, x: Shape, weight: Shape, *arguments: Argument) -> int:
    """Both gradients where there is no mask; the last list is the kernel's padding then."""
    lists = [part for part in arguments if isinstance(part, tuple) and not isinstance(part, Shape)]
    masks = [part for part in lists if all(isinstance(wanted, bool) for wanted in part)]
    wanted = sum(part is True for part in masks[0][:2]) if masks else 2
    return _products(x[0], prod(grad[2:]), weight) * wanted


@formula("aten::_nnpack_spatial_convolution", source="as convolution, padding before stride, no dilation")
def nnpack_convolution(
    x: Shape, weight: Shape, _bias: Shape | None, padding: Argument, stride: Argument, *_: Argument
) -> int:
    return cudnn_convolution(x, weight, padding, stride, 1)


@formula("aten::conv_tbc", source="[T,B,C] with [k,C,O], padded at both ends")
def conv_tbc(x: Shape, weight: Shape, _bias: Shape, pad: int = 0, *_: Argument) -> int:
    steps, batch, _channels = x
    return _products(batch, steps + 2 * pad - weight[0] + 1, weight)


@formula("mkldnn::_convolution_pointwise.binary", source="as convolution; the other tensor is the fused operand")
def binary_convolution(x: Shape, _other: Shape, weight: Shape, *rest: Argument) -> int:
    return mkldnn_convolution(x, weight, None, *rest[1:4])


@formula("mkldnn::_convolution_pointwise_.binary", source="as convolution; the first tensor is the fused operand")
def binary_convolution_in_place(_other: Shape, x: Shape, weight: Shape, *rest: Argument) -> int:
    return mkldnn_convolution(x, weight, None, *rest[1:4])


@formula("onednn::qconv_pointwise", "onednn::qconv1d_pointwise", source="int8, as convolution, stride before padding")
@formula("onednn::qconv2d_pointwise", "onednn::qconv3d_pointwise", source="int8, as convolution, stride before padding")
def int8_convolution(x: Shape, _scale: Argument, _zero: Argument, weight: Shape, *rest: Argument) -> int:
    """After the weight: its scale and zero point, the accumulator of a binary form, the bias; then the settings."""
    settings = [part for part in rest if isinstance(part, tuple) and not isinstance(part, Shape)]
    stride, padding, dilation = settings[:3]
    return cudnn_convolution(x, weight, padding, stride, dilation)


@formula("aten::mps_convolution_backward", source="the forward's products once for each of input and weight")
def mps_convolution_backward(x: Shape, grad: Shape, weight: Shape, *rest: Argument) -> int:
    mask = rest[4]
    return _gradients(grad, x, weight, mask if isinstance(mask, tuple) else (True, True), transposed=False)


@beside("aten::mps_convolution_backward", family=Family.REDUCTION, source="the bias gradient adds up the result's")
def mps_bias_gradient(_x: Shape, grad: Shape, *rest: Argument) -> int:
    mask = rest[5]
    return grad.numel if isinstance(mask, tuple) and mask[2] else 0


@formula("aten::mps_convolution_transpose_backward", source="the forward's products once for each of input and weight")
def mps_convolution_transpose_backward(x: Shape, grad: Shape, weight: Shape, *rest: Argument) -> int:
    mask = rest[5]
    return _gradients(grad, x, weight, mask if isinstance(mask, tuple) else (True, True), transposed=True)
