"""What is measured: training steps, from one bound by its arithmetic to one bound by its operators."""

# mypy: disable-error-code="no-any-return,no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from workloads import train_gpt

if TYPE_CHECKING:
    from collections.abc import Callable


_STEPS_BEFORE_CAPTURE = 3


class NotHereError(Exception):
    """The subject needs what this machine does not have."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A training step that can be run again and again; ``step`` returns before a GPU has finished it.

    model, example: what the step trains and one of its inputs, for counters that want these. eager: the same step
    operator by operator, where ``step`` is compiled or captured, which it is when it is first run.
    """

    name: str
    what: str
    step: Callable[[], object]
    model: nn.Module
    example: Tensor
    eager: Callable[[], object] | None = None


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, normalised, whose result has four times the channels; added to their input."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels = 4 * width
        self.body = nn.Sequential(
            *_normalised(channels_in, width, 1),
            nn.ReLU(inplace=True),
            *_normalised(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *_normalised(width, channels, 1),
        )
        same = stride == 1 and channels_in == channels
        self.skip = nn.Identity() if same else nn.Sequential(*_normalised(channels_in, channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


def _normalised(channels_in: int, channels: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels_in, channels, size, stride, size // 2, bias=False)
    return convolution, nn.BatchNorm2d(channels)


def _resnet50(classes: int) -> nn.Module:
    """3, 4, 6 and 3 bottlenecks of widths 64 to 512, behind the 7x7 convolution that large images begin with."""
    blocks: list[nn.Module] = []
    channels = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for number in range(depth):
            blocks.append(Bottleneck(channels, width, 2 if stage and number == 0 else 1))
            channels = 4 * width
    return nn.Sequential(
        *_normalised(3, 64, 7, 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


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
        model=model,
        example=next(batches)[0],
    )


def compiled_transformer(device: torch.device) -> Subject:
    """The demo's model as torch.compile makes it; the optimizer's step stays eager."""
    plain = transformer(device)
    model: Any = torch.compile(plain.model)
    optimizer = train_gpt.build_optimizer(plain.model, 1e-3)
    batch = (plain.example, plain.example)
    return replace(
        plain,
        name="transformer, compiled",
        what=f"{plain.what}, compiled by torch.compile",
        step=lambda: train_gpt.train_step(model, optimizer, repeat(batch)),
        eager=plain.step,
    )


def captured_transformer(device: torch.device) -> Subject:
    """The demo's whole step as one CUDA graph, which is replayed; it is captured when the step is first run."""
    if device.type != "cuda":
        raise NotHereError("CUDA graphs need a GPU")
    plain = transformer(device)
    optimizer = train_gpt.build_optimizer(plain.model, 1e-3)
    for group in optimizer.param_groups:
        group["capturable"] = True
    batches = repeat((plain.example, plain.example))
    return replace(
        plain,
        name="transformer, captured",
        what=f"{plain.what}, one CUDA graph for each step",
        step=_Captured(lambda: train_gpt.train_step(plain.model, optimizer, batches)),
        eager=plain.step,
    )


class _Captured:
    """Runs a step by replaying the graph that its first run captured."""

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self._graph is None:
            self._graph = self._capture()
        self._graph.replay()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """As torch's documentation asks for it: a few steps on a stream of their own first."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_STEPS_BEFORE_CAPTURE):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph


def resnet50(device: torch.device) -> Subject:
    """A residual network of 50 layers, as large images train it; on a CPU the images are small."""
    batch, side = (64, 224) if device.type == "cuda" else (4, 64)
    model = _resnet50(classes=1000).to(device)
    images = torch.randn(batch, 3, side, side, device=device)
    labels = torch.randint(1000, (batch,), device=device)
    return Subject(
        name="ResNet-50",
        what=f"ResNet-50's structure on {side}x{side} images, batch {batch}, SGD with momentum",
        step=_classifier_step(model, images, labels, momentum=0.9),
        model=model,
        example=images,
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
        model=model,
        example=inputs,
    )


# What can be measured, by the argument that names it.
SUBJECTS: dict[str, Callable[[torch.device], Subject]] = {
    "many-small-layers": many_small_layers,
    "transformer": transformer,
    "resnet50": resnet50,
    "transformer-compiled": compiled_transformer,
    "transformer-captured": captured_transformer,
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
    """How many operators one step dispatches; where it is compiled or captured, its eager form."""
    with _Calls() as calls:
        (subject.eager or subject.step)()
    return calls.number
