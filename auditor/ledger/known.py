"""What a segment holds already, so that it is written once: signatures and tallies, by number."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from auditor.lines import write_record
from auditor.operations import Operations, add_up
from auditor.records import MOST_RECENT, TALLIES_LIMIT_BYTES, Record, Signatures, TallyRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from auditor.records import Body
    from auditor.tally import Signature, Tally

_SIGNATURES_PER_RECORD = 1000


class News(NamedTuple):
    """What must be written before tallies can be referred to: records, and the numbers that they give."""

    signatures: Mapping[Signature, int]
    tallies: Mapping[str, int]  # by digest
    operations: Sequence[Operations]  # of each of these tallies
    records: Sequence[Signatures | TallyRecord]
    size_bytes: int


class Known:
    """Numbers of signatures and tallies, what each tally comes to, and how often it came."""

    def __init__(self) -> None:
        self._signatures: dict[Signature, int] = {}
        self._tallies: dict[str, int] = {}
        self._operations: list[Operations] = []
        self._settled = Operations.none()
        self._recent: dict[int, int] = {}  # how often each came since, by number
        self._size_bytes = 0

    def operations(self) -> Operations:
        """What all tallies come to, as often as they came."""
        return add_up([(self._settled, 1), *((self._operations[number], n) for number, n in self._recent.items())])

    def settle(self) -> list[tuple[int, Operations]]:
        """The tallies that came most since this was last asked, by number, at most `MOST_RECENT`."""
        self._settled = self.operations()
        ranked = sorted(self._recent, key=lambda number: (-self._recent[number], number))
        self._recent = {}
        return [(number, self._operations[number]) for number in sorted(ranked[:MOST_RECENT])]

    def number(self, tally: Tally, news: News) -> int:
        """The number of a tally that is known or among the news."""
        new = news.tallies.get(tally.digest)
        return self._tallies[tally.digest] if new is None else new

    def news(self, tallies: Iterable[Tally], price: Callable[[Tally], Operations]) -> News | None:
        """What these tallies need that is not known, or None where that is more than a segment may hold."""
        fresh = [tally for tally in tallies if tally.digest not in self._tallies]
        signatures = self._new_signatures(fresh)
        numbers = {tally.digest: number for number, tally in enumerate(fresh, len(self._tallies))}
        operations = list(map(price, fresh))
        records: list[Signatures | TallyRecord] = list(_signature_records(signatures))
        for tally, amount in zip(fresh, operations, strict=True):
            entries = self._entries(tally, signatures)
            records.append(TallyRecord(number=numbers[tally.digest], entries=entries, **amounts_of(amount)))
        size_bytes = sum(map(size_of, records))
        fits = self._size_bytes + size_bytes <= TALLIES_LIMIT_BYTES
        return News(signatures, numbers, operations, records, size_bytes) if fits else None

    def learn(self, news: News, tallies: Iterable[tuple[int, int]]) -> None:
        """The news were written, and these tallies, by number, came so often."""
        self._signatures.update(news.signatures)
        self._tallies.update(news.tallies)
        self._operations += news.operations
        self._size_bytes += news.size_bytes
        for number, times in tallies:
            self._recent[number] = self._recent.get(number, 0) + times

    def _new_signatures(self, tallies: Iterable[Tally]) -> dict[Signature, int]:
        fresh = {entry.signature for tally in tallies for entry in tally} - self._signatures.keys()
        return dict(zip(sorted(fresh), itertools.count(len(self._signatures)), strict=False))

    def _entries(self, tally: Tally, new: Mapping[Signature, int]) -> tuple[tuple[int, str, str, int], ...]:
        return tuple(
            sorted(
                (new[signature] if signature in new else self._signatures[signature], str(phase), str(purpose), calls)
                for (signature, phase, purpose), calls in tally.items()
            )
        )


def _signature_records(signatures: Mapping[Signature, int]) -> Iterable[Signatures]:
    items = list(signatures)
    for start in range(0, len(items), _SIGNATURES_PER_RECORD):
        chunk = items[start : start + _SIGNATURES_PER_RECORD]
        yield Signatures(first=signatures[chunk[0]], items=tuple((op, arguments) for op, arguments in chunk))


def size_of(body: Body) -> int:
    """What a record takes of `TALLIES_LIMIT_BYTES` or `WEIGHTS_LIMIT_BYTES`: its line but for the time."""
    return len(write_record(Record(time_us=0, body=body)))


class Amounts(TypedDict):
    """An amount as the fields of a record hold it."""

    operations: tuple[tuple[str, ...], ...]
    unpriced: Mapping[str, int]


def amounts_of(operations: Operations) -> Amounts:
    """The fields of a record that hold this amount."""
    return {"operations": rows_of(operations), "unpriced": unpriced_of(operations)}


def rows_of(operations: Operations) -> tuple[tuple[str, ...], ...]:
    """The rows of an amount as a record holds them."""
    return tuple(map(tuple, operations.to_rows()))


def unpriced_of(operations: Operations) -> Mapping[str, int]:
    """Operators without a price, and their calls, as a record holds them."""
    return dict(sorted(operations.unpriced.items()))
