"""Published figures of forward passes, and what separates them from the count here."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TABLE = Path(__file__).parent / "published.csv"
GIGA = 10**9
BIASES = "biases of linear layers"
RECURRENT = "recurrent layers"
ROUNDING = "is rounded"
# Operators of fvcore that hold no matrix work and are in the totals that are published.
_BESIDE = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "adaptive_avg_pool2d", "upsample")


class Published(NamedTuple):
    """One figure as printed, in 10^9 multiply-adds.

    convention: ``matrix`` is convolutions and products alone, ``biases`` adds those of linear layers, ``norms`` what
    fvcore counts: norms and pools as well, recurrent layers not.
    """

    gmac: str
    convention: str
    source: str

    @property
    def macs(self) -> int:
        """The figure in multiply-adds."""
        return int(Decimal(self.gmac) * GIGA)


class Step(NamedTuple):
    """One named part of the way from our count to the published one, in multiply-adds."""

    name: str
    macs: int


def published(model: str) -> list[tuple[int, Published]]:
    """What is published of a model, each with the side of the image."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["model"] == model]
    return [(int(row["image"]), Published(row["gmac"], row["convention"], row["source"])) for row in rows]


def way_to(figure: Published, ours: Mapping[str, int], beside: Mapping[str, int]) -> tuple[list[Step], int]:
    """The parts that lead from our matrix work to the published figure, and what is left unexplained.

    ours: multiply-adds by kind of matrix work. beside: other work by fvcore's names, and ``BIASES``. Up to half a unit
    of the figure's last digit is rounding. Parts and rest add up to the figure exactly.

    Raises: ValueError: the figure's convention is not known.
    """
    steps = list(_convention(figure.convention, ours, beside))
    reached = sum(ours.values()) + sum(step.macs for step in steps)
    rest = figure.macs - reached
    half_unit = Decimal(5).scaleb(int(Decimal(figure.gmac).as_tuple().exponent) - 1) * GIGA
    if abs(rest) > half_unit:
        return steps, rest
    return [*steps, *([Step(ROUNDING, rest)] if rest else [])], 0


def _convention(convention: str, ours: Mapping[str, int], beside: Mapping[str, int]) -> Iterator[Step]:
    if convention == "biases":
        yield Step(f"counts {BIASES}", beside.get(BIASES, 0))
    elif convention == "norms":
        for name, macs in sorted(beside.items()):
            if name.startswith(_BESIDE):
                yield Step(f"counts {name}", macs)
        if ours.get(RECURRENT):
            yield Step(f"leaves out {RECURRENT}", -ours[RECURRENT])
    elif convention != "matrix":
        raise ValueError(f"no such convention: {convention!r}")
