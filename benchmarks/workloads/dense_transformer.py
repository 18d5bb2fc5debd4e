"""A stage of a dense decoder (grouped-query attention, gated network, rotary positions), as large runs parallelise it.

Tensor and sequence parallelism on DTensor, FSDP2 over the data-parallel ranks in mixed precision, whole layers
checkpointed on request; a pipeline cuts the layers into stages.
"""

# mypy: disable-error-code="no-any-return,no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@dataclass(frozen=True, kw_only=True)
class Dense:
    """The sizes of a dense decoder."""

    name: str
    layers: int
    width: int
    heads: int
    key_heads: int
    hidden: int
    vocabulary: int
    context: int

    @property
    def head_width(self) -> int:
        """Of queries, keys and values alike."""
        return self.width // self.heads


LLAMA_405B = Dense(
    name="405B dense",
    layers=126,
    width=16384,
    heads=128,
    key_heads=8,
    hidden=53248,
    vocabulary=128256,
    context=8192,
)


class Attention(nn.Module):
    """Causal attention over [batch, time, width]; the heads that this rank has."""

    def __init__(self, sizes: Dense) -> None:
        super().__init__()
        self.head_width = sizes.head_width
        of_keys = sizes.key_heads * sizes.head_width
        self.queries = nn.Linear(sizes.width, sizes.width, bias=False)
        self.keys = nn.Linear(sizes.width, of_keys, bias=False)
        self.values = nn.Linear(sizes.width, of_keys, bias=False)
        self.out = nn.Linear(sizes.width, sizes.width, bias=False)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        parts = (layer(x).unflatten(-1, (-1, self.head_width)) for layer in (self.queries, self.keys, self.values))
        q, k, v = (part.transpose(1, 2) for part in parts)
        q, k = turned(q, turns), turned(k, turns)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Rotary positions: pairs of features turned by an angle of their place. ``turns``: [2, time, head width]."""
    cosine, sine = turns
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class Gated(nn.Module):
    """The two-layer network whose activation is gated by a third."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    """Attention and the gated network, each normalised before and added to its input."""

    def __init__(self, sizes: Dense) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(sizes.width, eps=1e-5)
        self.attention = Attention(sizes)
        self.norm_network = nn.RMSNorm(sizes.width, eps=1e-5)
        self.network = Gated(sizes.width, sizes.hidden)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), turns)
        return x + self.network(self.norm_network(x))


class Stage(nn.Module):
    """So many layers; the first stage embeds tokens, the last one has the norm and the head."""

    def __init__(self, sizes: Dense, layers: int, *, first: bool, last: bool, checkpointing: bool) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width) if first else None
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(layers))
        self.norm = nn.RMSNorm(sizes.width, eps=1e-5) if last else None
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False) if last else None
        # A table of angles, filled where a run begins: nothing of a step.
        turns = torch.empty(2, sizes.context, sizes.head_width, dtype=torch.bfloat16)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        for layer in self.layers:
            x = checkpoint(layer, x, self.turns, use_reentrant=False) if self.checkpointing else layer(x, self.turns)
        return x if self.norm is None or self.head is None else self.head(self.norm(x))


def _layer_plan() -> dict[str, Any]:
    return {
        "norm_attention": SequenceParallel(),
        "attention": PrepareModuleInput(input_layouts=(Shard(1), None), desired_input_layouts=(Replicate(), None)),
        "attention.queries": ColwiseParallel(),
        "attention.keys": ColwiseParallel(),
        "attention.values": ColwiseParallel(),
        "attention.out": RowwiseParallel(output_layouts=Shard(1)),
        "norm_network": SequenceParallel(),
        "network": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),)),
        "network.gate": ColwiseParallel(),
        "network.up": ColwiseParallel(),
        "network.down": RowwiseParallel(output_layouts=Shard(1)),
    }


def parallelize(stage: Stage, mesh: DeviceMesh) -> None:
    """The stage is this rank's part of it: cut over the dimension ``tensor``, sharded over ``data``."""
    if stage.embedding is not None:
        plan = RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1))
        parallelize_module(stage, mesh["tensor"], {"embedding": plan})
    if stage.head is not None:
        head = ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1), use_local_output=False)
        parallelize_module(stage, mesh["tensor"], {"norm": SequenceParallel(), "head": head})
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in stage.layers:
        parallelize_module(layer, mesh["tensor"], _layer_plan())
        # Weights stay gathered from one micro-batch to the next.
        fully_shard(layer, mesh=mesh["data"], mp_policy=policy, reshard_after_forward=False)
    fully_shard(stage, mesh=mesh["data"], mp_policy=policy, reshard_after_forward=False)


def loss(scores: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy, inside of `loss_parallel` over a vocabulary that is cut over the ranks."""
    return F.cross_entropy(scores.flatten(0, 1).float(), tokens.flatten())
