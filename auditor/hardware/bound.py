"""What a device can do at most, and whether what was counted fits into the time that it had.

Every figure leans to the device's side: the fastest rate at which it can take a precision at all, with what
boards reach beyond it; of what was counted, the least that a kernel must do for it. So what does not fit was
counted too high, or was done elsewhere; that it fits proves nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from auditor.hardware.answers import whole
from auditor.operations import MATRIX_FAMILIES, Amount, Bucket, Family, Operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from auditor.hardware.chips import Chip
    from auditor.hardware.measured import Measurement

Answer = TypeVar("Answer")
# Measured dense products exceed the rated peak by 2 to 12 % (gpu-flops-bench @5a32ae9: H200 NVL, RTX 5090 D v2),
# because boards boost past the clock that the peak is rated at; 3 % more for the timing of such measurements.
BOOST_TOLERANCE = Decimal("1.15")
# Winograd's F(4x4, 3x3) multiplies a quarter as often as the definition of a convolution (arXiv:1509.09308).
_CONVOLUTION_SAVES = 4
# The host runs ahead: a device queues about a thousand launches before it makes the host wait.
RUN_AHEAD_S = Decimal(10)
# A run that its device outlasts a hundredfold has launched nothing but kernels a hundred times as long as a launch, and
# has waited for none; below a tenth of a second a single kernel can do that.
_ABSURD = 100
_ABSURD_FROM_S = Decimal("0.1")
# Which rates of the catalogue a precision can run at: a product of float32 may be made of TF32 or half precision.
_RATES: Mapping[str, tuple[str, ...]] = {
    "float64": ("fp64", "fp64_tensor"),
    "complex128": ("fp64", "fp64_tensor"),
    "float32": ("fp32", "fp32_matrix", "tf32", "bf16", "fp16"),
    "complex64": ("fp32", "fp32_matrix", "tf32", "bf16", "fp16"),
    "bfloat16": ("bf16", "fp16", "fp32"),
    "float16": ("fp16", "fp16_vector"),
    "int8": ("int8",),
    "uint8": ("int8",),
    "float4_e2m1fn_x2": ("fp4",),
}
_EIGHT_BIT = ("fp8",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """Tera-operations per second by type that are not exceeded; ``unknown`` says why there are none.

    ``tolerance``: by how much they are higher than the rates that they come from.
    """

    rates_tera: Mapping[str, Decimal]
    tolerance: Decimal = BOOST_TOLERANCE
    basis: str = ""
    unknown: str = ""

    def rate_tera(self, precision: str) -> Decimal:
        """The fastest that this precision can run; any rate at all where its own is not known."""
        types = _EIGHT_BIT if precision.startswith("float8") else _RATES.get(precision, ())
        own = [self.rates_tera[name] for name in types if name in self.rates_tera]
        return max(own or self.rates_tera.values())


def ceiling(chip: Chip | None, measured: Measurement | None, *, share: Decimal = Decimal(1), why: str = "") -> Ceiling:
    """The higher of what the catalogue and a measurement say, with the boost that boards reach.

    share: of the circuit that the process was given (a slice of it). why: what to say where neither is known.
    """
    rated = {name: rate for name, rate in chip.dense_peak_tera.items() if rate} if chip else {}
    found = {name: rate for name, rate in measured.rates_tera.items() if rate} if measured else {}
    if not rated and not found:
        return Ceiling(rates_tera={}, unknown=why or "the peak rates of the part are not known")
    tolerance = boost_of(chip)
    highest = {
        name: max(rated.get(name, Decimal(0)) * share, found.get(name, Decimal(0))) * tolerance
        for name in rated.keys() | found.keys()
    }
    said = [f"the dense peak rates of {chip.product}" if rated and chip else "", "what was measured" if found else ""]
    part = "" if share == 1 else f", a slice of {share:.0%}"
    higher = "the higher of " if all(said) else ""
    basis = f"{higher}{' and '.join(filter(None, said))}{part}, times {tolerance:.2f} for boost"
    return Ceiling(rates_tera=highest, tolerance=tolerance, basis=basis)


def share_of(identity: Mapping[str, str], chip: Chip | None) -> Decimal:
    """The part of the circuit: a slice by its multiprocessors, else one of the devices that the circuit shows as."""
    if chip is None:
        return Decimal(1)
    given = whole(identity.get("mig_sm_count"))
    if given and chip.sm_count and given <= chip.sm_count:
        return Decimal(given) / chip.sm_count
    return Decimal(1) / chip.devices_per_circuit


def boost_of(chip: Chip | None) -> Decimal:
    """By how much a part may go beyond its rated peak: what is seen of boards, or more where its clock allows it."""
    if chip is None or not chip.boost_mhz or not chip.max_sm_clock_mhz:
        return BOOST_TOLERANCE
    return max(BOOST_TOLERANCE, Decimal(chip.max_sm_clock_mhz) / Decimal(chip.boost_mhz))


def together(ceilings: Sequence[Ceiling]) -> Ceiling:
    """Of a process that may compute on all of them at once; unknown where one of them is."""
    for one in ceilings:
        if one.unknown:
            return one
    if len(ceilings) == 1:
        return ceilings[0]
    if not ceilings:
        return Ceiling(rates_tera={}, unknown="no device: what a processor can do is not bounded here")
    names = {name for one in ceilings for name in one.rates_tera}
    return Ceiling(
        rates_tera={name: sum((_highest(one, name) for one in ceilings), Decimal(0)) for name in names},
        tolerance=max(one.tolerance for one in ceilings),
        basis=f"{len(ceilings)} devices: {'; '.join(sorted({one.basis for one in ceilings}))}",
    )


def _highest(one: Ceiling, name: str) -> Decimal:
    return one.rates_tera.get(name) or max(one.rates_tera.values())


def least_ops(bucket: Bucket, amount: Amount) -> Decimal:
    """What a kernel must do at least: nothing that is masked away or done twice, a convolution by its cheapest way."""
    must = max(amount.algorithmic_ops - amount.skippable_ops, 0)
    return Decimal(must) / (_CONVOLUTION_SAVES if bucket.family is Family.CONVOLUTION else 1)


def needed_s(operations: Operations, most: Ceiling) -> Decimal:
    """The least time in which the device can do all of it; units that can work at once are not added up."""
    return max(needed_by_unit_s(operations, most).values(), default=Decimal(0))


def needed_by_unit_s(operations: Operations, most: Ceiling) -> dict[str, Decimal]:
    """The least time that each unit of the device needs for its part."""
    units: dict[str, Decimal] = {}
    for bucket, amount in operations.amounts.items():
        unit = _unit(bucket)
        seconds = least_ops(bucket, amount) / (most.rate_tera(bucket.precision) * 10**12)
        units[unit] = units.get(unit, Decimal(0)) + seconds
    return units


def once_for_each(work_out: Callable[[Operations], Answer]) -> Callable[[Operations], Answer]:
    """The same, worked out once for each object: of a long run, intervals alike share their operations."""
    known: dict[int, tuple[Operations, Answer]] = {}  # with the object, whose id is its own while it is held

    def answer(operations: Operations) -> Answer:
        if id(operations) not in known:
            known[id(operations)] = (operations, work_out(operations))
        return known[id(operations)][1]

    return answer


def _unit(bucket: Bucket) -> str:
    if bucket.family not in MATRIX_FAMILIES:
        return "vector"
    return "double" if bucket.precision in ("float64", "complex128") else "matrix"


def is_absurd(needed: Decimal, took: Decimal) -> bool:
    """Whether the device needs so much longer than the whole time that no queue explains it, however short it was."""
    return needed > _ABSURD_FROM_S and needed > took * _ABSURD


class Stretch(NamedTuple):
    """Steps, the time that they took, and the least that the device needs for what was counted in them."""

    first_step: int
    steps: int
    took_s: Decimal
    needed_s: Decimal

    @property
    def share(self) -> Decimal | None:
        """Needed over taken; None where no time passed."""
        return self.needed_s / self.took_s if self.took_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Whether what was counted fits. ``unknown``: why that cannot be said; then there is nothing else.

    ``exceeded``: the stretches after which the device would have been behind by more than it can queue; else the whole
    of the time, where it is absurdly short. ``behind_s``: the most that it would have been behind.
    """

    ceiling: Ceiling
    whole: Stretch | None = None
    highest: Stretch | None = None
    exceeded: tuple[Stretch, ...] = ()
    behind_s: Decimal = Decimal(0)

    @property
    def unknown(self) -> str:
        """Why nothing can be said, or ""."""
        return self.ceiling.unknown

    @property
    def utilisation(self) -> Decimal | None:
        """The share of the peak rates themselves, without the boost, that the count comes to over the whole time."""
        share = self.whole.share if self.whole else None
        return None if share is None else share * self.ceiling.tolerance


