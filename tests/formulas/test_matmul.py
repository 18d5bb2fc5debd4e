"""Matrix products against loops over single numbers, and against torch's own counter."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from auditor.formulas import Price, Pricer
from auditor.tally import NUMBER, Shape, Signature, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = st.integers(0, 5)


def _products(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The product of two matrices and how many multiply-adds it took."""
    result, count = torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype), 0
    for i, j, k in product(range(a.shape[0]), range(b.shape[1]), range(a.shape[1])):
        result[i, j] += a[i, k] * b[k, j]
        count += 1
    return result, count


def _of(op: str, *shapes: tuple[int, ...]) -> int:
    scalars = [NUMBER] * (len(torch._C._get_schema(op, "").arguments) - len(shapes))  # alpha and beta
    price = Pricer().of(Signature(op, encode_arguments([*map(Shape, shapes), *scalars])))
    assert price.amount is not None
    assert price.amount.repeated_ops == price.amount.skippable_ops == 0
    return price.amount.algorithmic_ops


def _theirs(program: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        program()
    return counter.get_total_flops()


@given(SIZE, SIZE, SIZE, SIZE)
@settings(max_examples=40, deadline=None)
def test_products_cost_two_operations_per_multiply_add(batch: int, m: int, k: int, n: int) -> None:
    a, b = torch.randint(9, (m, k)), torch.randint(9, (k, n))
    result, count = _products(a, b)
    assert torch.equal(result, a @ b)
    assert _of("aten::mm", (m, k), (k, n)) == 2 * count
    assert _of("aten::addmm", (n,), (m, k), (k, n)) == 2 * count
    assert _of("aten::bmm", (batch, m, k), (batch, k, n)) == 2 * count * batch
    assert _of("aten::baddbmm", (batch, m, n), (batch, m, k), (batch, k, n)) == 2 * count * batch
    assert _of("aten::addbmm", (m, n), (batch, m, k), (batch, k, n)) == 2 * count * batch


@given(SIZE, SIZE)
@settings(max_examples=20, deadline=None)
def test_products_with_vectors_are_products_of_thin_matrices(m: int, k: int) -> None:
    _, matrix_vector = _products(torch.ones(m, k), torch.ones(k, 1))
    _, outer = _products(torch.ones(m, 1), torch.ones(1, k))
    _, inner = _products(torch.ones(1, k), torch.ones(k, 1))
    assert _of("aten::mv", (m, k), (k,)) == 2 * matrix_vector
    assert _of("aten::addmv", (m,), (m, k), (k,)) == 2 * matrix_vector
    assert _of("aten::addr", (m, k), (m,), (k,)) == 2 * outer
    assert _of("aten::dot", (k,), (k,)) == _of("aten::vdot", (k,), (k,)) == 2 * inner


@pytest.mark.parametrize(
    "program",
    [
        lambda: torch.mm(torch.ones(3, 4), torch.ones(4, 5)),
        lambda: torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 4, 5)),
        lambda: torch.addmm(torch.ones(5), torch.ones(3, 4), torch.ones(4, 5)),
        lambda: torch.baddbmm(torch.ones(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)),
        lambda: torch.nn.Linear(4, 5)(torch.ones(2, 3, 4)).sum().backward(),
        lambda: torch.einsum("bik,bkj->bij", torch.ones(2, 3, 4), torch.ones(2, 4, 5)),
    ],
)
def test_torchs_own_counter_agrees(watch: Any, program: Callable[[], object]) -> None:
    assert watch(program).operations().by_family["matmul"] == _theirs(program) > 0


def test_what_torchs_own_counter_does_not_know_is_counted_all_the_same(watch: Any) -> None:
    def program() -> None:
        torch.mv(torch.ones(3, 4), torch.ones(4))
        torch.dot(torch.ones(4), torch.ones(4))

    assert _theirs(program) == 0  # no price for mv and dot there
    assert watch(program).operations().by_family["matmul"] == 2 * (3 * 4 + 4)


def test_a_bilinear_layer_multiplies_twice_and_adds_once_at_every_point(watch: Any) -> None:
    left, right, out, rows = 3, 4, 5, 2
    seen = watch(lambda: torch.nn.Bilinear(left, right, out)(torch.ones(rows, left), torch.ones(rows, right)))
    assert seen.operations().by_family["matmul"] == 3 * rows * left * right * out


