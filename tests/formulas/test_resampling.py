"""Antialiased resampling against the weights of torch's own kernel, and against the definition."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from auditor.formulas.pooling import taps
from auditor.tally import NUMBER, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.formulas import Price

SIZE = st.integers(1, 14)
OPS = [("bilinear", 1), ("bicubic", 2), ("lanczos", 3)]


def _loops(size: int, results: int, reach: int, *, aligned: bool) -> int:
    """The pairs of a result and a source that lies within its support, one by one."""
    scale = Fraction(size, results)
    if aligned:
        scale = Fraction(size - 1, results - 1) if results > 1 else Fraction(0)
    support = reach * max(scale, Fraction(1))
    centres = [scale * (result + Fraction(1, 2)) for result in range(results)]
    sources = [source + Fraction(1, 2) for source in range(size)]
    return sum(centre - support < source <= centre + support for centre in centres for source in sources)


@given(size=SIZE, results=SIZE, reach=st.integers(1, 3), aligned=st.booleans())
@settings(max_examples=150)
def test_a_result_reads_the_sources_within_its_support(*, size: int, results: int, reach: int, aligned: bool) -> None:
    assert taps(size, results, reach, aligned=aligned) == _loops(size, results, reach, aligned=aligned)


@given(size=SIZE, results=SIZE)
@settings(max_examples=60)
def test_torchs_own_weights_are_those_of_the_sources_read(size: int, results: int) -> None:
    """Each source alone, resampled: where it is felt. A source on the rim of a support is read with weight zero."""
    images = torch.eye(size).reshape(size, 1, 1, size)
    felt = functional.interpolate(images, (1, results), mode="bilinear", antialias=True).count_nonzero().item()
    assert felt <= taps(size, results, 1, aligned=False) <= felt + results


@pytest.mark.parametrize(("name", "reach"), OPS)
def test_columns_then_rows_one_product_for_each_source(
    price: Callable[..., Price], shape: Callable[..., Shape], name: str, reach: int
) -> None:
    high, wide, rows, columns = 9, 10, 4, 25
    across = _loops(wide, columns, reach, aligned=False)
    down = _loops(high, rows, reach, aligned=False)
    products = 6 * (high * across + columns * down)
    named: dict[str, Any] = {"output_size": (rows, columns), "align_corners": False}
    forward = price(f"aten::_upsample_{name}2d_aa", self=shape(2, 3, high, wide), **named).amount
    assert forward is not None
    assert forward.algorithmic_ops == 2 * products - 6 * columns * (high + rows)
    named |= {"grad_output": shape(2, 3, rows, columns), "input_size": (2, 3, high, wide)}
    backward = price(f"aten::_upsample_{name}2d_aa_backward", **named).amount
    assert backward is not None
    assert backward.algorithmic_ops == 2 * products


def test_resampled_by_a_scale_it_has_no_price(price: Callable[..., Price], shape: Callable[..., Shape]) -> None:
    named: dict[str, Any] = {"output_size": (4, 4), "align_corners": False, "scales_h": NUMBER}
    answer = price("aten::_upsample_bilinear2d_aa", self=shape(2, 3, 9, 10), **named)
    assert answer.amount is None
    assert "scale, whose value is not kept" in answer.problem


def test_resizing_an_image_is_seen_and_priced(watch: Any) -> None:
    image = torch.ones(1, 3, 9, 10)
    seen = watch(lambda: functional.interpolate(image, (4, 25), mode="bilinear", antialias=True))
    assert seen.count("aten::_upsample_bilinear2d_aa") == 1
    assert seen.operations().complete


def test_an_affine_grid_is_a_small_product_at_each_point(
    price: Callable[..., Price], shape: Callable[..., Shape]
) -> None:
    theta, sizes = shape(2, 2, 3), {"N": 2, "C": 3, "H": 4, "W": 5}
    plain = price("aten::affine_grid_generator", theta=theta, size=(2, 3, 4, 5)).parts
    assert price("aten::cudnn_affine_grid_generator", theta=theta, **sizes).parts == plain
    grad = shape(2, 4, 5, 2)
    assert price("aten::cudnn_affine_grid_generator_backward", grad=grad, **sizes).parts == plain
    assert plain[0][1].algorithmic_ops == 2 * (2 * 4 * 5) * (2 * 3)
