"""Which NVIDIA devices a process may use, and which slice of one: ``CUDA_VISIBLE_DEVICES`` as CUDA reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditor.hardware.answers import attempt, text

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands in the place of the handle of a device that the driver lists and does not open."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A device's handle, that of its slice if one was named, and what is known from the way it was chosen."""

    handle: Any
    part: Any = None
    given: dict[str, str] = field(default_factory=dict)


def visible(library: Any, environ: Mapping[str, str]) -> tuple[list[Selected], str]:
    """The devices in CUDA's order; without any, also the reason."""
    handles = handles_of(library)
    if not handles:
        return [], "no NVML device: the driver lists none"
    wish = environ.get("CUDA_VISIBLE_DEVICES")
    if wish is None:
        return [Selected(handle=handle, given={"selected_by": "all there are"}) for handle in handles], ""
    by_number = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(_names(library, handles)) == 1
    selected = _chosen(library, handles, wish, by_number)
    if not selected:
        return [], f"no NVML device: CUDA_VISIBLE_DEVICES={wish!r} names none of {len(handles)}"
    return selected, ""


def handles_of(library: Any) -> list[Any]:
    """The handle of every device that the driver lists, or `Lost` where it does not open it."""
    opened = [attempt(library.nvmlDeviceGetHandleByIndex, index) for index in range(library.nvmlDeviceGetCount())]
    return [Lost(reason) if reason else handle for handle, reason in opened]


def slices_of(library: Any, handle: Any) -> list[Any]:
    """The slices that a device is cut into; none where it is whole."""
    most, _ = attempt(library.nvmlDeviceGetMaxMigDeviceCount, handle)
    found = [attempt(library.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)[0] for index in range(most or 0)]
    return [part for part in found if part is not None]


def _names(library: Any, handles: list[Any]) -> set[str]:
    return {str(attempt(library.nvmlDeviceGetName, handle)[0]) for handle in handles}


def _chosen(library: Any, handles: list[Any], wish: str, by_number: bool) -> list[Selected]:
    """The devices that a wish names, up to the first entry that names none; none at all where one is named twice.

    Source: torch.cuda's reading of the variable; the first entry says whether all are numbers, GPUs or slices.
    """
    order = "" if by_number else "; the order of the PCI bus is assumed"
    selected: dict[str, Selected] = {}
    entries = [part.strip() for part in wish.split(",")]
    for entry in entries:
        one = _named(library, handles, entry) if _form(entry) == _form(entries[0]) else None
        if one is None:
            break
        if entry in selected:
            return []
        how = f"CUDA_VISIBLE_DEVICES: {entry}{order if entry.isdigit() else ''}"
        selected[entry] = Selected(handle=one.handle, part=one.part, given={**one.given, "selected_by": how})
    return list(selected.values())


def _form(entry: str) -> str:
    return next((prefix for prefix in ("GPU-", "MIG-") if entry.startswith(prefix)), "number")


def _named(library: Any, handles: list[Any], entry: str) -> Selected | None:
    if entry.isascii() and entry.isdigit():
        number = int(entry)
        return Selected(handle=handles[number]) if number < len(handles) else None
    if entry.startswith("MIG-"):
        return _parent(library, handles, entry)
    return _by_uuid(library, handles, entry)


def _by_uuid(library: Any, handles: list[Any], entry: str) -> Selected | None:
    if not entry.startswith("GPU-"):
        return None
    found = [handle for handle in handles if str(attempt(library.nvmlDeviceGetUUID, handle)[0]).startswith(entry)]
    return Selected(handle=found[0]) if len(found) == 1 else None


def _parent(library: Any, handles: list[Any], entry: str) -> Selected | None:
    """The device that holds a MIG slice; older drivers name one ``MIG-GPU-<uuid of the device>/<i>/<j>``."""
    if entry.startswith("MIG-GPU-"):
        whole = _by_uuid(library, handles, entry.removeprefix("MIG-").partition("/")[0])
        return whole and Selected(handle=whole.handle, given={"mig_uuid": entry})
    part, _ = attempt(library.nvmlDeviceGetHandleByUUID, entry)
    handle, _ = attempt(library.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, part)
    if part is None or handle is None:
        return None
    return Selected(handle=handle, part=part, given={"mig_uuid": text(entry)})
