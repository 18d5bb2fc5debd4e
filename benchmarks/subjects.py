"""What is measured: training steps, from one bound by its arithmetic to one bound by its operators."""

# mypy: disable-error-code="no-any-return,no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from workloads import train_gpt

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A training step that can be run again and again; ``step`` returns before a GPU has finished it."""

    name: str
    what: str
    step: Callable[[], object]


class Residual(nn.Module):
    """Two normalised 3x3 convolutions, added to their input (by a 1x1 convolution where sizes change)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        same = stride == 1 and channels_in == channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


def transformer(device: torch.device) -> Subject:
    """The demo's own model and step."""
    batch, context = (32, 256) if device.type == "cuda" else (8, 256)
    model = train_gpt.build_model(context=context).to(device)
    optimizer = train_gpt.build_optimizer(model, 1e-3)
    text, _ = train_gpt.load_text(1 << 20)
    batches = train_gpt.endless_batches(text, batch, context, torch.Generator().manual_seed(0), device)
    size = f"4 layers, width 256, context {context}, batch {batch}"
    return Subject(
        name="transformer",
        what=f"the demo's transformer ({size}), AdamW, clipping",
        step=lambda: train_gpt.train_step(model, optimizer, batches),
    )


def convolutional(device: torch.device) -> Subject:
    """A residual network as small images train it."""
    batch = 128 if device.type == "cuda" else 16
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        *(Residual(*sizes) for sizes in ((16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).to(device)
    images = torch.randn(batch, 3, 32, 32, device=device)
    labels = torch.randint(10, (batch,), device=device)
    return Subject(
        name="convolutional",
        what=f"a residual network of 6 blocks on 32x32 images, batch {batch}, SGD with momentum",
        step=_classifier_step(model, images, labels, momentum=0.9),
    )


def many_small_layers(device: torch.device) -> Subject:
    """The worst case: hardly any arithmetic, only operators."""
    model = nn.Sequential(*(layer for _ in range(200) for layer in (nn.Linear(8, 8), nn.ReLU())), nn.Linear(8, 4)).to(
        device
    )
    inputs = torch.randn(8, 8, device=device)
    labels = torch.randint(4, (8,), device=device)
    return Subject(
        name="many small layers",
        what="200 linear layers of width 8, each with a ReLU, batch 8, SGD: hardly any arithmetic",
        step=_classifier_step(model, inputs, labels),
    )


SUBJECTS: dict[str, Callable[[torch.device], Subject]] = {
    "transformer": transformer,
    "convolutional": convolutional,
    "many-small-layers": many_small_layers,
}


def _classifier_step(model: nn.Module, inputs: Tensor, labels: Tensor, momentum: float = 0.0) -> Callable[[], object]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=momentum)

    def step() -> None:
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class _Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def calls_per_step(subject: Subject) -> int:
    """How many operators one step dispatches."""
    with _Calls() as calls:
        subject.step()
    return calls.number
