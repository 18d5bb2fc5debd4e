"""The second counter's view, beside ours: what it adds up to, and what explains the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.units import parse_ops

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from auditor.records import SecondOpinion


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An operator that the two counters see differently; amounts are "" where a counter has none."""

    operator: str
    module: str
    ours: str
    theirs: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """All forward passes that both counted, one per model and input shapes; matrix families only.

    The amounts are None where the other counter had no opinion on any pass; ``unavailable`` says why.
    """

    counter: str
    ours_ops: int | None
    theirs_ops: int | None
    explained: tuple[Explanation, ...]
    unavailable: tuple[str, ...]
    passes: tuple[SecondOpinion, ...]

    @property
    def difference_ops(self) -> int | None:
        """Theirs less ours."""
        if self.ours_ops is None or self.theirs_ops is None:
            return None
        return self.theirs_ops - self.ours_ops


def gather(opinions: Iterable[SecondOpinion]) -> Opinion | None:
    """One opinion out of those of all ranks, each pass once; None where there is none."""
    passes = tuple({(one.counter, one.model, one.inputs): one for one in opinions}.values())
    if not passes:
        return None
    given = [one for one in passes if not one.unavailable]
    return Opinion(
        counter=", ".join(sorted({one.counter for one in passes})),
        ours_ops=sum(parse_ops(one.ours) for one in given) if given else None,
        theirs_ops=sum(parse_ops(one.theirs) for one in given) if given else None,
        explained=tuple(_explanation(row) for one in given for row in one.explained),
        unavailable=tuple(sorted({one.unavailable for one in passes if one.unavailable})),
        passes=passes,
    )


def _explanation(row: Mapping[str, str]) -> Explanation:
    return Explanation(
        operator=row.get("operator", ""),
        module=row.get("module", ""),
        ours=row.get("ours", ""),
        theirs=row.get("theirs", ""),
        note=row.get("note", ""),
    )
