"""Exact amounts: how they are read and printed.

An amount of operations is a Python int with no upper bound and travels as a decimal string: ``float(10**26)`` is not
``10**26``, and JSON numbers above 2**53 are rounded by most readers.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from auditor.errors import UnitError

# A multiply-add is two operations, a multiplication and an addition. It is said here, once, for the whole project.
OPS_PER_MULTIPLY_ADD = 2

_LONGEST_AMOUNT = 64  # characters; 10**26 has 27
# An amount below this, of what a whole training does, was meant as something else: a share, or the exponent of ten.
LEAST_MEANT_OPS = 1000
_IN_GROUPS = re.compile(r"[0-9]{1,3}(?:[,_' \u00a0\u2009\u202f][0-9]{3})+")
_PREFIXES = ((24, "Y"), (21, "Z"), (18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"))


def parse_exact(text: str) -> Decimal:
    """The decimal number that ``text`` writes, exactly; units are the caller's.

    Raises: UnitError: not a finite decimal number, or longer than any amount can be.
    """
    try:
        value = Decimal(text) if len(text) <= _LONGEST_AMOUNT else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite() or abs(value.adjusted()) > _LONGEST_AMOUNT:
        raise UnitError(f"expected a number, got {text[:_LONGEST_AMOUNT]!r}")
    return value


def parse_ops(text: str) -> int:
    """A whole, non-negative number of operations: ``"1e26"`` is ``10**26``.

    Raises: UnitError: not a whole non-negative number.
    """
    value = parse_exact(text)
    if value < 0 or value != value.to_integral_value():
        raise UnitError(f"expected a whole number of operations, not negative, got {text!r}")
    return int(value)


def ungrouped(text: str) -> str | None:
    """The digits of a number that is written in groups of three; None where it is not."""
    return "".join(filter(str.isdigit, text)) if _IN_GROUPS.fullmatch(text) else None


def without_groups(text: str) -> str:
    """How to write a number that has thousands separators, as the end of a sentence; "" where it has none."""
    digits = ungrouped(text)
    return f"; thousands separators are not read: write {digits}" if digits else ""


def wire(amount_ops: int) -> str:
    """The decimal string under which an amount travels."""
    return str(amount_ops)


def in_full(amount_ops: int) -> str:
    """Every digit of the amount, in groups of three: as people read and compare it."""
    return f"{amount_ops:,}"


def scientific(amount: int, digits: int = 4) -> str:
    """The amount with ``digits`` significant digits, rounded half to even: ``"4.184e14"``; small ones in full."""
    if abs(amount) < 10**6:
        return f"{amount:,}"
    return f"{Decimal(amount):.{digits - 1}e}".replace("e+", "e")


def threshold(amount_ops: int) -> str:
    """A line as its law writes it: ``1e26``, ``2.5e25``; in full where it is not that round."""
    mantissa, _, exponent = scientific(amount_ops).partition("e")
    short = f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"
    return short if exponent and parse_ops(short) == amount_ops else in_full(amount_ops)


def with_prefix(amount: int) -> str:
    """The amount to three digits with an SI prefix: ``"418.4 T"``; for people, never for storage."""
    for exponent, prefix in _PREFIXES:
        if abs(amount) >= 10**exponent:
            return f"{Decimal(amount).scaleb(-exponent):.4g} {prefix}"
    return f"{amount} "


def share(part: int, whole: int) -> str:
    """``part`` of ``whole`` as a percentage that never reads 0 or 100 unless it is."""
    if whole == 0:
        return "–"  # noqa: RUF001 - a dash for nothing to share
    percent = Decimal(part) * 100 / Decimal(whole)
    if part != whole and percent > Decimal("99.9999"):
        return "> 99.9999 %"
    if percent in {0, 100} or Decimal("0.05") <= percent <= Decimal("99.95"):
        return f"{percent:.1f} %"
    return f"{percent:.2e} %".replace("e-0", "e-").replace("e+0", "e") if percent < 1 else f"{percent:.4f} %"
