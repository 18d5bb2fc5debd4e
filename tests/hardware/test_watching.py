"""What is told of devices during a run: totals, and each thing that changed, once."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from auditor.hardware import gpm
from auditor.hardware.identity import Device
from auditor.hardware.nvidia_sensing import NvidiaStation
from auditor.hardware.sensing import Activity, Look, Sample, Wanted
from auditor.hardware.watching import Observer
from auditor.session.in_use import InUse
from auditor.session.watch import Watch
from tests.hardware.conftest import NOT_SUPPORTED, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hardware.conftest import FakeNvml

    Fake = Callable[..., FakeNvml]

UUID = "GPU-11111111-2222-3333-4444-555555555555"
OTHER = "GPU-99999999-8888-7777-6666-555555555555"
WANTED = {UUID: Wanted(uuid=UUID)}
LOST = Failure(pynvml.NVML_ERROR_GPU_IS_LOST)


@pytest.fixture(autouse=True)
def _samples_may_be_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpm, "_SHORTEST_S", 0.0)


@pytest.fixture
def station(fake: Fake) -> Any:
    """Stations are closed, and have then given everything back."""
    made = NvidiaStation()
    yield made
    made.close()
    library = sys.modules["pynvml"]
    assert (library.open_sessions, library.samples) == (0, 0)


def events(told: list[Any]) -> list[tuple[str, str, dict[str, str]]]:
    return [(one.event, one.device, dict(one.values)) for one in told]


def changes(told: list[Any]) -> list[tuple[str, str, dict[str, str]]]:
    """All but the totals, without the time."""
    for _, _, values in (found := [one for one in events(told) if one[0] != "observed"]):
        values.pop("elapsed_us", None)
    return found


def observed(told: list[Any]) -> dict[str, str]:
    (values,) = (values for event, _, values in events(told) if event == "observed")
    return values


def test_the_energy_is_what_the_counter_rose_by_since_the_record_began(fake: Fake, station: NvidiaStation) -> None:
    library = fake("h200")
    observer = Observer()
    observer.begin({UUID: 123_000_000})
    assert observed(observer.take(station.look(WANTED), 1))["energy_mj"] == "456789"
    observer.begin({UUID: 0})  # known already
    library.recorded[0]["TotalEnergyConsumption"] += 11
    values = observed(observer.take(station.look(WANTED), 2))
    assert (values["elapsed_us"], values["energy_mj"], values["sm_clock_mhz"]) == ("2", "456800", "345")
    assert "slowed_by" not in values


def test_a_counter_that_falls_back_began_anew(fake: Fake, station: NvidiaStation) -> None:
    library = fake("h200")
    observer = Observer()
    observer.begin({UUID: 123_456_789})
    observer.take(station.look(WANTED), 1)
    library.recorded[0]["TotalEnergyConsumption"] = 500
    values = observed(observer.take(station.look(WANTED), 2))
    assert (values["energy_mj"], values["energy_restarts"]) == ("500", "1")


def test_the_tensor_cores_activity_is_added_up(fake: Fake, station: NvidiaStation) -> None:
    fake("h200")
    observer = Observer()
    assert "tensor_us" not in observed(observer.take(station.look(WANTED), 1))
    time.sleep(0.02)
    first = observed(observer.take(station.look(WANTED), 2))
    time.sleep(0.02)
    second = observed(observer.take(station.look(WANTED), 3))
    assert int(second["covered_us"]) > int(first["covered_us"]) >= 20_000
    for values in (first, second):
        assert int(values["tensor_us"]) == pytest.approx(int(values["covered_us"]) / 2, rel=0.001)
        assert int(values["hmma_us"]) == pytest.approx(int(values["covered_us"]) * 0.4, rel=0.001)
        assert values["imma_us"] == "0"


def test_a_share_that_is_no_number_is_of_no_time(fake: Fake, h200: dict[str, Any], station: NvidiaStation) -> None:
    library = fake({**h200, "gpm": {5: float("nan"), 7: 40.0}})
    observer = Observer()
    for look in range(3):
        told = observer.take(station.look(WANTED), look)
        assert changes(told) == []
        assert "covered_us" not in observed(told)
    library.recorded[0]["gpm"] = {5: 250.0, 7: 40.0}
    time.sleep(0.02)
    values = observed(observer.take(station.look(WANTED), 4))
    assert values["tensor_us"] == values["covered_us"]  # of slices more than all of the time was seen


def test_cycle_counters_are_told_where_the_driver_has_them(
    fake: Fake, h200: dict[str, Any], station: NvidiaStation
) -> None:
    library = fake({**h200, "gpm": {5: 50.0, 248: 1e9, 250: 5e8}})
    observer = Observer()
    for look in range(2):
        observer.take(station.look(WANTED), look)
    library.recorded[0]["gpm"] = {5: 50.0, 248: 3e9, 250: 1.5e9}
    values = observed(observer.take(station.look(WANTED), 3))
    assert (values["cycles.elapsed"], values["cycles.mma"]) == ("2000000000", "1000000000")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [(Failure(pynvml.NVML_ERROR_NO_PERMISSION), "Insufficient Permissions"), (NOT_SUPPORTED, "no performance monitor")],
)
def test_a_monitor_that_is_refused_is_told_once_and_not_asked_again(
    fake: Fake, h200: dict[str, Any], station: NvidiaStation, refusal: Failure, words: str
) -> None:
    library = fake({**h200, "gpm": refusal})
    observer = Observer()
    told = [one for look in range(4) for one in observer.take(station.look(WANTED), look)]
    gaps = [values["message"] for event, _, values in events(told) if event == "gap"]
    assert len(gaps) == 1
    assert UUID in gaps[0]
    assert words in gaps[0]
    assert library.calls.count("nvmlGpmSampleGet") <= 1
    assert "energy_mj" in observed(told[-1:])


def test_a_slice_is_sampled_as_the_slice(fake: Fake, h200: dict[str, Any], station: NvidiaStation) -> None:
    library = fake({**h200, "MigMode": [1, 1]}, slices={"MIG-aaaa": 0})
    for _ in range(2):
        station.look({UUID: Wanted(uuid=UUID, gpu_instance=9)})
    assert "nvmlGpmMigSampleGet 9" in library.calls
    assert "nvmlGpmSampleGet" not in library.calls


def test_a_device_lost_in_the_run_is_told_once_and_again_when_it_is_back(fake: Fake, station: NvidiaStation) -> None:
    library = fake("h200", "rtx4090")
    observer = Observer()
    observer.take(station.look(WANTED), 1)
    energy = library.recorded[0]["TotalEnergyConsumption"]
    library.errors.append((0, 79))
    library.recorded[0]["TotalEnergyConsumption"] = LOST
    told = changes(observer.take(station.look(WANTED), 2)) + changes(observer.take(station.look(WANTED), 3))
    assert told == [
        ("error", UUID, {"xid": "79"}),
        ("lost", UUID, {"because": "GPU is lost"}),
        ("gap", UUID, {"message": f"{UUID}: the device was lost: GPU is lost"}),
    ]
    library.recorded[0]["TotalEnergyConsumption"] = energy
    assert changes(observer.take(station.look(WANTED), 4)) == [("found", UUID, {"was": "GPU is lost"})]


def test_a_device_that_is_not_opened_or_not_listed_any_more_is_lost(fake: Fake, station: NvidiaStation) -> None:
    library = fake("h200", "rtx4090")
    observer = Observer()
    observer.take(station.look(WANTED), 1)
    library.recorded[0]["handle"] = LOST
    told = changes(observer.take(station.look(WANTED), 2))
    assert told[0] == ("lost", UUID, {"because": "the driver does not list it any more"})


def test_devices_that_come_go_or_change_their_number_are_told(fake: Fake, station: NvidiaStation) -> None:
    library = fake("h200")
    observer = Observer()
    observer.take(station.look(WANTED), 1)
    plugged = {**library.recorded[0], "UUID": OTHER}
    library.recorded.insert(0, plugged)
    assert changes(observer.take(station.look(WANTED), 2)) == [
        ("found", OTHER, {"number": "0"}),
        ("changed", UUID, {"number": "1", "was": "0"}),
    ]
    library.recorded.remove(plugged)
    assert changes(observer.take(station.look(WANTED), 3)) == [
        ("lost", OTHER, {"because": "the driver does not list it any more"}),
        ("changed", UUID, {"number": "0", "was": "1"}),
    ]


def test_a_partition_changed_and_errors_of_memory_are_told(fake: Fake, station: NvidiaStation) -> None:
    library = fake("h200")
    observer = Observer()
    observer.take(station.look(WANTED), 1)
    library.recorded[0] |= {"MigMode": [1, 1], "TotalEccErrors": 2, "CurrentClocksEventReasons": 0x44}
    told = observer.take(station.look(WANTED), 2)
    assert changes(told) == [
        ("changed", UUID, {"mig_mode": "enabled", "was": "disabled"}),
        ("changed", UUID, {"ecc_uncorrected": "2", "was": "0"}),
    ]
    assert observed(told)["slowed_by"] == "power cap, hardware thermal"


def test_a_library_that_closes_in_the_run_is_told_once(fake: Fake, station: NvidiaStation) -> None:
    library = fake("h200")
    observer = Observer()
    observer.take(station.look(WANTED), 1)
    library.init_error = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    told = [one for look in (2, 3) for one in observer.take(station.look(WANTED), look)]
    assert [values["message"] for _, _, values in events(told)] == [
        "the devices cannot be looked at: no NVML device: Driver Not Loaded"
    ]
    library.init_error = None
    assert "energy_mj" in observed(observer.take(station.look(WANTED), 4))


@pytest.mark.parametrize("name", ["nvmlGpmMetricsGet", "nvmlGpmQueryDeviceSupport", "nvmlEventSetCreate"])
def test_a_library_older_than_ours_is_no_obstacle(
    fake: Fake, station: NvidiaStation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    library = fake("h200")

    def lacking(*_: Any) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    monkeypatch.setattr(library, name, lacking, raising=False)
    observer = Observer()
    for look in range(3):
        assert "energy_mj" in observed(observer.take(station.look(WANTED), look))


class Book:
    """Takes what a recorder would, at once."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def hardware(self, event: str, device: str, values: Any) -> None:
        self.seen.append((event, values))

    def gap(self, cause: str, message: str, *, lower_bound: bool) -> None:
        assert (cause, lower_bound) == ("hardware", False)
        self.seen.append(("gap", message))