def test_complex_products_are_four_real_ones(watch: Any) -> None:
    real = watch(lambda: torch.ones(3, 4) @ torch.ones(4, 5)).operations().total
    number = watch(lambda: torch.ones(3, 4) + 0j).operations().total  # making the numbers is no product
    both = watch(lambda: (torch.ones(3, 4) + 0j) @ torch.ones(4, 5, dtype=torch.complex64)).operations().total
    assert both - number == 4 * real


def test_grouped_products_share_one_dimension(price: Callable[..., Price], shape: Callable[..., Shape]) -> None:
    groups, m, k, n = 3, 6, 4, 5

    def of(a: Shape, b: Shape) -> int:
        amount = price("aten::_grouped_mm", self=a, mat2=b).amount
        assert amount is not None
        return amount.algorithmic_ops

    assert of(shape(groups, m, k), shape(groups, k, n)) == 2 * groups * m * k * n
    assert of(shape(m, k), shape(groups, k, n)) == 2 * m * k * n  # each row meets the matrix of its group
    assert of(shape(groups, m, k), shape(k, n)) == 2 * m * k * n  # each column meets the matrix of its group
    assert of(shape(m, k), shape(k, n)) == 2 * m * k * n  # each group sums over its part


def test_grouped_products_are_what_the_groups_cost_one_by_one(watch: Any) -> None:
    a, b = torch.ones(6, 16, dtype=torch.bfloat16), torch.ones(2, 16, 8, dtype=torch.bfloat16)
    offsets = torch.tensor([2, 6], dtype=torch.int32)
    try:
        grouped = watch(lambda: torch._grouped_mm(a, b, offs=offsets))
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"this build of torch has no grouped product: {error}")
    single = watch(lambda: (a[:2] @ b[0], a[2:] @ b[1]))
    assert grouped.operations().by_family["matmul"] == single.operations().by_family["matmul"]


def test_low_precision_products(price: Callable[..., Price], shape: Callable[..., Shape]) -> None:
    m, k, n = 16, 32, 48
    eight = {"self": shape(m, k, dtype="float8_e4m3fn"), "mat2": shape(k, n, dtype="float8_e4m3fn")}
    scaled = price("aten::_scaled_mm", **eight, scale_a=shape(), scale_b=shape())
    assert scaled.amount is not None
    assert scaled.amount.algorithmic_ops == 2 * m * k * n
    assert scaled.precision == "float8_e4m3fn"
    whole = price("aten::_int_mm", self=shape(m, k, dtype="int8"), mat2=shape(k, n, dtype="int8"))
    assert whole.amount is not None
    assert whole.amount.algorithmic_ops == 2 * m * k * n
    assert whole.precision == "int8"


def test_the_int8_and_int4_products_of_the_cpu_cost_what_dense_ones_do(watch: Any) -> None:
    m, k, n = 4, 32, 64
    a = torch.ones(m, k, dtype=torch.bfloat16)
    dense = 2 * m * k * n
    weight = torch.ones(n, k, dtype=torch.int8)
    scales = torch.ones(n, dtype=torch.bfloat16)
    assert watch(lambda: torch._weight_int8pack_mm(a, weight, scales)).operations().by_family["matmul"] == dense
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.ones(n, k, dtype=torch.int32), 1)
    zeros = torch.ones(1, n, 2, dtype=torch.bfloat16)
    seen = watch(lambda: torch.ops.aten._weight_int4pack_mm_for_cpu(a, packed, 32, zeros))
    assert seen.operations().by_family["matmul"] == dense


def test_matmul_backward_pairs_the_same_numbers_as_the_forward(
    price: Callable[..., Price], shape: Callable[..., Shape]
) -> None:
    arguments = {"grad": shape(2, 3, 5), "self": shape(2, 3, 4), "other": shape(4, 5)}
    both = price("aten::matmul_backward", **arguments, mask=(True, True)).amount
    one = price("aten::matmul_backward", **arguments, mask=(True, False)).amount
    assert both is not None
    assert one is not None
    assert both.algorithmic_ops == 2 * one.algorithmic_ops == 2 * 2 * (2 * 3 * 4 * 5)