def judge(course: Iterable[tuple[int, int, int, Operations]], most: Ceiling) -> Bound:
    """Holds each stretch (first step, steps, microseconds since the beginning, operations) against the ceiling.

    A device may do later what was counted earlier, so time that was not needed is never saved up, and work that
    did not fit is carried on: only what it could not have queued exceeds.
    """
    if most.unknown:
        return Bound(ceiling=most)
    found: list[Stretch] = []
    exceeded: list[Stretch] = []
    behind = most_behind = before = Decimal(0)
    needed_of = once_for_each(lambda operations: needed_s(operations, most))
    for first, steps, until_us, operations in course:
        until = Decimal(until_us) / 10**6
        stretch = Stretch(first, steps, until - before, needed_of(operations))
        before = until
        behind = max(behind + stretch.needed_s - stretch.took_s, Decimal(0))
        most_behind = max(most_behind, behind)
        found.append(stretch)
        if behind > RUN_AHEAD_S and stretch.needed_s > stretch.took_s:
            exceeded.append(stretch)
    whole = _sum(found)
    if whole and not exceeded and is_absurd(whole.needed_s, whole.took_s):
        exceeded.append(whole)
    return Bound(
        ceiling=most,
        whole=whole,
        highest=max((one for one in found if one.share is not None), key=lambda one: one.share or 0, default=None),
        exceeded=tuple(exceeded),
        behind_s=most_behind,
    )


def _sum(stretches: Sequence[Stretch]) -> Stretch | None:
    if not stretches:
        return None
    return Stretch(
        stretches[0].first_step,
        sum(one.steps for one in stretches),
        sum((one.took_s for one in stretches), Decimal(0)),
        sum((one.needed_s for one in stretches), Decimal(0)),
    )
