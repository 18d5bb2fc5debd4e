"""What a device counts reaches the tally when it has arrived: with a device that answers late, as a GPU does."""

from __future__ import annotations

import pytest
import torch
from torch.cuda import graphs

import auditor
from auditor.counting import devices
from auditor.counting.counter import open_counter
from auditor.device.quantities import Number
from auditor.device.sums import PlainTable, Sums
from auditor.errors import DeviceError
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, read_ledger
from auditor.tally import CounterKind, Phase, Purpose

CPU = torch.device("cpu")
KINDS = list(CounterKind)[1:]
STEP = 2 * 8 * 24
PRODUCT = 2 * 4**3


class LateSums(Sums):
    """Sums of the host, that arrive when they are let."""

    def __init__(self) -> None:
        super().__init__(CPU, PlainTable(CPU))
        self.arrive = True
        self.copies = 0

    def begin_copy(self, label):
        copy = super().begin_copy(label)
        copy.arrived = lambda: self.arrive
        self.copies += 1
        return copy


@pytest.fixture
def device(monkeypatch) -> LateSums:
    """The host stands for a device that adds up by itself."""
    sums = LateSums()
    monkeypatch.setattr(devices, "_sums", {CPU: sums})
    monkeypatch.setattr(devices, "_problems", {})
    monkeypatch.setattr(devices, "_capturing", 0)
    monkeypatch.setattr(devices, "_capturing_device", lambda: CPU)
    return sums


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def rows(*ends: int) -> None:
    x, weight = torch.randn(16, 8, dtype=torch.bfloat16), torch.randn(len(ends), 8, 24, dtype=torch.bfloat16)
    torch._grouped_mm(x, weight, offs=torch.tensor(ends, dtype=torch.int32))


def steps(tally) -> dict[tuple[Purpose, Phase], int]:
    return {
        (entry.purpose, entry.phase): calls
        for entry, calls in tally.items()
        if entry.signature.op.startswith("auditor::")
    }


def test_a_cut_waits_for_nobody_and_has_the_rest_later(device, kind):
    counter = open_counter(kind)
    counter.attach()
    device.arrive = False
    rows(2, 5)
    cut = counter.cut()
    assert cut is None or steps(cut()) == {}
    rows(4, 8)
    device.arrive = True
    cut = counter.cut()
    assert cut is not None
    assert steps(cut()) == {(Purpose.PRE_TRAINING, Phase.FORWARD): 5 + 8}
    rows(1, 1)
    counter.detach()
    rows(9, 9)
    cut = counter.cut()
    assert cut is not None
    assert steps(cut()) == {(Purpose.PRE_TRAINING, Phase.FORWARD): 1}
    assert counter.cut() is None


def test_what_was_launched_under_a_purpose_is_for_that_purpose_though_it_arrives_later(device, kind):
    counter = open_counter(kind)
    counter.attach()
    device.arrive = False
    rows(2, 5)
    counter.cut()
    counter.purpose = Purpose.EVALUATION
    with torch.no_grad():
        rows(4, 8)
    counter.cut()
    device.arrive = True
    counter.detach()
    assert steps(counter.take()) == {
        (Purpose.PRE_TRAINING, Phase.FORWARD): 5,
        (Purpose.EVALUATION, Phase.INFERENCE): 8,
    }


