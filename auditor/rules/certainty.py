"""How sure a statement of a rule pack is."""

from __future__ import annotations

from enum import StrEnum


class Certainty(StrEnum):
    """How sure a statement is."""

    PRIMARY = "primary"  # seen in the primary text or a machine copy of it
    SECONDARY = "secondary"  # seen in a secondary source only
    RECALLED = "recalled"  # from memory, not looked up
    INFERRED = "inferred"  # concluded from the text, which does not say it
    SILENT = "silent"  # the text says nothing; the choice is the auditor's
