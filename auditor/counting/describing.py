"""From the graph that Inductor is given to a description of what it executes.

That graph comes after autograd, decomposition and partitioning, and before anything is fused: every operator that
generated code computes still stands in it by name. Two things that were done to matrix products on the way are undone
here, so that they count as eager's do: products that were decomposed into elementwise work, which
`auditor.counting.decomposed` marks, and operands that were padded for faster kernels.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from typing import Any, cast

import torch
from torch import fx
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves
from torch.utils._sympy.printers import PythonPrinter

from auditor.counting.arguments import Schema, dtype_name
from auditor.counting.decomposed import MARK, Product
from auditor.counting.graphs import FIRST_PLACE, UNKNOWN, Description, Line, MaskLine, Place
from auditor.tally import Shape, encode_arguments

_FORWARD = "is_forward"  # the partitioner's mark on a node of the forward, wherever it was put
_print = PythonPrinter().doprint
# Operators of higher order that run another operator, which stands among their arguments.
_CARRIERS = frozenset(
    {"with_effects", "run_with_rng_state", "run_and_save_rng_state", "graphsafe_run_with_rng_state", "out_dtype"}
)
# Of these, those that run it with the generator's state of an earlier run: in a backward graph, the forward's again.
_REPLAYS = frozenset({"run_with_rng_state", "graphsafe_run_with_rng_state"})
# Those that run the graph that they are given, once.
_ONCE = frozenset({"invoke_subgraph", "control_deps", "strict_mode", "wrap"})
# Where the graph that changes each score stands, and the block mask; where in a mask the numbers of its blocks stand.
_FLEX = {"flex_attention": (3, 4), "flex_attention_backward": (8, 9)}
_PARTIAL_BLOCKS, _FULL_BLOCKS = 2, 4
_PAD = torch.ops.aten.constant_pad_nd.default
MISSING = object()


def describe(module: GraphModule, *, backward: bool) -> Description:
    """What one run of the graph executes."""
    describer = _Describer(_symbols(module), backward=backward)
    describer.graph(module, times=1, recomputed=False)
    return Description(
        backward=backward,
        symbols=describer.symbols,
        sizes=list(describer.sizes),
        calls=[Line(*call, number) for call, number in describer.calls.items()],
        masks=[MaskLine(*mask, number) for mask, number in describer.masks.items()],
    )


class _Describer:
    """Adds up the operators of a graph and of the graphs inside it."""

    def __init__(self, symbols: dict[str, Place], *, backward: bool) -> None:
        self.symbols = symbols
        self.sizes: dict[str, int] = {}
        self.calls: Counter[tuple[str, str, bool, int]] = Counter()
        self.masks: Counter[tuple[str, str, int, int | None, bool, int]] = Counter()
        self._backward = backward
        self._schemas: dict[OpOverload, Schema] = {}

    def graph(self, module: GraphModule, *, times: int, recomputed: bool) -> None:
        """Add what ``times`` runs of the graph execute."""
        for node in module.graph.nodes:
            if node.op in ("call_function", "call_method", "call_module"):
                again = recomputed or (self._backward and node.meta.get("partitioner_tag") == _FORWARD)
                self._node(module, node, times, again)

    def _node(self, module: GraphModule, node: Node, times: int, recomputed: bool) -> None:
        product = node.meta.get(MARK)
        if product is not None:
            if isinstance(product, Product):
                self._operator(product.func, product.args, product.kwargs, times, recomputed)
        elif (func := _overload(node.target)) is not None:
            args, kwargs = _values(module, node)
            self._operator(func, args, kwargs, times, recomputed)
        elif isinstance(node.target, HigherOrderOperator):
            self._higher_order(module, node, times, recomputed)
        elif node.target is not operator.getitem and isinstance(node.meta.get("val", True), torch.Tensor | bool):
            self._unknown(f"python::{node.target}", times, recomputed)

    def _operator(self, func: OpOverload, args: Any, kwargs: Any, times: int, recomputed: bool) -> None:
        schema = self._schemas.get(func)
        if schema is None:
            schema = self._schemas[func] = Schema(func)
        if schema.free:
            return
        if any(part is MISSING for part in tree_leaves((args, kwargs))):
            self._unknown(schema.op, times, recomputed)
        else:
            self._add(schema.op, schema.arguments(args, kwargs, self.size), times, recomputed)

    def _higher_order(self, module: GraphModule, node: Node, times: int, recomputed: bool) -> None:
        name = node.target.name()  # type: ignore[union-attr]
        args, kwargs = _values(module, node)
        if name in _FLEX:
            self._flex(name, node, args, times, recomputed)
            return
        inner = next((at for at, part in enumerate(args) if isinstance(part, OpOverload)), None)
        if name in _CARRIERS and inner is not None:
            rest = args[inner + 1 :] if name != "out_dtype" else args[inner + 2 :]
            kwargs = {key: value for key, value in kwargs.items() if key != "rng_state"}
            again = recomputed or (self._backward and name in _REPLAYS)
            self._operator(args[inner], rest, kwargs, times, again)
        elif name in _ONCE and (graphs := [part for part in args if isinstance(part, GraphModule)]):
            self.graph(graphs[0], times=times, recomputed=recomputed)
        elif inner is not None:  # auto_functionalized: arguments are not in the order of the operator's schema
            self._unknown(Schema(args[inner]).op, times, recomputed)
        else:
            self._unknown(f"higher_order::{name}", times, recomputed)

    def _flex(self, name: str, node: Node, args: Any, times: int, recomputed: bool) -> None:
        """The products over all scores, with the block mask that keeps some of them; and what is done to each score."""
        query, key, value = args[:3]
        graph, mask = _FLEX[name]
        shapes = [Shape(map(self.size, part.shape), dtype_name(part.dtype)) for part in (query, key, value)]
        inputs = _inputs(node.args[mask])
        if inputs is None:
            self._add(f"higher_order::{name}", [*shapes, None], times, recomputed)
        else:
            *_, query_block, key_block, _ = args[mask]
            arguments = encode_arguments([*shapes, self.size(query_block), self.size(key_block)])
            self.masks[f"higher_order::{name}", arguments, *inputs, recomputed, times] += 1
        scores = math.prod(query.shape[:3]) * key.shape[2]
        self.graph(args[graph], times=self.size(scores * times), recomputed=recomputed)

    def _add(self, op: str, arguments: Any, times: int, recomputed: bool) -> None:
        self.calls[op, encode_arguments(arguments), recomputed, times] += 1

    def _unknown(self, op: str, times: int, recomputed: bool) -> None:
        self.calls[UNKNOWN + op, "[]", recomputed, times] += 1

    def size(self, size: int | torch.SymInt) -> int:
        """The size itself, or the number that stands for its expression."""
        if isinstance(size, torch.SymInt) and not size.node.expr.is_number:
            return self._place(_text(size))
        return int(size)

    def _place(self, expression: str) -> int:
        return FIRST_PLACE + self.sizes.setdefault(expression, len(self.sizes))


def _symbols(module: GraphModule) -> dict[str, Place]:
    """Which inputs tell the values of the graph's symbols."""
    found: dict[str, Place] = {}
    for at, node in enumerate(module.graph.find_nodes(op="placeholder")):
        value = node.meta.get("val")
        sizes: Any = enumerate(value.shape) if isinstance(value, torch.Tensor) else [(None, value)]
        for dim, size in sizes:
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                found.setdefault(_text(size), (at, dim))
    return found


