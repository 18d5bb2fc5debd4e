"""Convolutions and their gradients against loops by the definition, and against torch's own counter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from auditor.formulas import Price, Pricer
from auditor.tally import NUMBER, Argument, Shape, Signature, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORWARD = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


@dataclass(frozen=True, kw_only=True)
class Case:
    dimensions: int
    batch: int
    groups: int
    inputs: int  # channels of a group
    outputs: int  # channels of a group
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        first = self.inputs if not self.transposed else self.inputs * self.groups
        second = self.outputs * self.groups if not self.transposed else self.outputs
        weight = (second, first) if not self.transposed else (first, second)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.batch, self.inputs * self.groups, *self.size, dtype=torch.float64, generator=generator)
        return x, torch.randn(*weight, *self.kernel, dtype=torch.float64, generator=generator)

    def run(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        function = (TRANSPOSED if self.transposed else FORWARD)[self.dimensions]
        settings = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        return function(x, weight, **settings)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dimensions = draw(st.integers(1, 3))
    top = {1: 6, 2: 4, 3: 3}[dimensions]
    each = st.tuples(*[st.integers(1, 2)] * dimensions)
    kernel, dilation = draw(each), draw(each)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(draw(st.integers(low, top + low)) for low in reach)
    # Torch refuses a transposed convolution that pads more than its kernel reaches.
    padding = tuple(draw(st.integers(0, low - 1)) for low in reach)
    small = st.integers(1, 2)
    return Case(
        dimensions=dimensions,
        batch=draw(small),
        groups=draw(st.integers(1, 3)),
        inputs=draw(small),
        outputs=draw(small),
        size=size,
        kernel=kernel,
        stride=draw(each),
        padding=padding,
        dilation=dilation,
        transposed=draw(st.booleans()),
    )


def _meetings(case: Case, fixed: torch.Size, moved: torch.Size) -> Iterator[tuple[Any, Any, bool]]:
    """Each position in ``fixed`` with each tap: the place in ``moved`` it reaches, and whether that exists.

    A convolution walks over its results and reaches into its input; a transposed one the other way round.
    """
    for position in product(*map(range, fixed[2:])):
        for tap in product(*map(range, case.kernel)):
            place = tuple(
                at * step - pad + gap * k
                for at, step, pad, gap, k in zip(position, case.stride, case.padding, case.dilation, tap, strict=True)
            )
            inside = all(0 <= p < size for p, size in zip(place, moved[2:], strict=True))
            yield (position, place), tap, inside


@dataclass
class Naive:
    """What the loops found: result, both gradients, and the multiply-adds of each."""

    result: torch.Tensor
    grad_x: torch.Tensor
    grad_weight: torch.Tensor
    products: int = 0


def _naive(case: Case, x: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> Naive:
    """One loop over all meetings; each is one product of the result and one of each gradient."""
    found = Naive(torch.zeros_like(grad), torch.zeros_like(x), torch.zeros_like(weight))
    fixed, moved = (x.shape, grad.shape) if case.transposed else (grad.shape, x.shape)
    for (position, place), tap, inside in _meetings(case, fixed, moved):
        for n, g, i, o in product(*map(range, (case.batch, case.groups, case.inputs, case.outputs))):
            found.products += 1
            if not inside:
                continue  # a product with padding: computed, and nothing
            channel, out = g * case.inputs + i, g * case.outputs + o
            at_x = (n, channel, *(position if case.transposed else place))
            at_result = (n, out, *(place if case.transposed else position))
            at_weight = ((channel, o) if case.transposed else (out, i)) + tap
            found.result[at_result] += x[at_x] * weight[at_weight]
            found.grad_x[at_x] += grad[at_result] * weight[at_weight]
            found.grad_weight[at_weight] += grad[at_result] * x[at_x]
    return found


def _theirs(program: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        program()
    return counter.get_total_flops()


@given(cases())
@settings(max_examples=40, deadline=None)
def test_convolutions_and_their_gradients_cost_what_the_definition_multiplies(case: Case) -> None:
    x, weight = case.tensors()
    x.requires_grad_()
    weight.requires_grad_()
    result = case.run(x, weight)
    grad = torch.randn(result.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    result.backward(grad)
    naive = _naive(case, x.detach(), weight.detach(), grad)
    torch.testing.assert_close(naive.result, result.detach())
    torch.testing.assert_close(naive.grad_x, x.grad)
    torch.testing.assert_close(naive.grad_weight, weight.grad)

    shared: tuple[Argument, ...] = (case.stride, case.padding, case.dilation, case.transposed)
    rest: tuple[Argument, ...] = (*shared, (0,) * case.dimensions, case.groups)
    shapes = Shape(x.shape), Shape(weight.shape)
    assert _price("aten::convolution", *shapes, None, *rest) == 2 * naive.products
    for mask in product((True, False), repeat=3):
        answer = _price("aten::convolution_backward", Shape(grad.shape), *shapes, None, *rest, mask)
        assert answer == 2 * naive.products * (mask[0] + mask[1])


def _price(op: str, *arguments: Argument) -> int:
    price = Pricer().of(Signature(op, encode_arguments(arguments)))
    assert price.amount is not None, price.problem
    return price.amount.algorithmic_ops


LAYERS: list[tuple[str, Callable[[], torch.nn.Module], tuple[int, ...]]] = [
    ("1d", lambda: torch.nn.Conv1d(4, 6, 3, padding="same"), (2, 4, 9)),
    ("2d", lambda: torch.nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 9, 8)),
    ("2d dilated", lambda: torch.nn.Conv2d(4, 6, 3, dilation=2), (2, 4, 9, 8)),
    ("3d", lambda: torch.nn.Conv3d(2, 3, 2, padding=1), (1, 2, 4, 4, 4)),
    ("transposed", lambda: torch.nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5, 5)),
    ("grouped", lambda: torch.nn.Conv2d(4, 6, 3, groups=2), (2, 4, 7, 7)),
    ("depthwise", lambda: torch.nn.Conv2d(8, 8, 3, groups=8), (2, 8, 7, 7)),
]


@pytest.mark.parametrize(("name", "make", "size"), LAYERS, ids=[name for name, _, _ in LAYERS])
def test_torchs_own_counter_agrees_on_the_forward(
    watch: Any, name: str, make: Callable[[], torch.nn.Module], size: tuple[int, ...]
) -> None:
    layer, x = make(), torch.ones(size)
    assert watch(lambda: layer(x)).amount("aten::convolution").algorithmic_ops == _theirs(lambda: layer(x)) > 0


@pytest.mark.parametrize(("name", "make", "size"), LAYERS, ids=[name for name, _, _ in LAYERS])
def test_torchs_own_counter_agrees_on_the_backward_unless_there_are_groups(
    watch: Any, name: str, make: Callable[[], torch.nn.Module], size: tuple[int, ...]
) -> None:
    layer, x = make(), torch.ones(size, requires_grad=True)
    groups: int = layer.groups  # type: ignore[assignment]
    ours = watch(lambda: layer(x).sum().backward())
    forward = ours.amount("aten::convolution").algorithmic_ops
    assert ours.amount("aten::convolution_backward").algorithmic_ops == 2 * forward
    # Its weight gradient leaves the groups out, and so is found `groups` times.
    assert _theirs(lambda: layer(x).sum().backward()) == forward * (2 + groups)


def test_the_first_layer_has_no_input_gradient_and_a_frozen_one_no_weight_gradient(watch: Any) -> None:
    first, second = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 3)
    x = torch.ones(1, 3, 8, 8)
    forward = [watch(lambda: first(x)).amount("aten::convolution").algorithmic_ops]
    forward.append(watch(lambda: second(first(x))).amount("aten::convolution").algorithmic_ops - forward[0])
    both = watch(lambda: second(first(x)).sum().backward())
    assert both.amount("aten::convolution_backward").algorithmic_ops == forward[0] + 2 * forward[1]
    second.requires_grad_(requires_grad=False)
    frozen = watch(lambda: second(first(x)).sum().backward())
    assert frozen.amount("aten::convolution_backward").algorithmic_ops == forward[0] + forward[1]


def test_the_bias_gradient_stands_beside_as_a_sum(watch: Any) -> None:
    layer, plain = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3, bias=False)
    x = torch.ones(2, 3, 8, 8)
    with_bias, without = (watch(lambda each=each: each(x).sum().backward()).operations() for each in (layer, plain))
    assert with_bias.by_family["convolution"] == without.by_family["convolution"]
    assert with_bias.by_family["reduction"] - without.by_family["reduction"] == 2 * 4 * 6 * 6


@pytest.mark.parametrize(
    ("op", "named"),
    [
        ("aten::cudnn_convolution", {"self": 0, "weight": 1}),
        ("aten::mkldnn_convolution", {"self": 0, "weight": 1}),
        ("aten::miopen_convolution", {"self": 0, "weight": 1}),
        ("aten::miopen_depthwise_convolution", {"self": 0, "weight": 1}),
        ("aten::cudnn_convolution_relu", {"self": 0, "weight": 1}),
        ("aten::convolution_overrideable", {"input": 0, "weight": 1, "transposed": False}),
        ("aten::_convolution", {"input": 0, "weight": 1, "transposed": False}),
    ],
)
def test_the_convolutions_of_each_backend_take_their_arguments_in_their_own_order(
    price: Callable[..., Price], op: str, named: dict[str, Any]
) -> None:
    """Stride and padding differ, so that one taken for the other gives another number."""
    shapes = Shape((2, 4, 11, 10)), Shape((6, 2, 3, 3))
    arguments = {name: shapes[value] if type(value) is int else value for name, value in named.items()}
    answer = price(op, **arguments, stride=(3, 2), padding=(1, 0), dilation=(1, 2), groups=2).amount
    assert answer is not None
    rows, columns = (11 + 2 - 3) // 3 + 1, (10 - 5) // 2 + 1
    assert answer.algorithmic_ops == 2 * 2 * (rows * columns) * (6 * 2 * 3 * 3)


@pytest.mark.parametrize(
    ("op", "extra", "expected"),
    [
        ("aten::cudnn_convolution_transpose", {}, 2 * 2 * 110 * (4 * 3 * 9)),
        ("aten::slow_conv_transpose2d", {"kernel_size": (3, 3)}, 2 * 2 * 110 * (4 * 3 * 9)),
        (
            "aten::slow_conv_dilated2d",
            {"kernel_size": (3, 3), "dilation": (2, 1)},
            2 * 2 * (7 * 8) * (4 * 3 * 9),
        ),
        ("aten::_slow_conv2d_forward", {"kernel_size": (3, 3)}, 2 * 2 * (9 * 8) * (4 * 3 * 9)),
        (
            "aten::_conv_depthwise2d",
            {"kernel_size": (3, 3), "dilation": (1, 1)},
            2 * 2 * (9 * 8) * (4 * 3 * 9),
        ),
    ],
)
def test_native_kernels(price: Callable[..., Price], op: str, extra: dict[str, Any], expected: int) -> None:
    shapes = {"self": Shape((2, 4, 11, 10)), "weight": Shape((4, 3, 3, 3))}
    answer = price(op, **shapes, **{"stride": (1, 1), "padding": (0, 0), **extra}).amount
    assert answer is not None
    assert answer.algorithmic_ops == expected


def test_the_native_backward_goes_by_its_mask(price: Callable[..., Price]) -> None:
    shapes = {
        "grad_output": Shape((2, 5, 9, 8)),
        "self": Shape((2, 4, 11, 10)),
        "weight": Shape((5, 4, 3, 3)),
    }
    once = 2 * 2 * 9 * 8 * 5 * 4 * 9
    for mask in product((True, False), repeat=3):
        named = {**shapes, "kernel_size": (3, 3), "stride": (1, 1), "padding": (0, 0), "output_mask": mask}
        answer = price("aten::_slow_conv2d_backward.output_mask", **named).amount
        assert answer is not None
        assert answer.algorithmic_ops == once * (mask[0] + mask[1])


def test_time_convolution(watch: Any) -> None:
    x, weight, bias = torch.ones(7, 2, 3), torch.ones(3, 3, 5), torch.ones(5)
    seen = watch(lambda: torch.conv_tbc(x, weight, bias, 1))
    assert seen.amount("aten::conv_tbc").algorithmic_ops == 2 * (2 * 7) * (3 * 3 * 5)


def test_one_number_stands_for_every_dimension() -> None:
    shapes = Shape((1, 2, 9, 9)), Shape((3, 2, 3, 3))
    one = _price("aten::convolution", *shapes, None, (2,), (1,), (1,), False, (0,), 1)
    two = _price("aten::convolution", *shapes, None, (2, 2), (1, 1), (1, 1), False, (0, 0), 1)
    assert one == two > 0


def test_settings_that_are_no_whole_numbers_have_no_price() -> None:
    arguments = (Shape((1, 2, 9)), Shape((3, 2, 3)), None, (NUMBER,), (0,), (1,), False, (0,), 1)
    price = Pricer().of(Signature("aten::convolution", encode_arguments(arguments)))
    assert price.amount is None
    assert "expected 1 whole numbers" in price.problem
