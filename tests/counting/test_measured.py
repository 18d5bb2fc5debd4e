"""What sizes do not tell is measured: packed sequences of any lengths, groups of rows, under both counters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import auditor
from auditor.counting import devices, native
from auditor.tally import CounterKind, Phase

HEADS, WIDTH, VALUES = 2, 8, 8
KINDS = list(CounterKind)[1:]
NOTHING = torch.empty(0)


@pytest.fixture(params=KINDS)
def count(request):
    return partial(auditor.count, counter=request.param)


@pytest.fixture(autouse=True)
def _no_problems(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(devices, "_problems", {})
    yield
    assert devices.problems() == {}


def mask_of(queries: int, keys: int, causal: bool, left: int | None, right: int | None) -> torch.Tensor:
    """What FlashAttention lets a query see: windows are counted from where both sequences end."""
    beside = torch.arange(queries)[:, None] + keys - queries
    at = torch.arange(keys)[None]
    right = 0 if causal else right
    seen = torch.ones(queries, keys, dtype=torch.bool)
    if left is not None and left >= 0:
        seen &= at >= beside - left
    if right is not None and right >= 0:
        seen &= at <= beside + right
    return seen


def flash(query, key, value, cum_seq_q, cum_seq_k, *rest, **named):
    """Attention of packed sequences, one after the other: what the kernel on a GPU computes."""
    _, _, _, is_causal, _ = rest
    window = named.get("window_size_left"), named.get("window_size_right")
    parts = []
    for (a, b), (c, d) in zip(pairwise(cum_seq_q.tolist()), pairwise(cum_seq_k.tolist()), strict=True):
        q, k, v = (tensor.transpose(0, 1) for tensor in (query[a:b], key[c:d], value[c:d]))
        scores = (q @ k.mT) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask_of(b - a, d - c, is_causal, *window), float("-inf"))
        parts.append((scores.softmax(-1).nan_to_num() @ v).transpose(0, 1))
    return torch.cat(parts), NOTHING.clone(), NOTHING.clone(), NOTHING.clone(), NOTHING.clone()


def flash_backward(grad, query, key, value, *rest, **named):
    """Not the gradients: what they cost is a matter of sizes and lengths alone."""
    return torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)


@pytest.fixture(scope="module")
def packed():
    """Torch's operator for packed sequences, with a kernel for the CPU."""
    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("_flash_attention_forward", flash, "CPU")
        library.impl("_flash_attention_backward", flash_backward, "CPU")
        # Torch's own operators are looked at once, and an earlier test may have had that done.
        native._the_core()._put([f"aten::_flash_attention_{way}" for way in ("forward", "backward")], look=True)
        yield torch.ops.aten._flash_attention_forward


def batch(lengths: list[int], heads: int = HEADS, width: int = WIDTH) -> tuple[torch.Tensor, torch.Tensor]:
    offsets = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    return torch.randn(sum(lengths), heads, width, requires_grad=True), offsets


def attend(packed, queries: list[int], keys: list[int], *, causal: bool = False, backward: bool = False, **window):
    query, at_q = batch(queries)
    (key, at_k), (value, _) = batch(keys), batch(keys)
    out = packed(query, key, value, at_q, at_k, max(queries), max(keys), 0.0, causal, False, **window)[0]
    if backward:
        out.sum().backward()
    return out


def test_packed_sequences_cost_what_each_costs_alone(count, packed):
    lengths = [5, 1, 9]
    with count() as counted:
        attend(packed, lengths, lengths, causal=True, backward=True)
    operations = counted.operations
    scores, masked = sum(n * n for n in lengths), sum(n * (n - 1) // 2 for n in lengths)
    each = 2 * HEADS * (WIDTH + VALUES)
    assert operations.unpriced == {}
    amounts = {bucket.phase: amount for bucket, amount in operations.amounts.items() if bucket.family == "attention"}
    assert amounts == {
        Phase.FORWARD: (each * scores, 0, each * masked),
        Phase.BACKWARD: (2 * each * scores, 2 * HEADS * WIDTH * scores, 2 * each * masked),
    }


def test_the_masked_pairs_stand_apart_in_the_tally_and_the_call_does_not_stand_in_it(count, packed):
    with count() as counted:
        attend(packed, [4, 2], [4, 3], causal=True)
    calls = {(entry.signature.op, entry.signature.arguments): number for entry, number in counted.tally.items()}
    unit = f'["float32[{HEADS},{WIDTH}]","float32[{HEADS},{WIDTH}]",%s,false]'
    assert calls["auditor::attention_pair", unit % "false"] == 4 * 5 // 2 + 2 + 3
    assert calls["auditor::attention_pair", unit % "true"] == 4 * 3 // 2 + 1
    assert not any("_flash_attention" in op for op, _ in calls)


LENGTHS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=4)


