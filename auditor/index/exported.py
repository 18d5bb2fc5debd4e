"""A run as rows of a table that any engine can add up: one for each segment and bucket, each amount in one row only.

Amounts stand only in rows that count. Of a run that is INVALID or DIVERGED they are empty (NULL), so that a sum over
all rows never holds them; where ``complete`` is false, a sum is a floor.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import auditor
from auditor.errors import AuditorError, LedgerInvalid, UsageError
from auditor.hardware.matching import match
from auditor.index.entry import FALSE, UNREADABLE, Refused, storable
from auditor.ledger import Head, HeldHead, Verdict, heads_of, read_ledger
from auditor.ledger.effort import SLIM
from auditor.operations import Amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditor.hardware.chips import Catalogue
    from auditor.ledger import Reading, Recount, SegmentReading

SCHEMA_NUMBER = 1
SCHEMA = f"auditor.export/{SCHEMA_NUMBER}"
MOST_OPS = 10**38 - 1  # what decimal128(38, 0) holds
_WHOLE = (Verdict.UNANCHORED, Verdict.WITNESSED)
_NOTHING = (("", "", "", ""), Amount())
# By what a column's values are: "text", "whole" (64 bits), "yes" (a boolean), "moment" (microseconds, UTC), "amount".
COLUMNS = {
    "run_id": "text",
    "model": "text",
    "month": "text",  # in which the run began, UTC, as `auditor index` has it
    "site": "text",  # what the export was told
    "host": "text",
    "chip": "text",  # id in the catalogue, or the device's own name; joined by " + " where a process saw several kinds
    "segment": "text",
    "role": "text",
    "rank": "whole",
    "attempt": "whole",
    "started": "moment",  # the segment's first and last record
    "ended": "moment",
    "phase": "text",  # this and the next three are empty where the segment came to nothing
    "family": "text",
    "precision": "text",
    "purpose": "text",
    "executed_ops": "amount",  # algorithmic and repeated
    "algorithmic_ops": "amount",
    "repeated_ops": "amount",
    "skippable_ops": "amount",
    "verdict": "text",  # of the run
    "counted": "yes",  # false where the run is INVALID or DIVERGED: there are no amounts
    "complete": "yes",  # false where the run's amounts are a floor
    "segment_state": "text",  # "sealed", "open", "damaged"
    "head": "text",  # of the segment: root of the tree, in base64
    "lines": "whole",
    "formulas": "text",  # digest of the table that it was recounted by
    "auditor": "text",  # version that verified it
}


class Row(NamedTuple):
    """Values in the order of `COLUMNS`."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A run to be exported; ``held``: heads of its segments."""

    run_id: str
    path: str
    verdict: str
    rows: tuple[Row, ...]
    held: tuple[HeldHead, ...]
    reading: Reading | None

    @property
    def state(self) -> str:
        """One digest over all rows: where it is the same, nothing has changed."""
        text = json.dumps([list(map(str, row.values)) for row in self.rows])
        return hashlib.sha256(text.encode()).hexdigest()


def take(directory: Path, recount: Recount, catalogue: Catalogue, site: str) -> Exported | Refused:
    """The rows of a ledger, verified and recounted; of one that cannot be read, that it is INVALID.

    Raises: UsageError: an amount is larger than the format holds.
    """
    path = storable(str(directory.resolve()))
    try:
        reading = read_ledger(directory, recount=recount, effort=SLIM)
    except LedgerInvalid:
        return _unreadable(path, recount.digest, site)
    except AuditorError as error:
        return Refused(path, error.told)
    except OSError as error:
        return Refused(path, f"{path}: cannot be read: {error.strerror or error}.")
    return Exported(
        run_id=storable(reading.run_id),
        path=path,
        verdict=str(reading.verdict),
        rows=tuple(_rows(reading, recount.digest, catalogue, storable(site))),
        held=heads_of(reading),
        reading=reading,
    )


def _rows(reading: Reading, formulas: str, catalogue: Catalogue, site: str) -> Iterator[Row]:
    counted = str(reading.verdict) not in FALSE
    of_run = {
        "run_id": storable(reading.run_id),
        "model": storable(reading.model),
        "month": reading.started[:7],
        "site": site,
        "verdict": str(reading.verdict),
        "counted": counted,
        "complete": reading.operations.complete and reading.verdict in _WHOLE,
        "formulas": formulas,
        "auditor": auditor.__version__,
    }
    for segment in reading.segments:
        of_segment = of_run | _of_segment(segment, catalogue)
        amounts: list[tuple[Sequence[str], Amount]] = [*segment.operations]
        for bucket, amount in amounts or [_NOTHING]:
            parts = dict(zip(("phase", "family", "precision", "purpose"), map(storable, bucket), strict=True))
            yield _row(of_segment | parts | _amounts(amount if counted else None, segment.name))


def _of_segment(segment: SegmentReading, catalogue: Catalogue) -> dict[str, Any]:
    genesis = segment.genesis
    return {
        "host": storable(genesis.host.get("hostname", "")),
        "chip": " + ".join(sorted(_chips(segment, catalogue))),
        "segment": segment.name,
        "role": genesis.role,
        "rank": genesis.rank,
        "attempt": genesis.attempt,
        "started": segment.started,
        "ended": segment.ended,
        "segment_state": "damaged" if segment.broken else "sealed" if segment.sealed else "open",
        "head": segment.head.root,
        "lines": segment.head.size,
    }


def _chips(segment: SegmentReading, catalogue: Catalogue) -> set[str]:
    """Kinds of devices that the process saw, as an index names them."""
    named = set()
    for device in segment.genesis.devices:
        found = match(dict(device), catalogue).chip
        named.add(found.id if found else storable(device.get("name", "")))
    return named


def _amounts(amount: Amount | None, where: str) -> dict[str, int | None]:
    names = ("executed_ops", "algorithmic_ops", "repeated_ops", "skippable_ops")
    if amount is None:
        return dict.fromkeys(names)
    numbers = (amount.executed_ops, *amount)
    if max(numbers) > MOST_OPS:
        raise UsageError(
            f"{where}: {max(numbers)} operations do not fit into the 38 digits of an export",
            remedy="No run comes to so much: look at the ledger with `auditor report`. Nothing was exported of it.",
        )
    return dict(zip(names, numbers, strict=True))


def _row(values: dict[str, Any]) -> Row:
    return Row(tuple(values[name] for name in COLUMNS))


def _unreadable(path: str, formulas: str, site: str) -> Exported:
    nothing: dict[str, Any] = {name: "" if kind == "text" else None for name, kind in COLUMNS.items()}
    said: dict[str, Any] = {"run_id": f"{UNREADABLE}{path}", "site": storable(site), "verdict": FALSE[0]}
    said |= {
        "segment_state": "damaged",
        "counted": False,
        "complete": False,
        "formulas": formulas,
        "auditor": auditor.__version__,
    }
    rows = (_row(nothing | said),)
    return Exported(run_id=said["run_id"], path=path, verdict=FALSE[0], rows=rows, held=(), reading=None)


def held_text(held: tuple[HeldHead, ...]) -> str:
    """Heads as text that `read_held` reads."""
    return json.dumps([[one.segment, one.head.size, one.head.root] for one in held])


def read_held(text: str) -> tuple[HeldHead, ...]:
    """The heads that stand in the text."""
    return tuple(HeldHead(name, Head(size, root)) for name, size, root in json.loads(text))
