"""Calls that are only traced, on fake tensors, which have sizes but no contents, and on meta ones: nothing is computed.

Shape propagation, cost models and compilation run operators that way, in the midst of a training run; a simulation runs
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from auditor.counting.patching import Patch

_dispatch_mode = torch._C._get_dispatch_mode  # noqa: SLF001
_FAKE_MODE = torch._C._TorchDispatchModeKey.FAKE  # noqa: SLF001
# The namespace of what asks a fake tensor for its device or its layout.
ASKING = "prim"


def is_traced(out: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call has computed nothing: its result tells, or where that is no tensor, what it was given."""
    if _dispatch_mode(_FAKE_MODE) is not None:
        return True
    tensor = out if isinstance(out, torch.Tensor) else next(tensors_of((out, args, kwargs)), None)
    return tensor is not None and (tensor.is_meta or isinstance(tensor, FakeTensor))


def tensors_of(values: Any) -> Iterator[torch.Tensor]:
    """Every tensor in sequences and mappings that hold one another."""
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            yield from tensors_of(value)


def taken(simulates: bool) -> tuple[type, ...]:
    """Kinds of tensors that are taken as they are, although they unpack themselves."""
    return (FakeTensor,) if simulates else ()


def passed(simulates: bool) -> tuple[type, ...]:
    """Kinds of tensors whose calls are handed on without a note."""
    return (FunctionalTensor,) if simulates else (FakeTensor, FunctionalTensor)


def shapes_of_wholes(unseen: Callable[[Any], Any]) -> Patch:
    """Where DTensors find the sizes of their wholes, with fake tensors: nothing that any rank would execute."""
    path = "ShardingPropagator._propagate_tensor_meta_non_cached"
    return Patch("torch.distributed.tensor._sharding_prop", path, unseen)