class Standing:
    """A station whose looks wait for ``answer``."""

    def __init__(self, answer: threading.Event) -> None:
        self.answer, self.looking, self.closed = answer, threading.Event(), 0

    def look(self, wanted: Any) -> Look:
        self.looking.set()
        self.answer.wait(30)
        activity = Activity(busy_s={}, covered_s=0)
        return Look(present=tuple(wanted), samples=tuple(Sample(uuid=uuid, activity=activity) for uuid in wanted))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Standing], tuple[Watch, Book]]:
    book = Book()
    device = Device(kind="gpu", given={"door": "NVML", "uuid": UUID})
    monkeypatch.setattr("auditor.session.watch._SHORTEST_S", 0.01)

    def make(station: Standing) -> tuple[Watch, Book]:
        watch = Watch(
            lambda task: task(book),  # type: ignore[arg-type, return-value]
            lambda: {UUID: device},
            every_s=60,
            stations={"NVML": lambda: station},
        )
        watch.start()
        return watch, book

    return make


def answering() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_it_looks_when_asked_and_once_more_at_the_end(watched: Any) -> None:
    station = Standing(answering())
    watch, book = watched(station)
    assert station.looking.wait(5)
    station.looking.clear()
    time.sleep(0.05)
    watch.ask()
    assert station.looking.wait(5)
    watch.finish()
    assert watch.join(5)
    assert [event for event, _ in book.seen].count("observed") >= 3
    assert station.closed >= 1


