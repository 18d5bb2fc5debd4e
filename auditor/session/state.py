"""What of the auditor goes into a training's own checkpoints: where its record stood then, as a signed head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from auditor.errors import AuditorError, StateError
from auditor.ledger.notes import read_note
from auditor.records import Resumed
from auditor.units import parse_ops, wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.ledger import SegmentBook

SCHEMA = "auditor.state/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a segment stood; ``note`` is "" where its writer did not answer in time."""

    run_id: str
    segment: str
    steps: int
    operations: str  # recorded by then, decimal
    note: str

    @classmethod
    def of(cls, book: SegmentBook) -> State:
        """Where this book stands. What the head vouches for is on the disk: it can be held against it later.

        Raises: LedgerUnwritable: it could not be brought there.
        """
        if book.writer.alive:
            book.sync()
        return cls(
            run_id=book.writer.genesis.run_id,
            segment=book.writer.path.name,
            steps=book.steps,
            operations=wire(book.operations.total),
            note=book.head_note(),
        )

    def to_plain(self) -> dict[str, str | int]:
        """Text and whole numbers alone, which every format of checkpoints holds."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def read(cls, plain: Mapping[str, object]) -> State:
        """What `to_plain` gave.

        Raises: StateError: it is something else.
        """
        texts = {name: plain.get(name) for name in ("run_id", "segment", "operations", "note")}
        steps = plain.get("steps")
        if plain.get("schema") != SCHEMA or type(steps) is not int or not 0 <= steps < 2**63:
            raise StateError(f"expected what `state_dict()` of an auditor gave, of the schema {SCHEMA!r}")
        if not all(isinstance(text, str) and len(text) < 2**16 for text in texts.values()):
            raise StateError("the state of an auditor holds something other than text")
        state = cls(steps=steps, **{name: str(text) for name, text in texts.items()})
        try:
            parse_ops(state.operations)
            if state.note:
                read_note(state.note)
        except AuditorError as error:
            raise StateError(f"the state of an auditor was changed: {error}") from error
        return state

    def resumed(self) -> Resumed:
        """The record that a segment goes on from here."""
        return Resumed(
            run_id=self.run_id,
            segment=self.segment,
            step=self.steps,
            operations=self.operations,
            note=self.note,
        )
