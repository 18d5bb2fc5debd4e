"""The ledgers that answers name for generators of training data: where they made it, and where they were trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auditor.errors import NotALedger, RuleError
from auditor.ledger import Reading
from auditor.ledger.places import ledgers_below, real_path
from auditor.lineage.data import DataRuns
from auditor.lineage.declared import Declared
from auditor.rules.answers_file import GeneratorLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """What was read: the ledgers, each once, whose their runs are, and what these did."""

    readings: tuple[Reading, ...]
    declared: Declared
    data: DataRuns
    places: dict[str, str]  # where a run is named, by its id

    @property
    def directories(self) -> list[Path]:
        """The directories of the ledgers."""
        return [one.directory for one in self.readings]

    def refuse(self, judged: Reading) -> None:
        """Refuse the run that is judged as one of a generator's own.

        Raises: RuleError: it is one of them.
        """
        if judged.run_id in self.data:
            raise RuleError(
                f"{self.places[judged.run_id]}: expected a ledger of another run, got that of the run which is judged, "
                f"{judged.run_id}",
                remedy="Where the judged record shows the generating itself, say `in_record: true`.",
            )


def read(ledgers: Sequence[GeneratorLedger], declared: Declared, read_one: Callable[[Path], Reading]) -> Theirs:
    """The ledgers of generators; each run is its generator's, whatever model it names. ``read_one``: as all are read.

    Raises: RuleError: no ledger there, or a run that is another model's by what is said elsewhere.
    """
    readings: dict[Path, Reading] = {}
    runs, places = dict(declared.runs), dict[str, str]()
    did: dict[bool, set[str]] = {True: set(), False: set()}
    for ledger in ledgers:
        for reading in _readings(ledger, readings, read_one):
            name = runs.setdefault(reading.run_id, ledger.generator)
            if name != ledger.generator:
                raise RuleError(
                    f"{ledger.place}: expected a run of {ledger.generator!r}, got {reading.run_id}, "
                    f"which is said to be of {name!r}"
                )
            places.setdefault(reading.run_id, ledger.place)
            did[ledger.generating].add(reading.run_id)
    data = DataRuns(generating=frozenset(did[True]), training=frozenset(did[False]))
    return Theirs(readings=tuple(readings.values()), declared=replace(declared, runs=runs), data=data, places=places)


def _readings(
    ledger: GeneratorLedger, known: dict[Path, Reading], read_one: Callable[[Path], Reading]
) -> list[Reading]:
    """The ledgers in and below the directory; ``known`` gets those that were not read yet."""
    paths = [real_path(path) for path in ledgers_below(ledger.directory)]
    for path in paths:
        if path not in known:
            try:
                known[path] = read_one(path)
            except NotALedger as error:
                raise RuleError(
                    f"{ledger.place}: expected the directory of a ledger, relative to this file: {error}",
                    remedy="Name the directory that `auditor run` printed (it holds a folder `segments`).",
                ) from error
    return [known[path] for path in paths]
