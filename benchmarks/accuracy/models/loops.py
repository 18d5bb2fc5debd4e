"""Training loops that are more than one model and one loss: a GAN, a VAE, a graph network, deep Q-learning."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.accuracy.catalogue import Subject, model

BATCH = 8


def _adam(*modules: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([parameter for module in modules for parameter in module.parameters()], lr=1e-3)


_GENERATOR = 16 * 32 * 16 + 16 * 32 * 16 * 16 + 64 * 16 * 16
_CRITIC = 64 * 16 * 16 + 16 * 16 * 32 * 16 + 512


@model("gan", by_hand=2 * BATCH * (_GENERATOR + _CRITIC))
def gan() -> Subject:
    """A convolutional GAN on 16x16 images: a discriminator's step and a generator's, two optimizers."""
    generator = nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Tanh(),
    )
    critic = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.Flatten(), nn.Linear(512, 1)
    )
    generators, critics = _adam(generator), _adam(critic)
    real, noise = torch.randn(BATCH, 1, 16, 16), torch.randn(BATCH, 16, 1, 1)
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)

    def step() -> None:
        fake = generator(noise)
        critics.zero_grad()
        judged = F.binary_cross_entropy_with_logits(critic(real), ones)
        (judged + F.binary_cross_entropy_with_logits(critic(fake.detach()), zeros)).backward()
        critics.step()
        generators.zero_grad()
        F.binary_cross_entropy_with_logits(critic(fake), ones).backward()
        generators.step()

    return Subject(module=nn.Sequential(generator, critic), args=(noise,), step=step)


class Autoencoder(nn.Module):
    """A variational autoencoder; its output is its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 64))

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        loss: Tensor = F.mse_loss(self.decoder(drawn), x, reduction="sum") + divergence
        return loss


@model("vae", by_hand=2 * BATCH * (64 * 48 + 48 * 16 + 8 * 48 + 48 * 64))
def vae() -> Subject:
    """A variational autoencoder of linear layers, 64 to 8, batch 8."""
    return Subject(module=Autoencoder(), args=(torch.randn(BATCH, 64),), loss=lambda out: out)


class Graph(nn.Module):
    """Two rounds of message passing: messages along edges, summed at their targets by scatter."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = nn.ModuleList([nn.Linear(16, 32), nn.Linear(32, 32)])
        self.own = nn.ModuleList([nn.Linear(16, 32), nn.Linear(32, 32)])
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        for message, own in zip(self.messages, self.own, strict=True):
            sent = message(x[edges[0]])
            x = F.relu(own(x).scatter_add(0, edges[1][:, None].expand_as(sent), sent))
        out: Tensor = self.head(x)
        return out


NODES, EDGES = 40, 160


@model("gnn", by_hand=2 * ((EDGES + NODES) * (16 * 32 + 32 * 32) + NODES * 32 * 4), compiled=True)
def gnn() -> Subject:
    """A graph network by gather and scatter, 40 nodes, 160 edges."""
    edges, labels = torch.randint(NODES, (2, EDGES)), torch.randint(4, (NODES,))
    return Subject(module=Graph(), args=(torch.randn(NODES, 16), edges), loss=lambda out: F.cross_entropy(out, labels))


@model("dqn", by_hand=2 * BATCH * (8 * 64 + 64 * 4))
def dqn() -> Subject:
    """Deep Q-learning: acting without gradients, targets from a second network, Huber loss, clipping, soft update."""
    online, target = (nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)) for _ in range(2))
    optimizer = _adam(online)
    states, following, rewards = torch.randn(BATCH, 8), torch.randn(BATCH, 8), torch.randn(BATCH)

    def step() -> None:
        with torch.no_grad():
            actions = online(states).argmax(dim=1, keepdim=True)
            wanted = rewards + 0.99 * target(following).max(dim=1).values
        optimizer.zero_grad()
        F.smooth_l1_loss(online(states).gather(1, actions).squeeze(1), wanted).backward()
        nn.utils.clip_grad_norm_(online.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.lerp_(fast, 0.05)

    return Subject(module=online, args=(states,), step=step)


class Checkpointed(nn.Module):
    """Blocks whose inside is computed again in the backward pass."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32), nn.Tanh()) for _ in range(3)
        )
        self.first, self.reentrant = nn.Linear(32, 32), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=self.reentrant)
        return x


_CHECKPOINTED = 2 * BATCH * (32 * 32 + 3 * 2 * 32 * 64)


@model("checkpointed", by_hand=_CHECKPOINTED)
def checkpointed() -> Subject:
    """Activation checkpointing of three blocks."""
    return Subject(
        module=Checkpointed(reentrant=False), args=(torch.randn(BATCH, 32),), loss=lambda out: out.square().mean()
    )


@model("checkpointed-reentrant", by_hand=_CHECKPOINTED)
def checkpointed_reentrant() -> Subject:
    """Activation checkpointing of three blocks, by a backward pass within the backward pass."""
    return Subject(
        module=Checkpointed(reentrant=True), args=(torch.randn(BATCH, 32),), loss=lambda out: out.square().mean()
    )
