"""What the tallies of a segment come to: as it says, and as a recount finds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import LedgerInvalid
from auditor.ledger.known import rows_of
from auditor.lines import read_tallies
from auditor.operations import Operations, add_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from auditor.tally import Tally

_MOST_TEXTS = 4096

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """How tallies are priced again, and the digest of the formula table that does it."""

    price: Callable[[Tally], Operations]
    digest: str


class Prices:
    """What each tally comes to, by number."""

    def __init__(self, recount: Recount | None) -> None:
        self._recount = recount
        self._recorded: list[Operations] = []
        self._recounted: list[Operations] = []
        self.binding = False  # whether a recount must agree: it uses the table that was recorded
        self.differ = False  # whether a tally was recounted to another amount than was recorded

    def __len__(self) -> int:
        return len(self._recorded)

    def add(self, tally: Tally, recorded: Operations) -> None:
        """One tally more.

        Raises: LedgerInvalid: it does not come to what was recorded, by the same formulas.
        """
        found = self._recount.price(tally) if self._recount else recorded
        if found == recorded:
            found = recorded
        elif self.binding:
            difference = first_difference(recorded, found)
            raise LedgerInvalid(f"tally {len(self)} does not come to what it says: {difference}")
        self.differ = self.differ or found is not recorded
        self._recorded.append(recorded)
        self._recounted.append(found)

    def of(self, number: int) -> Operations | None:
        """What the tally of this number comes to, as recorded; None where there is none."""
        return self._recorded[number] if 0 <= number < len(self._recorded) else None

    def recorded(self, times: Mapping[int, int]) -> Operations:
        """What so many of each tally come to, as recorded."""
        return _sum(self._recorded, times)

    def recounted(self, times: Mapping[int, int]) -> Operations:
        """What so many of each tally come to when they are recounted, where that was asked for."""
        return _sum(self._recounted, times)


class RunningSum:
    """What intervals come to, so that it can be told again and again at the cost of what is new."""

    def __init__(self) -> None:
        self.recorded = self.recounted = Operations.none()
        self._texts: Counter[bytes] = Counter()  # tallies of intervals, as they are written

    def add(self, texts: Iterable[bytes], prices: Prices) -> None:
        """Intervals more."""
        self._texts.update(texts)
        if len(self._texts) > _MOST_TEXTS:
            self.settle(prices)

    def add_folded(self, operations: Operations) -> None:
        """An interval more, which has an amount and no tallies."""
        self.recorded, self.recounted = self.recorded + operations, self.recounted + operations

    def settle(self, prices: Prices) -> None:
        """`recorded` and `recounted` hold all of them."""
        times: dict[int, int] = {}
        for text, intervals in self._texts.items():
            for number, often in read_tallies(text):
                times[number] = times.get(number, 0) + often * intervals
        self._texts.clear()
        recorded = prices.recorded(times)
        self.recorded = self.recorded + recorded
        self.recounted = self.recounted + (prices.recounted(times) if prices.differ else recorded)


def _sum(prices: Sequence[Operations], times: Mapping[int, int]) -> Operations:
    return add_up([(prices[number], often) for number, often in times.items()])


def read_amounts(rows: Rows, unpriced: Mapping[str, int]) -> Operations:
    """The operations that a record writes.

    Raises: LedgerInvalid: in another form than ours, so that it could be read in two ways. UnitError: in none.
    """
    operations = Operations.from_rows(rows, unpriced)
    if rows_of(operations) != rows or any(calls < 1 for calls in unpriced.values()):
        raise LedgerInvalid("operations are not written in the canonical form")
    return operations


def first_difference(said: Operations, found: Operations) -> str:
    """The first bucket in which the two are not the same, in words."""
    for bucket in sorted(said.amounts.keys() | found.amounts.keys()):
        left, right = said.amounts.get(bucket), found.amounts.get(bucket)
        if left != right:
            numbers = " and ".join("nothing" if part is None else "/".join(map(str, part)) for part in (left, right))
            return f"bucket {'/'.join(bucket)}: recorded and recounted are {numbers}"
    return f"operators without a price: recorded {dict(said.unpriced)}, recounted {dict(found.unpriced)}"
