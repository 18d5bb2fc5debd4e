"""Sparse and nested tensors against loops over what they store, and their text in a signature."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from auditor.counting.arguments import Schema, describe
from auditor.counting.dispatch import DispatchCounter
from auditor.formulas import Price, Pricer
from auditor.operations import Operations
from auditor.tally import NUMBER, Shape, Signature, decode_arguments, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = st.integers(1, 5)
LAYOUTS = [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc]


@pytest.fixture(autouse=True)
def _quiet():
    """Torch warns that these layouts are young."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _text(tensor: torch.Tensor) -> str:
    return Schema(torch.ops.aten.neg.default).signature((tensor,), {}).arguments


def _nested() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])


def _jagged() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)


TEXTS: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "dense": (lambda: torch.ones(2, 3), "float32[2,3]"),
    "oneDNN": (lambda: torch.ones(2, 3).to_mkldnn(), "float32[2,3]"),
    "coo": (lambda: torch.eye(4).to_sparse(), "float32[4,4]sparse_coo:4"),
    "coo, duplicates": (
        lambda: torch.sparse_coo_tensor([[0, 0, 0]], torch.ones(3), (5,)),
        "float32[5]sparse_coo:3",
    ),
    "coo of rows": (
        lambda: torch.sparse_coo_tensor([[0, 2]], torch.ones(2, 5), (3, 5)),
        "float32[3,5]sparse_coo:10",
    ),
    "csr": (lambda: torch.eye(4).to_sparse_csr(), "float32[4,4]sparse_csr:4"),
    "csc": (lambda: torch.eye(4).to_sparse_csc(), "float32[4,4]sparse_csc:4"),
    "bsr": (lambda: torch.eye(4).to_sparse_bsr((2, 2)), "float32[4,4]sparse_bsr:8"),
    "bsc": (lambda: torch.eye(4).to_sparse_bsc((2, 2)), "float32[4,4]sparse_bsc:8"),
    "nested": (_nested, "float32[]nested:18"),
    "jagged": (_jagged, "float32[]jagged:18"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_signature_says_how_a_tensor_is_stored(name: str) -> None:
    make, text = TEXTS[name]
    assert _text(make()) == f'["{text}"]'
    assert encode_arguments(decode_arguments(_text(make()))) == _text(make())


def test_tensors_that_are_stored_differently_are_told_apart() -> None:
    texts = {(describe(make()), text) for make, text in TEXTS.values()}
    assert len({key for key, _ in texts}) == len(texts) >= len({text for _, text in TEXTS.values()})


@given(
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from(["", "sparse_coo", "sparse_bsr", "nested", "unknown"]),
    st.integers(0, 10**20),
)
def test_the_text_of_a_tensor_is_read_back(sizes: list[int], layout: str, stored: int) -> None:
    [shape] = decode_arguments(encode_arguments((Shape(sizes, "int8", layout, stored if layout else 0),)))
    assert isinstance(shape, Shape)
    assert (tuple(shape), shape.dtype, shape.layout) == (tuple(sizes), "int8", layout)
    assert shape.stored == (stored if layout else 0)


@pytest.mark.parametrize("text", ["float32[2]sparse_coo", "float32[2]:4", "float32[2]sparse_coo:", "float32[2", "f]2["])
def test_a_text_that_is_no_tensor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a tensor|invalid literal"):
        decode_arguments(f'["{text}"]')


def test_a_tensor_that_tells_nothing_of_itself_is_unknown_and_has_no_price() -> None:
    class Closed(torch.Tensor):
        @property
        def shape(self) -> Any:
            raise RuntimeError("no sizes")

    assert _text(Closed()) == '["float32[]unknown:0"]'
    price = Pricer().of(Signature("aten::neg", _text(Closed())))
    assert price.amount is None
    assert "unknown" in price.problem


def _sparse(rows: int, columns: int, places: list[bool], layout: torch.layout) -> torch.Tensor:
    values = torch.tensor([*places, *[False] * (rows * columns)][: rows * columns]).reshape(rows, columns)
    return values.to(torch.float32).to_sparse(layout=layout)


def _loops(a: torch.Tensor, columns: int) -> int:
    """Multiply-adds of each stored element with each column, one by one."""
    return sum(1 for _element in a.to_dense()[a.to_dense() != 0].tolist() for _column in range(columns))


@given(SIZE, SIZE, SIZE, st.lists(st.booleans(), min_size=1, max_size=25), st.sampled_from(LAYOUTS))
@settings(max_examples=60)
def test_a_sparse_matrix_meets_each_column_with_what_it_stores(
    rows: int, columns: int, width: int, places: list[bool], layout: torch.layout
) -> None:
    a = _sparse(rows, columns, places, layout)
    expected = 2 * _loops(a, width)
    arguments = encode_arguments(decode_arguments(_pair(a, torch.ones(columns, width))))
    price = Pricer().of(Signature("aten::mm", arguments))
    assert price.amount is not None, price.problem
    assert price.amount.algorithmic_ops == expected
    vector = Pricer().of(Signature("aten::mv", _pair(a, torch.ones(columns))))
    assert vector.amount is not None
    assert vector.amount.algorithmic_ops == 2 * _loops(a, 1)
    flipped = Pricer().of(Signature("aten::mm", _pair(torch.ones(width, rows), a)))
    assert flipped.amount is not None
    assert flipped.amount.algorithmic_ops == expected


def _pair(a: torch.Tensor, b: torch.Tensor) -> str:
    return Schema(torch.ops.aten.mm.default).signature((a, b), {}).arguments


def _count(program: Callable[[], object]) -> Operations:
    """By the counter itself: it knows which tensors must not be taken apart."""
    counter = DispatchCounter()
    counter.attach()
    try:
        program()
        return Pricer().price(counter.take())
    finally:
        counter.detach()


def _train(layout: torch.layout) -> None:
    a = torch.eye(4).to_sparse(layout=layout).requires_grad_()
    torch.sparse.mm(a, torch.ones(4, 3, requires_grad=True)).sum().backward()


@pytest.mark.parametrize("layout", [torch.sparse_csr])
def test_the_gradients_of_a_sparse_product_cost_what_it_costs(layout: torch.layout) -> None:
    """One for the dense operand, and one at the stored places of the other."""
    operations = _count(lambda: _train(layout))
    assert operations.complete, operations.unpriced
    assert operations.by_family["matmul"] == 3 * (2 * 4 * 3)


PROGRAMS: dict[str, tuple[Callable[[], object], str, int]] = {
    "batched": (lambda: torch.bmm(torch.ones(2, 3, 4).to_sparse(), torch.ones(2, 4, 5)), "matmul", 2 * 24 * 5),
    "reduced": (
        lambda: torch.sparse.mm(torch.eye(4).to_sparse_csr(), torch.ones(4, 2), "mean"),
        "matmul",
        2 * 4 * 2,
    ),
    "sampled": (
        lambda: torch.sparse.sampled_addmm(torch.eye(4).to_sparse_csr(), torch.ones(4, 7), torch.ones(7, 4)),
        "matmul",
        2 * 4 * 7,
    ),
    "linear, sparse weight": (
        lambda: functional.linear(torch.ones(5, 4), torch.eye(4).to_sparse_csr()),
        "matmul",
        2 * 4 * 5,
    ),
    "scaled": (lambda: torch.eye(4).to_sparse() * 2, "pointwise", 4),
    "sum": (lambda: torch.eye(4).to_sparse().sum(), "reduction", 4),
    "sum of rows": (lambda: torch.sparse.sum(torch.eye(4).to_sparse(), 1), "reduction", 4),
    "softmax": (lambda: torch.sparse.softmax(torch.eye(4).to_sparse(), -1), "normalization", 5 * 4),
    "into a dense one": (lambda: torch.zeros(4, 4).add_(torch.eye(4).to_sparse(), alpha=-0.1), "pointwise", 4),
    "nested, scaled": (lambda: _nested() * 2, "pointwise", 18),
    "nested, added": (lambda: _nested() + _nested(), "pointwise", 18),
    "nested, softmax": (lambda: torch.softmax(_nested(), -1), "normalization", 5 * 18),
    "nested, linear": (lambda: functional.linear(_nested(), torch.ones(5, 3), torch.ones(5)), "matmul", 2 * 18 * 5),
    "jagged, linear": (lambda: functional.linear(_jagged(), torch.ones(5, 3)), "matmul", 2 * 18 * 5),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_stored_is_what_counts(name: str) -> None:
    program, family, expected = PROGRAMS[name]
    operations = _count(program)
    assert operations.complete, operations.unpriced
    assert operations.by_family[family] == expected


@pytest.mark.parametrize(
    "program",
    [
        lambda: torch.sparse.mm(torch.eye(4).to_sparse(), torch.eye(4).to_sparse()),
        lambda: torch.eye(4).to_sparse() * torch.eye(4).to_sparse(),
    ],
)
def test_where_how_much_meets_is_not_in_the_sizes_there_is_no_price(program: Callable[[], object]) -> None:
    operations = _count(program)
    assert not operations.complete
    assert operations.by_family["matmul"] == operations.by_family["pointwise"] == 0


def test_a_nested_product_has_no_price_and_its_parts_are_counted() -> None:
    operations = _count(lambda: torch.matmul(_nested().transpose(1, 2), _nested()))
    assert not operations.complete
    assert operations.by_family["matmul"] == 2 * (2 * 3 * 4 * 3)  # rows are padded to the longest


@pytest.mark.parametrize(
    "op", ["aten::sigmoid_backward", "aten::_fft_c2c", "aten::native_layer_norm", "aten::convolution"]
)
def test_an_operator_that_knows_dense_tensors_only_has_no_price_for_others(op: str) -> None:
    sparse = Shape((4, 4), "float32", "sparse_coo", 4)
    price = Pricer().of(Signature(op, encode_arguments((sparse,))))
    assert price.amount is None
    assert "sparse_coo: the sizes do not tell" in price.problem


@pytest.mark.parametrize("sparse", [False, True])
def test_training_an_embedding_with_sparse_gradients_is_priced(sparse: bool) -> None:
    def program() -> None:
        table = torch.nn.Embedding(10, 4, sparse=sparse)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
        for _ in range(2):
            table(torch.tensor([1, 2, 2])).sum().backward()
        optimizer.step()

    assert _count(program).unpriced == {}


def test_semi_structured_products_are_half_of_dense_ones(
    price: Callable[..., Price], shape: Callable[..., Shape]
) -> None:
    m, k, n = 32, 64, 16
    half = 2 * m * k * n // 2
    packed, meta = shape(m, k // 2, dtype="float16"), shape(m, k // 16, dtype="int16")
    dense = shape(k, n, dtype="float16")
    answers = [
        price("aten::_sparse_semi_structured_mm", mat1=packed, mat1_meta=meta, mat2=dense),
        price("aten::_sparse_semi_structured_addmm", input=shape(n), mat1=packed, mat1_meta=meta, mat2=dense),
        price("aten::_sparse_semi_structured_linear", input=shape(n, k), weight=packed, meta=meta),
        price("aten::_cslt_sparse_mm", compressed_A=shape(m, 9 * k // 16), dense_B=dense),
    ]
    assert [answer.amount.algorithmic_ops for answer in answers if answer.amount] == [half] * 4


def test_numbers_are_no_tensors() -> None:
    arguments = encode_arguments((Shape((4,), "float32", "sparse_coo", 2), NUMBER))
    price = Pricer().of(Signature("aten::mul.Tensor", arguments))
    assert price.amount is not None
    assert price.amount.algorithmic_ops == 2
