"""How much of a segment is kept for whoever draws it: a bounded part of each, and of all segments together.

The sums are exact whatever is kept: neighbours of a curve are joined, and of observations of a device, whose values are
totals since the beginning, every other one is left out.
"""

from __future__ import annotations

from typing import NamedTuple

_POINTS_IN_ALL = 2**18  # some 100 MB in the reader
_SIGHTS_IN_ALL = 2**17  # some 150 MB
_FEWEST_POINTS = 64  # of a segment, however many there are: four for each slice of the early warning
_FEWEST_SIGHTS = 32


class Detail(NamedTuple):
    """The most points of a segment's curve, an even number, and the most hardware records; 0 and 0 for none at all."""

    points: int
    sights: int


NOTHING = Detail(0, 0)
FULL = Detail(points=2048, sights=4096)


def detail_for(segments: int) -> Detail:
    """What is kept of each of so many segments that are read together; one more seldom changes it."""
    return Detail(
        points=min(FULL.points, max(_FEWEST_POINTS, _share(_POINTS_IN_ALL, segments))),
        sights=min(FULL.sights, max(_FEWEST_SIGHTS, _share(_SIGHTS_IN_ALL, segments))),
    )


def _share(of_all: int, segments: int) -> int:
    """A power of two."""
    return int(2 ** ((of_all // max(segments, 1)).bit_length() - 1))