def test_each_counter_hears_of_what_ran_while_it_was_attached(device, kind):
    with auditor.count(counter=kind) as outer:
        rows(2, 5)
        with auditor.count(counter=kind) as inner:
            rows(4, 8)
        rows(1, 1)
    with auditor.count(counter=kind) as later:
        rows(3, 3)
    totals = [counted.operations.by_family["matmul"] // STEP for counted in (outer, inner, later)]
    assert totals == [14, 8, 3]
    assert devices.problems() == {}


def test_counters_of_both_kinds_count_a_call_once_each(device):
    with auditor.count(counter="native") as native, auditor.count(counter="dispatch") as portable:
        rows(2, 5)
    assert native.operations.by_family["matmul"] == portable.operations.by_family["matmul"] == 5 * STEP


def test_nothing_is_asked_of_a_device_during_a_capture(device, kind):
    with auditor.count(counter=kind) as counted:
        rows(2, 5)
        copies = device.copies
        with devices.capture_begun():
            assert counted.operations.by_family["matmul"] == 0
            assert device.copies == copies
        devices.capture_ended()
        assert counted.operations.by_family["matmul"] == 5 * STEP


def test_a_counter_that_comes_and_goes_in_the_middle_of_captures_begins_and_ends_after_them(device, kind):
    with auditor.count(counter=kind):
        rows(1, 1)
    with devices.capture_begun():
        counter = open_counter(kind)
        counter.attach()
    devices.capture_ended()
    assert steps(counter.take()) == {}
    rows(2, 5)
    with devices.capture_begun():
        counter.detach()
        assert steps(counter.take()) == {}
        assert [told.lower_bound for told in devices.problems().values()] == [True]
    devices.capture_ended()
    assert steps(counter.take()) == {(Purpose.PRE_TRAINING, Phase.FORWARD): 5}
    with auditor.count(counter=kind):
        rows(2, 6)
    assert steps(counter.take()) == {}


def test_many_counters_one_after_the_other_need_no_more_sums_than_one(device, kind):
    for _ in range(5):
        with auditor.count(counter=kind) as counted:
            rows(2, 5)
        assert counted.operations.by_family["matmul"] == 5 * STEP
    assert len(device.keys) == 1


def test_a_capture_that_fails_to_begin_has_not_begun(device):
    with pytest.raises(RuntimeError, match="no"), devices.capture_begun():
        raise RuntimeError("no")
    assert devices._capturing == 0


def test_a_device_that_is_lost_is_told_and_training_goes_on(device, kind, monkeypatch):
    def lost(label):
        raise RuntimeError("CUDA error: unspecified launch failure")

    with auditor.count(counter=kind) as counted:
        rows(2, 5)
        monkeypatch.setattr(device, "begin_copy", lost)
        assert counted.operations.by_family["matmul"] == 0
        (problem,) = devices.problems().values()
        assert problem.lower_bound
        assert "what cpu had counted, and has not told, is missing: CUDA error" in problem.message
        assert devices._sums == {CPU: None}


def test_a_device_that_never_answers_is_given_up(device, kind, monkeypatch):
    monkeypatch.setattr("auditor.counting.heard._WAIT_S", 0.01)
    device.arrive = False
    with auditor.count(counter=kind) as counted:
        rows(2, 5)
    assert counted.operations.by_family["matmul"] == 0
    assert [problem.lower_bound for problem in devices.problems().values()] == [True]


def test_a_device_that_cannot_be_opened_leaves_its_calls_as_they_are(monkeypatch):
    def refuse(device, on_fallback):
        raise DeviceError("no")

    monkeypatch.setattr(devices, "_sums", {})
    monkeypatch.setattr(devices, "_problems", {})
    monkeypatch.setattr(devices, "open_sums", refuse)
    away = torch.device("meta")
    assert devices._sums_on(away) is None
    assert devices._sums_on(away) is None
    assert [problem.message for problem in devices.problems().values()] == ["nothing can be measured on meta: no"]


def test_where_kernels_cannot_be_had_it_is_told_once_and_counted_all_the_same(monkeypatch):
    def fall_back(device, on_fallback):
        on_fallback(DeviceError("cuda-core is not installed"))
        return LateSums()

    monkeypatch.setattr(devices, "_sums", {})
    monkeypatch.setattr(devices, "_problems", {})
    monkeypatch.setattr(devices, "open_sums", fall_back)
    assert devices._sums_on(torch.device("meta")) is not None
    (problem,) = devices.problems().values()
    assert not problem.lower_bound
    assert "cuda-core is not installed" in problem.message


# Captured graphs, where the driver's part does nothing and the "device" is told of replays by hand.


@pytest.fixture
def graph(monkeypatch, device):
    driver = graphs._CUDAGraph
    monkeypatch.setattr(driver, "__new__", lambda kind, *_: object.__new__(kind))
    monkeypatch.setattr(driver, "__init__", lambda *_, **__: None)
    for name in ("capture_begin", "capture_end", "replay", "reset"):
        monkeypatch.setattr(driver, name, lambda *_, **__: None, raising=False)
    captured = []
    add = device.add

    def capture(quantity, keys):
        if isinstance(quantity, Number):
            captured.append(keys)  # what a capture takes down is not executed
        else:
            add(quantity, keys)

    monkeypatch.setattr(device, "add", capture)

    def make():
        made = graphs.CUDAGraph()
        made._tracker = None
        return made

    make.execute = lambda at, times=1: [add(Number(1, CPU), captured[at]) for _ in range(times)]
    return make


def product() -> torch.Tensor:
    x = torch.ones(4, 4)
    return x @ x


def test_replays_are_those_that_the_device_has_seen_whoever_asked_for_them(graph, kind):
    with auditor.count(counter=kind) as counted:
        first, second = graph(), graph()
        first.capture_begin()
        product()
        first.capture_end()
        second.capture_begin()
        product(), product()
        second.capture_end()
        first.replay()
        graph.execute(0, 3)
        graph.execute(1)  # by somebody who does not ask torch
        assert counted.operations.by_family["matmul"] == (3 + 2) * PRODUCT
        graph.execute(1)
    assert counted.operations.by_family["matmul"] == (3 + 4) * PRODUCT
    assert devices.problems() == {}


def test_a_graph_that_is_captured_again_counts_what_it_is_now(graph, kind):
    with auditor.count(counter=kind) as counted:
        it = graph()
        it.capture_begin()
        product()
        it.capture_end()
        graph.execute(0)
        it.reset()
        it.capture_begin()
        product(), product(), product()
        it.capture_end()
        graph.execute(1)
    assert counted.operations.by_family["matmul"] == (1 + 3) * PRODUCT


def test_replays_that_no_device_has_seen_count_as_torch_was_asked_for_them_and_not_twice(graph, kind):
    with auditor.count(counter=kind) as counted:
        it = graph()
        it.capture_begin()
        product()
        it.capture_end()
        it.replay()
        it.replay()
        assert counted.operations.by_family["matmul"] == 2 * PRODUCT
        graph.execute(0, 3)  # the device comes to it after all, and to one more
        assert counted.operations.by_family["matmul"] == 3 * PRODUCT
    assert [problem.lower_bound for problem in devices.problems().values()] == [False]


def test_a_counter_that_comes_later_hears_of_the_replays_from_then_on(graph, kind):
    with auditor.count(counter=kind) as outer:
        it = graph()
        it.capture_begin()
        product()
        it.capture_end()
        graph.execute(0, 2)
        with auditor.count(counter=kind) as inner:
            graph.execute(0, 3)
    totals = [counted.operations.by_family["matmul"] for counted in (outer, inner)]
    assert totals == [5 * PRODUCT, 3 * PRODUCT]


def test_a_capture_that_outlives_the_last_counter_is_seen_to_its_end(graph, kind):
    begin = graphs.CUDAGraph.capture_begin
    with auditor.count(counter=kind):
        it = graph()
        it.capture_begin()
    assert devices.capturing()
    it.capture_end()
    assert not devices.capturing()
    assert graphs.CUDAGraph.capture_begin is begin
    with auditor.count(counter=kind) as counted:
        rows(2, 5)
    assert counted.operations.by_family["matmul"] == 5 * STEP


def test_what_compiled_code_captures_counts_as_its_runs(graph, kind, monkeypatch):
    counter = open_counter(kind)
    counter.attach()
    from auditor.counting import captured

    captured.attach(counter)
    it = graph()
    with counter.hidden():
        it.capture_begin()
        product()
        it.capture_end()
        it.replay()
    captured.detach(counter)
    counter.detach()
    assert it.auditor_replays is None
    assert not counter.take()


def test_the_ledger_has_what_devices_counted_and_is_recounted(device, tmp_path):
    """With what went wrong."""
    with auditor.Auditor(tmp_path / "run", model="measured"):
        rows(2, 5)
        for _ in range(3):
            device.add(Number(2**60, CPU), [next(iter(device.keys))])
            rows(1)
        devices.told("kernels", "torch's own operators count", lower_bound=False)
    reading = read_ledger(tmp_path / "run", recount=Recount(price=Pricer().price, digest=TABLE.digest))
    assert reading.operations.by_family["matmul"] == (5 + 3 * 2**60 + 3) * STEP
    assert ("device", "torch's own operators count") in {(gap.cause, gap.message) for gap in reading.gaps}
    assert not any("amount" in reason for reason in reading.reasons), reading.reasons