SIDE = st.none() | st.integers(-1, 7)


@given(lengths=LENGTHS, mask=st.tuples(st.booleans(), SIDE, SIDE))
@settings(max_examples=15)
@pytest.mark.parametrize("kind", KINDS)
def test_any_lengths_and_windows_cost_what_the_mask_says(packed, kind, lengths, mask):
    causal, left, right = mask
    queries, keys = ([*map(int, side)] for side in zip(*lengths, (7, 8), strict=True))  # never all as long
    with auditor.count(counter=kind) as counted:
        attend(packed, queries, keys, causal=causal, window_size_left=left, window_size_right=right)
    every = sum(q * k for q, k in zip(queries, keys, strict=True))
    seen = sum(int(mask_of(q, k, causal, left, right).sum()) for q, k in zip(queries, keys, strict=True))
    each = 2 * HEADS * (WIDTH + VALUES)
    amount = sum(
        (amount for bucket, amount in counted.operations.amounts.items() if bucket.family == "attention"),
        start=(),
    )
    assert amount == (each * every, 0, each * (every - seen))


def test_sequences_that_are_equally_long_are_a_matter_of_sizes_and_cost_the_same(count, packed):
    with count() as sizes:
        attend(packed, [6, 6], [6, 6], causal=True)
    with count() as values:
        attend(packed, [6, 5, 1], [6, 5, 1], causal=True)
    assert any(entry.signature.op == "aten::_flash_attention_forward" for entry in sizes.tally)
    each = 2 * HEADS * (WIDTH + VALUES)
    assert sizes.operations.by_family["attention"] == each * 2 * 36
    assert values.operations.by_family["attention"] == each * (36 + 25 + 1)
    per_score = sizes.operations.by_family["normalization"] // (2 * 36)
    assert values.operations.by_family["normalization"] == per_score * (36 + 25 + 1)


def test_both_counters_give_the_same_tally(packed):
    tallies = []
    for kind in KINDS:
        torch.manual_seed(0)
        with auditor.count(counter=kind) as counted:
            attend(packed, [3, 8, 2], [5, 8, 1], causal=True, backward=True, window_size_left=2)
            grouped((7, 8), (3, 8, 16), [2, 2, 5])
        tallies.append(counted.tally)
    assert tallies[0] == tallies[1]


def test_what_measuring_runs_itself_is_not_counted_by_a_counter_of_the_other_kind(packed):
    with auditor.count(counter="native") as alone:
        attend(packed, [3, 8], [5, 8])
    with auditor.count(counter="native") as outer, auditor.count(counter="dispatch") as inner:
        attend(packed, [3, 8], [5, 8])
    assert outer.tally == alone.tally
    assert inner.operations.by_family["attention"] == alone.operations.by_family["attention"]


def test_recomputed_sequences_are_recomputation(count, packed):
    query, offsets = batch([5, 1, 9])

    def block(x):
        return packed(x, x, x, offsets, offsets, 9, 9, 0.0, False, False)[0]

    with count() as counted:
        torch.utils.checkpoint.checkpoint(block, query, use_reentrant=False).sum().backward()
    by_phase = {b.phase: a.executed_ops for b, a in counted.operations.amounts.items() if b.family == "attention"}
    once = 2 * HEADS * (WIDTH + VALUES) * (25 + 1 + 81)
    assert by_phase[Phase.FORWARD] == by_phase[Phase.RECOMPUTE] == once
    assert by_phase[Phase.BACKWARD] == 2 * once + once // 2


def grouped(a: tuple[int, ...], b: tuple[int, ...], ends: list[int] | None) -> torch.Tensor:
    x, y = (torch.randn(size, dtype=torch.bfloat16) for size in (a, b))
    return torch._grouped_mm(x, y, offs=None if ends is None else torch.tensor(ends, dtype=torch.int32))


