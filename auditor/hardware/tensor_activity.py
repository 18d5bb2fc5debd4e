"""What was counted for the tensor cores beside how long the device says that they were busy.

A device's monitor tells for which share of the time its tensor cores were active, not how many operations they
did: active cycles times the peak rate bound them from above. So the two are held together as times.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware.answers import whole
from auditor.hardware.bound import least_ops
from auditor.operations import MATRIX_FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.hardware.chips import Chip
    from auditor.operations import Operations

GAP = Decimal("0.1")  # beyond this the two do not agree
# The rates of tensor cores by precision.
_TENSOR: Mapping[str, tuple[str, ...]] = {
    "bfloat16": ("bf16",),
    "float16": ("fp16",),
    "int8": ("int8",),
    "float8_e4m3fn": ("fp8",),
    "float8_e5m2": ("fp8",),
    "float4_e2m1fn_x2": ("fp4",),
}
# Whether these run on tensor cores is a setting that no count shows; the second where the part has no first.
_PERHAPS: Mapping[str, tuple[str, ...]] = {
    "float32": ("tf32", "bf16"),
    "complex64": ("tf32", "bf16"),
    "float64": ("fp64_tensor",),
    "complex128": ("fp64_tensor",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Seconds of busy tensor cores: as observed, and as what was counted must and can at most have taken.

    ``observed_s`` is of the time ``covered_s``, at the rated clock; the count is of that part of the run too.
    """

    observed_s: Decimal
    covered_s: Decimal
    least_s: Decimal
    most_s: Decimal

    @property
    def gap(self) -> Decimal:
        """By which share of the observed the count lies outside of it: above (positive), below (negative), or 0."""
        if not self.observed_s:
            return Decimal(1) if self.least_s else Decimal(0)
        if self.least_s > self.observed_s:
            return self.least_s / self.observed_s - 1
        return min(self.most_s / self.observed_s - 1, Decimal(0))

    @property
    def agrees(self) -> bool:
        """Whether the two lie within a tenth of each other."""
        return abs(self.gap) <= GAP


def reconcile(
    operations: Operations,
    chip: Chip,
    observed: Sequence[Mapping[str, str]],
    elapsed_us: int,
    share: Decimal = Decimal(1),
) -> Reconciliation | None:
    """The count of a process beside its device's activity; None where the device told of none.

    observed: the values of its "observed" records in their order. elapsed_us: the time that the count is of. share: of
    the circuit that the process was given.
    """
    told = [values for values in observed if "tensor_us" in values and "covered_us" in values]
    if not told or not elapsed_us:
        return None
    covered_us, busy_us = whole(told[-1]["covered_us"]) or 0, whole(told[-1]["tensor_us"]) or 0
    part = min(Decimal(covered_us) / Decimal(elapsed_us), Decimal(1))
    least, most = _counted_s(operations, chip)
    return Reconciliation(
        observed_s=Decimal(busy_us) / 10**6 * _clock(chip, observed),
        covered_s=Decimal(covered_us) / 10**6,
        least_s=least / share * part,
        most_s=most / share * part,
    )


def _counted_s(operations: Operations, chip: Chip) -> tuple[Decimal, Decimal]:
    """How long the tensor cores need for the matrix work at their rated peak, at least and at most."""
    least = most = Decimal(0)
    for bucket, amount in operations.amounts.items():
        if bucket.family not in MATRIX_FAMILIES:
            continue
        surely, perhaps = _TENSOR.get(bucket.precision, ()), _PERHAPS.get(bucket.precision, ())
        rate = next((chip.dense_peak_tera[name] for name in surely + perhaps if name in chip.dense_peak_tera), None)
        if rate:
            most += Decimal(amount.executed_ops) / (rate * 10**12)
            least += least_ops(bucket, amount) / (rate * 10**12) if surely else 0
    return least, most


def _clock(chip: Chip, observed: Sequence[Mapping[str, str]]) -> Decimal:
    """The clock while the device was looked at, over the one that its peak is rated at; 1 where one is not known."""
    clocks = list(filter(None, (whole(values.get("sm_clock_mhz")) for values in observed)))
    if not clocks or not chip.boost_mhz:
        return Decimal(1)
    return Decimal(sum(clocks)) / len(clocks) / chip.boost_mhz
