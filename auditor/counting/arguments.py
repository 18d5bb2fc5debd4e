"""From an operator's call to its canonical signature: every argument in the order of the schema, defaults filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from auditor.counting.measured import OPERATORS
from auditor.formulas import TABLE
from auditor.operations import MATRIX_FAMILIES
from auditor.tally import NUMBER, Argument, Shape, Signature, encode_arguments

# Annotations for profilers: they carry free text and compute nothing.
_MARKERS = ("profiler::",)
_VALUES_NOT_KEPT = ("number", "ScalarType", "Layout", "MemoryFormat")
_is_operator = torch._C._dispatch_has_kernel  # noqa: SLF001 - whether the dispatcher knows the name
_DTYPE_NAMES: dict[torch.dtype, str] = {}
# Layouts that store every element; oneDNN's is only in another order.
_DENSE = (torch.strided, torch._mkldnn)  # type: ignore[attr-defined]  # noqa: SLF001


def is_marker(op: str) -> bool:
    """Whether an operator only annotates, for a profiler."""
    return op.startswith(_MARKERS)


def noted_name(op: str) -> str:
    """The name that an operator is noted under: an in-place form without a price of its own counts as the plain one.

    Torch chooses between the two by who watches: autograd adds gradients up in place, but not under a dispatch mode.
    """
    formula = TABLE.find(op)
    packet, dot, overload = op.partition(".")
    if formula is None or not packet.endswith("_") or formula.op.partition(".")[0] == packet:
        return op
    plain = packet[:-1] + dot + overload
    return plain if _is_operator(plain) else op


def dtype_name(dtype: torch.dtype) -> str:
    """Torch's name without the ``torch.`` in front."""
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        name = _DTYPE_NAMES[dtype] = str(dtype).removeprefix("torch.")
    return name


class Schema:
    """An operator's arguments as the counter needs them: names, defaults, and which may be a number of any value.

    ``free``: it computes nothing, so that it need not be noted; ``matrix``: it belongs to a matrix family;
    ``unpriced``: there is no formula for it, so that what it runs inside is worth noting; ``plain``: it is noted, and
    nothing else is to be done about it; ``measured``: what it computes may be a matter of values.
    """

    __slots__ = ("_defaults", "_numbers", "free", "matrix", "measured", "names", "op", "plain", "unpriced")

    def __init__(self, func: torch._ops.OpOverload) -> None:
        arguments = func._schema.arguments  # noqa: SLF001 - torch offers no other way to a schema
        name, overload = func._schema.name, func._schema.overload_name  # noqa: SLF001
        op = f"{name}.{overload}" if overload else name
        self.op = noted_name(op)
        self.names = tuple(argument.name for argument in arguments)
        self._defaults = tuple(argument.default_value for argument in arguments)
        self._numbers = tuple(_may_be_number(str(argument.real_type)) for argument in arguments)
        formula = TABLE.find(op) or TABLE.find_sparse(op)
        self.unpriced = formula is None and not is_marker(name)
        self.matrix = formula is not None and formula.family in MATRIX_FAMILIES
        self.free = is_marker(name) or (formula is not None and formula.function is None)
        self.measured = op in OPERATORS
        self.plain = not self.free and not self.measured

    def key(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """What tells this call's signature from another's, cheap to make and to hash."""
        numbers = self._numbers
        parts = tuple([describe(value, number) for value, number in zip(args, numbers, strict=False)])
        if not kwargs:
            return parts
        named = [
            (name, describe(kwargs[name], number))
            for name, number in zip(self.names, numbers, strict=True)
            if name in kwargs
        ]
        return (*parts, tuple(named), True)

    def signature(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Signature:
        """The canonical signature of a call."""
        return Signature(self.op, encode_arguments(self.arguments(args, kwargs)))

    def arguments(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], size: Callable[[Any], int] = int
    ) -> tuple[Argument, ...]:
        """All arguments of a call, in canonical form; ``size`` makes a whole number of a size that may be symbolic."""
        return tuple(
            _canonical(args[index] if index < len(args) else kwargs.get(name, default), number, size)
            for index, (name, default, number) in enumerate(zip(self.names, self._defaults, self._numbers, strict=True))
        )


def _may_be_number(kind: str) -> bool:
    """Scalars, settings, and tensors in whose place Python numbers may stand: their values are not kept."""
    return any(word in kind for word in _VALUES_NOT_KEPT) or kind in ("Tensor", "Optional[Tensor]")


def describe(value: Any, number: bool = False) -> Any:
    """A hashable stand-in for an argument: tensors by type, sizes and layout; settings that do not matter as one.

    ``number``: a plain number here is a scalar of any value.
    """
    if isinstance(value, torch.Tensor):
        try:
            return (value.dtype, value.shape) if value.layout is torch.strided else (value.dtype, *_storage(value))
        except RuntimeError:  # a nested tensor has no sizes
            return (value.dtype, *_storage(value))
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return tuple([describe(part, number) for part in value])
    return value if isinstance(value, (bool, int, str)) and not number else NUMBER


def _storage(tensor: torch.Tensor, size: Callable[[Any], int] = int) -> tuple[tuple[int, ...], str, int]:
    """Sizes, layout and number of stored elements; the layout is empty where all elements are stored.

    It asks nothing of the device, and never raises: what a tensor does not tell is unknown.
    """
    try:
        if tensor.is_nested:
            if tensor.layout is torch.strided:
                return (), "nested", tensor.numel()
            rows: torch.Tensor = tensor._values  # type: ignore[assignment]  # noqa: SLF001 - without asking autograd
            return (), "jagged", rows.numel()
        sizes = tuple(map(size, tensor.shape))
        if tensor.layout in _DENSE:
            return sizes, "", 0
        values = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()  # noqa: SLF001
        return sizes, str(tensor.layout).removeprefix("torch."), values.numel()
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return (), "unknown", 0


def _shape(tensor: torch.Tensor, size: Callable[[Any], int]) -> Shape:
    sizes, layout, stored = _storage(tensor, size)
    return Shape(sizes, dtype_name(tensor.dtype), layout, stored)


def _canonical(value: Any, number: bool, size: Callable[[Any], int]) -> Argument:
    if isinstance(value, torch.Tensor):
        return _shape(value, size)
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return tuple(_canonical(part, number, size) for part in value)
    if number:
        return NUMBER
    if isinstance(value, (bool, str)):
        return value
    return size(value) if isinstance(value, (int, torch.SymInt)) else NUMBER
