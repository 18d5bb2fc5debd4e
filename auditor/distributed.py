"""Who this process is among those of the run, told by the launcher's environment and by torch.distributed."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

RANK_PID = "AUDITOR_RANK_PID"

# Where launchers say a process's rank and how many there are; the first that says both counts. Slurm's are those of a
# step: a batch script has a rank as well, which is nobody's.
_RANKS = (
    ("RANK", "WORLD_SIZE"),  # torchrun, and everything that torch's own ``env://`` understands
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
_SCHEDULERS = (("slurm", "SLURM_JOB_ID"), ("pbs", "PBS_JOBID"), ("lsf", "LSB_JOBID"))
# What starts ranks or scripts, and is no rank: modules that are run with -m, and commands.
LAUNCHING_MODULES = ("torch.distributed.", "accelerate.commands.", "deepspeed.launcher.")
_LAUNCHING_COMMANDS = frozenset(("torchrun", "accelerate", "accelerate-launch", "deepspeed", "ds"))
_UNNAMED = "none"  # torchrun's name for a job to which nobody gave one
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # and where it makes one up: ``--standalone``
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A process's place: ``role`` "rank" trains; "process" is any other Python process, such as a data loader's."""

    role: str
    rank: int
    expected_ranks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job of several ranks that were started one by one, as all of them know it by what their launcher told them."""

    name: str  # for people: "slurm-1234", or "job"
    facts: tuple[str, ...]  # the same in every rank of the job, and in its restarts
    singular: bool  # whether no other job, earlier or later, has the same

    def digest(self, *more: str) -> str:
        """32 hexadecimal digits that every rank of the job works out alike."""
        return hashlib.sha256("\0".join(("auditor.job/1", *self.facts, *more)).encode()).hexdigest()[:32]


def find_place(*, forked: bool = False, environment: Mapping[str, str] = os.environ) -> Place:
    """The place of this process, as far as it is known now.

    A process is a rank if it is in torch.distributed's process group, or if no rank stands above it that was told the
    same by its launcher: what a rank forks or spawns is not another rank. Nor is a launcher's own process.
    """
    group = _process_group()
    told = _told(environment)
    rank, expected = group or told or (0, 1)
    may_be_one = "RANK" in environment or not _starts_ranks()
    is_rank = not forked and (group is not None or (may_be_one and not _is_below_a_rank(environment)))
    return Place(role="rank" if is_rank else "process", rank=rank, expected_ranks=max(expected, rank + 1))


def find_job(environment: Mapping[str, str] = os.environ) -> Job | None:
    """The job that this process is one of several ranks of, or None where its launcher says of none."""
    told = _told(environment)
    if told is None or told[1] < 2:
        return None
    scheduled = next(((kind, environment[name]) for kind, name in _SCHEDULERS if environment.get(name)), None)
    elastic = environment.get("TORCHELASTIC_RUN_ID", _UNNAMED)
    here_alone = elastic == _UNNAMED and environment.get("LOCAL_WORLD_SIZE") == str(told[1])
    launcher = _launching_process() if here_alone else ""
    return Job(
        name="-".join(scheduled or ("job",)),
        facts=(*(scheduled or ()), environment.get("SLURM_CLUSTER_NAME", ""), *_rendezvous(environment), launcher),
        singular=bool(scheduled or launcher or _UUID.fullmatch(elastic)),
    )


def claim_rank() -> None:
    """Processes that this one starts will know that they are below a rank, and what it was told."""
    os.environ[RANK_PID] = " ".join(map(str, (os.getpid(), *(_told(os.environ) or ()))))


def release_rank() -> None:
    """Processes that this one starts from now on are below no rank, as far as this one is concerned."""
    if os.environ.get(RANK_PID, "").partition(" ")[0] == str(os.getpid()):
        del os.environ[RANK_PID]


def _is_below_a_rank(environment: Mapping[str, str]) -> bool:
    """Whether another process is the rank that this one belongs to; one with a rank of its own belongs to itself."""
    owner, *told = environment.get(RANK_PID, "").split() or [""]
    return owner not in ("", str(os.getpid())) and told == [str(number) for number in _told(environment) or ()]


def _starts_ranks() -> bool:
    """Whether this process is a launcher; a script that merely imports what launchers are made of is not."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    command = Path(sys.argv[0] if sys.argv else "").name
    return getattr(main, "name", "").startswith(LAUNCHING_MODULES) or command in _LAUNCHING_COMMANDS


def _process_group() -> tuple[int, int] | None:
    """Rank and world size of the default process group, if there is one by now."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _told(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Rank and number of ranks, as the launcher says."""
    for rank, ranks in _RANKS:
        if environment.get(rank, "").isdecimal() and environment.get(ranks, "").isdecimal():
            return int(environment[rank]), int(environment[ranks])
    return None


def _rendezvous(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where the ranks meet: by name, which outlives a restart that meets at another port, or by address, or by step."""
    name = environment.get("TORCHELASTIC_RUN_ID", _UNNAMED)
    if name != _UNNAMED:
        return ("elastic", name)
    if "RANK" in environment:
        return ("meeting", environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", ""))
    return ("step", environment.get("SLURM_STEP_ID", ""), environment.get("PMIX_NAMESPACE", ""))


def _launching_process() -> str:
    """The process that gave this one its rank, told from all that ever ran here; "" where it cannot be found.

    It is the nearest above this one that began without a rank, however many shells stand between.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        for pid in _ancestors(os.getpid()):
            began_with = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
            if not any(entry.startswith(b"RANK=") for entry in began_with):
                return f"{boot} {pid} {_stat(pid)[_STARTED]}"
    except (OSError, IndexError):
        pass
    return ""


_PARENT, _STARTED = 1, 19  # places after the name in /proc/PID/stat


def _ancestors(pid: int) -> Iterator[int]:
    while (pid := int(_stat(pid)[_PARENT])) > 0:
        yield pid


def _stat(pid: int) -> list[str]:
    return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
