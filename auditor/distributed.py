"""Who this process is among those of the run, told by the launcher's environment and by torch.distributed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

RANK_PID = "AUDITOR_RANK_PID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A process's place: ``role`` "rank" trains; "process" is any other Python process, such as a data loader's."""

    role: str
    rank: int
    expected_ranks: int


def find_place(*, forked: bool = False, environment: Mapping[str, str] = os.environ) -> Place:
    """The place of this process, as far as it is known now.

    A process is a rank if torch.distributed or the launcher's RANK says so, or, where nothing does, if it is the one
    that the auditor started. What a rank forks or spawns is not another rank.
    """
    group = _process_group()
    rank, expected = group or (_number(environment, "RANK", 0), _number(environment, "WORLD_SIZE", 1))
    owner = environment.get(RANK_PID)
    below_a_rank = owner is not None and owner != str(os.getpid())
    started_here = environment.get("AUDITOR_LAUNCHER_PID") in (None, str(os.getppid()))
    is_rank = not forked and (group is not None or (not below_a_rank and ("RANK" in environment or started_here)))
    return Place(role="rank" if is_rank else "process", rank=rank, expected_ranks=max(expected, rank + 1))


def claim_rank() -> None:
    """Processes that this one starts will know that they are below a rank."""
    os.environ[RANK_PID] = str(os.getpid())


def release_rank() -> None:
    """Processes that this one starts from now on are below no rank, as far as this one is concerned."""
    if os.environ.get(RANK_PID) == str(os.getpid()):
        del os.environ[RANK_PID]


def _process_group() -> tuple[int, int] | None:
    """Rank and world size of the default process group, if there is one by now."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else default
