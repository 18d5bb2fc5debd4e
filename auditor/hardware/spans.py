"""Numbers that are known exactly, or only between two ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Span:
    """Where a number lies, both ends included; ``high`` None is without end."""

    low: Decimal
    high: Decimal | None

    @classmethod
    def exactly(cls, number: Decimal) -> Span:
        """The span that holds one number."""
        return cls(number, number)

    @property
    def exact(self) -> Decimal | None:
        """The number, where there is only one."""
        return self.low if self.low == self.high else None


def hull(spans: Iterable[Span | None]) -> Span | None:
    """The smallest span that holds all of these; None where there are none, or one is not known."""
    found = list(spans)
    known = [span for span in found if span is not None]
    if not known or len(known) < len(found):
        return None
    highs = [span.high for span in known if span.high is not None]
    return Span(min(span.low for span in known), max(highs) if len(highs) == len(known) else None)
