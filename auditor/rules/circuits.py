"""The figures of a circuit that chip rules ask for, and what of them is open, as expressions take them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from auditor.rules.expressions import Result
from auditor.rules.ranges import Range

# A number, a range (lowest, highest; None is without end), or None where nothing is known.
Known = Decimal | tuple[Decimal, Decimal | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The figures of one integrated circuit that chip rules ask for; see `pack.SUPPLIED` for their units."""

    tpp: Known = None
    performance_density: Known = None
    io_gb_per_s: Known = None
    link_gb_per_s: Known = None
    memory_gb_per_s: Known = None
    memory_gb_per_s_per_mm2: Known = None
    peak_tera: Known = None
    die_area_known: bool = False  # exactly: what a density that is open may lack
    data_centre: bool | None = None
    is_processor: bool | None = True


def circuit_of(figures: Any) -> Circuit:
    """What chip rules ask, from figures of a part that have the same names; a number there has two ends."""
    numbers: dict[str, Known] = {name: _ends(getattr(figures, name, None)) for name in _NUMBERS}
    return Circuit(**numbers, die_area_known=figures.die_area_known, data_centre=figures.data_centre)  # type: ignore[arg-type]


def _ends(span: Any) -> Known:
    return None if span is None else (span.low, span.high)


def values_of(circuit: Circuit) -> dict[str, Result]:
    """Each figure by its name; one that is open names the inputs that it lacks."""
    values = {name: _number(name, getattr(circuit, name)) for name in _NUMBERS}
    if circuit.tpp is None:
        values["tpp"] = Result(None, frozenset({"rates"}))
    density = values["performance_density"]
    if density.open:
        missing = values["tpp"].open | (frozenset() if circuit.die_area_known else {"die_area"})
        values["performance_density"] = Result(density.value, missing or density.open)
    for name in ("data_centre", "is_processor"):
        flag = getattr(circuit, name)
        values[name] = Result(flag, frozenset() if flag is not None else frozenset({name}))
    return values


_NUMBERS = (
    "tpp",
    "performance_density",
    "io_gb_per_s",
    "link_gb_per_s",
    "memory_gb_per_s",
    "memory_gb_per_s_per_mm2",
    "peak_tera",
)


def _number(name: str, known: Known) -> Result:
    if known is None:
        return Result(None, frozenset({name}))
    low, high = known if isinstance(known, tuple) else (known, known)
    open_names = frozenset({name}) if low != high else frozenset[str]()
    return Result(Range(Fraction(low), None if high is None else Fraction(high)), open_names)
