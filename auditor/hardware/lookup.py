"""Which entries a person may mean by what they wrote: suggestions, never an identification."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from auditor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditor.hardware.chips import Catalogue, Chip, MaskedName

_MAKERS = ("nvidia ", "amd ", "intel ")
_SHORTEST_STEM = 2


def near(written: str, catalogue: Catalogue) -> tuple[str, ...]:
    """Ids of the entries that the text may mean, by the closest way that leads to any.

    Ways: the id in another case; a name of the product or device; the beginning of an id or name, the text being the
    shorter or the longer one; the spelling.
    """
    wanted = _plain(written)
    ids = {chip.id: chip for chip in catalogue.chips}
    names = {
        chip.id: {_plain(name) for name in (chip.id, chip.product, *chip.device_names)} for chip in catalogue.chips
    }
    if wanted in ids:
        return (wanted,)
    stem = wanted.split("-")[0]
    for found in (
        [chip for chip, known in names.items() if _any_begins(known, wanted)] if wanted else [],
        [chip for chip in ids if wanted.startswith(f"{chip}-")],
        [chip for chip, known in names.items() if len(stem) >= _SHORTEST_STEM and _any_begins(known, f"{stem}-")],
    ):
        if found:
            return tuple(found)
    return tuple(difflib.get_close_matches(wanted, ids, n=3))


def masked(written: str, catalogue: Catalogue) -> MaskedName | None:
    """The name that was seen on other silicon, where that is what was written."""
    return next((one for name, one in catalogue.masked_names.items() if _plain(name) == _plain(written)), None)


def vendor(written: str, vendors: Iterable[str]) -> str:
    """The vendor of that name, or the only one that it begins.

    Raises: UsageError: none, or several.
    """
    known = list(dict.fromkeys(vendors))
    exact = [name for name in known if name.lower() == written.lower()]
    found = exact or [name for name in known if written and name.lower().startswith(written.lower())]
    if len(found) == 1:
        return found[0]
    said = f"{written!r} begins several vendors" if found else f"no vendor {written!r} is in the catalogue"
    raise UsageError(f"hardware list: {said}", remedy=f"Known are {', '.join(found or known)}.")


def by_vendor(chips: Iterable[Chip]) -> list[Chip]:
    """The entries, NVIDIA's first, then the others' by their names; each vendor's as they stand."""
    return sorted(chips, key=lambda chip: (chip.vendor != "NVIDIA", chip.vendor.lower()))


def _any_begins(names: Iterable[str], text: str) -> bool:
    return any(name.startswith(text) for name in names)


def _plain(text: str) -> str:
    """Small letters, without the maker's name, words joined by hyphens: as ids are written."""
    small = " ".join(text.lower().split())
    for maker in _MAKERS:
        small = small.removeprefix(maker)
    return small.replace(" ", "-").replace("_", "-")
