"""Sums on a device and readings of them, with the kernels on the host and with torch's own operators."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.device import sums as sums_module
from auditor.device.quantities import Lengths, Number, Pairs, Quantity, Steps
from auditor.device.sums import PlainTable, Reading, Sums, open_sums
from auditor.errors import DeviceError

CPU = torch.device("cpu")


class HostTable:
    """`KernelTable`, with the same kernels on the host."""

    bits = 128

    def __init__(self, kernels, capacity: int = 64) -> None:
        self._kernels = kernels
        self.words = torch.zeros(2 * capacity, dtype=torch.int64)

    def add(self, quantity: Quantity, places: Sequence[int]) -> None:
        addresses = [self.words.data_ptr() + 16 * place for place in places]
        self._kernels.run(quantity.kernel, *addresses, *quantity.words(), grid=2, block=3)

    def copy(self, number: int) -> torch.Tensor:
        copies = torch.empty(2 * number, dtype=torch.int64)
        self._kernels.run("copy_amounts", self.words.data_ptr(), copies.data_ptr(), number, block=2)
        return copies


@pytest.fixture(params=["kernels", "plain"])
def table(request, on_cpu):
    return HostTable(on_cpu("counters.cu")) if request.param == "kernels" else PlainTable(CPU, 64)


@pytest.fixture
def device(table):
    return Sums(CPU, table)


def number(of: int) -> Number:
    return Number(of, CPU)


def arrived(reading: Reading) -> dict:
    found: dict = {}
    for label, key, added in reading.collect():
        found[label, key] = found.get((label, key), 0) + added
    return found


def test_a_reading_has_what_came_since_the_last_copy_under_its_label(device):
    reading = Reading(device)
    device.add(number(3), ["a"])
    device.add(number(4), ["b"])
    reading.copy("first")
    device.add(number(5), ["a"])
    device.add(number(6), ["c"])
    reading.copy("second")
    assert arrived(reading) == {("first", "a"): 3, ("first", "b"): 4, ("second", "a"): 5, ("second", "c"): 6}
    assert arrived(reading) == {}


def test_what_came_before_a_reading_is_not_in_it_unless_it_is_asked_for(device):
    device.add(number(3), ["a"])
    later, whole = Reading(device), Reading(device, from_zero=True)
    device.add(number(4), ["a"])
    for reading in (later, whole):
        reading.copy(None)
    assert (arrived(later), arrived(whole)) == ({(None, "a"): 4}, {(None, "a"): 7})


def test_every_result_has_its_key(device):
    device.add(
        Pairs(
            queries=Lengths(each=2),
            keys=Lengths(each=9, used=torch.tensor([3, 5])),
            sequences=2,
            after=0,
            at_the_end=True,
        ),
        ["within", "outside"],
    )
    device.add(Steps(ends=torch.tensor([2, 7]), most=9), ["rows"])
    reading = Reading(device, from_zero=True)
    reading.copy("now")
    assert arrived(reading) == {("now", "within"): 2 + 3 + 4 + 5, ("now", "outside"): 1 + 0 + 1 + 0, ("now", "rows"): 7}


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=12))
def test_differences_are_exact_however_large_the_sum_has_grown(on_cpu, numbers):
    for table in (HostTable(on_cpu("counters.cu")), PlainTable(CPU, 4)):
        device = Sums(CPU, table)
        reading = Reading(device, from_zero=True)
        total = 0
        for each in numbers:
            device.add(number(each), ["a"])
            reading.copy("now")
            total += sum(added for _, _, added in reading.collect())
        assert total == sum(numbers)


def test_a_copy_in_the_middle_of_a_carry_waits_for_the_next(on_cpu):
    table = HostTable(on_cpu("counters.cu"))
    device = Sums(CPU, table)
    reading = Reading(device, from_zero=True)
    device.add(number(2**64 - 2), ["a"])
    reading.copy("first")
    table.words[0] += 5  # the low word has been added to, and its carry has not arrived
    reading.copy("torn")
    table.words[1] += 1
    reading.copy("whole")
    assert arrived(reading) == {("first", "a"): 2**64 - 2, ("whole", "a"): 5}


def test_a_copy_that_has_not_arrived_is_left_for_later_or_waited_for(device, monkeypatch):
    answers = iter([False, False, True, True])
    begin = device.begin_copy

    def slowly(label):
        copy = begin(label)
        copy.arrived = lambda: next(answers)
        return copy

    reading = Reading(device)
    device.add(number(1), ["a"])
    monkeypatch.setattr(device, "begin_copy", slowly)
    reading.copy("now")
    assert arrived(reading) == {}
    assert list(reading.collect(wait_s=5.0)) == [("now", "a", 1)]


def test_a_device_that_does_not_answer_or_is_lost_is_told(device, monkeypatch):
    def lost():
        raise RuntimeError("CUDA error: unspecified launch failure")

    begin = device.begin_copy
    for arrives, message in ((lambda: False, "has not answered for 0.01 s"), (lost, "is lost: CUDA error")):

        def dead(label, arrives=arrives):
            copy = begin(label)
            copy.arrived = arrives
            return copy

        monkeypatch.setattr(device, "begin_copy", dead)
        device.add(number(1), ["a"])
        reading = Reading(device, from_zero=True)
        reading.copy("now")
        with pytest.raises(DeviceError, match=message):
            list(reading.collect(wait_s=0.01))


def test_there_is_an_end_to_the_kinds_of_sums(device, monkeypatch):
    monkeypatch.setattr(sums_module, "CAPACITY", 2)
    device.add(number(1), ["a"])
    device.add(number(1), ["b"])
    with pytest.raises(DeviceError, match="more than 2 kinds"):
        device.add(number(1), ["c"])
    device.add(number(1), ["a"])


def test_plain_sums_can_be_added_to_from_any_mode():
    device = Sums(CPU, PlainTable(CPU, 4))
    with torch.inference_mode():
        device.add(number(1), ["a"])
    with torch.no_grad():
        device.add(number(2), ["a"])
    device.add(Steps(ends=torch.tensor([4]), most=9), ["a"])
    reading = Reading(device, from_zero=True)
    with torch.inference_mode():
        reading.copy("now")
    assert arrived(reading) == {("now", "a"): 7}


def test_a_device_without_sums_is_refused():
    with pytest.raises(DeviceError, match="no sums are kept on cpu devices"):
        open_sums(CPU, lambda error: None)


def test_an_empty_batch_adds_nothing(device):
    none = Lengths(each=9, offsets=torch.tensor([0]))
    empty = Pairs(queries=none, keys=none, sequences=0)
    device.add(empty, ["a", "b"])
    device.add(Steps(ends=torch.tensor([], dtype=torch.int64), most=4), ["a"])
    reading = Reading(device, from_zero=True)
    reading.copy("now")
    assert arrived(reading) == {}
    assert not device.begin_copy("now").words.any()
