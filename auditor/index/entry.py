"""What an index keeps of a ledger, taken from it when it was verified."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import auditor
from auditor.errors import AuditorError, LedgerInvalid
from auditor.hardware.matching import match
from auditor.ledger import Verdict, read_ledger
from auditor.ledger.effort import SLIM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from auditor.hardware.chips import Catalogue
    from auditor.ledger import Reading, Recount

FALSE = (str(Verdict.INVALID), str(Verdict.DIVERGED))
_WHOLE = (Verdict.UNANCHORED, Verdict.WITNESSED)
UNREADABLE = "unreadable:"  # in place of the id of a run that no segment names any more


class Part(NamedTuple):
    """A segment: its head, who signs it, and the digests that it names."""

    name: str
    size: int
    root: str
    signer: str
    formulas: str
    rules: str
    catalogue: str


class Chip(NamedTuple):
    """Devices of a kind: the part of the catalogue ("" where none is identified), its own name, and how many."""

    chip: str
    name: str
    kind: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run as its ledger has it."""

    run_id: str
    path: str
    model: str
    purpose: str
    started: str
    ended: str
    verdict: str
    reasons: tuple[str, ...]
    complete: bool
    steps: int
    records: int
    ranks_expected: int
    ranks_seen: int
    total_ops: int
    head: str
    formulas: str  # of the recount
    auditor: str  # that verified it
    verified: str  # when
    segments: tuple[Part, ...]
    buckets: tuple[tuple[tuple[str, str, str, str], tuple[int, int, int]], ...]
    unpriced: tuple[tuple[str, int], ...]
    devices: tuple[Chip, ...]
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A directory that is no ledger, or none that this auditor reads."""

    path: str
    told: str


def take(directory: Path, recount: Recount, catalogue: Catalogue, verified: str) -> Entry | Refused:
    """What an index keeps of the ledger, verified and recounted; of one that cannot be read, that it is INVALID."""
    path = storable(str(directory.resolve()))
    try:
        return _entry(read_ledger(directory, recount=recount, effort=SLIM), path, recount.digest, catalogue, verified)
    except LedgerInvalid as error:
        return _unreadable(path, str(error), recount.digest, verified)
    except AuditorError as error:
        return Refused(path, error.told)
    except OSError as error:
        return Refused(path, f"{path}: cannot be read: {error.strerror or error}.")


def _entry(reading: Reading, path: str, formulas: str, catalogue: Catalogue, verified: str) -> Entry:
    operations = reading.operations
    return Entry(
        run_id=storable(reading.run_id),
        path=path,
        model=storable(reading.model),
        purpose=storable(reading.purpose),
        started=reading.started,
        ended=reading.ended,
        verdict=str(reading.verdict),
        reasons=tuple(map(storable, reading.reasons)),
        complete=operations.complete and reading.verdict in _WHOLE,
        steps=reading.steps,
        records=reading.records,
        ranks_expected=reading.ranks_expected,
        ranks_seen=reading.ranks_seen,
        total_ops=operations.total,
        head=reading.head,
        formulas=formulas,
        auditor=auditor.__version__,
        verified=verified,
        segments=tuple(_parts(reading)),
        buckets=tuple(((*map(storable, bucket),), (*amount,)) for bucket, amount in operations),  # type: ignore[misc]
        unpriced=tuple(_counted(operations.unpriced)),
        devices=tuple(_devices(reading, catalogue)),
        hosts=tuple(sorted({storable(part.genesis.host.get("hostname", "")) for part in reading.segments} - {""})),
    )


def _unreadable(path: str, why: str, formulas: str, verified: str) -> Entry:
    nothing: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Entry)), "")
    nothing |= dict.fromkeys(("steps", "records", "ranks_expected", "ranks_seen", "total_ops"), 0)
    nothing |= dict.fromkeys(("segments", "buckets", "unpriced", "devices", "hosts"), ())
    said = {"verdict": FALSE[0], "reasons": (storable(why),), "complete": False}
    when = {"formulas": formulas, "auditor": auditor.__version__, "verified": verified}
    return Entry(**(nothing | said | when | {"run_id": f"{UNREADABLE}{path}", "path": path}))


def _parts(reading: Reading) -> Iterator[Part]:
    for segment in reading.segments:
        digests = (storable(segment.genesis.digests.get(name, "")) for name in ("formulas", "rules", "catalogue"))
        yield Part(segment.name, segment.head.size, segment.head.root, segment.genesis.public_key, *digests)


def _counted(calls: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    names: Counter[str] = Counter()
    for op, number in calls.items():
        names[storable(op)] += number
    yield from sorted(names.items())


def _devices(reading: Reading, catalogue: Catalogue) -> Iterator[Chip]:
    """Devices that any process saw, alike ones together; those that give no UUID are one."""
    alike: dict[tuple[str, str, str], set[str]] = {}
    seen = {json.dumps(dict(one), sort_keys=True) for part in reading.segments for one in part.genesis.devices}
    for text in sorted(seen):
        identity = json.loads(text)
        found = match(identity, catalogue).chip
        names = (found.id if found else "", identity.get("name", ""), identity.get("kind", ""))
        alike.setdefault((names[0], storable(names[1]), storable(names[2])), set()).add(identity.get("uuid", ""))
    for key, uuids in sorted(alike.items()):
        yield Chip(*key, len(uuids))


def storable(text: str) -> str:
    """The text without what a database does not hold: the character 0, and halves of a character."""
    whole = text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass")
    return whole.decode("utf-16", "replace")
