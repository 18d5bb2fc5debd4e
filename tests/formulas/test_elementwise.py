"""Work that is no product: per element, whatever the overload, the broadcasting, or the place of results."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from auditor.errors import FormulaError
from auditor.formulas import Price, Pricer
from auditor.formulas.sizes import broadcast, ceil_log2, reduced
from auditor.tally import NUMBER, Shape, Signature, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = st.lists(st.integers(0, 4), max_size=4)


@given(SIZES, SIZES)
@settings(max_examples=150, deadline=None)
def test_sizes_go_together_as_torch_says(left: list[int], right: list[int]) -> None:
    try:
        expected = tuple(torch.broadcast_shapes(left, right))
    except RuntimeError:
        with pytest.raises(FormulaError, match="do not go together"):
            broadcast([left, right])
    else:
        assert broadcast([left, right]) == expected


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
@settings(max_examples=100, deadline=None)
def test_a_reduction_leaves_as_many_results_as_torch_does(sizes: list[int], data: st.DataObject) -> None:
    dims = data.draw(st.lists(st.integers(-len(sizes), len(sizes) - 1), unique_by=lambda d: d % len(sizes)))
    expected = torch.ones(sizes).sum(dims).numel() if dims else 1
    assert reduced(Shape(sizes), tuple(dims)) == expected
    assert reduced(Shape(sizes), None) == reduced(Shape(sizes), NUMBER) == reduced(Shape(sizes), True) == 1


@given(st.integers(1, 10**6))
def test_the_logarithm_is_rounded_up(number: int) -> None:
    exponent = ceil_log2(number)
    assert 2**exponent >= number
    assert exponent == 0 or 2 ** (exponent - 1) < number


X = torch.full((2, 3), 0.5)
ROW = torch.full((3,), 0.5)
ONE_EACH: dict[str, Callable[[], object]] = {
    "tensors": lambda: torch.add(X, X),
    "a scalar": lambda: torch.add(X, 2),
    "broadcast": lambda: torch.mul(X, ROW),
    "in place": lambda: X.clone().add_(ROW),
    "out, empty": lambda: torch.sub(X, ROW, out=torch.empty(0)),
    "the number first": lambda: 2 - X,
    "power of a number": lambda: torch.pow(2.0, X),
    "power of a tensor": lambda: torch.pow(X, X),
    "comparison": lambda: X > ROW,
    "minimum of two": lambda: torch.min(X, ROW),
    "relu": lambda: functional.relu(X),
    "one bound": lambda: X.clamp(min=0),
    "division, rounded": lambda: torch.div(X, ROW, rounding_mode="floor"),
}


@pytest.mark.parametrize("name", ONE_EACH)
def test_one_operation_per_element_of_the_result(watch: Any, name: str) -> None:
    assert watch(ONE_EACH[name]).operations().by_family["pointwise"] == 6


def test_a_selection_costs_its_comparison_and_itself(watch: Any) -> None:
    assert watch(lambda: torch.where(ROW > X, X, ROW)).operations().total == 6 + 6
    assert watch(lambda: torch.masked_fill(X, X > 9, 1.0)).operations().total == 6 + 6


def _softmax(x: torch.Tensor) -> torch.Tensor:
    powers = torch.exp(x - x.amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True)


def _layer_norm(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-5)


SPELT_OUT: list[tuple[str, Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]] = [
    ("sigmoid", torch.sigmoid, lambda x: torch.reciprocal(1 + torch.exp(-x))),
    ("silu", functional.silu, lambda x: x / (1 + torch.exp(-x))),
    ("gelu", functional.gelu, lambda x: 0.5 * (x * (1 + torch.erf(x * 0.7071067811865476)))),
    (
        "gelu by tanh",
        lambda x: functional.gelu(x, approximate="tanh"),
        lambda x: 0.5 * (x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * (x * x * x))))),
    ),
    ("mish", functional.mish, lambda x: x * torch.tanh(torch.log1p(torch.exp(x)))),
    ("hardswish", functional.hardswish, lambda x: x * torch.clamp(x + 3, 0, 6) / 6),
    ("hardsigmoid", functional.hardsigmoid, lambda x: torch.clamp(x + 3, 0, 6) / 6),
    ("logit", torch.logit, lambda x: torch.log(x / (1 - x))),
    ("lerp", lambda x: torch.lerp(x, ROW, 0.25), lambda x: x + 0.25 * (ROW - x)),
    ("addcmul", lambda x: torch.addcmul(x, ROW, ROW), lambda x: x + ROW * ROW.expand(2, 3)),
    ("xlogy", lambda x: torch.xlogy(x, x), lambda x: x * torch.log(x)),
    ("hardtanh", functional.hardtanh, lambda x: torch.clamp(x, -1, 1)),
    ("softmax", lambda x: torch.softmax(x, -1), _softmax),
    ("mean", lambda x: x.mean(0), lambda x: x.sum(0) / 2),
    ("variance", lambda x: x.var(0, correction=0), lambda x: ((x - x.mean(0)).square()).sum(0) / 2),
    ("norm", lambda x: torch.linalg.vector_norm(x, dim=1), lambda x: x.square().sum(1).sqrt()),
    (
        "squared error",
        lambda x: functional.mse_loss(x, ROW.expand(2, 3)),
        lambda x: (x - ROW).square().mean(),
    ),
    ("layer norm", lambda x: functional.layer_norm(x, (3,)), _layer_norm),
    (
        "layer norm, affine",
        lambda x: functional.layer_norm(x, (3,), ROW, ROW),
        lambda x: _layer_norm(x) * ROW + ROW,
    ),
]


@pytest.mark.parametrize(("name", "fused", "spelt"), SPELT_OUT, ids=[name for name, _, _ in SPELT_OUT])
def test_one_kernel_costs_what_it_costs_spelt_out(
    watch: Any,
    name: str,
    fused: Callable[[torch.Tensor], torch.Tensor],
    spelt: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    x = torch.tensor([[0.2, 0.4, 0.6], [0.3, 0.5, 0.7]])
    torch.testing.assert_close(fused(x), spelt(x), atol=1e-4, rtol=1e-4)
    assert watch(lambda: fused(x)).operations().total == watch(lambda: spelt(x)).operations().total > 0


def test_a_fused_rms_norm_costs_what_the_cpu_runs_for_it_one_by_one(
    watch: Any, price: Callable[..., Price], shape: Callable[..., Shape]
) -> None:
    layer, x = nn.RMSNorm(8), torch.ones(3, 5, 8)
    fused = price("aten::_fused_rms_norm", input=shape(3, 5, 8), normalized_shape=(8,), weight=shape(8)).amount
    assert fused is not None
    assert watch(lambda: layer(x)).operations().total == fused.algorithmic_ops


ONES = torch.ones(6)


@pytest.mark.parametrize(
    ("norm", "groups", "affine", "running"),
    [
        (lambda x: functional.layer_norm(x, (4,), ONES[:4], ONES[:4]), 18, 2, 0),
        (lambda x: functional.layer_norm(x, (6, 4)), 3, 0, 0),
        (lambda x: functional.group_norm(x, 2, ONES, ONES), 6, 2, 0),
        (lambda x: functional.batch_norm(x, None, None, ONES, ONES, training=True), 6, 2, 0),
        (lambda x: functional.batch_norm(x, ONES * 0, ONES * 1, training=True), 6, 0, 36),
    ],
)
def test_a_norm_in_training_costs_five_per_element_and_four_per_group(
    watch: Any, norm: Callable[[torch.Tensor], torch.Tensor], groups: int, affine: int, running: int
) -> None:
    x = torch.randn(3, 6, 4)
    expected = (5 + affine) * x.numel() + 4 * groups + running
    assert watch(lambda: norm(x)).operations().by_family["normalization"] == expected


def test_the_gradients_of_norms_follow_the_output_mask(
    price: Callable[..., Price], shape: Callable[..., Shape]
) -> None:
    n, rows = 15 * 8, 15
    named = {"grad_out": shape(3, 5, 8), "input": shape(3, 5, 8), "normalized_shape": (8,)}
    named |= {"mean": shape(3, 5, 1), "rstd": shape(3, 5, 1), "weight": shape(8), "bias": shape(8)}

    def of(*mask: bool) -> int:
        amount = price("aten::native_layer_norm_backward", **named, output_mask=mask).amount
        assert amount is not None
        return amount.algorithmic_ops

    assert of(True, True, True) == 2 * n + 8 * n + 2 * rows + 2 * n + n
    assert of(True, False, False) == 2 * n + 8 * n + 2 * rows
    assert of(False, True, False) == 2 * n + 2 * n
    assert of(False, False, True) == n
    assert of(False, False, False) == 0


@pytest.mark.parametrize(
    ("sizes", "pool", "ours"),
    [
        ((2, 3, 7, 8), nn.MaxPool2d(3, 2), lambda out: 9 * out),
        ((2, 3, 7, 8), nn.MaxPool2d(2, 2, padding=1, ceil_mode=True), lambda out: 4 * out),
        ((2, 3, 7, 8), nn.MaxPool2d((2, 3), dilation=2), lambda out: 6 * out),
        ((2, 3, 7, 8), nn.AvgPool2d(3, 2, padding=1), lambda out: 10 * out),
        ((2, 3, 7, 8), nn.AvgPool2d(2, ceil_mode=True), lambda out: 5 * out),
        ((2, 3, 5, 6, 7), nn.AvgPool3d(2), lambda out: 9 * out),
        ((2, 3, 5, 6, 7), nn.MaxPool3d(3, 1, padding=1), lambda out: 27 * out),
        ((2, 3, 8), nn.AvgPool1d(2), lambda out: 3 * out),
    ],
)
def test_pooling_costs_the_elements_of_its_windows(
    watch: Any, sizes: tuple[int, ...], pool: nn.Module, ours: Callable[[int], int]
) -> None:
    x = torch.ones(sizes)
    assert watch(lambda: pool(x)).operations().total == ours(pool(x).numel())


@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    dilation=st.integers(1, 2),
    ceil=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_pooling_windows_are_counted_as_torch_places_them(
    *, size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool
) -> None:
    padding = min(padding, kernel // 2)
    try:
        result = functional.max_pool2d(torch.ones(1, 1, size, 9), (kernel, 1), stride, (padding, 0), dilation, ceil)
    except RuntimeError:
        return  # torch refuses a window larger than its input
    arguments = (Shape((1, 1, size, 9)), (kernel, 1), (stride,), (padding, 0), (dilation,), ceil)
    price = Pricer().of(Signature("aten::max_pool2d_with_indices", encode_arguments(arguments)))
    assert price.amount is not None
    assert price.amount.algorithmic_ops == kernel * result.numel()


def test_interpolation_costs_its_neighbours_and_scales_are_not_mistaken_for_sizes(watch: Any) -> None:
    x = torch.ones(2, 3, 4, 5)
    sized = watch(lambda: functional.interpolate(x, (8, 10), mode="bilinear"))
    scaled = watch(lambda: functional.interpolate(x, scale_factor=2, mode="bilinear"))
    assert sized.operations().total == scaled.operations().total == 7 * (2 * 3 * 8 * 10)
    with torch.inference_mode():  # it arrives whole, with scales, and is taken apart
        whole = watch(lambda: functional.interpolate(x, scale_factor=2, mode="bilinear"))
    assert whole.operations().complete
    assert whole.operations().total >= 7 * (2 * 3 * 8 * 10)


def test_an_embedding_is_read_for_nothing_and_its_gradient_added(watch: Any) -> None:
    table, indices = nn.Embedding(10, 4), torch.tensor([[1, 2, 2], [3, 3, 3]])
    forward = watch(lambda: table(indices)).operations()
    assert forward.complete
    assert forward.total == 0
    table(indices).backward(torch.ones(2, 3, 4))  # duplicates cost like others
    seen = watch(lambda: table(indices).backward(torch.ones(2, 3, 4)))
    assert seen.amount("aten::embedding_dense_backward").algorithmic_ops == indices.numel() * 4


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (lambda: torch.zeros(4, 3).index_add_(0, torch.tensor([1, 1]), torch.ones(2, 3)), 6),
        (lambda: torch.zeros(4, 3).scatter_add_(0, torch.tensor([[1, 1, 1]]), torch.ones(1, 3)), 3),
        (lambda: torch.zeros(4, 3).index_put_((torch.tensor([1, 1]),), torch.ones(3), accumulate=True), 6),
        (lambda: torch.zeros(4, 3).index_put_((torch.tensor([1, 1]),), torch.ones(3)), 0),
        (lambda: torch.zeros(4, 3).scatter_(0, torch.tensor([[1, 1, 1]]), 2.0), 0),
        (lambda: torch.zeros(4, 3)[torch.tensor([1, 2])], 0),
        (
            lambda: torch.ops.aten.index_put_(torch.zeros(4, 3), [None, torch.tensor([1])], torch.ones(1), True),
            4,
        ),
    ],
)
def test_what_is_added_into_a_place_costs_one_operation_each(
    watch: Any, program: Callable[[], object], expected: int
) -> None:
    operations = watch(program).operations()
    assert operations.complete
    assert operations.total == expected


def test_lists_cost_what_their_tensors_cost(watch: Any) -> None:
    tensors = [torch.ones(2, 3), torch.ones(5)]
    assert watch(lambda: torch._foreach_mul(tensors, 2.0)).operations().total == 11
    assert watch(lambda: torch._foreach_mul(tensors, [2.0, 3.0])).operations().total == 11
    assert watch(lambda: torch._foreach_mul(tensors, tensors)).operations().total == 11
    assert watch(lambda: torch._foreach_mul(tensors, torch.tensor(2.0))).operations().total == 11
    assert watch(lambda: torch._foreach_add_(tensors, tensors, alpha=2)).operations().total == 11
    assert watch(lambda: torch._foreach_addcmul_(tensors, tensors, tensors)).operations().total == 22
    assert watch(lambda: torch._foreach_pow(2.0, tensors)).operations().total == 11
    assert watch(lambda: torch._foreach_norm(tensors)).operations().total == 2 * 11 + 2


def test_a_loss_costs_its_reduction_too(watch: Any) -> None:
    logits, target = torch.randn(6, 5), torch.tensor([1, 2, 3, 0, 4, 1])
    none, total, mean = (
        watch(lambda how=how: functional.nll_loss(logits, target, reduction=how)).operations().total
        for how in ("none", "sum", "mean")
    )
    assert (none, total, mean) == (6, 12, 13)


def test_ordering_costs_the_comparisons_of_a_merge_sort(watch: Any) -> None:
    rows = torch.randn(3, 100)
    assert watch(lambda: rows.sort(-1)).operations().total == 300 * math.ceil(math.log2(100))
    assert watch(lambda: rows.sort(0)).operations().total == 300 * 2
    assert watch(rows.median).operations().total == 300 * math.ceil(math.log2(300))
    assert watch(lambda: rows.topk(8)).operations().total == 300 * 3


def test_dropout_costs_the_same_fused_or_in_parts(watch: Any, price: Callable[..., Price]) -> None:
    parts = watch(lambda: functional.dropout(X, 0.5, training=True)).operations().total
    fused = price("aten::native_dropout", input=Shape(X.shape), p=NUMBER, train=True).amount
    assert fused is not None
    assert parts == fused.algorithmic_ops == 3 * 6


def test_the_fast_path_of_an_encoder_layer_costs_what_its_parts_cost(watch: Any) -> None:
    """Matrix products and attention to the operation; the fast path is one operator and hides them."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, activation="gelu").eval()
    x = torch.randn(2, 5, 16)
    program = partial(layer, x)
    with torch.no_grad():
        fast = watch(program)
    slow = watch(program)
    assert fast.count("aten::_transformer_encoder_layer_fwd") == 1
    assert slow.count("aten::_transformer_encoder_layer_fwd") == 0
    mine, theirs = fast.operations().by_family, slow.operations().by_family
    assert mine["matmul"] + mine["attention"] == theirs["matmul"] + theirs["attention"] > 0
    residuals, activation = 2 * 2 * 5 * 16, 5 * 2 * 5 * 32
    assert mine["pointwise"] == residuals + activation
