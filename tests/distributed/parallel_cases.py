"""Training steps under each kind of parallelism, for two ranks or four: each writes what it counted, by both counters.

Of some, the ranks write ledgers as well, in which what they update alike can be read.

One program for all cases, since a rank's start costs more than all of its steps:
``python parallel_cases.py OUT [CASE...]`` with RANK and WORLD_SIZE set; the ranks meet at a file in OUT.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
)
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import auditor

ROWS, WIDTH, HIDDEN, STEPS = 4, 8, 16, 3
Case = Callable[[int, DeviceMesh], None]
CASES: dict[str, Case] = {}
FOUR = ("fsdp_tensor_parallel", "hybrid", "hybrid_normed", "pipeline_of_four")  # not for two
KEPT = {  # cases of which a ledger is kept as well, and by which counters
    "alone": ("native",),
    "ddp": ("native", "dispatch"),
    "ddp_frozen": ("native",),
    "ddp_zero": ("native",),
    "fsdp": ("native",),
    "sequence_parallel": ("native", "dispatch"),
    "fsdp_tensor_parallel": ("native",),
    "hybrid": ("native",),
    "hybrid_normed": ("native",),
}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


class Mlp(nn.Module):
    """Two products without bias and an activation between them."""

    def __init__(self, width: int = WIDTH, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x).relu())


def steps(model: nn.Module, rows: list[int], width: int = WIDTH) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for number in rows:
        model(torch.ones(number, width)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@case
def alone(rank: int, mesh: DeviceMesh) -> None:
    steps(Mlp(), [ROWS] * STEPS)


@case
def ddp(rank: int, mesh: DeviceMesh) -> None:
    steps(DistributedDataParallel(Mlp()), [ROWS] * STEPS)


@case
def ddp_static_graph(rank: int, mesh: DeviceMesh) -> None:
    steps(DistributedDataParallel(Mlp(), static_graph=True), [ROWS] * STEPS)


@case
def ddp_accumulates(rank: int, mesh: DeviceMesh) -> None:
    model = DistributedDataParallel(Mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with model.no_sync():
        model(torch.ones(ROWS, WIDTH)).sum().backward()
    model(torch.ones(ROWS, WIDTH)).sum().backward()
    optimizer.step()


@case
def ddp_hook(rank: int, mesh: DeviceMesh) -> None:
    """A communication hook that divides once the gradients have arrived, on whichever thread tells it that."""

    def divide(done: torch.futures.Future[list[torch.Tensor]]) -> torch.Tensor:
        return done.value()[0].div_(dist.get_world_size())

    model = DistributedDataParallel(Mlp())
    model.register_comm_hook(
        None, lambda _, bucket: dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(divide)
    )
    steps(model, [ROWS] * STEPS)


@case
def ddp_unused(rank: int, mesh: DeviceMesh) -> None:
    class Forked(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.never = nn.Linear(WIDTH, WIDTH, bias=False)

    steps(DistributedDataParallel(Forked(), find_unused_parameters=True), [ROWS] * STEPS)


@case
def ddp_frozen(rank: int, mesh: DeviceMesh) -> None:
    model = Mlp()
    model.up.requires_grad_(False)
    steps(DistributedDataParallel(model), [ROWS] * STEPS)


@case
def ddp_zero(rank: int, mesh: DeviceMesh) -> None:
    """Each rank updates one of the two weights, and sends it to the other."""
    model = DistributedDataParallel(Mlp())
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.1)
    for _ in range(STEPS):
        model(torch.ones(ROWS, WIDTH)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@case
def ddp_uneven(rank: int, mesh: DeviceMesh) -> None:
    """The last batch of rank 1 has one row, and rank 0 has one more, which `join` lets it train on alone."""
    model = DistributedDataParallel(Mlp())
    with model.join():
        steps(model, [ROWS, ROWS, ROWS] if rank == 0 else [ROWS, 1])


@case
def ddp_evaluates_on_rank_0(rank: int, mesh: DeviceMesh) -> None:
    model = DistributedDataParallel(Mlp())
    steps(model, [ROWS])
    if rank == 0:
        with torch.no_grad():
            model.module(torch.ones(100, WIDTH))


@case
def fsdp(rank: int, mesh: DeviceMesh) -> None:
    model = nn.Sequential(Mlp(), Mlp())
    for part in model:
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    steps(fully_shard(model, mesh=mesh), [ROWS] * STEPS)


@case
def fsdp_keeps(rank: int, mesh: DeviceMesh) -> None:
    steps(fully_shard(Mlp(), mesh=mesh, reshard_after_forward=False), [ROWS] * STEPS)


@case
def fsdp_mixed(rank: int, mesh: DeviceMesh) -> None:
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    steps(fully_shard(Mlp(), mesh=mesh, mp_policy=policy), [ROWS] * STEPS)


@case
def fsdp_checkpointed(rank: int, mesh: DeviceMesh) -> None:
    class Again(Mlp):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(super().forward, x, use_reentrant=False)

    steps(fully_shard(Again(), mesh=mesh), [ROWS] * STEPS)


@case
def tensor_parallel(rank: int, mesh: DeviceMesh) -> None:
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    steps(parallelize_module(Mlp(), mesh, plan), [ROWS] * STEPS)


@case
def sequence_parallel(rank: int, mesh: DeviceMesh) -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(WIDTH)
            self.mlp = Mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mlp(self.norm(x))

    plan = {
        "norm": SequenceParallel(),
        "mlp.up": ColwiseParallel(input_layouts=Shard(1)),
        "mlp.down": RowwiseParallel(output_layouts=Shard(1)),
    }
    model = parallelize_module(Normed(), mesh, plan)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        # (batch, sequence, width): each rank holds half of the sequence
        model(torch.ones(2, ROWS // 2, WIDTH)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@case
def replicated(rank: int, mesh: DeviceMesh) -> None:
    """The same product on every rank, and one of which each does half, on DTensors themselves."""
    whole = distribute_tensor(torch.ones(ROWS, WIDTH), mesh, [Replicate()])
    weight = distribute_tensor(torch.ones(WIDTH, HIDDEN), mesh, [Replicate()])
    halved = distribute_tensor(torch.ones(WIDTH, HIDDEN), mesh, [Shard(1)])
    with torch.no_grad():
        whole @ weight
        product = whole @ halved
    assert isinstance(product, DTensor)
    assert product.to_local().shape == (ROWS, HIDDEN // 2)


MICRO_BATCHES = 4
MICRO_ROWS = 2


def _stages(rank: int, number: int) -> list[PipelineStage]:
    """This rank's stages: with two ranks, every second of them."""
    return [
        PipelineStage(Mlp(), index, number, torch.device("cpu"), group=dist.group.WORLD)
        for index in range(rank, number, dist.get_world_size())
    ]