@pytest.mark.parametrize(
    ("a", "b", "ends", "products"),
    [
        ((16, 8), (3, 8, 24), [4, 4, 12], 12 * 8 * 24),  # rows; the last four belong to no group
        ((3, 16, 8), (8, 24), [8, 8, 16], 16 * 8 * 16),  # columns
        ((16, 24), (24, 8), [8, 16], 16 * 8 * 16),  # what is summed over
        ((16, 8), (2, 8, 24), [16, 16], 16 * 8 * 24),
    ],
)
def test_a_grouped_product_costs_what_its_groups_take(count, a, b, ends, products):
    with count() as counted:
        grouped(a, b, ends)
    assert counted.operations.by_family["matmul"] == 2 * products
    assert counted.unpriced == {}


def test_groups_without_ends_are_a_matter_of_sizes(count):
    with count() as counted:
        grouped((2, 16, 8), (2, 8, 24), None)
    assert counted.operations.by_family["matmul"] == 2 * 2 * 16 * 8 * 24


def test_the_gradients_of_a_grouped_product_are_grouped_too(count):
    x = torch.randn(16, 8, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(3, 8, 24, dtype=torch.bfloat16, requires_grad=True)
    with count() as counted:
        torch._grouped_mm(x, weight, offs=torch.tensor([4, 4, 12], dtype=torch.int32)).float().sum().backward()
    by_phase = {b.phase: a.executed_ops for b, a in counted.operations.amounts.items() if b.family == "matmul"}
    assert by_phase == {Phase.FORWARD: 2 * 12 * 8 * 24, Phase.BACKWARD: 4 * 12 * 8 * 24}


def test_where_nothing_can_be_measured_the_call_is_named(count, packed, monkeypatch):
    monkeypatch.setattr(devices, "measure", lambda *_: None)
    with count() as counted:
        attend(packed, [3, 8], [5, 8])
        grouped((16, 8), (3, 8, 24), [4, 4, 12])
    assert counted.unpriced == {"aten::_flash_attention_forward": 1}
    assert counted.operations.by_family["matmul"] == 2 * 16 * 8 * 24  # the most that it can be


def test_an_error_in_measuring_leaves_the_call_and_is_told(count, packed, monkeypatch):
    def broken(self):
        raise ValueError("broken")

    monkeypatch.setattr("auditor.device.quantities.Pairs.values", broken)
    with count() as counted:
        out = attend(packed, [3, 8], [5, 8])
    assert out.shape == (11, HEADS, VALUES)
    assert counted.unpriced == {"aten::_flash_attention_forward": 1}
    assert [problem.message for problem in devices.problems().values()] == [
        "a call of aten::_flash_attention_forward was not measured: ValueError('broken')"
    ]
    devices._problems.clear()


def test_a_capture_counts_what_was_measured_at_each_replay(count, packed):
    """With values on the host, as without a GPU."""
    with count() as counted:
        attend(packed, [3, 8], [5, 8])
        counter = counted._counter
        before = counted.operations.by_family["attention"]
        counter.set_aside()
        attend(packed, [3, 8], [5, 8])
        calls = counter.taken_aside()
        assert counted.operations.by_family["attention"] == before
        counter.note_replay(calls)
        counter.note_replay(calls)
    assert counted.operations.by_family["attention"] == 3 * before


def test_attention_in_one_kernel_is_not_asked_for_its_values(count, monkeypatch):
    """Nothing here costs anything where sizes tell."""
    monkeypatch.setattr(devices, "measure", None)
    x = torch.randn(1, 2, 4, 8)
    with count() as counted:
        functional.scaled_dot_product_attention(x, x, x)
    assert counted.operations.by_family["attention"] > 0


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_attention_by_scores_that_nobody_compiled_computes_them_all(count):
    """Eager `flex_attention` multiplies everything and masks it then, whatever its block mask says."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    length = 64
    mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, length, length, device="cpu", BLOCK_SIZE=16)
    query, key, value = torch.randn(3, 1, 2, length, 8)
    with torch.no_grad(), count() as counted:
        flex_attention(query, key, value, block_mask=mask)
    assert counted.operations.by_family["matmul"] == 2 * 2 * length**2 * (8 + 8)
    assert counted.operations.by_family["attention"] == 0
