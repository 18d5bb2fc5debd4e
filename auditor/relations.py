"""What one model was for another that was made from it."""

from __future__ import annotations

from enum import StrEnum


class Relation(StrEnum):
    """What a parent was for its child."""

    BASE_MODEL = "base_model"  # training went on from its weights
    DATA_GENERATOR = "data_generator"  # it generated data that the child was trained on
    TEACHER = "teacher"  # the child was distilled from what it answers
    MERGED = "merged"  # its weights are a part of the child's