def _loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return output.sum()


def _follow(rank: int, stages: list[PipelineStage], schedule: Any) -> None:
    optimizer = torch.optim.SGD([p for stage in stages for p in stage.submod.parameters()], lr=0.1)
    rows = torch.ones(MICRO_BATCHES * MICRO_ROWS, WIDTH)
    for _ in range(STEPS):
        if rank == 0:
            schedule.step(rows)
        elif rank < dist.get_world_size() - 1:
            schedule.step()
        else:
            schedule.step(target=torch.zeros_like(rows), losses=[])
        optimizer.step()
        optimizer.zero_grad()


@case
def pipeline_gpipe(rank: int, mesh: DeviceMesh) -> None:
    (stage,) = stages = _stages(rank, 2)
    _follow(rank, stages, ScheduleGPipe(stage, MICRO_BATCHES, loss_fn=_loss))


@case
def pipeline_1f1b(rank: int, mesh: DeviceMesh) -> None:
    (stage,) = stages = _stages(rank, 2)
    _follow(rank, stages, Schedule1F1B(stage, MICRO_BATCHES, loss_fn=_loss))


@case
def pipeline_interleaved(rank: int, mesh: DeviceMesh) -> None:
    stages = _stages(rank, 4)
    _follow(rank, stages, ScheduleInterleaved1F1B(stages, MICRO_BATCHES, loss_fn=_loss))


