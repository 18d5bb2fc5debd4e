"""A run on the model disk that loses its power at any call, is read, recovered and continued: what must hold then."""

from __future__ import annotations

import copy
import shutil
from typing import TYPE_CHECKING

from auditor.errors import NotALedger
from auditor.ledger import SegmentBook, SegmentWriter, recover
from tests.ledger.model_disk import ModelDisk, taped

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.ledger.conftest import Run

_STEPS = 3  # of an interval
_SIZES = [4, 4, 4, 5, 6, 7]


class Sitting:
    """One process's life on a disk, taped: its calls, and how much was written and synced after which of them."""

    def __init__(self, run: Run, chance: Random, writes: int) -> None:
        self.before = ModelDisk(run.directory.parent)
        self._marks: list[tuple[int, int, int]] = []  # number of calls, intervals written, intervals synced
        with taped() as self.calls:
            book = SegmentBook(SegmentWriter.create(run.directory, run.genesis(), run.key), recover(run.directory))
            self.name, synced = book.writer.path.name, 0
            for number in range(writes):
                run.interval(book, number, size=chance.choice(_SIZES))
                self._marks.append((len(self.calls), number + 1, synced))
                if chance.random() < 0.3:
                    book.sync()
                    synced = number + 1
                    self._marks.append((len(self.calls), number + 1, synced))
            if chance.random() < 0.3:
                book.seal("finished")
                self._marks.append((len(self.calls), writes, writes))
            book.close()

    def reached(self, num_calls: int) -> tuple[int, int]:
        """After so many calls: how many intervals may stand on the disk, and how many must."""
        marks = [mark for mark in self._marks if mark[0] <= num_calls]
        return marks[-1][1:] if marks else (0, 0)

    def lose_power(self, root: Path, num_calls: int, chance: Random) -> None:
        """In ``root`` stands what may be left where the power is lost after so many calls."""
        model = copy.deepcopy(self.before)
        for call in self.calls[:num_calls]:
            model.do(call)
        shutil.rmtree(root)
        root.mkdir()
        model.after_crash(root, chance)


def power_loss_case(run: Run, chance: Random, *, writes: int = 12) -> str:
    """Two lives of a run, each ended by a loss of power, and a third; ``run`` lies alone in its parent directory.

    The verdict after the second loss. Raises: AssertionError: a promise was broken.
    """
    root = run.directory.parent
    root.mkdir(exist_ok=True)
    least: dict[str, int] = {}
    most: dict[str, int] = {}
    verdict = ""
    for _ in range(2):
        sitting = Sitting(run, chance, chance.randint(0, writes))
        at = chance.randint(0, len(sitting.calls))
        sitting.lose_power(root, at, chance)
        most[sitting.name], least[sitting.name] = sitting.reached(at)
        verdict, found = check(run, least, most)
        recover(run.directory)
        assert check(run, found, found)[0] == verdict, "a recovery changed what is read"
        assert recover(run.directory) == [], "a recovery left something to recover"
        least |= found  # what was found after the loss is on the disk
    run.segment(intervals=1)
    check(run, least, most | dict.fromkeys(segments(run), writes))
    return verdict


def segments(run: Run) -> list[str]:
    """The names of all segments."""
    return [path.name for path in (run.directory / "segments").iterdir()]


def check(run: Run, least: dict[str, int], most: dict[str, int]) -> tuple[str, dict[str, int]]:
    """The verdict, and the intervals of each segment: sound, and of each at least and at most so many."""
    try:
        reading = run.read()
    except NotALedger:
        assert not any(least.values()), "what was synced is gone"
        return "NotALedger", {}
    assert reading.verdict in {"INCOMPLETE", "UNANCHORED"}, reading.reasons
    assert not any(segment.broken for segment in reading.segments)
    found = {segment.name: segment.steps // _STEPS for segment in reading.segments}
    for name, number in least.items():
        assert found.get(name, 0) >= number, (name, found, least, most)
    for name, number in found.items():
        assert number <= most[name], (name, found, least, most)
    return str(reading.verdict), found
