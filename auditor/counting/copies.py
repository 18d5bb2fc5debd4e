"""Which ranks hold the same piece of a parameter, as far as this process knows it for certain, asking no other.

Two things tell: a parameter of a `DistributedDataParallel` model is whole on every rank of its process group; one that
is a DTensor lies on its mesh as its placements say, copied along replicated dimensions and divided along the others. Of
any other parameter nothing is known here: it may be a pipeline's stage, an expert, or kept alike by the script itself.
What ranks beyond the group or the mesh hold is not known either.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import distributed, nn

DATA_PARALLEL = "DistributedDataParallel"
PLACED = "DTensor"
UNKNOWN = ""


class Part(NamedTuple):
    """Parameters that are shared in one way; see `auditor.records.Updates.parts`."""

    kept_by: str
    ranks: int
    group: str
    copies: int
    elements: int
    piece: str


class Found(NamedTuple):
    """What is known of parameters, and the models that tell it."""

    parts: tuple[Part, ...] = ()
    models: tuple[weakref.ref[Any], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether all of these live still: a wrapper that is gone keeps nothing alike."""
        return all(model() is not None for model in self.models)


class _Group(NamedTuple):
    """Ranks that share parameters, by number and digest, and how they lie."""

    ranks: int
    digest: str
    shape: tuple[int, ...] = ()
    place: tuple[int, ...] = ()  # of this rank in it


class _Held(NamedTuple):
    """A parameter: by what it is kept, among whom, and what makes this rank's piece of it the same as another's.

    ``model``: the one that tells so.
    """

    kept_by: str
    group: _Group
    copies: int
    identity: object
    model: weakref.ref[Any] | None = None


_NOBODY = _Group(0, "")


def parts_of(parameters: Sequence[torch.Tensor]) -> Found:
    """The parameters by who holds the same pieces: in one order on all ranks that hold them in the same way."""
    owners = dict(_owners(parameters))
    groups: dict[int, _Group] = {}
    elements: dict[tuple[str, _Group, int], int] = {}
    identities: dict[tuple[str, _Group, int], list[str]] = {}
    for index, parameter in enumerate(parameters):
        held = _held(index, parameter, owners.get(id(parameter), ()), groups)
        key = held[:3]
        elements[key] = elements.get(key, 0) + _local_elements(parameter)
        identities.setdefault(key, []).append(json.dumps(held.identity))
    parts = tuple(
        Part(kept_by, group.ranks, group.digest, copies, number, _digest(sorted(identities[kept_by, group, copies])))
        for (kept_by, group, copies), number in elements.items()
    )
    models = {id(held.model): held.model for each in owners.values() for held in each if held.model is not None}
    return Found(parts, tuple(models.values()))


def _held(index: int, parameter: Any, owners: Sequence[_Held], groups: dict[int, _Group]) -> _Held:
    unknown = _Held(UNKNOWN, _NOBODY, 0, None)
    if not _is_placed(parameter):
        return owners[0] if len(owners) == 1 else unknown
    mesh = parameter.device_mesh
    group = groups.get(id(mesh)) or groups.setdefault(id(mesh), _group_of(mesh))
    if owners or group is _NOBODY or any(placement.is_partial() for placement in parameter.placements):
        return unknown
    copied = [placement.is_replicate() for placement in parameter.placements]
    return _Held(
        PLACED,
        group,
        math.prod(size for size, alike in zip(group.shape, copied, strict=True) if alike),
        (
            index,
            *_form(parameter),
            str(parameter.placements),
            [at for at, alike in zip(group.place, copied, strict=True) if not alike],
        ),
    )


def _owners(parameters: Iterable[torch.Tensor]) -> Iterator[tuple[int, list[_Held]]]:
    """The data-parallel models that each of these is a parameter of, by the id of the parameter."""
    wanted = {id(parameter) for parameter in parameters}
    found: dict[int, list[_Held]] = {}
    for model in _data_parallel_models():
        group = _group_of_model(model)
        if group is None:
            continue
        reference = weakref.ref(model)
        for name, parameter in model.module.named_parameters():
            if id(parameter) in wanted and name not in model.parameters_to_ignore:
                held = _Held(DATA_PARALLEL, group, group.ranks, (name, *_form(parameter)), reference)
                found.setdefault(id(parameter), []).append(held)
    yield from found.items()


def _group_of_model(model: Any) -> _Group | None:
    """The ranks that it keeps alike; None of one that was never finished, or whose group is no more."""
    parts = vars(model)
    if "process_group" not in parts or "module" not in parts.get("_modules", ()):
        return None
    try:
        ranks = distributed.get_process_group_ranks(parts["process_group"])
    except KeyError:
        return None
    return _Group(len(ranks), _digest(ranks))


def _data_parallel_models() -> list[Any]:
    """Those that live. Nothing in torch lists them; an instance refers to its class, so that one look finds it."""
    classes = {nn.parallel.DistributedDataParallel, *_below(nn.parallel.DistributedDataParallel)}
    return [thing for thing in gc.get_referrers(*classes) if type(thing) in classes]


def _below(parent: type[Any]) -> Iterator[type[Any]]:
    for child in type.__subclasses__(parent):
        yield child
        yield from _below(child)


def _is_placed(parameter: torch.Tensor) -> bool:
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(parameter, tensors.DTensor)


def _group_of(mesh: Any) -> _Group:
    shape = tuple(mesh.mesh.shape)
    inside, here = mesh.mesh.flatten().tolist(), distributed.get_rank()
    if here not in inside:
        return _NOBODY
    left, place = inside.index(here), []
    for size in reversed(shape):
        left, at = divmod(left, size)
        place.append(at)
    return _Group(len(inside), _digest([shape, inside]), shape, tuple(reversed(place)))


def _local_elements(parameter: Any) -> int:
    local = parameter.to_local() if _is_placed(parameter) else parameter
    return int(local.numel())


def _form(parameter: torch.Tensor) -> tuple[list[int], str]:
    return list(parameter.shape), str(parameter.dtype)


def _digest(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:32]