@case
def pipeline_zero_bubble(rank: int, mesh: DeviceMesh) -> None:
    stages = _stages(rank, 4)
    _follow(rank, stages, ScheduleInterleavedZeroBubble(stages, MICRO_BATCHES, loss_fn=_loss))


@case
def pipeline_of_four(rank: int, mesh: DeviceMesh) -> None:
    (stage,) = stages = _stages(rank, 4)
    _follow(rank, stages, Schedule1F1B(stage, MICRO_BATCHES, loss_fn=_loss))


@case
def fsdp_tensor_parallel(rank: int, mesh: DeviceMesh) -> None:
    """Two groups of two: in each the products are divided, and between them the weights and the rows."""
    groups = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    model = parallelize_module(Mlp(), groups["tensor"], plan)
    steps(fully_shard(model, mesh=groups["data"]), [ROWS] * STEPS)


@case
def hybrid(rank: int, mesh: DeviceMesh) -> None:
    """Weights divided in each group of two, and the same in both groups."""
    groups = init_device_mesh("cpu", (2, 2), mesh_dim_names=("copied", "divided"))
    steps(fully_shard(Mlp(), mesh=groups), [ROWS] * STEPS)


@case
def hybrid_normed(rank: int, mesh: DeviceMesh) -> None:
    """A norm that tensor parallelism leaves alone: what the two groups hold of it is the same, and nothing says so."""
    groups = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    model = nn.Sequential(nn.LayerNorm(WIDTH), Mlp())
    parallelize_module(model, groups["tensor"], {"1.up": ColwiseParallel(), "1.down": RowwiseParallel()})
    steps(fully_shard(model, mesh=groups["data"]), [ROWS] * STEPS)


@case
def experts(rank: int, mesh: DeviceMesh) -> None:
    """Rank 0 sends three of its four rows to the expert of rank 1, which keeps all of its own."""
    sent = [1, 3] if rank == 0 else [0, 4]
    received = [1, 0] if rank == 0 else [3, 4]
    expert = Mlp()
    optimizer = torch.optim.SGD(expert.parameters(), lr=0.1)
    router = nn.Linear(WIDTH, WIDTH, bias=False)
    rows = router(torch.ones(ROWS, WIDTH))
    mine = all_to_all_single_autograd(rows, received, sent, dist.group.WORLD)
    back = all_to_all_single_autograd(expert(mine), sent, received, dist.group.WORLD)
    back.sum().backward()
    optimizer.step()


def counted(name: str, counter: str, rank: int, mesh: DeviceMesh) -> dict[str, object]:
    torch.manual_seed(0)
    with auditor.count(counter=counter) as block, contextlib.ExitStack() as stack:
        stack.callback(dist.barrier)
        CASES[name](rank, mesh)
    operations = block.operations
    rows = [
        [str(bucket.phase), str(bucket.family), bucket.precision, amount.executed_ops]
        for bucket, amount in sorted(operations.amounts.items())
    ]
    return {"rows": rows, "unpriced": dict(operations.unpriced), "steps": block.steps}


def kept(name: str, counter: str, out: Path, rank: int, mesh: DeviceMesh) -> None:
    torch.manual_seed(0)
    with auditor.Auditor(out / f"{name} {counter}", strict=True, counter=counter):
        CASES[name](rank, mesh)
        dist.barrier()


def main(out: Path, names: list[str]) -> None:
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", rank=rank, world_size=ranks, store=dist.FileStore(str(out / "meeting"), ranks))
    mesh = init_device_mesh("cpu", (ranks,))
    results = {}
    for name in names or [name for name in CASES if name not in FOUR]:
        for counter in ("native", "dispatch"):
            try:
                results[f"{name} {counter}"] = counted(name, counter, rank, mesh)
            except Exception:  # noqa: BLE001 - told to the test
                results[f"{name} {counter}"] = {"failed": traceback.format_exc()}
        for counter in KEPT.get(name, ()):
            kept(name, counter, out, rank, mesh)
    (out / f"rank-{rank}.json").write_text(json.dumps(results), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), sys.argv[2:])
