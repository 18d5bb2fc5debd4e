"""Attention kernels against loops over scores, plain products, and torch's own counter."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel, varlen  # noqa: F401 - registers operators
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

from auditor.formulas.scores import masked_scores
from auditor.operations import Amount
from auditor.tally import NUMBER, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.formulas import Price

SMALL = st.integers(1, 9)
CPU = "aten::_scaled_dot_product_flash_attention_for_cpu"
# Kernel, its causal argument's name, the layout of its tensors, what it masks.
KERNELS = [
    ("aten::_scaled_dot_product_flash_attention_for_cpu", "heads"),
    ("aten::_scaled_dot_product_flash_attention", "heads"),
    ("aten::_scaled_dot_product_efficient_attention", "heads"),
    ("aten::_scaled_dot_product_cudnn_attention", "heads"),
    ("aten::_scaled_dot_product_fused_attention_overrideable", "heads"),
    ("aten::_cudnn_attention_forward", "heads"),
    ("aten::_flash_attention_forward", "positions"),
    ("aten::_flash_attention_forward_no_dropout_inplace", "positions"),
    ("aten::_flash_attention_forward.quantized", "positions"),
    ("aten::_efficient_attention_forward", "positions"),
]
BACKWARD = [
    ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "heads"),
    ("aten::_scaled_dot_product_flash_attention_backward", "heads"),
    ("aten::_scaled_dot_product_efficient_attention_backward", "heads"),
    ("aten::_scaled_dot_product_cudnn_attention_backward", "heads"),
    ("aten::_scaled_dot_product_fused_attention_overrideable_backward", "heads"),
    ("aten::_cudnn_attention_backward", "heads"),
    ("aten::_flash_attention_backward", "positions"),
    ("aten::_efficient_attention_backward", "positions"),
]


def _arguments(op: str, layout: str, *, causal: bool, sizes: tuple[int, ...] = (2, 6, 3, 5, 7, 4, 8)) -> dict[str, Any]:
    """A call: batch, heads, key heads, queries, keys, width, width of values."""
    batch, heads, key_heads, queries, keys, width, value_width = sizes
    names = {each.name for each in torch._C._get_schema(*_split(op)).arguments}
    shapes = {
        "query": (batch, heads, queries, width),
        "key": (batch, key_heads, keys, width),
        "value": (batch, key_heads, keys, value_width),
    }
    for name in ("grad_out", "grad_out_"):
        if name in names:
            shapes[name] = (batch, heads, queries, value_width)
    swap = layout == "positions"
    named: dict[str, Any] = {
        name: Shape((b, s, h, d) if swap else (b, h, s, d), "bfloat16") for name, (b, h, s, d) in shapes.items()
    }
    named |= {name: NUMBER for name in ("dropout_p", "scale") if name in names}
    if "is_causal" in names:
        named["is_causal"] = causal
    elif causal:
        named["custom_mask_type"] = 1
    return named


def _split(op: str) -> tuple[str, str]:
    name, _, overload = op.partition(".")
    return name, overload


def _loops(queries: int, keys: int) -> tuple[int, int]:
    """Scores, and those of them that a causal mask throws away, one by one."""
    pairs = list(product(range(queries), range(keys)))
    return len(pairs), sum(j > i for i, j in pairs)


@given(SMALL, SMALL)
@settings(max_examples=60, deadline=None)
def test_the_masked_scores_are_those_of_torchs_own_mask(queries: int, keys: int) -> None:
    masked = (~torch.ones(queries, keys, dtype=torch.bool).tril()).sum().item()
    assert masked_scores(queries, keys, None, 0) == masked == _loops(queries, keys)[1]
    assert masked_scores(queries, keys, None, None) == 0


@given(SMALL, SMALL, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_windows_mask_what_lies_outside(queries: int, keys: int, left: int | None, right: int | None) -> None:
    shift = keys - queries
    outside = sum(
        (left is not None and j < i + shift - left) or (right is not None and j > i + shift + right)
        for i, j in product(range(queries), range(keys))
    )
    assert masked_scores(queries, keys, left, right, shift) == outside


def test_a_square_causal_mask_throws_away_all_but_half_and_half_the_diagonal() -> None:
    assert masked_scores(1024, 1024, None, 0) == 1024 * 1023 // 2


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("op", "layout"), KERNELS)
def test_forward_kernels_multiply_for_scores_and_result(
    price: Callable[..., Price], op: str, layout: str, causal: bool
) -> None:
    batch, heads, key_heads, size, width, value_width = 2, 6, 3, 7, 4, 8
    sizes = (batch, heads, key_heads, size, size, width, value_width)
    answer = price(op, **_arguments(op, layout, causal=causal, sizes=sizes)).amount
    scores, masked = _loops(size, size)
    each = 2 * batch * heads * (width + value_width)
    assert answer == Amount(each * scores, 0, each * masked if causal else 0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("op", "layout"), BACKWARD)
def test_backward_kernels_multiply_for_four_gradients_and_the_scores_again(
    price: Callable[..., Price], op: str, layout: str, causal: bool
) -> None:
    batch, heads, key_heads, size, width, value_width = 2, 6, 3, 7, 4, 8
    sizes = (batch, heads, key_heads, size, size, width, value_width)
    answer = price(op, **_arguments(op, layout, causal=causal, sizes=sizes)).amount
    scores, masked = _loops(size, size)
    each = 2 * batch * heads
    gradients = each * 2 * (width + value_width)
    assert answer == Amount(gradients * scores, each * width * scores, gradients * masked if causal else 0)


@pytest.mark.parametrize(("op", "layout"), [each for each in KERNELS if "scaled_dot" in each[0]])
def test_torchs_own_counter_agrees_on_the_forward(price: Callable[..., Price], op: str, layout: str) -> None:
    arguments = _arguments(op, layout, causal=False)
    theirs = sdpa_flop_count(*(tuple(arguments[name]) for name in ("query", "key", "value")))
    answer = price(op, **arguments).amount
    assert answer is not None
    assert answer.executed_ops == theirs


@pytest.mark.parametrize(("op", "layout"), [each for each in BACKWARD if "scaled_dot" in each[0]])
def test_torchs_own_counter_agrees_on_what_the_backward_executes(
    price: Callable[..., Price], op: str, layout: str
) -> None:
    """It makes no difference between the four gradients and the scores computed again: five products."""
    arguments = _arguments(op, layout, causal=False)
    grad = arguments.get("grad_out") or arguments.get("grad_out_")
    assert grad is not None
    theirs = sdpa_backward_flop_count(tuple(grad), *(tuple(arguments[name]) for name in ("query", "key", "value")))
    answer = price(op, **arguments).amount
    assert answer is not None
    assert answer.executed_ops == theirs


@pytest.mark.parametrize("causal", [False, True])
def test_the_cpu_kernel_costs_what_the_same_attention_costs_out_of_plain_products(watch: Any, causal: bool) -> None:
    """Torch's mathematical path runs the same products as `bmm`; it keeps its scores and repeats nothing."""

    def attend() -> None:
        query, key, value = (torch.ones(2, 3, 5, 4, requires_grad=True) for _ in range(3))
        functional.scaled_dot_product_attention(query, key, value, is_causal=causal).sum().backward()

    def attend_in_parts() -> None:
        with sdpa_kernel(SDPBackend.MATH):
            attend()

    kernel, parts = watch(attend), watch(attend_in_parts)
    assert kernel.count(CPU) == kernel.count(f"{CPU}_backward") == 1
    assert parts.count(CPU) == 0
    amount = kernel.amount(CPU).plus(kernel.amount(f"{CPU}_backward"))
    assert amount.algorithmic_ops == parts.operations().by_family["matmul"]
    assert amount.repeated_ops == 2 * (2 * 3 * 5 * 5) * 4


