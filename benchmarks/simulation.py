"""One rank of a training step on thousands of accelerators, traced in one process without memory or network.

The ranks that it would talk to are torch's fake process group; its tensors are fake ones, which have sizes and no
contents. What runs is the training's own code: DTensor, FSDP2, the pipeline's schedule, autograd, the optimizer.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools import fake_collectives  # noqa: F401 - collectives learn what they give on fake tensors
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.tensor.parallel import loss_parallel
from torch.testing._internal.distributed.fake_pg import FakeStore

import auditor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

    from auditor.operations import Operations

_DEVICE = torch.device("cpu")  # of the fake tensors; what is counted is the same on any


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a world of ranks is cut; neighbours in ``tensor`` are neighbours in rank."""

    pipeline: int
    data: int
    tensor: int = 1
    expert: int = 1  # of the data-parallel ranks, so many share the experts among them
    micro_batches: int  # of one sequence each, that a data-parallel rank takes in a step

    @property
    def world(self) -> int:
        """All ranks."""
        return self.pipeline * self.data * self.tensor

    @property
    def sequences(self) -> int:
        """Of a step, over all ranks."""
        return self.data * self.micro_batches

    def rank(self, place: Place) -> int:
        """The number of the rank at a place."""
        return (place.stage * self.data + place.data) * self.tensor + place.tensor


class Place(NamedTuple):
    """Where a rank stands in each dimension of the layout."""

    stage: int
    data: int = 0
    tensor: int = 0


class Part(NamedTuple):
    """What a rank has of a model: its stage, what goes in and out of it for one micro-batch, and the loss."""

    module: nn.Module  # on the meta device, and parallelised
    takes: Callable[[], Tensor]
    gives: Callable[[], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]


class Traced(NamedTuple):
    """What a rank computes in a step, and in how many calls of operators that have a price."""

    operations: Operations
    calls: int


class _Alone(PipelineStage):
    """A stage without neighbours: what these would say of its sizes is known."""

    def _warmup_forward_vote(self, *_: Any, **__: Any) -> Any:
        return None

    def _warmup_backward_result(self, *_: Any, **__: Any) -> Tensor:
        return torch.tensor([1])  # every stage knows its sizes


@contextmanager
def world(layout: Layout, place: Place) -> Iterator[DeviceMesh]:
    """Inside, this process is the rank at that place."""
    dist.init_process_group("fake", store=FakeStore(), rank=layout.rank(place), world_size=layout.world)
    try:
        shape = (layout.pipeline, layout.data // layout.expert, layout.expert, layout.tensor)
        mesh = init_device_mesh(_DEVICE.type, shape, mesh_dim_names=("pipeline", "outer", "expert", "tensor"))
        mesh["outer", "expert"]._flatten("data")  # noqa: SLF001 - what large trainers call
        yield mesh
    finally:
        dist.destroy_process_group()


def trace(layout: Layout, place: Place, build: Callable[[DeviceMesh], Part], context: int) -> Traced:
    """What the rank at that place computes in one step: forward, backward and update, by the auditor's own counter.

    Once in a process: DTensor keeps what it has learned of a world.
    """
    with world(layout, place) as mesh:
        part = build(mesh)
        with FakeTensorMode(allow_non_fake_inputs=True):
            part.module.to_empty(device=_DEVICE)
            optimizer = torch.optim.AdamW(_by_mesh(part.module), lr=1e-4, fused=True)
            schedule = _schedule(layout, place, part, mesh)
            tokens = torch.zeros(layout.micro_batches, context, dtype=torch.long)
            with auditor.count(simulated=True) as counted:
                _step(schedule, tokens, first=place.stage == 0, last=place.stage == layout.pipeline - 1)
                optimizer.step()
        return Traced(counted.operations, sum(counted.tally.values()))


def _by_mesh(module: nn.Module) -> list[dict[str, Any]]:
    """The parameters, those together that are sharded over the same ranks: one kernel updates them."""
    groups: dict[Any, list[Any]] = {}
    for parameter in module.parameters():
        groups.setdefault(cast("DTensor", parameter).device_mesh, []).append(parameter)
    return [{"params": group} for group in groups.values()]


def _schedule(layout: Layout, place: Place, part: Part, mesh: DeviceMesh) -> Schedule1F1B:
    stage = _Alone(
        part.module,
        place.stage,
        layout.pipeline,
        _DEVICE,
        input_args=part.takes(),
        output_args=part.gives(),
        group=mesh.get_group("pipeline"),
    )
    return Schedule1F1B(stage, layout.micro_batches, loss_fn=part.loss)


def _step(schedule: Schedule1F1B, tokens: Tensor, *, first: bool, last: bool) -> None:
    given = (tokens,) if first else ()
    if last:
        with loss_parallel():
            schedule.step(*given, target=tokens, losses=[])
    else:
        schedule.step(*given)
