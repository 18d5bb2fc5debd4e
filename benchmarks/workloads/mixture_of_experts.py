"""A stage of a decoder with latent attention and routed experts, as large runs parallelise it.

Each rank of a group of expert-parallel ranks has some of the experts; tokens travel to them and back (all-to-all), and
the experts of a rank run as one grouped product. FSDP2 shards everything over the data-parallel ranks, the experts
over those alone that have the same ones.
"""

# mypy: disable-error-code="no-any-return,no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.utils.checkpoint import checkpoint
from workloads.dense_transformer import Gated, turned

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The sizes of a decoder with experts."""

    name: str
    layers: int
    dense_layers: int  # the first ones have a dense network in the place of experts
    width: int
    heads: int
    query_rank: int  # of the latent that queries are made of; likewise keys and values
    key_rank: int
    head_width: int  # of queries and keys without the part that is turned; and of values
    turned_width: int
    hidden: int  # of the dense network
    experts: int
    expert_hidden: int
    chosen: int  # experts for a token, beside the one that all share
    vocabulary: int
    context: int


DEEPSEEK_V3 = Mixture(
    name="671B mixture of experts",
    layers=61,
    dense_layers=3,
    width=7168,
    heads=128,
    query_rank=1536,
    key_rank=512,
    head_width=128,
    turned_width=64,
    hidden=18432,
    experts=256,
    expert_hidden=2048,
    chosen=8,
    vocabulary=129280,
    context=4096,
)


class LatentAttention(nn.Module):
    """Causal attention whose queries, keys and values are made of narrow latents; all heads share the turned keys."""

    def __init__(self, sizes: Mixture) -> None:
        super().__init__()
        self.sizes = sizes
        heads, plain, wide = sizes.heads, sizes.head_width, sizes.head_width + sizes.turned_width
        self.to_queries = nn.Linear(sizes.width, sizes.query_rank, bias=False)
        self.norm_queries = nn.RMSNorm(sizes.query_rank, eps=1e-6)
        self.queries = nn.Linear(sizes.query_rank, heads * wide, bias=False)
        self.to_keys = nn.Linear(sizes.width, sizes.key_rank + sizes.turned_width, bias=False)
        self.norm_keys = nn.RMSNorm(sizes.key_rank, eps=1e-6)
        self.keys = nn.Linear(sizes.key_rank, heads * 2 * plain, bias=False)  # and values
        self.out = nn.Linear(heads * plain, sizes.width, bias=False)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        plain, parted = self.sizes.head_width, [self.sizes.head_width, self.sizes.turned_width]
        queries = self.queries(self.norm_queries(self.to_queries(x))).unflatten(-1, (-1, sum(parted))).transpose(1, 2)
        q, q_turned = queries.split(parted, dim=-1)
        latent, k_turned = self.to_keys(x).split([self.sizes.key_rank, self.sizes.turned_width], dim=-1)
        both = self.keys(self.norm_keys(latent)).unflatten(-1, (-1, 2 * plain)).transpose(1, 2)
        k, v = both.split([plain, plain], dim=-1)
        shared = turned(k_turned.unsqueeze(1), turns).expand(-1, self.sizes.heads, -1, -1)
        mixed = attend(torch.cat((q, turned(q_turned, turns)), -1), torch.cat((k, shared), -1), v)
        return self.out(mixed.transpose(1, 2).flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The kernel that takes values narrower than keys: cuDNN's, asked for by name, since nobody chooses for fakes."""
    return torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, True)[0]  # noqa: SLF001


class Experts(nn.Module):
    """The weights of gated networks, side by side; ``down`` is the second layer."""

    def __init__(self, sizes: Mixture) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.empty(sizes.experts, sizes.width, sizes.expert_hidden))
        self.up = nn.Parameter(torch.empty(sizes.experts, sizes.width, sizes.expert_hidden))
        self.down = nn.Parameter(torch.empty(sizes.experts, sizes.expert_hidden, sizes.width))

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """The rows, sorted by expert; ``ends``: where those of each end."""
        gate, up, down = (w.to_local() if isinstance(w, DTensor) else w for w in (self.gate, self.up, self.down))
        hidden = F.silu(grouped(rows, gate, ends)) * grouped(rows, up, ends)
        return grouped(hidden, down, ends)


