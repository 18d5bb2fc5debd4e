"""Why torch's FlopCounterMode differs from a tally, operator by operator and to the operation.

For each signature of the tally, FlopCounterMode's own formula is asked what it would have counted. What it then counted
in fact must be the sum of these answers; whatever is left over, on either side, has no reason and is said to have none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import flop_registry

from auditor.formulas import Pricer
from auditor.operations import MATRIX_FAMILIES
from auditor.tally import Shape, decode_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from auditor.tally import Signature, Tally

NO_FORMULA = "FlopCounterMode has no formula for it"
GROUPS = "FlopCounterMode does not divide the weight gradient by the groups"
NO_PRICE = "seen here without a price"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What one operator is to both counters; ``why`` is empty where nothing explains it."""

    operator: str
    calls: int
    ours_ops: int
    theirs_ops: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both totals of matrix work, and the differences that add up to theirs less ours exactly."""

    ours_ops: int
    theirs_ops: int
    differences: tuple[Difference, ...]

    @property
    def unexplained_ops(self) -> int:
        """The sizes of the differences that have no reason, added up."""
        return sum(abs(each.theirs_ops - each.ours_ops) for each in self.differences if not each.why)


def against_flop_counter(tally: Tally, theirs: Mapping[str, int]) -> Comparison:
    """``theirs``: what FlopCounterMode counted of the same work, by operator (``aten::mm``)."""
    pricer = Pricer()
    found: dict[tuple[str, str], Counter[str]] = {}
    expected: Counter[str] = Counter()
    ours_ops = 0
    for (signature, _, _), calls in tally.items():
        mine, other = matrix_ops(signature, pricer), flop_counter_ops(signature)
        ours_ops += mine * calls
        expected[_packet_name(signature.op)] += other * calls
        if mine != other:
            row = found.setdefault((_packet_name(signature.op), _why(signature, mine, pricer)), Counter())
            row.update(calls=calls, ours=mine * calls, theirs=other * calls)
    differences = [
        Difference(operator=op, calls=row["calls"], ours_ops=row["ours"], theirs_ops=row["theirs"], why=why)
        for (op, why), row in sorted(found.items())
    ]
    return Comparison(
        ours_ops=ours_ops,
        theirs_ops=sum(theirs.values()),
        differences=(*differences, *_surprises(expected, theirs)),
    )


def matrix_ops(signature: Signature, pricer: Pricer) -> int:
    """Our price of one call, matrix work only."""
    return sum(amount.executed_ops for family, amount in pricer.of(signature).parts if family in MATRIX_FAMILIES)


def flop_counter_ops(signature: Signature, **changed: Any) -> int:
    """What FlopCounterMode counts for one call; ``changed``: arguments to ask about instead."""
    packet, overload = _operator(signature.op)
    formula = flop_registry.get(packet)
    if formula is None:
        return 0
    args, kwargs = _meta_arguments(overload, signature)
    result = overload(*args, **kwargs)
    names = [argument.name for argument in overload._schema.arguments]  # noqa: SLF001 - torch has no other way
    for name, value in changed.items():
        args[names.index(name)] = value
    return int(formula(*args, **kwargs, out_val=result))


def _why(signature: Signature, mine: int, pricer: Pricer) -> str:
    if pricer.of(signature).amount is None:
        return NO_PRICE
    packet, _ = _operator(signature.op)
    if packet not in flop_registry:
        return NO_FORMULA
    if packet is torch.ops.aten.convolution_backward and mine == _with_groups(signature):
        return GROUPS
    return ""


def _with_groups(signature: Signature) -> int:
    """FlopCounterMode's figure for a convolution's backward, its weight gradient divided by the groups."""
    *_, groups, mask = decode_arguments(signature.arguments)
    if not isinstance(groups, int) or not isinstance(mask, tuple):
        raise TypeError(f"not a convolution's backward: {signature}")
    towards_input = flop_counter_ops(signature, output_mask=[mask[0], False, False])
    towards_weight = flop_counter_ops(signature, output_mask=[False, mask[1], False])
    return towards_input + towards_weight // groups


def _surprises(expected: Mapping[str, int], theirs: Mapping[str, int]) -> Iterable[Difference]:
    """What FlopCounterMode counted and its own formulas do not answer for our tally, or the other way about."""
    for op in sorted({*expected, *theirs}):
        if expected.get(op, 0) != theirs.get(op, 0):
            yield Difference(operator=op, calls=0, ours_ops=expected.get(op, 0), theirs_ops=theirs.get(op, 0), why="")


def _operator(name: str) -> tuple[Any, Any]:
    """The packet and the overload of ``aten::mm.out``; none where torch has no such operator."""
    namespace, _, rest = name.partition("::")
    packet_name, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, namespace), packet_name, None)
    return packet, getattr(packet, overload or "default", None)


def _packet_name(op: str) -> str:
    return op.partition(".")[0]


def _meta_arguments(overload: Any, signature: Signature) -> tuple[list[Any], dict[str, Any]]:
    """The call's arguments again, tensors by their shapes alone."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    values = decode_arguments(signature.arguments)
    for argument, value in zip(overload._schema.arguments, values, strict=True):  # noqa: SLF001
        if argument.kwarg_only:
            kwargs[argument.name] = _meta(value)
        else:
            args.append(_meta(value))
    return args, {name: value for name, value in kwargs.items() if value is not None}


def _meta(value: Any) -> Any:
    if isinstance(value, Shape):
        return torch.empty(tuple(value), dtype=getattr(torch, value.dtype), device="meta")
    if isinstance(value, tuple):
        return [_meta(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, str)) else 1.0
