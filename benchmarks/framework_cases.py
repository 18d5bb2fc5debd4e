"""What each framework's loop is expected to count: by hand, from the sizes of `workloads/frameworks/subject`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

ROWS, WIDTH, HIDDEN, STEPS, MICRO_BATCHES = 4, 8, 16, 3, 2
PARAMETERS = 2 * WIDTH * HIDDEN
PRODUCT = 2 * ROWS * WIDTH * HIDDEN
BATCHES = STEPS * MICRO_BATCHES
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
DEEPSPEED = ("-m", "deepspeed.launcher.runner", "--num_gpus", "2")

Phases = Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A training script below a launcher.

    expected: operations of one rank by phase; None where no form is derived. needs: the words with which the framework
    itself refuses this machine.
    """

    framework: str
    package: str
    mode: str
    command: tuple[str, ...]
    ranks: int = 2
    expected: Phases | None = None
    adds: str = "nothing"
    limit: str = ""
    needs: str = ""


def _phases(**amounts: int) -> Phases:
    return Counter(amounts)


def _passes(batches: int) -> Phases:
    """Two products, an activation and a sum forward; three products and the activation backward (no input gradient)."""
    return _phases(
        forward=batches * (2 * PRODUCT + ROWS * HIDDEN + ROWS * WIDTH),
        backward=batches * (3 * PRODUCT + ROWS * HIDDEN),
    )


INITIAL = _phases(inference=PARAMETERS)  # a value drawn for each
UPDATES = _phases(optimizer=STEPS * PARAMETERS)
# The second micro-batch's gradients are added to the first's.
ACCUMULATED = _phases(backward=STEPS * (MICRO_BATCHES - 1) * PARAMETERS)
# DDP divides the gradients by the number of ranks, once a step.
AVERAGED = _phases(backward=STEPS * PARAMETERS)
# The loss is divided by the number of micro-batches, and so is its gradient.
SCALED = _phases(forward=BATCHES, backward=BATCHES)
# Looks for infinity and NaN, and adds up, the loss of each micro-batch, for its log; it divides the loss twice.
WATCHED = _phases(forward=BATCHES * 3)
# A norm takes 2 an element and a root: of both gradients, and of those two. Then a coefficient, in 4; a product each.
CLIPPED = _phases(optimizer=STEPS * ((2 * PARAMETERS + 2) + (2 * 2 + 1) + 4 + PARAMETERS))
LOGGED = _phases(forward=2)  # at the end, the losses of both ranks are added up

ALONE = INITIAL + _passes(BATCHES) + ACCUMULATED + UPDATES
TRAINER = ALONE + SCALED + SCALED + WATCHED + CLIPPED
DIVIDED = "the loss divided by the micro-batches, and its gradient"
AVERAGES = "gradients divided by the ranks (DDP)"
STARTED_AGAIN = "rank 0 has two segments: before and after it joins its process group"
NO_CPU = "needs a GPU, and refuses a CPU itself: not measured"

CASES = (
    Case(
        framework="Accelerate",
        package="accelerate",
        mode="one process",
        command=("train_accelerate.py", "2"),
        ranks=1,
        expected=ALONE + SCALED,
        adds=DIVIDED,
    ),
    Case(
        framework="Accelerate",
        package="accelerate",
        mode="`accelerate launch`, 2 ranks",
        command=(*ACCELERATE, "train_accelerate.py", "2"),
        expected=ALONE + SCALED + AVERAGED,
        adds=f"{DIVIDED}; {AVERAGES}",
    ),
    Case(
        framework="Transformers' Trainer",
        package="transformers",
        mode="one process",
        command=("train_transformers.py", "2"),
        ranks=1,
        expected=TRAINER,
        adds="the loss divided twice, looked at for NaN and infinity, and added up; clipping by the gradients' norm",
    ),
    Case(
        framework="Transformers' Trainer",
        package="transformers",
        mode="`torchrun`, ddp, 2 ranks",
        command=(*TORCHRUN, "train_transformers.py", "2"),
        expected=TRAINER + AVERAGED + LOGGED,
        adds=f"as in one process; {AVERAGES}; both losses added up for the last log",
    ),
    Case(
        framework="Lightning",
        package="lightning",
        mode="one process",
        command=("train_lightning.py", "auto", "2"),
        ranks=1,
        expected=ALONE + SCALED,
        adds=DIVIDED,
    ),
    Case(
        framework="Lightning",
        package="lightning",
        mode="`ddp` (starts the script again), 2 ranks",
        command=("train_lightning.py", "ddp", "2"),
        expected=ALONE + SCALED + AVERAGED,
        adds=f"{DIVIDED}; {AVERAGES}",
        limit=STARTED_AGAIN,
    ),
    Case(
        framework="Ray Train",
        package="ray",
        mode="`TorchTrainer`, 2 workers",
        command=("train_ray.py",),
        expected=INITIAL + _passes(STEPS) + UPDATES + AVERAGED,
        adds=AVERAGES,
        limit="on this machine's cluster, begun by the script; workers of a cluster that runs already need the "
        "variables of `auditor run` in their runtime environment",
    ),
    *(
        Case(
            framework="DeepSpeed",
            package="deepspeed",
            mode=f"ZeRO {stage}, 2 ranks",
            command=(*DEEPSPEED, "train_deepspeed.py", str(stage), "float32", "2"),
        )
        for stage in (1, 2, 3)
    ),
    Case(
        framework="Megatron-core",
        package="megatron",
        mode="its schedules, 2 ranks",
        command=(*TORCHRUN, "train_megatron.py"),
        limit=NO_CPU,
        needs="Torch not compiled with CUDA enabled",
    ),
)
