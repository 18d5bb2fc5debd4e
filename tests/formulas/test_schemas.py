"""Formulas take arguments by position: what happens when a torch has others, and whether they fit this one's."""

from __future__ import annotations

import importlib.util
from itertools import permutations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import FormulaError
from auditor.formulas import TABLE, Pricer, Registry, schemas
from auditor.operations import Family
from auditor.tally import NUMBER, Argument, Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

FLASH = "aten::_flash_attention_forward"
MATRIX = Shape((4, 4))
READ = "2.13"  # the release that the formulas were read against


@pytest.fixture(scope="module")
def writer(root: Path) -> ModuleType:
    """The script that writes the file of schemas."""
    spec = importlib.util.spec_from_file_location("write_schemas", root / ".ci" / "write_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]


def _problem(op: str, *arguments: Argument) -> str:
    return Pricer().of(Signature(op, encode_arguments(arguments))).problem


def _flash(arguments: int) -> tuple[Argument, ...]:
    """A call of FlashAttention with so many arguments, the last of which are its windows and what came later."""
    tensor = Shape((2, 8, 3, 4))
    full = (tensor, tensor, tensor, None, None, 8, 8, NUMBER, False, False, None, 2, 0, None, None, None, None, None)
    return full[:arguments]


def test_the_form_of_an_earlier_release_is_read_as_the_present_one() -> None:
    """Torch 2.11 has neither a block table nor a number of splits."""
    prices = [Pricer().of(Signature(FLASH, encode_arguments(_flash(count)))) for count in (15, 17)]
    assert prices[0].amount is not None
    assert prices[0].amount.skippable_ops > 0
    assert prices[0].parts == prices[1].parts


@pytest.mark.parametrize("count", [3, 14, 16, 18])
def test_an_argument_gained_or_lost_leaves_the_call_without_a_price_and_says_why(count: int) -> None:
    pricer = Pricer()
    signature = Signature(FLASH, encode_arguments(_flash(count)))
    operations = pricer.price(Tally({Entry(signature, Phase.FORWARD, Purpose.PRE_TRAINING): 5}))
    assert operations.unpriced == {FLASH: 5}
    assert operations.total == 0
    assert f"noted with {count} arguments" in pricer.problems[FLASH]
    assert "query, key, value" in pricer.problems[FLASH]


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("aten::mm", (MATRIX, 3)),
        ("aten::mm", (MATRIX, (MATRIX,))),
        ("aten::mm", ((MATRIX,), MATRIX)),
        ("aten::bmm", (Shape((2, 4, 4)), "text")),
        ("aten::_softmax", (MATRIX, NUMBER, False)),
        ("aten::_softmax", (MATRIX, 1, MATRIX)),
        ("aten::sum.dim_IntList", (MATRIX, MATRIX, False, None)),
        ("aten::_foreach_neg", (MATRIX,)),
        ("aten::gelu", (MATRIX, 1)),
    ],
)
def test_an_argument_of_another_kind_leaves_the_call_without_a_price(op: str, arguments: tuple[Argument, ...]) -> None:
    assert "its schema differs" in _problem(op, *arguments)


def test_an_overload_that_no_formula_was_written_for_has_no_price() -> None:
    assert "overload" in _problem("aten::mm.of_another_day", MATRIX, MATRIX)
    assert "overload" in _problem("aten::mm_.of_another_day", MATRIX, MATRIX)


def test_what_costs_nothing_costs_nothing_with_any_arguments() -> None:
    assert _problem("aten::view", MATRIX) == ""
    assert _problem("aten::view.of_another_day", MATRIX, (2, 8), 3) == ""


def test_operators_of_others_are_theirs_to_check() -> None:
    registry = Registry()
    registry.formula("mylib::op", "aten::brand_new", family=Family.OTHER, source="")(lambda *_: 3)
    for op in ("mylib::op", "mylib::op.overload", "aten::brand_new", "aten::brand_new.out"):
        price = Pricer(registry).of(Signature(op, encode_arguments((MATRIX, 1, 2))))
        assert price.amount is not None, price.problem


KINDS = [MATRIX, NUMBER, 1, True, "text", None, (), (1,), (MATRIX,)]


@given(st.sampled_from(sorted(schemas.known())), st.data())
def test_any_argument_more_or_less_is_refused(op: str, data: st.DataObject) -> None:
    line = schemas.known()[op][0]
    lengths = {len(form) for form in schemas.known()[op]}
    arguments = [data.draw(st.sampled_from([*filter(each.takes, KINDS)])) for each in line]
    schemas.check(op, op, tuple(arguments))
    at = data.draw(st.integers(0, len(arguments)))
    if len(arguments) + 1 not in lengths:
        with pytest.raises(FormulaError, match="its schema differs"):
            schemas.check(op, op, (*arguments[:at], data.draw(st.sampled_from(KINDS)), *arguments[at:]))
    if arguments and len(arguments) - 1 not in lengths:
        with pytest.raises(FormulaError, match="its schema differs"):
            schemas.check(op, op, (*arguments[:at], *arguments[at + 1 :])[: len(arguments) - 1])


