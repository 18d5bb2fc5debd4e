"""The table: refuses duplicates, finds overloads, and has a digest that changes with every edit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import FormulaError
from auditor.formulas import TABLE, Pricer, Registry
from auditor.operations import Amount, Family, Operations, add_up
from auditor.tally import NUMBER, Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments, merge

if TYPE_CHECKING:
    from types import ModuleType


def _constant(*_: object) -> int:
    return 7


def _times(*_: object, each: int) -> int:
    return each


def _one_call(op: str, phase: Phase = Phase.FORWARD) -> Tally:
    return Tally({Entry(Signature(op, encode_arguments((Shape((2, 2)),))), phase, Purpose.PRE_TRAINING): 3})


def test_a_second_formula_for_an_operator_is_refused() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="first")(_constant)
    with pytest.raises(FormulaError, match=r"lib::op has a formula already \(first\)"):
        registry.formula("lib::op", family=Family.MATMUL, source="second")(_constant)
    with pytest.raises(FormulaError, match="lib::op has a formula already"):
        registry.free("lib::op", why="third")


def test_a_name_without_namespace_is_refused() -> None:
    with pytest.raises(FormulaError, match="'op' is not an operator's name"):
        Registry().free("op", why="a view")


def test_work_beside_needs_a_formula_and_another_family() -> None:
    registry = Registry()
    with pytest.raises(FormulaError, match="nothing to stand beside"):
        registry.beside("lib::op", family=Family.POINTWISE, source="")(_constant)
    registry.formula("lib::op", family=Family.MATMUL, source="")(_constant)
    with pytest.raises(FormulaError, match="family matmul already"):
        registry.beside("lib::op", family=Family.MATMUL, source="")(_constant)
    registry.beside("lib::op", family=Family.POINTWISE, source="")(_constant)
    with pytest.raises(FormulaError, match="family pointwise already"):
        registry.beside("lib::op", family=Family.POINTWISE, source="")(_constant)


def test_a_name_is_found_by_overload_then_operator_then_plain_form() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="all")(_constant)
    registry.formula("lib::op.special", family=Family.MATMUL, source="one")(_constant)
    sources = {
        name: getattr(registry.find(f"lib::{name}"), "source", None)
        for name in ("op", "op.other", "op.special", "op_", "op_.special", "op_.other", "opus", "op__")
    }
    assert sources == {
        "op": "all",
        "op.other": "all",
        "op.special": "one",
        "op_": "all",
        "op_.special": "one",
        "op_.other": "all",
        "opus": None,
        "op__": None,
    }


def test_a_price_for_sparse_tensors_stands_apart_and_is_refused_twice() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="dense")(_constant)
    before = registry.digest
    registry.sparse("lib::op", family=Family.REDUCTION, source="sparse")(partial(_times, each=2))
    assert registry.digest != before
    with pytest.raises(FormulaError, match=r"lib::op has a formula already \(sparse\)"):
        registry.sparse("lib::op", family=Family.MATMUL, source="again")(_constant)
    sparse = Shape((2, 2), "float32", "sparse_csr", 1)
    dense, other = (
        Pricer(registry).of(Signature("lib::op", encode_arguments((each,)))) for each in (Shape((2, 2)), sparse)
    )
    assert dense.parts == ((Family.MATMUL, Amount(7)),)
    assert other.parts == ((Family.REDUCTION, Amount(2)),)


def test_an_overload_that_is_left_has_no_price() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="all")(_constant)
    registry.leave("lib::op.vec")
    assert registry.find("lib::op.vec") is None
    assert registry.find("lib::op") is not None


@pytest.mark.parametrize("answer", [1.0, -1, None, True, Amount(1, -1), Amount(2.5)])
def test_an_answer_that_is_no_whole_amount_is_named_and_not_counted(answer: object) -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="")(lambda *_: answer)
    pricer = Pricer(registry)
    operations = pricer.price(_one_call("lib::op"))
    assert operations.unpriced == {"lib::op": 3}
    assert operations.total == 0
    assert "lib::op" in pricer.problems["lib::op"]


def test_a_formula_that_raises_is_named_and_not_counted() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="")(lambda x: x[5])
    pricer = Pricer(registry)
    assert pricer.price(_one_call("lib::op")).unpriced == {"lib::op": 3}
    assert "IndexError" in pricer.problems["lib::op"]


LONG = st.integers(1, 2**48)


@given(batch=LONG, queries=st.integers(1, 40), keys=st.integers(1, 40), width=LONG, calls=LONG, times=LONG)
def test_amounts_past_64_bits_survive_from_the_tally_to_what_is_written_down(
    *, batch: int, queries: int, keys: int, width: int, calls: int, times: int
) -> None:
    """All three numbers, of a kernel that has all three; nothing is rounded and nothing wraps around."""
    op = "aten::_scaled_dot_product_flash_attention_backward"
    query, key = Shape((batch, 1, queries, width), "bfloat16"), Shape((batch, 1, keys, width), "bfloat16")
    rest = (query, Shape(()), None, None, queries, keys, NUMBER, True, None, None, None)
    signature = Signature(op, encode_arguments((query, query, key, key, *rest)))
    tally = Tally({Entry(signature, Phase.BACKWARD, Purpose.PRE_TRAINING): calls})
    masked = sum(j > i for i in range(queries) for j in range(keys))
    each = calls * times * batch * width
    expected = Amount(16 * each * queries * keys // 2, 2 * each * queries * keys, 16 * each * masked // 2)

    operations = add_up([(Pricer().price(merge([(tally, times)])), 1)])
    assert operations == add_up([(Pricer().price(tally), times)])
    attention = operations.select(families=[Family.ATTENTION])
    assert attention == expected
    assert attention.executed_ops == sum(expected[:2])
    rows = operations.to_rows()
    assert all(isinstance(cell, str) for row in rows for cell in row)
    assert Operations.from_rows(json.loads(json.dumps(rows)), {}) == operations


def test_work_beside_goes_to_its_own_family() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="")(_constant)
    registry.beside("lib::op", family=Family.POINTWISE, source="")(partial(_times, each=2))
    by_family = Pricer(registry).price(_one_call("lib::op")).by_family
    assert (by_family["matmul"], by_family["pointwise"]) == (21, 6)


def test_elementwise_work_of_the_optimizer_phase_is_the_optimizers_and_products_are_not() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="")(_constant)
    registry.beside("lib::op", family=Family.POINTWISE, source="")(_constant)
    by_family = Pricer(registry).price(_one_call("lib::op", Phase.OPTIMIZER)).by_family
    assert (by_family["matmul"], by_family["optimizer"], by_family["pointwise"]) == (21, 21, 0)


def test_an_unknown_operator_is_unpriced_and_makes_the_total_a_lower_bound() -> None:
    operations = Pricer().price(_one_call("mylib::mystery"))
    assert operations.unpriced == {"mylib::mystery": 3}
    assert not operations.complete


_MODULE = """
from auditor.tally import Shape
EACH = {each}
def helper(x): return {helper}
def price(x): return EACH * helper(x)
"""


def _module(path: Path, name: str, *, each: int = 2, helper: str = "x.numel") -> ModuleType:
    path.write_text(_MODULE.format(each=each, helper=helper), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _digest(module: ModuleType) -> str:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="")(module.price)
    return registry.digest


def test_the_digest_changes_with_the_text_around_a_formula(tmp_path: Path) -> None:
    original = _digest(_module(tmp_path / "a.py", "formulas_a"))
    assert _digest(_module(tmp_path / "b.py", "formulas_b")) == original
    assert _digest(_module(tmp_path / "c.py", "formulas_c", each=3)) != original
    assert _digest(_module(tmp_path / "d.py", "formulas_d", helper="len(x)")) != original


def test_the_digest_changes_with_settings_names_families_and_overloads_left() -> None:
    def digest(op: str = "lib::op", family: Family = Family.MATMUL, each: int = 1, left: str = "") -> str:
        registry = Registry()
        registry.formula(op, family=family, source="")(partial(_times, each=each))
        registry.leave(*filter(None, [left]))
        return registry.digest

    variants = [
        digest(),
        digest(op="lib::other"),
        digest(family=Family.OTHER),
        digest(each=2),
        digest(left="lib::op.vec"),
    ]
    assert len(set(variants)) == len(variants)
    assert digest() == variants[0]


def test_the_digest_changes_when_a_formula_is_added() -> None:
    registry = Registry()
    registry.formula("lib::op", family=Family.MATMUL, source="")(_constant)
    before = registry.digest
    registry.free("lib::view", why="a view")
    after = registry.digest
    registry.beside("lib::op", family=Family.POINTWISE, source="")(_constant)
    assert len({before, after, registry.digest}) == 3


def test_the_digest_is_the_same_in_every_process_and_wherever_the_files_lie(tmp_path: Path) -> None:
    source = Path(str(sys.modules["auditor.formulas"].__file__)).parent.parent
    copy = tmp_path / "auditor"
    for file in (*source.rglob("*.py"), *source.rglob("*.txt")):
        if file.parent.name == "formulas" or file.parent == source:
            target = copy / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    program = "from auditor.formulas import TABLE; print(TABLE.digest)"
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == TABLE.digest


def test_the_table_needs_no_torch() -> None:
    program = "import sys, auditor.formulas; print(sorted({'torch', 'fvcore', 'numpy'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_entry_says_where_it_comes_from_or_why_it_is_free() -> None:
    assert [entry.op for entry in TABLE if not entry.source.strip()] == []