def grouped(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Each row times the weights of its group."""
    return torch._grouped_mm(rows, weights, ends)  # noqa: SLF001 - what torch's public name calls


class Routed(nn.Module):
    """The experts that a router chooses for each token, and the one that all tokens share."""

    def __init__(self, sizes: Mixture) -> None:
        super().__init__()
        self.chosen = sizes.chosen
        self.router = nn.Linear(sizes.width, sizes.experts, bias=False)
        self.experts = Experts(sizes)
        self.shared = Gated(sizes.width, sizes.expert_hidden)
        self.peers: DeviceMesh | None = None
        self.received: int | None = None  # rows that reach this rank's experts; None: as many as it sends

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        weights, experts = self.router(rows).sigmoid().topk(self.chosen, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        order = experts.flatten().argsort()
        sent = rows.index_select(0, order // self.chosen)
        back = self._carried(self._through(self._carried(sent, there=True)), there=False, rows=len(sent))
        mixed = torch.empty_like(back).index_copy(0, order, back).unflatten(0, (-1, self.chosen))
        return self.shared(x) + (mixed * weights.unsqueeze(-1)).sum(1).view_as(x)

    def _through(self, rows: Tensor) -> Tensor:
        experts = self.experts.gate.shape[0] if self.peers is None else self.experts.gate.shape[0] // self.peers.size()
        ends = torch.zeros(experts, dtype=torch.int32)  # by what has arrived, which no fake tensor tells
        return self.experts(rows, ends)

    def _carried(self, x: Tensor, *, there: bool, rows: int = 0) -> Tensor:
        """The rows at the ranks of their experts, or back at those of their tokens."""
        if self.peers is None:
            return x
        given = _spread(len(x), self.peers.size())
        taken = _spread((self.received or len(x)) if there else rows, self.peers.size())
        return all_to_all_single_autograd(x, taken, given, self.peers.get_group())


def _spread(rows: int, ranks: int) -> list[int]:
    """As even as can be."""
    return [rows // ranks + (rank < rows % ranks) for rank in range(ranks)]


class Layer(nn.Module):
    """Attention and a network, dense or of experts, each normalised before and added to its input."""

    def __init__(self, sizes: Mixture, *, dense: bool) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(sizes.width, eps=1e-6)
        self.attention = LatentAttention(sizes)
        self.norm_network = nn.RMSNorm(sizes.width, eps=1e-6)
        self.network = Gated(sizes.width, sizes.hidden) if dense else Routed(sizes)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), turns)
        return x + self.network(self.norm_network(x))


class Stage(nn.Module):
    """Layers, of which the first ones of the model are dense; the first stage embeds, the last one has the head."""

    def __init__(
        self, sizes: Mixture, dense: int, routed: int, *, first: bool, last: bool, checkpointing: bool
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width) if first else None
        self.layers = nn.ModuleList(Layer(sizes, dense=number < dense) for number in range(dense + routed))
        self.norm = nn.RMSNorm(sizes.width, eps=1e-6) if last else None
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False) if last else None
        turns = torch.empty(2, sizes.context, sizes.turned_width, dtype=torch.bfloat16)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        for layer in self.layers:
            x = checkpoint(layer, x, self.turns, use_reentrant=False) if self.checkpointing else layer(x, self.turns)
        return x if self.norm is None or self.head is None else self.head(self.norm(x))


def parallelize(stage: Stage, mesh: DeviceMesh, received: int | None = None) -> None:
    """The stage is this rank's part of it: experts over ``expert``, all sharded over ``data``.

    received: rows of a micro-batch that reach this rank's experts, where routing is uneven.
    """
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in stage.layers:
        if isinstance(layer.network, Routed):
            layer.network.peers, layer.network.received = mesh["expert"], received
            _spread_experts(layer.network.experts, mesh["expert"])
            fully_shard(layer.network.experts, mesh=mesh["outer"], mp_policy=policy, reshard_after_forward=False)
        # The keys' latent has a number of rows that does not divide: it is cut by columns.
        cut = partial(_even, mesh["data"].size())
        fully_shard(layer, mesh=mesh["data"], mp_policy=policy, reshard_after_forward=False, shard_placement_fn=cut)
    fully_shard(stage, mesh=mesh["data"], mp_policy=policy, reshard_after_forward=False)


def _even(ranks: int, weights: nn.Parameter) -> Shard | None:
    return Shard(1) if weights.shape[0] % ranks and weights.dim() > 1 else None


def _spread_experts(experts: Experts, mesh: DeviceMesh) -> None:
    for name, weights in list(experts.named_parameters()):
        experts.register_parameter(name, nn.Parameter(distribute_tensor(weights, mesh, [Shard(0)])))
