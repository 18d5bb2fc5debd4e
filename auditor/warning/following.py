"""What a run that is being written comes to so far, over the segments of all its processes: only what is new is read.

Each look reads what was appended since the one before, as far as a checkpoint vouches for it, and adds up what the
writers recorded; nothing is counted again. So a look costs what was written, and keeps sums alone. What cannot be read
is left out: what is told is what every process has at least done.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from auditor.errors import AuditorError
from auditor.ledger.log import Scanner
from auditor.ledger.places import open_regular, segment_paths
from auditor.lines import FREQUENT, INTERVAL_GROUP, read_record, read_tallies
from auditor.operations import Operations, add_up
from auditor.records import Alert, Folded, Genesis, TallyRecord

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.ledger.log import Stretch
    from auditor.records import Body

_BLOCK_BYTES = 256 * 2**10


class Following:
    """The segments of one run in a directory."""

    def __init__(self, directory: Path, run_id: str) -> None:
        self._directory = directory
        self._run_id = run_id
        self._segments: dict[str, _Segment] = {}

    def look(self) -> None:
        """All that has been appended since the last look is read."""
        try:
            paths = segment_paths(self._directory)
        except OSError:
            return
        for path in paths:
            self._segments.setdefault(path.name, _Segment(path)).read_on()

    @property
    def operations(self) -> Operations:
        """What all that was read comes to."""
        return add_up([(segment.operations, 1) for segment in self._of_run()])

    @property
    def told(self) -> set[str]:
        """The names of the levels that somebody has been told of."""
        return {name for segment in self._of_run() for name in segment.told}

    @property
    def ranks(self) -> tuple[int, int]:
        """How many ranks were seen, and how many are expected."""
        known = [segment.genesis for segment in self._of_run() if segment.genesis]
        seen = {genesis.rank for genesis in known if genesis.role == "rank"}
        return len(seen), max((genesis.expected_ranks for genesis in known), default=0)

    @property
    def models(self) -> list[str]:
        """The names that the model was given, each once."""
        return list(dict.fromkeys(segment.genesis.model for segment in self._of_run() if segment.genesis))

    def _of_run(self) -> list[_Segment]:
        return [one for one in self._segments.values() if one.genesis and one.genesis.run_id == self._run_id]


class _Segment:
    """One segment, up to where it was read."""

    def __init__(self, path: Path) -> None:
        self.genesis: Genesis | None = None
        self.told: list[str] = []
        self._path = path
        self._read_bytes = 0
        self._scanner = Scanner()
        self._prices: list[Operations] = []
        self._times: Counter[int] = Counter()
        self._folded = Operations.none()
        self._false = False

    @property
    def operations(self) -> Operations:
        """What its intervals come to, as recorded."""
        return add_up([(self._prices[number], often) for number, often in self._times.items()]) + self._folded

    def read_on(self) -> None:
        """What was appended is read; where it is false, nothing from there on is ever taken."""
        try:
            if not self._false and self._path.stat().st_size > self._read_bytes:
                self._read()
        except (AuditorError, ValueError, IndexError):
            self._false = True
        except OSError:
            return

    def _read(self) -> None:
        with open_regular(self._path) as file:
            file.seek(self._read_bytes)
            while data := file.read(_BLOCK_BYTES):
                self._read_bytes += len(data)
                for stretch in self._scanner.feed(data):
                    self._take(stretch)

    def _take(self, stretch: Stretch) -> None:
        for line in stretch.lines:
            match = FREQUENT.fullmatch(line)
            if match is None:
                self._learn(read_record(line).body)
            elif match.lastindex == INTERVAL_GROUP:
                for number, often in read_tallies(match[INTERVAL_GROUP]):
                    self._prices[number]  # of one that was not written, nothing is known
                    self._times[number] += often

    def _learn(self, body: Body) -> None:
        match body:
            case Genesis():
                self.genesis = body
            case TallyRecord():
                self._prices.append(Operations.from_rows(body.operations, body.unpriced))
            case Folded():
                self._folded = self._folded + Operations.from_rows(body.operations, body.unpriced)
            case Alert():
                self.told.append(body.name)
            case _:
                pass
