"""What the record itself answers of what rules ask: the class of the hardware that did the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.report.devices import describe_all
from auditor.report.words import listing
from auditor.rules.paragraphs import NONE

if TYPE_CHECKING:
    from datetime import date

    from auditor.hardware.catalogue import Catalogue
    from auditor.ledger.reading import Reading
    from auditor.rules.model import RuleSet

PLANT = "plant_eccn"
_CONTROLLED = ("3A090.a", "3A090.b")


def plant_eccn(reading: Reading, ruleset: RuleSet, catalogue: Catalogue, as_of: date) -> tuple[str, str] | None:
    """The entry of the hardware that produced the parameters, and where that comes from; None where it is open.

    One accelerator that is controlled is enough: it is taken for a major component of the plant (inferred).
    """
    identities = [identity for seen in reading.devices.values() for identity in seen]
    if all(identity.get("kind") == "cpu" for identity in identities):
        return None
    devices = describe_all(reading.devices, catalogue=catalogue, ruleset=ruleset, as_of=as_of)
    classes = {f"{device.name} is {device.eccn}": device.eccn for device in devices if device.eccn is not None}
    controlled = [words for words, eccn in classes.items() if eccn in _CONTROLLED]
    if controlled:
        return "3A090", _origin(controlled)
    if classes and set(classes.values()) == {NONE}:
        return NONE, _origin(list(classes))
    return None


def _origin(words: list[str]) -> str:
    return f"the hardware of this record: {listing(words, 3)}; taken for a major component of the plant (inferred)"
