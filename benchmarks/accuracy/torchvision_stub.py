"""Stand-ins for the names of torchvision that timm imports and none of its models needs.

timm's models are plain torch; only its data loading needs torchvision, whose compiled part fits one build of torch.
"""

from __future__ import annotations

import importlib.util
import sys
from enum import Enum
from importlib.machinery import ModuleSpec
from types import ModuleType

_MODULES = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)
InterpolationMode = Enum("InterpolationMode", "NEAREST BILINEAR BICUBIC BOX HAMMING LANCZOS")


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> object:
        """An empty class by that name."""
        if name.startswith("__"):
            raise AttributeError(name)
        return InterpolationMode if name == "InterpolationMode" else type(name, (), {})


def install() -> None:
    """``import torchvision`` gives stand-ins, unless there is a torchvision."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        return
    for name in _MODULES:
        module = _StandIn(name)
        module.__path__ = []
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
