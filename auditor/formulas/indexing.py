"""Indexing that computes: one operation per element that is added or reduced into a place.

Reading and writing by index alone moves data and stands in `moving`. How often an index occurs does not
matter.
"""

from __future__ import annotations

from functools import partial
from math import prod

from auditor.formulas import registry
from auditor.formulas.sizes import broadcast
from auditor.operations import Family
from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.REDUCTION)

_SUM, _MEAN, _MAX = range(3)  # the modes of an embedding bag


@formula("aten::embedding_dense_backward", source="each gradient element added to its row")
def embedding_backward(grad: Shape, *_: Argument) -> int:
    return grad.numel


@formula("aten::index_add", "aten::index_reduce", source="1 per element of the source")
def index_add(_x: Shape, _dim: int, _index: Shape, source: Shape, *_: Argument) -> int:
    return source.numel


@formula("aten::scatter_add", "aten::scatter_reduce", source="1 per index")
@formula("aten::scatter.reduce", "aten::scatter.value_reduce", "aten::scatter_.reduce", source="1 per index")
@formula("aten::scatter_.value_reduce", source="1 per index")
def scatter_add(_x: Shape, _dim: int, index: Shape, *_: Argument) -> int:
    return index.numel


@formula(
    "aten::index_put",
    "aten::_index_put_impl",
    "aten::_unsafe_index_put",
    source="accumulating: 1 per element put",
)
def index_put(x: Shape, indices: tuple[Argument, ...], values: Shape, accumulate: bool = False, *_: Argument) -> int:
    return _placed(x, indices, values) if accumulate else 0


@formula("aten::_unsafe_masked_index_put_accumulate", source="1 per element put, 1 per element of the mask")
def masked_index_put(x: Shape, mask: Shape, indices: tuple[Argument, ...], values: Shape, *_: Argument) -> int:
    return mask.numel + _placed(x, indices, values)


def _placed(x: Shape, indices: tuple[Argument, ...], values: Shape) -> int:
    """How many elements the indices name; with masks only the values say how many."""
    named = [index for index in indices if isinstance(index, Shape)]
    if any(index.dtype in ("bool", "uint8") for index in named):
        return values.numel
    kept = [size for position, size in enumerate(x) if position >= len(indices) or indices[position] is None]
    return prod(broadcast(named)) * prod(kept)


@formula("aten::put", source="accumulating: 1 per element put")
def put(_x: Shape, index: Shape, _source: Shape, accumulate: bool = False, *_: Argument) -> int:
    return index.numel if accumulate else 0


@formula("aten::unfold_backward", "aten::col2im", source="1 per element of the windows")
def windows_added(grad: Shape, *_: Argument) -> int:
    return grad.numel


@formula("aten::masked_scatter_backward", "aten::_unsafe_masked_index", source="1 selection per element")
def masked(grad: Shape, *_: Argument) -> int:
    return grad.numel


@formula("aten::_embedding_bag", "aten::_embedding_bag_forward_only", source="1 per element added to a bag")
def embedding_bag(weight: Shape, indices: Shape, offsets: Shape, _scale: Argument, mode: int, *rest: Argument) -> int:
    weights = rest[1]
    each = 2 if isinstance(weights, Shape) else 1
    bags = offsets.numel if mode == _MEAN else 0
    return (each * indices.numel + bags) * weight[1]


@formula("aten::_embedding_bag_backward", source="1 per element added to its row; mean and weights 1 each")
def embedding_bag_backward(grad: Shape, indices: Shape, *rest: Argument) -> int:
    mode, weights = rest[6], rest[8]
    return _bag_gradient(grad, indices, mode, weights)


@formula("aten::_embedding_bag_dense_backward", source="1 per element added to its row; mean and weights 1 each")
def embedding_bag_dense_backward(grad: Shape, indices: Shape, *rest: Argument) -> int:
    mode, weights = rest[5:7]
    return _bag_gradient(grad, indices, mode, weights)


def _bag_gradient(grad: Shape, indices: Shape, mode: Argument, weights: Argument) -> int:
    if mode == _MAX:
        return grad.numel
    return indices.numel * grad[-1] * (1 + (mode == _MEAN) + isinstance(weights, Shape))


@formula("aten::_embedding_bag_per_sample_weights_backward", source="a product and a sum per element of a row")
def embedding_bag_weights_backward(grad: Shape, _weight: Shape, indices: Shape, *_: Argument) -> int:
    return 2 * indices.numel * grad[-1]