@pytest.mark.skipif(not torch.__version__.startswith(READ), reason="the formulas were read against another torch")
def test_the_file_says_what_this_torch_has(writer: ModuleType) -> None:
    """After a formula was added: `python .ci/write_schemas.py`."""
    text = schemas.FILE.read_text(encoding="utf-8").partition(writer.OTHERS)[0]
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == writer.present()


def test_writing_into_a_given_result_costs_what_making_one_costs() -> None:
    """For every overload whose arguments are those of another and then tensors, as of `out=`."""
    packets: dict[str, list[str]] = {}
    for op in schemas.known():
        packets.setdefault(op.partition(".")[0], []).append(op)
    pairs = [pair for ops in packets.values() for pair in permutations(ops, 2) if _writes_what_is_made(*pair)]
    assert [pair for pair in pairs if not _same_price(*pair)] == []
    assert len(pairs) > 500


def _writes_what_is_made(op: str, other: str) -> bool:
    """Whether the other overload takes the same arguments, and no results to write to."""
    form, shorter = schemas.known()[op][0], schemas.known()[other][0]
    extra = form[len(shorter) :]
    results = extra and all(each.kind.startswith("Tensor") and each.name != "other" for each in extra)
    return bool(results) and form[: len(shorter)] == shorter and TABLE.find(other) is not None


def _same_price(op: str, other: str) -> bool:
    form, shorter = schemas.known()[op][0], schemas.known()[other][0]
    for attempt in product((2, 4, 3), (1, 2, 4), (1, 2)):
        arguments = _fill(form, *attempt)
        prices = [Pricer().of(Signature(op, encode_arguments(arguments)))]
        prices.append(Pricer().of(Signature(other, encode_arguments(arguments[: len(shorter)]))))
        if prices[0].parts != prices[1].parts or (prices[0].amount is None) != (prices[1].amount is None):
            return False
    return True


# What cannot be anything of its kind: where packed sequences begin, and the one driver that has a count.
BY_NAME: dict[str, Argument] = {"driver": "gels"}
BY_NAME |= dict.fromkeys(("cu_seq_q", "cu_seq_k", "cum_seq_q", "cum_seq_k"), Shape((2,), "int32"))


def _plausible(line: str, rank: int, length: int, number: int, optional: frozenset[str] = frozenset()) -> Any:
    """Arguments for a schema: tensors of one rank, lists of one length, one number; nothing for what is optional."""
    [(_, [form])] = schemas.parse(line).items()
    return _fill(form, rank, length, number, optional)


def _fill(form: schemas.Form, rank: int, length: int, number: int, optional: frozenset[str] = frozenset()) -> Any:
    values: dict[str, Argument] = {"Tensor": Shape((4,) * rank), "int": number, "bool": True, "str": "none"}
    values["number"] = NUMBER
    return tuple(
        BY_NAME.get(each.name, None if each.name in optional else _value(each.kind, values, length)) for each in form
    )


def _value(kind: str, values: dict[str, Argument], length: int) -> Argument:
    if kind.startswith("other"):
        return None
    return (values[kind.removesuffix("[]")],) * length if kind.endswith("[]") else values[kind]


ATTEMPTS = list(product((2, 4, 3, 5, 1, 0), (1, 2, 3, 4, 16), (1, 2, 4, 0)))  # rank, length, number


def _attempts(op: str, line: str, optional: frozenset[str]) -> Iterator[tuple[Argument, ...]]:
    for attempt in ATTEMPTS:
        arguments = _plausible(line, *attempt, optional)
        if TABLE.find(op) is None:
            yield from _with_layout(arguments)
        else:
            yield arguments


def _with_layout(arguments: tuple[Argument, ...]) -> Iterator[tuple[Argument, ...]]:
    """One of the tensors made sparse, or nested, for operators that know no others."""
    for at, layout in product(range(len(arguments)), ("sparse_csr", "nested")):
        one = arguments[at]
        if isinstance(one, Shape):
            yield (*arguments[:at], Shape(one, one.dtype, layout, 7), *arguments[at + 1 :])


def test_every_formula_takes_the_arguments_of_its_operator(writer: ModuleType) -> None:
    """By schema alone, so for operators of any device: some plausible call of each overload has a price."""
    failing: dict[str, set[str]] = {}
    tried = 0
    for op, schema in writer.priced():
        tried += 1
        line = writer.line(op, schema)
        optional = frozenset(each.name for each in schema.arguments if str(each.real_type).startswith("Optional"))
        problems = set[str]()
        for arguments in _attempts(op, line, optional):
            problems.add(_problem(op, *arguments))
            if "" in problems:
                break
        else:
            failing[op] = problems
    assert failing == {}
    assert tried > 1900