def test_the_softmax_of_a_kernel_stands_beside_and_is_that_of_the_plain_one(watch: Any) -> None:
    query, key, value = (torch.ones(2, 3, 5, 4) for _ in range(3))
    scores = 2 * 3 * 5 * 5
    kernel = watch(lambda: functional.scaled_dot_product_attention(query, key, value)).operations()
    plain = watch(lambda: torch.softmax(torch.ones(2, 3, 5, 5), -1)).operations()
    assert kernel.by_family["normalization"] == plain.by_family["normalization"] + scores  # and the scaling
    assert kernel.by_family["attention"] == 2 * scores * (4 + 4)


def test_a_mask_that_is_a_tensor_skips_nothing_and_adds_one_operation_per_score(watch: Any) -> None:
    query = torch.ones(2, 3, 5, 4)
    mask = torch.ones(5, 5).tril().log()
    masked = watch(lambda: functional.scaled_dot_product_attention(query, query, query, attn_mask=mask))
    free = watch(lambda: functional.scaled_dot_product_attention(query, query, query))
    assert masked.amount(CPU) == free.amount(CPU)
    assert masked.amount(CPU).skippable_ops == 0
    added = masked.operations().by_family["normalization"] - free.operations().by_family["normalization"]
    assert added == 2 * 3 * 5 * 5


