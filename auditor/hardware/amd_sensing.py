"""Looking at AMD's devices during a run: energy, presence and memory errors; amdsmi gives no matrix-core counter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.hardware import amd
from auditor.hardware.answers import attempt, said, text
from auditor.hardware.sensing import Look, Sample, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping


class AmdStation:
    """amdsmi, opened and closed at each look."""

    def look(self, wanted: Mapping[str, Wanted]) -> Look:
        """What amdsmi says now of those devices."""
        with amd.LIBRARY.opened() as (library, closed):
            if library is None:
                return Look(closed=closed)
            try:
                handles = {_uuid(library, handle): handle for handle in library.amdsmi_get_processor_handles()}
            except Exception as error:  # noqa: BLE001 - a driver may break in any way
                return Look(closed=said(error))
            samples = tuple(_sample(library, uuid, handles.get(uuid)) for uuid in wanted)
            return Look(present=tuple(handles), samples=samples)

    def close(self) -> None:
        """Nothing is held between looks."""


def _uuid(library: Any, handle: Any) -> str:
    return text(attempt(library.amdsmi_get_gpu_device_uuid, handle)[0] or "")


def _sample(library: Any, uuid: str, handle: Any) -> Sample:
    if handle is None:
        return Sample(uuid=uuid, lost="the driver does not list it any more")
    energy, no_energy = attempt(amd.energy_mj, library, handle)
    errors, no_errors = attempt(lambda: int(library.amdsmi_get_gpu_total_ecc_count(handle)["uncorrectable_count"]))
    reasons = {"energy_mj": no_energy, "ecc_uncorrected": no_errors, "tensor": "amdsmi counts no matrix-core activity"}
    return Sample(
        uuid=uuid,
        energy_mj=energy,
        ecc_uncorrected=errors,
        not_given={name: reason for name, reason in reasons.items() if reason},
    )
