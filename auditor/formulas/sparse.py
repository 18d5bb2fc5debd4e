"""Tensors that do not store every element: sparse ones, and nested ones, whose rows have lengths of their own.

Their sizes do not tell how much there is to do, so nothing here is read off them: what counts is how many
elements are stored, zeros and duplicates included, which is part of the signature. A product meets each stored
element once for every column (or row) of its dense partner; elementwise work is done on what is stored; a
reduction folds what is stored. Where two sparse operands meet, how many of their elements meet is in their
indices, and there is no price; adding one to another costs its stored elements, as adding it to a dense one.

Semi-structured matrices (two of four elements kept, packed) are dense tensors of half the columns: half the
products of the matrix that they stand for.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING

from auditor.errors import FormulaError
from auditor.formulas import registry
from auditor.formulas.pointwise import PER_ELEMENT
from auditor.formulas.sizes import multiply_adds, shapes
from auditor.operations import Family
from auditor.tally import Argument, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS = ("nested", "jagged")

product = partial(registry.sparse, family=Family.MATMUL)
reduction = partial(registry.sparse, family=Family.REDUCTION)


def _only(*operands: Argument) -> Shape:
    """The one operand that does not store every element."""
    found = [part for part in operands if isinstance(part, Shape) and part.layout]
    if len(found) != 1 or found[0].layout == "unknown":
        layouts = " and ".join(each.layout for each in found) or "dense operands only"
        raise FormulaError(f"{layouts}: how many elements meet is not in the sizes")
    return found[0]


def _one_sparse_matrix(a: Shape, b: Shape) -> int:
    """Each stored element with a column of the second, or a row of the first."""
    sparse = _only(a, b)
    if sparse.layout in _ROWS:
        raise FormulaError(f"{sparse.layout}: the sizes inside are not kept")
    dense = b if sparse is a else a
    return multiply_adds(sparse.stored * (dense[-1] if sparse is a else dense[-2]), a)


@product("aten::mm", "aten::bmm", "aten::hspmm", source="stored elements x columns")
def mm(a: Shape, b: Shape, *_: Argument) -> int:
    return _one_sparse_matrix(a, b)


@product("aten::addmm", "aten::_sparse_addmm", "aten::baddbmm", "aten::sspaddmm", source="stored elements x columns")
def addmm(_sum: Shape, a: Shape, b: Shape, *_: Argument) -> int:
    return _one_sparse_matrix(a, b)


@product("aten::mv", source="stored elements")
def mv(a: Shape, vector: Shape, *_: Argument) -> int:
    return multiply_adds(_only(a, vector).stored, a)


@product("aten::addmv", source="stored elements")
def addmv(_sum: Shape, a: Shape, vector: Shape, *_: Argument) -> int:
    return mv(a, vector)


@product("aten::sparse_sampled_addmm", source="the sum over K, at each stored place")
def sampled_addmm(places: Shape, a: Shape, b: Shape, *_: Argument) -> int:
    return multiply_adds(_only(places, a, b).stored * a[-1], a)


@product("aten::_sparse_mm_reduce_impl", source="stored elements x columns, added, or compared")
def mm_reduce(a: Shape, b: Shape, *_: Argument) -> int:
    return _one_sparse_matrix(a, b)


@product("aten::_sparse_mm_reduce_impl_backward", source="stored elements x columns for each gradient wanted")
def mm_reduce_backward(a: Shape, grad: Shape, *rest: Argument) -> int:
    mask = rest[-1]
    return multiply_adds(_only(a, grad).stored * grad[-1], a) * (sum(map(bool, mask)) if isinstance(mask, tuple) else 2)


@product("aten::linear", source="stored elements of the rows x outputs")
def linear(x: Shape, weight: Shape, *_: Argument) -> int:
    """Rows of several lengths by one matrix; a sparse one arrives as `mm`."""
    return multiply_adds(_rows(x) * _dense(weight)[0], x)


@product("aten::linear_backward", source="as linear, for each of input and weight")
def linear_backward(x: Shape, _grad: Shape, weight: Shape, mask: tuple[bool, ...], *_: Argument) -> int:
    return linear(x, weight) * sum(mask[:2])


def _rows(x: Shape) -> int:
    if x.layout not in _ROWS:
        raise FormulaError(f"rows of several lengths were expected, got {x.layout or 'a dense tensor'}")
    return x.stored


def _dense(x: Shape) -> Shape:
    if x.layout:
        raise FormulaError(f"a dense tensor was expected, got {x.layout}")
    return x


def _elements(first: Argument, second: Argument) -> int:
    """How many elements an elementwise operation with a second tensor, or a number, touches."""
    operands = shapes([first, second])
    if all(part.layout in _ROWS for part in operands) or len(operands) == 1:
        return operands[0].stored
    return _only(first, second).stored


def elementwise(first: Argument, second: Argument = None, *_: Argument, each: int, operands: int) -> int:
    """``each`` operations per element stored."""
    return each * _elements(first, second if operands > 1 else None)


@registry.sparse("aten::add", "aten::sub", family=Family.POINTWISE, source="1 per element added")
def add(first: Argument, second: Argument, *_: Argument) -> int:
    if isinstance(second, Shape) and second.layout and second.layout not in _ROWS:
        return second.stored
    return _elements(first, second)


def _register(skip: Sequence[str]) -> None:
    for (each, operands), names in PER_ELEMENT.items():
        if operands <= 2:
            price = partial(elementwise, each=each, operands=operands)
            ops = [f"aten::{name}" for name in names.split() if name not in skip]
            registry.sparse(*ops, family=Family.POINTWISE, source=f"{each} per element stored")(price)


_register(skip=("add", "sub"))


@reduction("aten::sum", "aten::_sparse_sum", "aten::_sparse_csr_sum", source="1 per element stored")
@reduction("aten::_sparse_csr_prod", "aten::_coalesce", "aten::amax", "aten::amin", source="1 per element stored")
@reduction("aten::any", "aten::all", source="1 per element stored")
def fold(x: Shape, *_: Argument) -> int:
    return _only(x).stored


@reduction("aten::norm", "aten::native_norm", "aten::linalg_vector_norm", source="2 per element stored, a root")
def norm(x: Shape, *_: Argument) -> int:
    return 2 * _only(x).stored + 1


@registry.sparse("aten::_sparse_softmax", "aten::_softmax", family=Family.NORMALIZATION, source="5 per element stored")
@registry.sparse("aten::_sparse_log_softmax", family=Family.NORMALIZATION, source="5 per element stored")
def softmax(x: Shape, *_: Argument) -> int:
    return 5 * _only(x).stored


@registry.sparse("aten::_sparse_softmax_backward_data", family=Family.NORMALIZATION, source="4 per element stored")
@registry.sparse("aten::_sparse_log_softmax_backward_data", family=Family.NORMALIZATION, source="4 per element stored")
def softmax_backward(_grad: Shape, output: Shape, *_: Argument) -> int:
    return 4 * output.stored


# Packed, two of four: dense tensors with half the columns of what they stand for.
matmul = partial(registry.formula, family=Family.MATMUL)


@matmul("aten::_sparse_semi_structured_mm", source="packed [M,K/2] x [K,N]: half the products")
def semi_structured_mm(packed: Shape, _meta: Shape, dense: Shape, *_: Argument) -> int:
    return multiply_adds(packed[0] * packed[1] * dense[1], packed)


@matmul("aten::_sparse_semi_structured_addmm", source="packed [M,K/2] x [K,N]: half the products")
def semi_structured_addmm(_sum: Shape, packed: Shape, _meta: Shape, dense: Shape, *_: Argument) -> int:
    return multiply_adds(packed[0] * packed[1] * dense[1], packed)


@matmul("aten::_sparse_semi_structured_linear", source="[..,K] x packed [N,K/2]: half the products")
def semi_structured_linear(x: Shape, packed: Shape, *_: Argument) -> int:
    return multiply_adds(prod(x[:-1]) * packed.numel, x)


@matmul("aten::_cslt_sparse_mm", source="packed [M,..] x [K,N]: half the products")
def cslt_mm(packed: Shape, dense: Shape, *_: Argument) -> int:
    return multiply_adds(packed[0] * dense[0] * dense[1] // 2, dense)
