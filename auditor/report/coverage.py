"""What profiled steps showed of a run: how much of the devices' time counted operators account for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from auditor.errors import HardwareError
from auditor.hardware.coverage import EVENT, KERNELS, LEAST_SHARE, Coverage
from auditor.report.layout import Heading, Paragraph, Table
from auditor.report.words import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditor.records import Hardware
    from auditor.report.layout import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageFound:
    """All profiled steps of all ranks that show the same kind of work.

    share, lowest: explained over busy, of all together and of the step where it is least; None where nothing ran.
    unexplained_ns: by name, the longest first; no more than the longest of each step are in the record.
    """

    what: str
    samples: int
    busy_ns: int
    explained_ns: int
    share: Decimal | None
    lowest: Decimal | None
    lowest_step: int
    unexplained_ns: tuple[tuple[str, int], ...]

    @property
    def suspect(self) -> bool:
        """Whether operations may be missing from the count."""
        return self.lowest is not None and self.lowest < LEAST_SHARE


def gather(seen: Iterable[Hardware]) -> tuple[CoverageFound, ...]:
    """What the records say, kernels before operators; a record that cannot be read says nothing."""
    by_kind: dict[str, list[Coverage]] = {}
    for record in seen:
        if record.event == EVENT:
            try:
                coverage = Coverage.from_mapping(record.values)
            except HardwareError:
                continue
            by_kind.setdefault(coverage.what, []).append(coverage)
    return tuple(_together(what, by_kind[what]) for what in sorted(by_kind, key=lambda what: what != KERNELS))


def _together(what: str, samples: list[Coverage]) -> CoverageFound:
    unexplained_ns: Counter[str] = Counter()
    for sample in samples:
        unexplained_ns.update(sample.unexplained_ns)
    explained_ns = sum(sample.explained_ns for sample in samples)
    busy_ns = sum(sample.busy_ns for sample in samples)
    shares = [(sample.share, sample.step) for sample in samples if sample.share is not None]
    lowest, lowest_step = min(shares, default=(None, 0))
    return CoverageFound(
        what=what,
        samples=len(samples),
        busy_ns=busy_ns,
        explained_ns=explained_ns,
        share=Coverage.of(0, what, explained_ns, {"": busy_ns - explained_ns}).share,
        lowest=lowest,
        lowest_step=lowest_step,
        unexplained_ns=tuple(sorted(unexplained_ns.items(), key=lambda item: (-item[1], item[0]))),
    )


def sentence(found: CoverageFound) -> str:
    """What was found, in words."""
    steps = plural(found.samples, "profiled step")
    if found.share is None or found.lowest is None:
        return f"In {steps}, no {found.what} ran."
    told = f"In {steps}, counted operators account for {found.share:.2%} of the time of all {found.what}"
    if found.samples > 1:
        told += f", in step {found.lowest_step} for {found.lowest:.2%}"
    doubt = " Operations may be missing from the count." if found.suspect else ""
    return f"{told}.{doubt}"


def blocks(coverages: Iterable[CoverageFound], most_rows: int) -> Iterator[Block]:
    """The part of the terminal's report; nothing where no step was profiled."""
    for number, found in enumerate(coverages):
        if not number:
            yield Heading("Coverage")
        yield Paragraph(sentence(found), "open" if found.suspect else "")
        if found.unexplained_ns:
            rows = tuple((name, microseconds(time_ns)) for name, time_ns in found.unexplained_ns[:most_rows])
            yield Table((f"{found.what} not accounted for", "time"), rows, right=frozenset({1}), flexible=0)


def microseconds(time_ns: int) -> str:
    """The time with its unit."""
    return f"{Decimal(time_ns) / 1000:,.1f} us"


def to_plain(found: CoverageFound) -> dict[str, Any]:
    """For JSON; amounts are text."""
    return {
        "what": found.what,
        "samples": found.samples,
        "busy_ns": str(found.busy_ns),
        "explained_ns": str(found.explained_ns),
        "share": None if found.share is None else str(found.share),
        "lowest_share": None if found.lowest is None else str(found.lowest),
        "lowest_step": found.lowest_step,
        "unexplained": [{"name": name, "time_ns": str(time_ns)} for name, time_ns in found.unexplained_ns],
    }