def test_fewer_key_heads_are_read_again_for_each_query_head(price: Callable[..., Price]) -> None:
    op = "aten::_scaled_dot_product_flash_attention"
    one = price(op, **_arguments(op, "heads", causal=False, sizes=(2, 6, 1, 5, 7, 4, 8))).amount
    all_heads = price(op, **_arguments(op, "heads", causal=False, sizes=(2, 6, 6, 5, 7, 4, 8))).amount
    assert one == all_heads


def test_flash_attention_aligns_at_the_bottom_right_and_knows_windows(price: Callable[..., Price]) -> None:
    op = "aten::_flash_attention_forward"
    arguments = _arguments(op, "positions", causal=True, sizes=(1, 1, 1, 3, 5, 4, 4))
    causal = price(op, **arguments).amount
    assert causal is not None
    assert causal.skippable_ops == 2 * 8 * (2 + 1)  # the queries see 3, 4 and 5 of 5 keys
    windowed = price(op, **{**arguments, "window_size_left": 1}).amount
    assert windowed is not None
    assert windowed.skippable_ops == 2 * 8 * (3 * 5 - 3 * 2)  # each sees 2
    open_window = {**arguments, "is_causal": False, "window_size_left": -1, "window_size_right": -1}
    everything = price(op, **open_window).amount
    assert everything is not None
    assert everything.skippable_ops == 0
    backward = "aten::_flash_attention_backward"
    grads = _arguments(backward, "positions", causal=True, sizes=(1, 1, 1, 3, 5, 4, 4))
    gradient = price(backward, **grads, window_size_left=1).amount
    assert gradient is not None
    assert gradient.skippable_ops == 2 * windowed.skippable_ops


# Kernels that take packed sequences: names of the offsets, of the longest, and dimensions of a packed tensor.
PACKED = [
    ("aten::_flash_attention_forward", "cum_seq", "max", 3),
    ("aten::_flash_attention_forward.quantized", "cum_seq", "max", 3),
    ("aten::_flash_attention_forward_no_dropout_inplace", "cum_seq", "max", 3),
    ("aten::_flash_attention_backward", "cum_seq", "max", 3),
    ("aten::_cudnn_attention_forward", "cum_seq", "max", 3),
    ("aten::_cudnn_attention_backward", "cum_seq", "max", 3),
    ("aten::_efficient_attention_forward", "cu_seqlens", "max_seqlen", 4),
    ("aten::_efficient_attention_backward", "cu_seqlens", "max_seqlen", 4),
    ("torch_attn::_varlen_attn", "cu_seq", "max", 3),
    ("torch_attn::_varlen_attn_out", "cu_seq", "max", 3),
    ("torch_attn::_varlen_attn_backward", "cu_seq", "max", 3),
]


