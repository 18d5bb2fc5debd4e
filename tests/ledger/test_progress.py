"""What of a run is progress, whatever way it went back and forth between kept states."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import LedgerInvalid
from auditor.ledger.keys import load_or_create
from auditor.ledger.known import size_of
from auditor.ledger.log import Draft
from auditor.ledger.merkle import Frontier
from auditor.ledger.notes import Signer, origin_of, read_note
from auditor.lines import read_record
from auditor.records import Resumed, Weights
from auditor.session.state import State
from tests.ledger.conftest import WEIGHTS, Run, add_placed, head_at, rewrite


def write(run: Run, ways: list[list[str | int]], rank: int = 0) -> list[State]:
    """Segments, each of which keeps a state ("keep"), takes a step of size 4, or goes on from the n-th kept state."""
    kept: list[State] = []
    for attempt, way in enumerate(ways):
        book = run.book(attempt=attempt, rank=rank)
        steps = 0
        for what in way:
            if what == "keep":
                kept.append(State.of(book))
            elif what == "step":
                run.interval(book, steps, steps=1)
                steps += 1
            else:
                book.append(kept[int(what) % len(kept)].resumed())
        book.seal("finished")
    return kept


def expected(ways: list[list[str | int]]) -> list[int]:
    """By another way: the list of steps that are progress is carried along, and kept with each state."""
    kept: list[list[tuple[int, int]]] = []
    line: list[tuple[int, int]] = []
    taken = [0] * len(ways)
    for attempt, way in enumerate(ways):
        for what in way:
            if what == "keep":
                kept.append(list(line))
            elif what == "step":
                line.append((attempt, taken[attempt]))
                taken[attempt] += 1
            else:
                line = list(kept[int(what) % len(kept)])
    return [taken[attempt] - sum(at == attempt for at, _ in line) for attempt in range(len(ways))]


@st.composite
def ways(draw):
    found: list[list[str | int]] = []
    anything_kept = False
    for _ in range(draw(st.integers(1, 4))):
        way: list[str | int] = []
        for _ in range(draw(st.integers(0, 6))):
            what = draw(st.sampled_from(["keep", "step", "step", "back"]))
            if what == "back" and not anything_kept:
                continue
            way.append(draw(st.integers(0, 9)) if what == "back" else what)
            anything_kept = anything_kept or what == "keep"
        found.append(way)
    return found


@given(ways())
@settings(max_examples=60)
def test_every_way_back_and_forth(tmp_path_factory, ways):
    folder = tmp_path_factory.mktemp("run")
    run = Run(folder / "ledger", load_or_create(folder / "key.pem"))
    write(run, ways)
    reading = run.read()
    assert reading.verdict == "UNANCHORED", reading.reasons
    abandoned = expected(ways)
    assert [segment.abandoned_steps for segment in reading.segments] == abandoned
    taken = sum(way.count("step") for way in ways)
    assert (reading.steps, reading.abandoned_steps) == (taken - sum(abandoned), sum(abandoned))
    step = run.price(run.tally(4)).total
    assert reading.operations.total == taken * step
    assert reading.abandoned.total == sum(abandoned) * step


def test_the_state_of_one_rank_tells_where_the_others_went_on(run):
    """Only one of them writes the checkpoint, as a rule; the same number of steps of the same attempt is meant."""
    (state,) = write(run, [["step", "step", "keep", "step", "step"]])
    other = run.book(rank=1)
    for number in range(5):
        run.interval(other, number, steps=1)
    other.seal("finished")
    for rank in (0, 1):
        book = run.book(rank=rank, attempt=1)
        book.append(state.resumed())
        run.interval(book, 0, steps=1)
        book.seal("finished")
    reading = run.read()
    assert [one.abandoned_steps for one in reading.segments] == [2, 0, 3, 0]  # its own rank: 4 steps less 2
    assert reading.abandoned_steps == 3


def test_an_interval_that_another_ranks_state_parts_is_progress_as_a_whole_but_for_its_steps(run):
    (state,) = write(run, [["step", "step", "keep", "step", "step"]])
    other = run.book(rank=1)
    run.interval(other, 0, steps=5)
    other.seal("finished")
    for rank in (0, 1):
        book = run.book(rank=rank, attempt=1)
        book.append(state.resumed())
        book.seal("finished")
    first, _, other_first, _ = run.read().segments
    assert (first.abandoned_steps, other_first.abandoned_steps, other_first.abandoned.total) == (2, 3, 0)
    assert run.read().steps == 2


@pytest.mark.parametrize("taken_before", [1, 2, 3])
def test_a_rank_that_goes_on_from_anothers_state_in_the_same_attempt(run, taken_before):
    """Ranks do not take their steps at one moment: the other may stand before the state, at it, after it."""
    (state,) = write(run, [["step", "step", "keep"]])
    other = run.book(rank=1)
    for number in range(taken_before):
        run.interval(other, number, steps=1)
    other.append(state.resumed())
    run.interval(other, taken_before, steps=1)
    other.seal("finished")
    reading = run.read()
    assert [one.abandoned_steps for one in reading.segments] == [0, max(0, taken_before - 2)]
    assert reading.verdict == "UNANCHORED", reading.reasons


def test_a_start_that_says_nothing_of_a_state_follows_what_was_there(run):
    write(run, [["step", "step"], ["step"]])
    reading = run.read()
    assert (reading.steps, reading.abandoned.total, reading.abandoned_steps) == (3, 0, 0)


def test_intervals_without_tallies_are_kept_apart_too(run):
    from auditor.records import TALLIES_LIMIT_BYTES

    book = run.book()
    run.interval(book, 0)
    state = State.of(book)
    book._known._size_bytes += TALLIES_LIMIT_BYTES
    run.interval(book, 1, size=9)
    book.append(state.resumed())
    book.seal("finished")
    reading = run.read()
    assert reading.segments[0].folded_intervals == 1
    assert reading.abandoned == reading.segments[0].folded
    assert (reading.steps, reading.abandoned_steps) == (3, 3)


def written_anew(run: Run, changed: int) -> bytes:
    """The first segment as its owner would write it with another time in one line, its checkpoints where they were."""
    lines = run.path().read_bytes().splitlines()
    genesis = read_record(lines[0]).body
    draft = Draft(Frontier(), Signer.of(genesis), run.key)
    for number, line in enumerate(lines):
        if b',"checkpoint",' in line:
            draft.sign()
        else:
            add_placed(draft, line.replace(b"[1", b"[2", 1) if number == changed else line)
    return bytes(draft.data)


@pytest.fixture
def unnoted(monkeypatch):
    """Segments note nothing of each other, which would show the same."""
    monkeypatch.setattr("auditor.ledger.book.note_earlier", lambda path: [])
    monkeypatch.setattr("auditor.ledger.book.note_others", lambda path, *, everything: [])


@pytest.mark.usefixtures("unnoted")
def test_a_head_that_was_kept_contradicts_what_was_written_anew_before_it(run):
    """The whole segment is signed again by its own key: only the head that a checkpoint brought back shows it."""
    (state,) = write(run, [["step", "keep", "step", "step"], [0, "step"]])
    size = read_note(state.note).head.size
    whole = run.path().read_bytes()
    assert written_anew(run, -1) == whole  # a signature is the same each time
    records = [number for number, line in enumerate(whole.splitlines()) if b',"checkpoint",' not in line]
    for number in records:
        run.path().write_bytes(written_anew(run, number))
        assert run.judge() == ("DIVERGED" if number < size else "UNANCHORED"), number
        run.path().write_bytes(whole)
    run.path().write_bytes(written_anew(run, records[1]))
    assert "a checkpoint of the training kept its head over" in run.read().reasons[0]


@pytest.mark.usefixtures("unnoted")
def test_a_head_that_was_kept_contradicts_a_segment_that_begins_anew(run):
    """Another nonce makes it another log; it bears the same name in the same run."""
    (state,) = write(run, [["step", "keep", "step"]])
    run.path().unlink()
    write(run, [["step"]])
    book = run.book(attempt=1)
    book.append(state.resumed())
    book.seal("finished")
    assert run.judge() == "DIVERGED"


@pytest.mark.usefixtures("unnoted")
def test_of_two_heads_of_one_length_the_one_that_stands_there_excuses_no_other(run):
    (state,) = write(run, [["step", "keep", "step"], [0]])
    run.path().write_bytes(written_anew(run, 2))
    lines = run.path().read_bytes().splitlines()
    size = read_note(state.note).head.size
    anew = head_at(lines[:size], origin_of(read_record(lines[0]).body), run.key).note
    assert run.judge() == "DIVERGED"
    book = run.book(attempt=2)
    book.append(dataclasses.replace(state.resumed(), note=anew))
    book.seal("finished")
    assert run.judge() == "DIVERGED"


@pytest.mark.usefixtures("unnoted")
def test_a_segment_cut_below_a_head_that_was_kept_has_diverged(run):
    write(run, [["step", "step", "keep", "step"], [0, "step"]])
    lines = run.path().read_bytes().splitlines(keepends=True)
    ends = [index for index, line in enumerate(lines) if b',"checkpoint",' in line]
    for end in ends:
        run.path().write_bytes(b"".join(lines[: end + 1]))
        kept = end >= ends[2]  # genesis, a step, a step: the third checkpoint is the head that was kept
        assert run.judge() == ("INCOMPLETE" if kept and end < ends[-1] else "UNANCHORED" if kept else "DIVERGED"), end


def test_a_state_that_cannot_be_placed_is_told_and_changes_nothing(run):
    (state,) = write(run, [["step", "keep", "step"]])
    book = run.book(attempt=1)
    book.append(dataclasses.replace(state.resumed(), segment="rank-00000.attempt-007.jsonl"))
    book.append(dataclasses.replace(state.resumed(), note=""))
    book.append(dataclasses.replace(state.resumed(), run_id="another"))
    run.interval(book, 0, steps=1)
    book.seal("finished")
    reading = run.read()
    assert (reading.steps, reading.abandoned_steps, reading.verdict) == (3, 0, "INCOMPLETE")
    assert any("rank-00000.attempt-007.jsonl that cannot be placed" in reason for reason in reading.reasons)


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "seen"},
        {"digest": "x" * 64},
        {"digest": "a" * 63},
        {"digest": ""},
        {"missed": "why"},
        {"files": ()},
        {"step": -1},
        {"size_bytes": -1},
        {"files": (("a" * 64, -1, ""),)},
    ],
)
def test_weights_that_say_something_else_are_refused_when_written_and_when_read(run, changes):
    false = dataclasses.replace(WEIGHTS, **changes)
    book = run.book()
    with pytest.raises(LedgerInvalid, match="weights: "):
        book.weights(false)
    book.weights(WEIGHTS)
    book.seal("finished")
    assert run.judge() == "UNANCHORED"
    rewrite(run, lambda body: false if isinstance(body, Weights) else body)
    assert run.judge() == "INVALID"


@pytest.mark.parametrize("changes", [{"step": -1}, {"operations": "1.5"}, {"note": "a head"}])
def test_a_resumption_that_says_something_else_is_refused(run, changes):
    write(run, [["step", "keep", 0]])
    rewrite(run, lambda body: dataclasses.replace(body, **changes) if isinstance(body, Resumed) else body)
    assert run.judge() == "INVALID"


def test_a_note_is_read_as_it_was_written(run):
    book = run.book()
    head = run.interval(book, 0)
    noted = read_note(book.head_note())
    assert noted.head == head
    assert Signer.of(book.writer.genesis).note(head, noted.signature) == book.head_note()
    for place in range(0, len(book.head_note()), 7):
        note = book.head_note()
        changed = note[:place] + "\x7f" + note[place + 1 :]
        with pytest.raises(LedgerInvalid, match="note"):
            read_note(changed)


def test_records_of_checkpoints_have_bounded_room(run, monkeypatch):
    limit = 3 * size_of(WEIGHTS)
    monkeypatch.setattr("auditor.ledger.book.WEIGHTS_LIMIT_BYTES", limit)
    monkeypatch.setattr("auditor.ledger.contents.WEIGHTS_LIMIT_BYTES", limit)
    book = run.book()
    for _ in range(6):
        book.weights(WEIGHTS)
    book.seal("finished")
    reading = run.read()
    assert (len(reading.weights), reading.verdict) == (3, "UNANCHORED")
    assert [gap.times for gap in reading.gaps] == [1]
    monkeypatch.setattr("auditor.ledger.contents.WEIGHTS_LIMIT_BYTES", limit - 1)
    assert run.judge() == "INVALID"
