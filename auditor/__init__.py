"""Counts every operation of a training run and holds the total against the compute thresholds of the law.

::

    with auditor.Auditor(model="my-model") as audit:   # a run with a ledger
        train()

    with auditor.count() as counted:                   # a block, without one
        model(batch).backward()
    counted.operations.total

Nothing heavy is imported before it is used; verification and reports need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.counting.region import Counted, count
    from auditor.errors import AuditorError
    from auditor.formulas import formula
    from auditor.integrations.here import load_state_dict, loaded, saved, state_dict
    from auditor.integrations.loop import Auditor
    from auditor.operations import Amount, Family, Operations
    from auditor.tally import Phase, Purpose, Shape

__version__ = "0.1.0"
__all__ = [
    "Amount",
    "Auditor",
    "AuditorError",
    "Counted",
    "Family",
    "Operations",
    "Phase",
    "Purpose",
    "Shape",
    "__version__",
    "count",
    "formula",
    "load_state_dict",
    "loaded",
    "saved",
    "state_dict",
]

_HOMES = {
    "Amount": "auditor.operations",
    "Auditor": "auditor.integrations.loop",
    "AuditorError": "auditor.errors",
    "Counted": "auditor.counting.region",
    "Family": "auditor.operations",
    "Operations": "auditor.operations",
    "Phase": "auditor.tally",
    "Purpose": "auditor.tally",
    "Shape": "auditor.tally",
    "count": "auditor.counting.region",
    "formula": "auditor.formulas",
    "load_state_dict": "auditor.integrations.here",
    "loaded": "auditor.integrations.here",
    "saved": "auditor.integrations.here",
    "state_dict": "auditor.integrations.here",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'auditor' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as missing:
        if missing.name != "torch":
            raise
        errors = importlib.import_module("auditor.errors")
        raise errors.MissingExtra("torch", "train") from missing
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