def _packed(op: str, offsets: str, longest: str, dims: int, *, sequences: int, queries: int, keys: int) -> Any:
    """Sequences behind one another: 6 heads over 3, widths 4 and 8; ``queries`` and ``keys`` in all."""
    sizes = {"query": (queries, 6, 4), "key": (keys, 3, 4), "value": (keys, 3, 8)}
    names = {each.name for each in torch._C._get_schema(*_split(op)).arguments}
    named: dict[str, Any] = {name: Shape(((1,) if dims == 4 else ()) + size) for name, size in sizes.items()}
    named |= {f"{offsets}_{side}": Shape((sequences + 1,), "int32") for side in "qk"}
    if "is_causal" in names:
        named["is_causal"] = True
    else:
        named["custom_mask_type"] = 1
    return named | {f"{longest}_q": queries // sequences, f"{longest}_k": keys // sequences}


@given(data=st.data(), sequences=st.integers(1, 4), queries=st.integers(1, 6))
@settings(max_examples=60)
def test_packed_sequences_that_are_all_as_long_cost_what_they_cost_one_by_one(
    price: Callable[..., Price], data: st.DataObject, sequences: int, queries: int
) -> None:
    op, *how = data.draw(st.sampled_from(PACKED))
    named = _packed(op, *how, sequences=sequences, queries=sequences * queries, keys=sequences * queries)
    answer = price(op, **named)
    scores, masked = _loops(queries, queries)
    products = 4 if "backward" in op else 2
    each = 2 * products // 2 * sequences * 6 * (4 + 8)
    repeated = 2 * sequences * 6 * 4 * scores if "backward" in op else 0
    assert answer.amount == Amount(each * scores, repeated, each * masked), answer.problem


@pytest.mark.parametrize(("op", "offsets", "longest", "dims"), PACKED)
def test_sequences_whose_lengths_are_values_have_no_price(
    price: Callable[..., Price], op: str, offsets: str, longest: str, dims: int
) -> None:
    named = _packed(op, offsets, longest, dims, sequences=2, queries=10, keys=10)
    for change in ({f"{longest}_q": 6}, {f"{longest}_k": 7}, {f"{longest}_q": None}):
        answer = price(op, **{**named, **change})
        assert answer.amount is None
        assert "packed sequences" in answer.problem


@pytest.mark.parametrize(
    ("op", "name"),
    [
        ("aten::_flash_attention_forward", "seqused_k"),
        ("aten::_flash_attention_forward", "block_table"),
        ("aten::_flash_attention_forward.quantized", "seqused_k"),
        ("aten::_efficient_attention_forward", "seqlen_k"),
        ("torch_attn::_varlen_attn", "seqused_k"),
        ("torch_attn::_varlen_attn", "block_table"),
    ],
)
def test_positions_that_are_used_only_in_part_have_no_price(price: Callable[..., Price], op: str, name: str) -> None:
    how = next(each for each in PACKED if each[0] == op)
    named = _packed(*how, sequences=2, queries=10, keys=10)
    answer = price(op, **{**named, name: Shape((2,), "int32")})
    assert answer.amount is None
    assert "how much of them is used" in answer.problem


@pytest.mark.parametrize("op", ["torch_attn::_varlen_attn", "torch_attn::_varlen_attn_backward"])
def test_a_window_over_packed_sequences_is_skippable(price: Callable[..., Price], op: str) -> None:
    how = next(each for each in PACKED if each[0] == op)
    named = {**_packed(*how, sequences=2, queries=10, keys=10), "is_causal": False}
    answer = price(op, **named, window_size=(1, 0))
    outside = sum(not (i - 1 <= j <= i) for i, j in product(range(5), range(5)))
    assert answer.amount is not None
    assert answer.amount.skippable_ops == (2 if "backward" in op else 1) * 2 * 2 * 6 * (4 + 8) * outside


@pytest.mark.parametrize(
    ("op", "names"),
    [
        ("aten::_triton_scaled_dot_attention", ("q", "k", "v")),
        ("aten::_scaled_dot_product_attention_math_for_mps", ("query", "key", "value")),
    ],
)
def test_kernels_of_other_vendors_multiply_for_scores_and_result(
    price: Callable[..., Price], op: str, names: tuple[str, ...]
) -> None:
    sizes = [Shape((2, 3, 5, 4)), Shape((2, 3, 7, 4)), Shape((2, 3, 7, 8))]
    answer = price(op, **dict(zip(names, sizes, strict=True)), dropout_p=NUMBER)
    assert answer.amount == Amount(2 * 2 * 3 * _loops(5, 7)[0] * (4 + 8))


def test_the_precision_is_that_of_the_queries(price: Callable[..., Price]) -> None:
    op = "aten::_scaled_dot_product_flash_attention"
    assert price(op, **_arguments(op, "heads", causal=False)).precision == "bfloat16"


def test_long_sequences_stay_exact(price: Callable[..., Price]) -> None:
    op, size = "aten::_scaled_dot_product_flash_attention", 131_072
    answer = price(op, **_arguments(op, "heads", causal=True, sizes=(1, 128, 8, size, size, 128, 128))).amount
    assert answer == Amount(2 * 128 * size * size * 256, 0, 128 * size * (size - 1) * 256)
