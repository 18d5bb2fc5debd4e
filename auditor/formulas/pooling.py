"""Pooling and resampling: the elements that each result is made of, and each element a gradient is spread to.

A window that hangs over the edge counts in full, as convolution's padding does. Adaptive windows that do not
divide the input overlap; they are counted as if they did not. Interpolation with n neighbours is n products
and n - 1 sums; the positions and weights of neighbours are not counted. Antialiased resampling goes by columns
and then by rows, and reads as many more neighbours as the image is shrunk; shrunk by a scale instead of to a
size it has no price, since the values of scales are not kept.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from auditor.errors import FormulaError
from auditor.formulas import registry
from auditor.formulas.sizes import numbers
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.OTHER)
_HALF = Fraction(1, 2)


def _results(
    x: Shape,
    kernel: tuple[int, ...],
    stride: Argument,
    padding: Argument,
    dilation: Argument,
    *,
    ceil: Argument,
) -> int:
    """How many results windows over the last dimensions have."""
    count = len(kernel)
    steps = kernel if stride in ((), None) else numbers(stride, count)
    pads, gaps = numbers(padding, count), numbers(dilation, count)
    sizes = [
        _along(size, taps, step, pad, gap, ceil=ceil is True)
        for size, taps, step, pad, gap in zip(x[-count:], kernel, steps, pads, gaps, strict=True)
    ]
    return prod(x[:-count]) * prod(sizes)


def _along(size: int, taps: int, step: int, pad: int, gap: int, *, ceil: bool) -> int:
    reach = size + 2 * pad - gap * (taps - 1) - 1
    along = (reach + step - 1 if ceil else reach) // step + 1
    # The last window of a rounded-up count must begin inside the input or its left padding.
    return along - 1 if ceil and (along - 1) * step >= size + pad else along


def _kernel(argument: Argument, count: int) -> tuple[int, ...]:
    return numbers(argument, count)


def max_pool(x: Shape, kernel: Argument, *rest: Argument, count: int) -> int:
    """One comparison for each element of each window."""
    stride, padding, dilation, ceil = (*rest, *((), 0, 1, False)[len(rest) :])[:4]
    taps = _kernel(kernel, count)
    return prod(taps) * _results(x, taps, stride, padding, dilation, ceil=ceil)


def avg_pool(x: Shape, kernel: Argument, *rest: Argument, count: int) -> int:
    """One addition for each element of each window, and a division for each window."""
    stride, padding, ceil = (*rest, *((), 0, False)[len(rest) :])[:3]
    taps = _kernel(kernel, count)
    return (prod(taps) + 1) * _results(x, taps, stride, padding, 1, ceil=ceil)


def avg_pool_backward(grad: Shape, _x: Shape, kernel: Argument, *_: Argument, count: int) -> int:
    """A division for each result, an addition for each element of its window."""
    return (prod(_kernel(kernel, count)) + 1) * grad.numel


for _count in (2, 3):
    _max = partial(max_pool, count=_count)
    _names = (f"aten::max_pool{_count}d_with_indices", f"aten::mkldnn_max_pool{_count}d")
    formula(*_names, f"aten::quantized_max_pool{_count}d", source="1 per element of a window")(_max)
    _avg = partial(avg_pool, count=_count)
    formula(f"aten::avg_pool{_count}d", source="1 per element of a window, 1 per window")(_avg)
    _back = partial(avg_pool_backward, count=_count)
    formula(f"aten::avg_pool{_count}d_backward", source="1 per element of a window, 1 per window")(_back)
formula("aten::avg_pool1d", source="1 per element of a window, 1 per window")(partial(avg_pool, count=1))
formula("aten::quantized_max_pool1d", "quantized::max_pool1d", source="1 per element of a window")(
    partial(max_pool, count=1)
)
formula("quantized::max_pool2d", source="1 per element of a window")(partial(max_pool, count=2))


@formula("aten::max_pool2d_with_indices_backward", "aten::max_pool3d_with_indices_backward", source="1 per result")
@formula("aten::max_pool2d_backward", source="1 per result")
@formula("aten::mkldnn_max_pool2d_backward", "aten::mkldnn_max_pool3d_backward", source="1 per result")
@formula("aten::adaptive_max_pool2d_backward", "aten::adaptive_max_pool3d_backward", source="1 per result")
@formula("aten::fractional_max_pool2d_backward", "aten::fractional_max_pool3d_backward", source="1 per result")
def scatter_back(grad: Shape, *_: Argument) -> int:
    return grad.numel


@formula("aten::adaptive_max_pool2d", "aten::adaptive_max_pool3d", source="1 per element")
def adaptive_max_pool(x: Shape, *_: Argument) -> int:
    return x.numel


@formula("aten::_adaptive_avg_pool2d", "aten::_adaptive_avg_pool3d", source="1 per element, 1 per result")
@formula("aten::mkldnn_adaptive_avg_pool2d", "aten::adaptive_avg_pool2d.out", source="1 per element, 1 per result")
@formula("aten::adaptive_avg_pool1d.out", "aten::adaptive_avg_pool3d.out", source="1 per element, 1 per result")
def adaptive_avg_pool(x: Shape, size: tuple[int, ...], *_: Argument) -> int:
    return x.numel + prod(x[: -len(size)]) * prod(size)


@formula(
    "aten::_adaptive_avg_pool2d_backward",
    "aten::_adaptive_avg_pool3d_backward",
    source="1 per element and result",
)
@formula("aten::mkldnn_adaptive_avg_pool2d_backward", "aten::adaptive_avg_pool3d_backward", source="as the forward")
def adaptive_avg_pool_backward(grad: Shape, x: Shape, *_: Argument) -> int:
    return grad.numel + x.numel


@formula("aten::fractional_max_pool2d", "aten::fractional_max_pool3d", source="1 per element of a window")
def fractional_max_pool(x: Shape, kernel: tuple[int, ...], size: tuple[int, ...], *_: Argument) -> int:
    return prod(x[: -len(size)]) * prod(size) * prod(kernel)


def upsample(x: Shape, size: Argument, *_: Argument, neighbours: int) -> int:
    """Per result, a product with each neighbour and the sums."""
    sizes = size if isinstance(size, tuple) else ()
    return (2 * neighbours - 1) * x[0] * x[1] * prod(part for part in sizes if isinstance(part, int))


# Sizes or scales, whichever is given: by way of the sizes in the end.
registry.leave(*(f"aten::upsample_{name}.vec" for name in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d")))


def upsample_backward(grad: Shape, *_: Argument, neighbours: int) -> int:
    """Per result, a product and a sum into each neighbour."""
    return 2 * neighbours * grad.numel


for _name, _neighbours in {"linear1d": 2, "bilinear2d": 4, "trilinear3d": 8, "bicubic2d": 16}.items():
    _each = f"{_neighbours} neighbours"
    formula(f"aten::upsample_{_name}", source=_each)(partial(upsample, neighbours=_neighbours))
    formula(f"aten::upsample_{_name}_backward", source=_each)(partial(upsample_backward, neighbours=_neighbours))


@formula(
    *(
        f"aten::{kind}{count}d_backward"
        for kind in ("upsample_nearest", "_upsample_nearest_exact")
        for count in (1, 2, 3)
    ),
    source="1 per result, added to its source",
)
@formula(
    *(f"aten::{kind}_pad{count}d_backward" for kind in ("reflection", "replication") for count in (1, 2, 3)),
    source="1 per result, added to its source",
)
def nearest_backward(grad: Shape, *_: Argument) -> int:
    return grad.numel


_NEIGHBOURS = {0: 2, 1: 1, 2: 4}  # of the interpolation modes, along one dimension


def _grid(x: Shape, grid: Shape, mode: int, each: int) -> int:
    dimensions = grid[-1]
    neighbours = prod([_NEIGHBOURS[mode]] * dimensions)
    return each * neighbours * x[1] * (grid.numel // dimensions)


@formula("aten::grid_sampler_2d", "aten::grid_sampler_3d", source="2 per neighbour")
@formula("aten::_grid_sampler_2d_cpu_fallback", source="2 per neighbour")
def grid_sampler(x: Shape, grid: Shape, mode: int = 0, *_: Argument) -> int:
    return _grid(x, grid, mode, 2)


@formula(
    "aten::grid_sampler_2d_backward",
    "aten::grid_sampler_3d_backward",
    source="2 per neighbour, 3 for the grid",
)
@formula("aten::_grid_sampler_2d_cpu_fallback_backward", source="2 per neighbour, 3 for the grid")
def grid_sampler_backward(_grad: Shape, x: Shape, grid: Shape, mode: int = 0, *_: Argument) -> int:
    return _grid(x, grid, mode, 5)


@formula("aten::cudnn_grid_sampler", source="2 per neighbour")
def cudnn_grid_sampler(x: Shape, grid: Shape, *_: Argument) -> int:
    return _grid(x, grid, 0, 2)


@formula("aten::cudnn_grid_sampler_backward", source="2 per neighbour, 3 for the grid")
def cudnn_grid_sampler_backward(x: Shape, grid: Shape, *_: Argument) -> int:
    return _grid(x, grid, 0, 5)


def taps(size: int, results: int, reach: int, *, aligned: bool) -> int:
    """Over all results along a dimension, the sources that each one reads: as many more as it is shrunk."""
    corners = (size - 1, results - 1) if aligned else (size, results)
    scale = Fraction(*corners) if corners[1] > 0 else Fraction(0)
    support = reach * max(scale, Fraction(1))
    total = 0
    for result in range(results):
        centre = scale * (result + _HALF)
        first = max(int(centre - support + _HALF), 0)
        total += min(int(centre + support + _HALF), size) - first
    return total


def _antialiased(
    sizes: tuple[int, ...], results: Argument, aligned: Argument, scales: tuple[Argument, ...], reach: int
) -> tuple[int, int]:
    """Multiply-adds of both directions, the columns first; and how many numbers they make."""
    if any(scale is not None for scale in scales):
        raise FormulaError("resampled by a scale, whose value is not kept")
    (high, wide), (rows, columns) = sizes[-2:], numbers(results, 2)
    batch = prod(sizes[:-2])
    products = batch * (
        high * taps(wide, columns, reach, aligned=aligned is True)
        + columns * taps(high, rows, reach, aligned=aligned is True)
    )
    return products, batch * columns * (high + rows)


def upsample_antialiased(x: Shape, size: Argument, aligned: Argument, *scales: Argument, reach: int) -> int:
    """A product with each source and their sums, one direction after the other."""
    products, made = _antialiased(x, size, aligned, scales[:2], reach)
    return 2 * products - made


def upsample_antialiased_backward(
    _grad: Shape, size: Argument, sizes: tuple[int, ...], aligned: Argument, *scales: Argument, reach: int
) -> int:
    """A product and a sum into each source."""
    products, _made = _antialiased(sizes, size, aligned, scales[:2], reach)
    return 2 * products


# Sources on either side of a result; where the image is shrunk, they spread.
for _name, _reach in {"bilinear": 1, "bicubic": 2, "lanczos": 3}.items():
    _op = f"aten::_upsample_{_name}2d_aa"
    formula(_op, source="2 per source read, by rows and columns")(partial(upsample_antialiased, reach=_reach))
    formula(f"{_op}_backward", source="2 per source")(partial(upsample_antialiased_backward, reach=_reach))
    registry.leave(f"{_op}.vec")


@formula("aten::cudnn_affine_grid_generator", source="a matrix of 2 rows and 3 columns at each point")
def cudnn_affine_grid(theta: Shape, _batch: int, _channels: int, high: int, wide: int, *_: Argument) -> int:
    return 2 * theta.numel * high * wide


@formula("aten::cudnn_affine_grid_generator_backward", source="a matrix of 2 rows and 3 columns at each point")
def cudnn_affine_grid_backward(_grad: Shape, batch: int, _channels: int, high: int, wide: int, *_: Argument) -> int:
    return 2 * batch * 6 * high * wide


@formula("aten::affine_grid_generator", source="a matrix of n rows and n + 1 columns at each point")
def affine_grid_generator(theta: Shape, size: tuple[int, ...], *_: Argument) -> int:
    return 2 * theta.numel * prod(size[2:])
