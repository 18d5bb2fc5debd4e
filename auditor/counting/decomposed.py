"""Marks in a traced graph which of its nodes stand for a matrix product that tracing decomposed.

Inductor takes small products apart into a multiplication and a sum, to fuse them with what is around. They are matrix
products all the same: eager counts them as such. The node that multiplies is marked with the product that it stands
for, the others of the same decomposition with nothing to count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch._ops import OpOverload
from torch.fx import Node

from auditor.counting.arguments import Schema

MARK = "auditor_product"
_MULTIPLY = torch.ops.aten.mul.Tensor
_schemas: dict[OpOverload, bool] = {}


class Product(NamedTuple):
    """The call of a matrix operator, as it was before its decomposition."""

    func: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def marking(handle: Callable[..., Any]) -> Callable[..., Any]:
    """The handler of decompositions, which marks what becomes of matrix products."""

    def handle_and_mark(proxy_mode: Any, op: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(op, OpOverload) or not _is_product(op):
            return handle(proxy_mode, op, args, kwargs)
        nodes = proxy_mode.tracer.graph._root  # noqa: SLF001 - the ends of the list; iterating it is as long as the graph
        last = nodes._prev  # noqa: SLF001
        out = handle(proxy_mode, op, args, kwargs)
        if out is not NotImplemented:
            _mark(_after(last, nodes), Product(op, tuple(args), dict(kwargs)))
        return out

    return handle_and_mark


def _is_product(op: OpOverload) -> bool:
    known = _schemas.get(op)
    if known is None:
        known = _schemas[op] = Schema(op).matrix
    return known


def _after(last: Node, end: Node) -> list[Node]:
    found: list[Node] = []
    node = last._next  # noqa: SLF001
    while node is not end:
        found.append(node)
        node = node._next  # noqa: SLF001
    return found


def _mark(nodes: list[Node], product: Product) -> None:
    """Leave a decomposition alone that still holds a product, such as that of a convolution's gradient."""
    if any(MARK in node.meta or (isinstance(node.target, OpOverload) and _is_product(node.target)) for node in nodes):
        return
    factors = [node for node in nodes if node.target is _MULTIPLY and all(isinstance(arg, Node) for arg in node.args)]
    if not factors:
        return
    for node in nodes:
        node.meta[MARK] = product if node is factors[0] else False
