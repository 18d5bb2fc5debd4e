"""Dense linear algebra and Fourier transforms: leading terms of the textbook counts, for square n.

==================  =======================  ==============================
Cholesky            ``n^3 / 3``
LU, determinant     ``2 n^3 / 3``
solving             ``2 n^2`` per column     after the factorisation
inverse             ``2 n^3``
QR of m x n         ``2 n^2 (m - n / 3)``    n the smaller; twice with Q
Fourier             ``5 N log2 N``           half of it for real data
==================  =======================  ==============================

Divisions are rounded up, and so is the logarithm. What iterates until it converges (eigenvalues, singular
values) or decides by the values (the matrix exponential, least squares other than by QR) has no count that its
sizes tell, and therefore no formula.
Sources: Golub and Van Loan, Matrix Computations, for the factorisations; Cooley and Tukey 1965 for the
transform.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING

from auditor.errors import FormulaError
from auditor.formulas import registry
from auditor.formulas.sizes import ceil_log2, multiply_adds
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.OTHER)


def _batch(a: Shape) -> int:
    return prod(a[:-2])


def _ceil(number: int, parts: int) -> int:
    return -(-number // parts)


@formula("aten::linalg_cholesky_ex", "aten::cholesky", source="n^3 / 3")
def cholesky(a: Shape, *_: Argument) -> int:
    return _batch(a) * _ceil(a[-1] ** 3, 3)


@formula("aten::cholesky_solve", "aten::_cholesky_solve_helper", source="two triangular solves: 2 n^2 per column")
def cholesky_solve(b: Shape, a: Shape, *_: Argument) -> int:
    return _batch(b) * 2 * a[-1] ** 2 * b[-1]


@formula("aten::cholesky_inverse", source="2 n^3 / 3, from the factor")
def cholesky_inverse(a: Shape, *_: Argument) -> int:
    return _batch(a) * _ceil(2 * a[-1] ** 3, 3)


@formula("aten::linalg_lu_factor_ex", "aten::linalg_lu", "aten::_linalg_det", source="2 n^3 / 3")
@formula("aten::_linalg_slogdet", "aten::linalg_ldl_factor_ex", source="2 n^3 / 3")
def lu(a: Shape, *_: Argument) -> int:
    rows, columns = max(a[-2:]), min(a[-2:])
    return _batch(a) * _ceil(columns**2 * (3 * rows - columns), 3)


@formula("aten::linalg_inv_ex", source="2 n^3")
def inverse(a: Shape, *_: Argument) -> int:
    return _batch(a) * 2 * a[-1] ** 3


@formula("aten::_linalg_solve_ex", source="2 n^3 / 3, and 2 n^2 per column")
def solve(a: Shape, b: Shape, *_: Argument) -> int:
    return lu(a) + _batch(a) * 2 * a[-1] * (b.numel // _batch(a) if _batch(a) else 0)


@formula("aten::linalg_lu_solve", "aten::linalg_ldl_solve", source="2 n^2 per column")
def lu_solve(a: Shape, _pivots: Shape, b: Shape, *_: Argument) -> int:
    return 2 * a[-1] * b.numel


@formula("aten::linalg_solve_triangular", source="n^2 per column, or row where it stands right")
def solve_triangular(a: Shape, b: Shape, *_: Argument) -> int:
    return a[-1] * b.numel


@formula("aten::triangular_solve", source="n^2 per column")
def triangular_solve(b: Shape, a: Shape, *_: Argument) -> int:
    return a[-1] * b.numel


@formula("aten::linalg_qr", source="2 n^2 (m - n / 3), and once more for Q")
def qr(a: Shape, mode: str = "reduced", *_: Argument) -> int:
    return geqrf(a) * (1 if mode == "r" else 2)


@formula("aten::geqrf", source="2 n^2 (m - n / 3)")
def geqrf(a: Shape, *_: Argument) -> int:
    rows, columns = max(a[-2:]), min(a[-2:])
    return _batch(a) * _ceil(2 * columns**2 * (3 * rows - columns), 3)


@formula("aten::linalg_householder_product", source="2 n^2 (m - n / 3)")
def householder_product(a: Shape, *_: Argument) -> int:
    return geqrf(a)


@formula("aten::ormqr", source="a reflection is 4 operations per element it touches")
def ormqr(a: Shape, _tau: Shape, c: Shape, *_: Argument) -> int:
    return 4 * a[-1] * c.numel


@formula("aten::linalg_lstsq", source="by QR: its factorisation, 4 m n per column to apply Q, n^2 to solve")
def lstsq(a: Shape, b: Shape, _cutoff: Argument, driver: Argument, *_: Argument) -> int:
    """Only the driver that works by QR has a count; the others iterate, or decide by rank."""
    if driver != "gels":
        raise FormulaError(f"least squares by {driver or 'the default driver'}: what it does depends on the rank")
    rows, columns = max(a[-2:]), min(a[-2:])
    right = b.numel // b[-2] if len(b) == len(a) and b[-2] else 1
    return geqrf(a) + right * (4 * rows * columns + columns**2)


@formula("aten::linalg_cross", source="6 products and 3 differences per vector")
def cross(a: Shape, b: Shape, *_: Argument) -> int:
    return 3 * max(a.numel, b.numel)


@formula("aten::_compute_linear_combination", source="[M,K] coefficients with K tensors")
def linear_combination(x: Shape, coefficients: Shape, *_: Argument) -> int:
    return multiply_adds(coefficients[0] * x.numel, x)


def _transform(sizes: tuple[int, ...], dims: tuple[int, ...]) -> int:
    return 5 * prod(sizes) * sum(ceil_log2(sizes[dim]) for dim in dims)


@formula("aten::_fft_c2c", source="5 N log2 N")
def fft_complex(x: Shape, dims: tuple[int, ...], *_: Argument) -> int:
    return _transform(x, dims)


@formula("aten::_fft_r2c", source="half of 5 N log2 N")
def fft_real(x: Shape, dims: tuple[int, ...], *_: Argument) -> int:
    return _ceil(_transform(x, dims), 2)


@formula("aten::_fft_c2r", source="half of 5 N log2 N, of the real sizes")
def fft_to_real(x: Shape, dims: tuple[int, ...], _norm: int, last: int, *_: Argument) -> int:
    sizes = tuple(last if position == dims[-1] % len(x) else size for position, size in enumerate(x))
    return _ceil(_transform(sizes, dims), 2)
