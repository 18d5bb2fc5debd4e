"""The wrappers around saving and loading: they pass everything on, come off again, and wait for nobody."""

from __future__ import annotations

import inspect
import json
import sys
import threading
import time
import types

import pytest
import torch

from auditor import Auditor
from auditor.errors import StateError
from auditor.session import checkpoints
from auditor.session.checkpoints import Checkpoints


class Book:
    """Keeps what is to be recorded."""

    def __init__(self) -> None:
        self.seen: list = []
        self.gaps: list[str] = []

    def weights(self, record) -> None:
        self.seen.append(record)

    def gap(self, cause: str, message: str, *, lower_bound: bool) -> None:
        assert (cause, lower_bound) == ("weights", False)
        self.gaps.append(message)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def noticing(book):
    noticed = Checkpoints(lambda task: task(book), lambda: 7, lambda message: None)
    noticed.attach()
    yield noticed
    noticed.detach()


def test_everything_is_passed_on_and_comes_off_again(tmp_path, book):
    before = torch.save, torch.load, torch.serialization.save
    noticed = Checkpoints(lambda task: task(book), lambda: 7, lambda message: None)
    noticed.attach()
    assert (torch.save.__name__, inspect.signature(torch.load)) == ("save", inspect.signature(before[1]))
    assert torch.save(obj={"a": torch.ones(2)}, f=tmp_path / "a.pt") is None
    assert torch.load(f=str(tmp_path / "a.pt"), map_location="cpu")["a"].tolist() == [1, 1]
    with pytest.raises(FileNotFoundError) as wrapped:
        torch.load(tmp_path / "missing.pt")
    with pytest.raises(TypeError):
        torch.save()
    noticed.detach()
    assert (torch.save, torch.load, torch.serialization.save) == before
    with pytest.raises(FileNotFoundError) as plain:
        torch.load(tmp_path / "missing.pt")
    assert str(plain.value) == str(wrapped.value)
    torch.load(tmp_path / "a.pt")
    noticed.finish(10)
    assert [(one.event, one.name, one.step) for one in book.seen] == [("saved", "a.pt", 7), ("loaded", "a.pt", 7)]


def test_what_was_imported_by_name_before_is_noticed_too(tmp_path, book, monkeypatch):
    library = types.ModuleType("library")
    library.safe_save_file = library.unrelated = torch.save
    library.load = json.load
    monkeypatch.setitem(sys.modules, "library", library)
    original = torch.save
    noticed = Checkpoints(lambda task: task(book), lambda: 7, lambda message: None)
    noticed.attach()
    assert torch.save is torch.serialization.save
    assert (library.unrelated, library.load) == (original, json.load)
    library.safe_save_file(torch.ones(1), tmp_path / "a.pt")
    noticed.detach()
    assert library.safe_save_file is original
    noticed.finish(10)
    assert [one.name for one in book.seen] == ["a.pt"]


def test_what_somebody_else_puts_over_it_stays(tmp_path, book):
    original = torch.load
    noticed = Checkpoints(lambda task: task(book), lambda: 7, lambda message: None)
    noticed.attach()
    ours = torch.load

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    torch.load = theirs
    try:
        noticed.detach()
        assert torch.load is theirs
        torch.save(torch.ones(1), tmp_path / "a.pt")
        torch.load(tmp_path / "a.pt")
        noticed.finish(1)
        assert not book.seen
    finally:
        torch.load = original


def test_a_failure_in_noticing_goes_no_further_and_is_a_gap(tmp_path, noticing, book, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("of course")

    monkeypatch.setattr(noticing, "_sight", broken)
    torch.save(torch.ones(1), tmp_path / "a.pt")
    torch.save(torch.ones(1), tmp_path / "a.pt")
    assert book.gaps == ["a checkpoint could not be noticed: RuntimeError('of course')"]


def test_the_same_file_is_loaded_once_and_saved_each_time(tmp_path, noticing, book):
    for _ in range(3):
        torch.save(torch.ones(1), tmp_path / "a.pt")
    for _ in range(3):
        torch.load(tmp_path / "a.pt")
    noticing.finish(10)
    assert [one.event for one in book.seen] == ["saved"] * 3 + ["loaded"]


def test_a_training_that_loads_its_data_like_that_is_not_drowned(tmp_path, noticing, book, monkeypatch):
    monkeypatch.setattr(checkpoints, "_MOST_LOADS", 5)
    for number in range(9):
        torch.save(torch.ones(number + 1), tmp_path / f"{number}.pt")
        torch.load(tmp_path / f"{number}.pt")
    noticing.finish(10)
    assert sum(one.event == "loaded" for one in book.seen) == 5
    assert book.gaps == ["more than 5 files with tensors were loaded: the later ones are not recorded"]


def test_the_end_waits_no_longer_than_told(tmp_path, noticing, book, monkeypatch):
    going_on = threading.Event()

    def slow(file, name, stop):
        while not stop():
            going_on.wait(0.01)
        raise checkpoints.Missed("the run ended before all of it was read")

    monkeypatch.setattr(checkpoints, "digest_file", slow)
    for number in range(3):
        torch.save(torch.ones(1), tmp_path / f"{number}.pt")
    began = time.monotonic()
    noticing.finish(0.3)
    assert time.monotonic() - began < 3
    assert [one.missed for one in book.seen] == [
        "the run ended before all of it was read",
        "the run ended before it was read",
        "the run ended before it was read",
    ]


def test_digests_are_taken_on_a_thread_of_their_own(tmp_path, noticing, book):
    torch.save(torch.ones(2**22), tmp_path / "a.pt")
    assert "auditor-checkpoints" in [thread.name for thread in threading.enumerate()]
    noticing.finish(30)
    assert book.seen[0].size_bytes > 2**24


def test_the_state_of_an_auditor_goes_into_a_checkpoint_and_out_again(tmp_path):
    with Auditor(tmp_path / "run", second_opinion="false", strict=True) as audit:
        torch.ones(2, 2) @ torch.ones(2, 2)
        audit.step()
        torch.save(audit.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        assert (state["steps"], state["operations"]) == (1, "16")
        audit.load_state_dict(state)
        audit.load_state_dict({})
        with pytest.raises(StateError, match="was changed"):
            audit.load_state_dict(state | {"note": "another"})
    assert audit.state_dict()["steps"] == 1  # also after the end


def test_a_run_that_must_not_be_read_says_that_it_was_not(tmp_path):
    from auditor.ledger import read_ledger

    with Auditor(tmp_path / "run", second_opinion="false", checkpoints="false"):
        torch.save(torch.ones(1) + 1, tmp_path / "a.pt")
    reading = read_ledger(tmp_path / "run", recount=None)
    assert not reading.weights
    assert [gap.message for gap in reading.gaps] == ["checkpoints were not noticed, as was asked"]
