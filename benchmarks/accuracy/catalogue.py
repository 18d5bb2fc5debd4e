"""The models of the survey: each a name, the library it comes from, and a function that builds it small."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

# One module of `models` for each; a library is imported when one of its models is built.
CHAPTERS = (
    "networks",
    "torch_layers",
    "loops",
    "decoders",
    "experts",
    "encoders",
    "perception",
    "state_space",
    "adapters",
    "diffusion",
    "timm_models",
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model with random weights, a batch for it, and what is minimised.

    step: the whole step of a loop that is more than one model, one loss and one optimizer; it takes none of these.
    """

    module: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[Any], Tensor] = lambda output: output.loss
    step: Callable[[], object] | None = None

    def call(self) -> Any:
        """The output of the forward pass."""
        return self.module(*self.args, **self.kwargs)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of the survey.

    by_hand: matrix operations of one call, worked out on paper; a multiply-add is two. published: one image for the
    published figures of this model (`published.csv`). compiled: also run through torch.compile.
    """

    name: str
    library: str
    build: Callable[[], Subject]
    by_hand: int | None = None
    published: Callable[[], tuple[nn.Module, Tensor]] | None = None
    compiled: bool = False

    @property
    def what(self) -> str:
        """What the builder says of it."""
        return (self.build.__doc__ or self.name).partition("\n")[0].rstrip(".")


_MODELS: dict[str, Model] = {}


def register(model: Model) -> None:
    """The model belongs to the survey.

    Raises: ValueError: another one has its name.
    """
    if model.name in _MODELS:
        raise ValueError(f"two models are called {model.name!r}")
    _MODELS[model.name] = model


def model(
    name: str, *, library: str = "torch", by_hand: int | None = None, compiled: bool = False
) -> Callable[[Callable[[], Subject]], Callable[[], Subject]]:
    """Register the decorated function as the builder of a model."""

    def register_builder(build: Callable[[], Subject]) -> Callable[[], Subject]:
        register(Model(name=name, library=library, build=build, by_hand=by_hand, compiled=compiled))
        return build

    return register_builder


def models() -> dict[str, Model]:
    """All of them by name, in the order of their chapters. Imports no library of models."""
    for chapter in CHAPTERS:
        importlib.import_module(f"benchmarks.accuracy.models.{chapter}")
    return dict(_MODELS)
