"""What the formulas are tried on: operators that torch really runs, and calls by the names of a schema."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from auditor.counting.arguments import Schema
from auditor.formulas import TABLE, Price, Pricer
from auditor.operations import Amount, Operations
from auditor.tally import Argument, Entry, Number, Phase, Purpose, Shape, Signature, Tally, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key


class Seen(TorchDispatchMode):
    """Every operator below autograd, composite ones taken apart where they have no price."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Signature] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = Schema(func)
        if _has_kernel(func.name(), _COMPOSITE) and TABLE.find(schema.op) is None:
            with self:
                return func.decompose(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        self.calls[schema.signature(args, kwargs or {})] += 1
        return result

    def tally(self, phase: Phase = Phase.FORWARD) -> Tally:
        return Tally({Entry(signature, phase, Purpose.PRE_TRAINING): n for signature, n in self.calls.items()})

    def operations(self, phase: Phase = Phase.FORWARD) -> Operations:
        return Pricer().price(self.tally(phase))

    def amount(self, op: str) -> Amount:
        """The sum over the calls of one operator, in its own family."""
        total = Amount()
        for signature, calls in self.calls.items():
            if signature.op.partition(".")[0] == op:
                price = Pricer().of(signature)
                assert price.amount is not None, f"{signature}: {price.problem}"
                total = total.plus(price.amount, calls)
        return total

    def count(self, op: str) -> int:
        return sum(calls for signature, calls in self.calls.items() if signature.op.partition(".")[0] == op)


@pytest.fixture
def watch() -> Callable[[Callable[[], object]], Seen]:
    """Runs a program and says what it ran."""

    def run(program: Callable[[], object]) -> Seen:
        seen = Seen()
        with seen:
            program()
        return seen

    return run


@pytest.fixture(scope="session")
def price() -> Callable[..., Price]:
    """The price of a call that names its arguments; those it does not name have their defaults, or None."""

    def of(op: str, **named: Argument | Number) -> Price:
        name, _, overload = op.partition(".")
        schema = torch._C._get_schema(name, overload)
        known = [argument.name for argument in schema.arguments]
        assert set(named) <= set(known), f"{op} takes {known}"
        given = tuple(named.get(each.name, _default(each.default_value)) for each in schema.arguments)
        return Pricer().of(Signature(op, encode_arguments(given)))

    return of


def _default(value: object) -> Argument:
    return tuple(value) if isinstance(value, list) else value if isinstance(value, bool | int | str) else None


@pytest.fixture
def shape() -> Callable[..., Shape]:
    return lambda *sizes, dtype="float32": Shape(sizes, dtype)
