"""On a GPU: what the device counts is what the host would have, for whoever replays, and nobody waits for it."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.attention.varlen  # registers its operators

import auditor
from auditor.counting import devices
from auditor.counting.counter import open_counter
from auditor.device.quantities import OPEN, Blocks, Lengths, Number, Pairs, Steps
from auditor.device.sums import KernelTable, PlainTable, Reading, Sums
from auditor.errors import DeviceError
from auditor.tally import CounterKind, Phase

pytestmark = pytest.mark.gpu

KINDS = list(CounterKind)[1:]
PRODUCT = 2 * 64**3


@pytest.fixture(params=KINDS)
def count(request):
    return partial(auditor.count, counter=request.param)


@pytest.fixture(params=[KernelTable, lambda ordinal: PlainTable(torch.device("cuda", ordinal))])
def device(request) -> Sums:
    return Sums(torch.device("cuda", 0), request.param(0))


@pytest.fixture(autouse=True)
def _nothing_went_wrong(monkeypatch):
    monkeypatch.setattr(devices, "_problems", {})
    yield
    assert devices.problems() == {}


def offsets(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device="cuda")


def on_host(quantity) -> list[int]:
    """The same quantity, with its tensors on the host."""

    def moved(part):
        if isinstance(part, torch.Tensor):
            return part.cpu()
        names = getattr(part, "__dataclass_fields__", None)
        return type(part)(**{name: moved(getattr(part, name)) for name in names}) if names else part

    return [int(value) for value in moved(quantity).values()]


def test_quantities_on_the_device_are_those_of_the_host(device):
    generator = torch.Generator().manual_seed(0)

    def random(most: int, *size: int) -> torch.Tensor:
        return torch.randint(0, most, size, generator=generator)

    reading, expected = Reading(device), {}
    for sequences in (1, 7, 300, 20_000):
        queries, keys = (random(3000, sequences).tolist() for _ in range(2))
        for before, after, at_the_end in ((OPEN, OPEN, False), (OPEN, 0, True), (100, 0, True), (5, 7, False)):
            quantity = Pairs(
                queries=Lengths(each=3000, offsets=offsets(queries)),
                keys=Lengths(each=3000, offsets=offsets(keys).long()),
                sequences=sequences,
                before=before,
                after=after,
                at_the_end=at_the_end,
            )
            device.add(quantity, ["within", "outside"])
            for key, number in zip(("within", "outside"), on_host(quantity), strict=True):
                expected[key] = expected.get(key, 0) + number
    steps = Steps(ends=random(50, 64).cumsum(0).int().cuda(), most=1500)
    blocks = Blocks(
        partial=random(3, 2, 4, 33).int().cuda(),
        full=random(30, 2, 4, 33).int().cuda(),
        query_block=128,
        key_block=128,
        queries=33 * 128 - 50,
        keys=33 * 128 - 50,
        times=6,
    )
    device.add(steps, ["steps"])
    device.add(blocks, ["kept", "left out"])
    expected |= dict(zip(("steps", "kept", "left out"), [*on_host(steps), *on_host(blocks)], strict=True))
    reading.copy(None)
    assert {key: number for _, key, number in reading.collect(30.0)} == expected


def test_sums_go_beyond_64_bits():
    device = Sums(torch.device("cuda", 0), KernelTable(0))
    reading = Reading(device)
    for _ in range(5):
        device.add(Number(2**63 - 1, device.device), ["a"])
    reading.copy(None)
    assert list(reading.collect(30.0)) == [(None, "a", 5 * (2**63 - 1))]


def test_many_streams_add_to_one_sum_and_nothing_is_lost(device):
    reading = Reading(device)
    streams = [torch.cuda.Stream() for _ in range(8)]
    for _ in range(50):
        for stream in streams:
            with torch.cuda.stream(stream):
                device.add(Number(2**60 + 1 if device.bits > 64 else 3, device.device), ["a"])
    torch.cuda.synchronize()
    reading.copy(None)
    assert sum(number for *_, number in reading.collect(30.0)) == 400 * (2**60 + 1 if device.bits > 64 else 3)


def packed(lengths: list[int], *, backward: bool = False):
    """Causal attention over sequences of these lengths, to be run."""
    size = (sum(lengths), 4, 64)
    q, k, v = (torch.randn(size, device="cuda", dtype=torch.bfloat16, requires_grad=backward) for _ in range(3))
    at = offsets(lengths)

    def attend() -> None:
        out = torch.ops.torch_attn._varlen_attn(q, k, v, at, at, max(lengths), max(lengths), True)[0]
        if backward:
            out.sum().backward()

    return attend


def test_packed_sequences_cost_what_each_costs_alone(count):
    lengths = [300, 17, 1024, 1]
    with count() as counted:
        packed(lengths, backward=True)()
    scores, masked = sum(n * n for n in lengths), sum(n * (n - 1) // 2 for n in lengths)
    each = 2 * 4 * (64 + 64)
    amounts = {b.phase: amount for b, amount in counted.operations.amounts.items() if b.family == "attention"}
    assert amounts == {
        Phase.FORWARD: (each * scores, 0, each * masked),
        Phase.BACKWARD: (2 * each * scores, each // 2 * scores, 2 * each * masked),
    }
    assert counted.unpriced == {}


def test_groups_of_rows_cost_what_they_take(count):
    x = torch.randn(64, 32, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(3, 32, 48, device="cuda", dtype=torch.bfloat16)
    ends = torch.tensor([16, 16, 40], device="cuda", dtype=torch.int32)
    with count() as counted:
        torch._grouped_mm(x, weight, offs=ends)
    assert counted.operations.by_family["matmul"] == 2 * 40 * 32 * 48


def test_a_mask_that_is_made_anew_is_measured_without_waiting(count):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    length = 512
    compiled = torch.compile(flex_attention)
    q, k, v = (torch.randn(1, 2, length, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    with torch.no_grad():
        masks = [create_block_mask(lambda b, h, q, k: q >= k, None, None, length, length) for _ in range(3)]
        compiled(q, k, v, block_mask=masks[0])
        with count() as counted:
            for mask in masks:
                compiled(q, k, v, block_mask=mask)
    attention = counted.operations.select(families=["attention"])
    full = 2 * 2 * length**2 * (64 + 64)
    assert attention.algorithmic_ops == 3 * full
    assert attention.skippable_ops == 3 * full * 6 // 16  # of four by four blocks, six lie above the diagonal


# Captured graphs.


def captured(work, stream: torch.cuda.Stream | None = None) -> torch.cuda.CUDAGraph:
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        work()
    return graph


@pytest.fixture
def x() -> torch.Tensor:
    x = torch.randn(64, 64, device="cuda")
    x @ x  # the library's own preparations
    return x


def products(counted) -> int:
    return counted.operations.by_family["matmul"] // PRODUCT


def test_several_graphs_are_counted_each_by_itself(count, x):
    with count() as counted:
        once, thrice = captured(lambda: x @ x), captured(lambda: [x @ x for _ in range(3)])
        assert products(counted) == 0
        for graph in (once, thrice, once, once):
            graph.replay()
        assert products(counted) == 3 + 3
        thrice.replay()
    assert products(counted) == 3 + 3 + 3


def test_a_replay_counts_whoever_asks_for_it(count, x):
    with count() as counted:
        graph = captured(lambda: x @ x)
        for _ in range(5):
            torch._C._CUDAGraph.replay(graph)  # past all that is patched in Python
        graph.replay()
    assert products(counted) == 6


def test_replays_on_other_streams_and_of_work_on_several_streams(count, x):
    side, other = torch.cuda.Stream(), torch.cuda.Stream()

    def forked() -> None:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            x @ x
        x @ x
        torch.cuda.current_stream().wait_stream(side)

    with count() as counted:
        graph = captured(forked)
        with torch.cuda.stream(other):
            for _ in range(4):
                graph.replay()
        torch.cuda.current_stream().wait_stream(other)
        graph.replay()
    assert products(counted) == 10


def test_a_graph_that_is_reset_and_captured_again_counts_what_it_is_now(count, x):
    with count() as counted:
        graph = captured(lambda: x @ x)
        graph.replay()
        graph.reset()
        with torch.cuda.graph(graph):
            x @ x
            x @ x
        graph.replay()
        graph.replay()
    assert products(counted) == 1 + 4


def test_lengths_that_change_between_replays_are_counted_as_they_are(count):
    """The tensors of a graph are filled anew before each replay: only the device knows."""
    q, k, v = (torch.randn(128, 2, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    at = offsets([100, 28])
    attend = partial(torch.ops.torch_attn._varlen_attn, q, k, v, at, at, 128, 128)
    with torch.no_grad():
        attend()
        with count() as counted:
            graph = captured(attend)
            expected = 0
            for lengths in ([100, 28], [64, 64], [1, 127]):
                at.copy_(offsets(lengths))
                graph.replay()
                expected += sum((b - a) ** 2 for a, b in pairwise(at.tolist()))
    assert counted.operations.by_family["attention"] == 2 * 2 * (64 + 64) * expected


def test_a_counter_that_comes_later_hears_of_the_replays_from_then_on(count, x):
    with count() as outer:
        graph = captured(lambda: x @ x)
        graph.replay()
        with count() as inner:
            graph.replay()
            graph.replay()
    assert (products(outer), products(inner)) == (3, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_waits_for_what_a_device_counts(kind):
    first, second = packed([300, 17]), packed([200, 17])
    counter = open_counter(kind)
    counter.attach()
    first()  # the first call compiles the kernels, and tries them
    counter.cut()
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # about a second of the device's time
    try:
        began = time.monotonic()
        torch.cuda.set_sync_debug_mode("error")
        second()
        early = counter.cut()
        took_s = time.monotonic() - began
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert took_s < 0.5
    pairs = [] if early is None else [n for entry, n in early().items() if entry.signature.op.startswith("auditor::")]
    assert sum(pairs) == 300**2 + 17**2  # the copy that was begun before, and no more
    counter.detach()
    late = counter.take()
    pairs += [n for entry, n in late.items() if entry.signature.op.startswith("auditor::")]
    assert sum(pairs) == 300**2 + 17**2 + 200**2 + 17**2


def test_without_kernels_torchs_own_operators_count_the_same(count, monkeypatch):
    def refuse(name, ordinal):
        raise DeviceError("cuda-core is not installed")

    monkeypatch.setattr(devices, "_sums", {})
    monkeypatch.setattr("auditor.device.sums.load", refuse)
    with count() as counted:
        packed([300, 17])()
    assert counted.operations.by_family["attention"] == 2 * 4 * (64 + 64) * (300**2 + 17**2)
    assert ["cuda-core is not installed" in told.message for told in devices.problems().values()] == [True]
    devices._problems.clear()
