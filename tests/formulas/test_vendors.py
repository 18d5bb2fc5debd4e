"""Kernels of other vendors and of compilers cost what the plain operator costs, whatever the order of arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from auditor.formulas.prims import PER_ELEMENT
from auditor.operations import Family
from auditor.tally import NUMBER, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.formulas import Price

X, WEIGHT = Shape((2, 4, 11, 10)), Shape((6, 2, 3, 3))
GRAD = Shape((2, 6, 4, 3))
SETTINGS: dict[str, Any] = {"stride": (3, 2), "padding": (1, 0), "dilation": (1, 2), "groups": 2}


@pytest.mark.parametrize(
    ("op", "x", "weight"),
    [
        ("aten::_mps_convolution", "self", "weight"),
        ("mkldnn::_convolution_pointwise", "X", "W"),
        ("mkldnn::_convolution_pointwise.binary", "X", "W"),
        ("mkldnn::_convolution_pointwise_.binary", "X", "W"),
        ("onednn::qconv_pointwise", "qx", "qw"),
        ("onednn::qconv2d_pointwise", "qx", "qw"),
        ("onednn::qconv2d_pointwise.tensor", "qx", "qw"),
        ("onednn::qconv2d_pointwise.binary", "qx", "qw"),
        ("onednn::qconv2d_pointwise.binary_tensor", "qx", "qw"),
    ],
)
def test_convolutions(price: Callable[..., Price], op: str, x: str, weight: str) -> None:
    """Stride and padding differ, so that one taken for the other gives another number."""
    plain = price("aten::convolution", input=X, weight=WEIGHT, transposed=False, **SETTINGS).amount
    answer = price(op, **{x: X, weight: WEIGHT}, **SETTINGS)
    assert answer.family is Family.CONVOLUTION
    assert answer.amount == plain
    assert plain is not None
    assert plain.algorithmic_ops == 2 * 2 * (4 * 3) * (6 * 2 * 3 * 3)


@pytest.mark.parametrize("mask", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)])
def test_the_gradients_of_a_convolution(price: Callable[..., Price], mask: tuple[bool, ...]) -> None:
    plain = price(
        "aten::convolution_backward",
        grad_output=GRAD,
        input=X,
        weight=WEIGHT,
        transposed=False,
        output_mask=mask,
    )
    named = {"self": X, "grad_output": GRAD, "weight": WEIGHT, "output_mask": mask}
    assert price("aten::mps_convolution_backward", **named).parts == plain.parts
    turned = price(
        "aten::convolution_backward",
        grad_output=GRAD,
        input=X,
        weight=WEIGHT,
        transposed=True,
        output_mask=(*mask[:2], False),
    )
    named["output_mask"] = mask[:2]
    assert price("aten::mps_convolution_transpose_backward", **named).parts == turned.parts


@pytest.mark.parametrize(
    ("op", "x", "weight"),
    [("aten::_mps_convolution_transpose", "self", "weight"), ("mkldnn::_convolution_transpose_pointwise", "X", "W")],
)
def test_transposed_convolutions(price: Callable[..., Price], op: str, x: str, weight: str) -> None:
    named = {"input": X, "weight": Shape((4, 3, 3, 3)), "transposed": True}
    plain = price("aten::convolution", **named).amount
    assert price(op, **{x: X, weight: Shape((4, 3, 3, 3))}).amount == plain


@pytest.mark.parametrize(
    ("op", "named"),
    [
        ("mkldnn::_linear_pointwise", {"X": (3, 5, 4), "W": (6, 4)}),
        ("mkldnn::_linear_pointwise.binary", {"X": (3, 5, 4), "other": (3, 5, 6), "W": (6, 4)}),
        ("mkl::_mkl_linear", {"X": (3, 5, 4), "MKL_W": (1459233, 1), "ORI_W": (6, 4)}),
        ("onednn::linear_dynamic_fp16", {"x": (3, 5, 4), "w": (4, 6)}),
        ("onednn::qlinear_pointwise", {"qx": (3, 5, 4), "qw": (4, 6)}),
        ("onednn::qlinear_pointwise.tensor", {"qx": (3, 5, 4), "qw": (4, 6)}),
        ("onednn::qlinear_pointwise.binary", {"qx": (3, 5, 4), "qw": (4, 6)}),
        ("symm_mem::fused_matmul_reduce_scatter", {"A": (15, 4), "B": (4, 6)}),
        ("symm_mem::_async_input_mm", {"a": (15, 4), "b": (4, 6)}),
        ("aten::_mixed_dtypes_linear", {"input": (3, 5, 4), "weight": (4, 3), "scale": (6,)}),
        ("aten::_weight_int4pack_mm_with_scales_and_zeros", {"self": (15, 4), "mat2": (6, 1), "qScale": (1, 6)}),
        ("quantized::matmul", {"qa": (3, 5, 4), "qb": (4, 6)}),
    ],
)
def test_linear_layers(price: Callable[..., Price], op: str, named: dict[str, tuple[int, ...]]) -> None:
    if op.startswith("symm_mem"):
        pytest.importorskip("torch.distributed._symmetric_memory")
    answer = price(op, **{name: Shape(sizes) for name, sizes in named.items()})
    assert answer.family is Family.MATMUL
    assert answer.amount is not None, answer.problem
    assert answer.amount.algorithmic_ops == 2 * 15 * 4 * 6


def test_an_lstm_of_another_vendor(price: Callable[..., Price]) -> None:
    x, hidden = Shape((5, 2, 3)), Shape((4, 2, 4))
    weights = tuple(Shape((16, width)) for width in (3, 4, 3, 4, 8, 4, 8, 4))
    mine: dict[str, Any] = {"input": x, "hx": (hidden, hidden), "params": weights, "num_layers": 2}
    theirs: dict[str, Any] = {"input": x, "hx": hidden, "weight": weights, "mode": 2, "hidden_size": 4, "num_layers": 2}
    forward = price("aten::_cudnn_rnn", **theirs, bidirectional=True)
    assert price("aten::_lstm_mps", **mine, bidirectional=True).parts == forward.parts
    theirs |= {"weight_buf": Shape((9,)), "output": x, "output_mask": (True,) * 4, "bidirectional": True}
    backward = price("aten::_cudnn_rnn_backward", **theirs)
    assert price("aten::lstm_mps_backward", **mine, bidirectional=True).parts == backward.parts


# Primitives under names of their own, and the operators that they are.
RENAMED = {
    "bessel_i0": "i0",
    "bessel_i0e": "special_i0e",
    "bessel_i1": "special_i1",
    "bessel_i1e": "special_i1e",
    "bessel_j0": "special_bessel_j0",
    "bessel_j1": "special_bessel_j1",
    "cbrt": "sqrt",
    "erf_inv": "erfinv",
    "erfcx": "special_erfcx",
    "fma": "addcmul",
    "inductor_cvt_e8m0_rceil": "ceil",
    "isfinite": "isinf",
    "ndtri": "special_ndtri",
    "shift_left": "bitwise_left_shift",
    "shift_right_arithmetic": "bitwise_right_shift",
    "where": "where.self",
    "spherical_bessel_j0": "special_spherical_bessel_j0",
    "zeta": "special_zeta",
}


def test_primitives_cost_what_the_operators_cost_that_they_are_made_for() -> None:
    from auditor.formulas import TABLE

    for (each, operands), names in PER_ELEMENT.items():
        for name in names.split():
            plain = TABLE.find(f"aten::{RENAMED.get(name, name)}")
            assert plain is not None, name
            assert plain.function is not None, name
            shapes = [Shape((4, 3))] * operands
            assert plain.function(*shapes) == each * 12, name


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin"])
def test_primitive_reductions(price: Callable[..., Price], name: str) -> None:
    assert price(f"prims::{name}", inp=Shape((4, 3)), dims=(0,)).parts == price("aten::sum", self=Shape((4, 3))).parts


def test_primitive_transforms(price: Callable[..., Price]) -> None:
    for name, given in {"c2c": {"forward": True}, "r2c": {"onesided": True}, "c2r": {"last_dim_size": 8}}.items():
        x = Shape((4, 8) if name != "c2r" else (4, 5), "complex64")
        plain = price(f"aten::_fft_{name}", self=x, dim=(0, 1), normalization=0, **given)
        assert price(f"prims::fft_{name}", self=x, dim=(0, 1), **given).parts == plain.parts


@pytest.mark.filterwarnings("ignore:torch.quantize_per")
def test_quantized_tensors_are_brought_back_and_quantized_again(watch: Any) -> None:
    x = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.quint8)
    assert watch(lambda: torch.ops.quantized.add(x, x, 0.1, 0)).operations().total == 6 * (1 + 2 * 2 + 5)
    assert watch(lambda: torch.ops.quantized.mul_relu(x, x, 0.1, 0)).operations().total == 6 * (2 + 2 * 2 + 5)
    assert watch(lambda: torch.ops.quantized.sigmoid(x, 0.1, 0)).operations().total == 6 * (4 + 2 + 5)
    assert watch(lambda: torch.ops.quantized.clamp(x, 0, 1)).operations().total == 6 * 2


@pytest.mark.filterwarnings("ignore:torch.quantize_per")
def test_a_layer_whose_weight_is_packed_into_an_object_has_no_price(watch: Any) -> None:
    x = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.quint8)
    weight = torch.quantize_per_tensor(torch.ones(4, 3), 0.1, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weight, None)
    operations = watch(lambda: torch.ops.quantized.linear(x, packed, 0.1, 0)).operations()
    assert operations.unpriced == {"quantized::linear": 1}


def test_lists_are_quantized_one_by_one(price: Callable[..., Price]) -> None:
    tensors = (Shape((2, 3)), Shape((5,)))
    listed = price("aten::quantize_per_tensor.tensors", tensors=tensors, scales=Shape((2,)), zero_points=Shape((2,)))
    assert listed.parts[0][1].algorithmic_ops == 5 * 11
    assert price("aten::dequantize.tensors", tensors=tensors).parts[0][1].algorithmic_ops == 2 * 11


def test_bins_in_several_dimensions_are_sought_coordinate_by_coordinate(watch: Any) -> None:
    points = torch.rand(50, 2)
    operations = watch(lambda: torch.histogramdd(points, [4, 8])).operations()
    assert operations.complete, operations.unpriced
    assert operations.by_family["reduction"] >= 50 * (3 + 4)


def test_least_squares_have_a_price_by_qr_alone(price: Callable[..., Price]) -> None:
    named = {"self": Shape((9, 4)), "b": Shape((9, 3))}
    assert price("aten::linalg_lstsq", **named).amount is None
    assert price("aten::linalg_lstsq", **named, driver="gelsd", rcond=NUMBER).amount is None
    by_qr = price("aten::linalg_lstsq", **named, driver="gels").amount
    assert by_qr is not None
    factorisation = -(-2 * 4**2 * (3 * 9 - 4) // 3)
    assert by_qr.algorithmic_ops == factorisation + 3 * (4 * 9 * 4 + 4**2)
