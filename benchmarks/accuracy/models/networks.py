"""Networks written in plain torch whose matrix work is known on paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from benchmarks.accuracy.catalogue import Subject, model

BATCH = 8


def classes(number: int, batch: int = BATCH) -> Tensor:
    return torch.randint(number, (batch,))


@model("mlp", by_hand=2 * BATCH * (64 * 128 + 128 * 128 + 128 * 10), compiled=True)
def mlp() -> Subject:
    """Three linear layers, 64-128-128-10, batch 8."""
    module = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    labels = classes(10)
    return Subject(module=module, args=(torch.randn(BATCH, 64),), loss=lambda out: F.cross_entropy(out, labels))


@model(
    "convolutions",
    by_hand=2 * BATCH * (28 * 28 * 8 * 9 + 14 * 14 * 8 * 9 + 14 * 14 * 16 * 8 + 16 * 10),
    compiled=True,
)
def convolutions() -> Subject:
    """A dense, a depthwise (stride 2) and a pointwise convolution on 28x28 images, batch 8."""
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    labels = classes(10)
    return Subject(module=module, args=(torch.randn(BATCH, 1, 28, 28),), loss=lambda out: F.cross_entropy(out, labels))


class Grid(nn.Module):
    """One- and three-dimensional convolutions, plain and transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(4, 8, 5, padding=2)
        self.line_up = nn.ConvTranspose1d(8, 4, 4, stride=2, padding=1)
        self.volume = nn.Conv3d(2, 4, 3, padding=1)
        self.volume_up = nn.ConvTranspose3d(4, 2, 2, stride=2, groups=2)

    def forward(self, line: Tensor, volume: Tensor) -> Tensor:
        first: Tensor = self.line_up(self.line(line)).square().mean()
        second: Tensor = self.volume_up(self.volume(volume)).square().mean()
        return first + second


@model(
    "transposed-convolutions",
    by_hand=2 * BATCH * (32 * 8 * 4 * 5 + 32 * 8 * 4 * 4 + 6**3 * 4 * 2 * 27 + 6**3 * 4 * 1 * 8),
)
def grid() -> Subject:
    """Conv1d, ConvTranspose1d, Conv3d and a grouped ConvTranspose3d, batch 8."""
    inputs = (torch.randn(BATCH, 4, 32), torch.randn(BATCH, 2, 6, 6, 6))
    return Subject(module=Grid(), args=inputs, loss=lambda out: out)


WIDTH, HEADS, LAYERS, CONTEXT, VOCABULARY = 64, 4, 2, 32, 256


class Block(nn.Module):
    """Attention and a two-layer network, each on the normalised residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.network = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        out: Tensor = x + self.network(self.norms[1](x))
        return out


class Decoder(nn.Module):
    """A causal language model."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.tokens(tokens) + self.places.weight))
        return logits


@model(
    "decoder",
    by_hand=LAYERS * BATCH * CONTEXT * (24 * WIDTH**2 + 4 * CONTEXT * WIDTH) + 2 * BATCH * CONTEXT * WIDTH * VOCABULARY,
    compiled=True,
)
def decoder() -> Subject:
    """A GPT-like model, 2 layers, width 64, 4 heads, context 32, batch 8."""
    tokens = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1))
    targets = tokens[:, 1:].flatten()
    return Subject(
        module=Decoder(),
        args=(tokens[:, :-1],),
        loss=lambda logits: F.cross_entropy(logits.flatten(0, 1), targets),
    )


class Bilinears(nn.Module):
    """Products that few networks use: bilinear, einsum with three operands, matrix by vector, scalar product."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(16, 8, 4)
        self.cube = nn.Parameter(torch.randn(16, 8, 4))
        self.vector = nn.Parameter(torch.randn(16))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        once: Tensor = self.bilinear(a, b).sum() + torch.einsum("bi,ijk,bj->bk", a, self.cube, b).sum()
        return once + torch.mv(a, self.vector).sum() + torch.dot(self.vector, a[0])


@model("bilinear-forms")
def bilinears() -> Subject:
    """nn.Bilinear, an einsum of three operands, mv and dot, batch 8."""
    return Subject(module=Bilinears(), args=(torch.randn(BATCH, 16), torch.randn(BATCH, 8)), loss=lambda out: out)