def test_a_driver_that_hangs_holds_up_nobody(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.session.watch._HANGING_S", 0.02)
    monkeypatch.setattr("auditor.session.watch._REST_WITHIN_S", 0.02)
    answer = threading.Event()
    station = Standing(answer)
    watch, book = watched(station)
    assert station.looking.wait(5)
    time.sleep(0.05)
    began = time.monotonic()
    watch.check()
    watch.check()
    watch.hold()
    watch.release()
    watch.finish()
    assert not watch.join(0.05)
    assert time.monotonic() - began < 1
    assert [message for event, message in book.seen if event == "gap"] == [
        "the driver has not answered for 0.02 s: no device is watched"
    ]
    answer.set()
    assert watch.join(5)


def test_what_comes_after_the_end_is_not_told(watched: Any) -> None:
    answer = threading.Event()
    station = Standing(answer)
    watch, book = watched(station)
    assert station.looking.wait(5)
    watch.finish()
    assert not watch.join(0.02)
    answer.set()
    watch._thread.join(5)
    assert book.seen == []


def test_a_watch_that_fails_is_told_and_holds_up_no_fork(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("of course")

    monkeypatch.setattr(Observer, "take", fail)
    watch, book = watched(Standing(answering()))
    watch._thread.join(5)
    assert "not watched any more: ZeroDivisionError" in book.seen[0][1]
    watch.hold()
    watch.finish()
    assert watch.join(0)


def test_a_fork_finds_nothing_open_and_it_goes_on_afterwards(watched: Any) -> None:
    station = Standing(answering())
    watch, book = watched(station)
    assert station.looking.wait(5)
    watch.hold()
    assert station.closed == 1
    before = len(book.seen)
    time.sleep(0.05)
    assert len(book.seen) == before
    watch.release()
    watch.finish()
    assert watch.join(5)
    assert len(book.seen) > before


def cuda(reserved: dict[int, int], uuids: list[str]) -> Any:
    """What is asked of torch, of a machine with devices."""
    properties = [
        SimpleNamespace(name="NVIDIA H200", uuid=uuid, major=9, minor=0, multi_processor_count=132, L2_cache_size=2**20)
        for uuid in uuids
    ]
    return SimpleNamespace(
        cuda=SimpleNamespace(
            is_initialized=lambda: True,
            device_count=lambda: len(uuids),
            memory_reserved=lambda index: reserved.get(index, 0),
            get_device_properties=lambda index: properties[index],
        )
    )


def test_only_the_devices_that_memory_was_taken_on_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    visible = [Device(kind="gpu", given={"uuid": uuid}, evidence={}) for uuid in (UUID, OTHER)]
    book, reserved = Book(), {}
    monkeypatch.setitem(sys.modules, "torch", cuda(reserved, [OTHER.removeprefix("GPU-"), UUID.removeprefix("GPU-")]))
    in_use = InUse(visible, lambda task: task(book))  # type: ignore[arg-type, return-value]
    assert in_use() == {}
    reserved[0] = 2**21
    assert set(in_use()) == {OTHER}  # CUDA counts them in another order than NVML
    reserved.clear()
    assert set(in_use()) == {OTHER}
    assert book.seen == [
        (
            "declared",
            {
                "library": "CUDA",
                "name": "NVIDIA H200",
                "compute_capability": "9.0",
                "sm_count": "132",
                "l2_bytes": str(2**20),
            },
        )
    ]


def test_a_device_that_fails_every_question_stays_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = cuda({0: 1}, ["aaaa"])
    monkeypatch.setitem(sys.modules, "torch", torch)
    in_use = InUse([Device(kind="gpu", given={"uuid": UUID})], lambda task: None)
    assert set(in_use()) == {UUID}

    def fail(index: int) -> int:
        raise RuntimeError("CUDA error: unspecified launch failure")

    torch.cuda.memory_reserved = fail
    assert set(in_use()) == {UUID}


def test_what_a_device_signed_is_recorded_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    visible = [Device(kind="gpu", given={"mig_uuid": "MIG-aaaa", "uuid": UUID}, evidence={"report_base64": "AA=="})]
    book = Book()
    monkeypatch.setitem(sys.modules, "torch", cuda({0: 1}, ["aaaa"]))
    assert set(InUse(visible, lambda task: task(book))()) == {UUID}  # type: ignore[arg-type, return-value]
    assert book.seen[-1] == ("attested", {"report_base64": "AA=="})