def _inputs(mask: Any) -> tuple[int, int | None] | None:
    """Which inputs of the graph hold a block mask's numbers of blocks; None where the graph makes the mask itself."""
    partial, full = mask[_PARTIAL_BLOCKS], mask[_FULL_BLOCKS]
    if any(part is not None and part.op != "placeholder" for part in (partial, full)):
        return None
    nodes = list(partial.graph.nodes)
    return nodes.index(partial), None if full is None else nodes.index(full)


def _overload(target: Any) -> OpOverload | None:
    """The operator that a node calls, where a pass left out which overload because there is only one."""
    if isinstance(target, OpOverloadPacket) and len(target.overloads()) == 1:
        target = getattr(target, target.overloads()[0])
    return target if isinstance(target, OpOverload) else None


def _text(size: int | torch.SymInt) -> str:
    return str(_print(size.node.expr)) if isinstance(size, torch.SymInt) else str(size)


def _values(module: GraphModule, node: Node) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a node with, for each node among them, what it was found to be while the graph was traced."""
    args, kwargs = fx.map_arg((list(node.args), node.kwargs), lambda part: _value(module, part))
    return list(args), dict(kwargs)


def _value(module: GraphModule, node: Node) -> Any:
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(module)
    if node.target is _PAD and _pads_product(node):
        return _value(module, cast("Node", node.args[0]))
    return node.meta.get("val", MISSING)


def _pads_product(node: Node) -> bool:
    """Whether a pass padded this operand of a product, for a faster kernel; who pads by hand pads by an operator."""
    origin = node.meta.get("original_aten")
    return isinstance(origin, OpOverload) and origin is not _PAD and Schema(origin).matrix
