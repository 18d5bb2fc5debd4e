"""Recurrent kernels against the same layers unrolled by hand, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.formulas import Price, Pricer
from auditor.tally import Shape, Signature, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

LSTM, GRU, TANH = 2, 3, 1
LAYERS: dict[int, type[torch.nn.RNNBase]] = {LSTM: torch.nn.LSTM, GRU: torch.nn.GRU, TANH: torch.nn.RNN}


def _unrolled(cell: torch.nn.LSTMCell, steps: torch.Tensor, state: Any) -> torch.Tensor:
    for step in steps:
        state = cell(step, state)
    return state[0].sum()


@pytest.mark.parametrize(("steps", "batch", "width", "hidden"), [(1, 1, 1, 1), (4, 3, 5, 7), (6, 2, 8, 3)])
def test_the_cpu_lstm_costs_what_its_cells_cost_one_by_one(
    watch: Any, steps: int, batch: int, width: int, hidden: int
) -> None:
    layer, cell = torch.nn.LSTM(width, hidden), torch.nn.LSTMCell(width, hidden)

    def tensors() -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        start = torch.ones(batch, hidden, requires_grad=True), torch.ones(batch, hidden, requires_grad=True)
        return torch.ones(steps, batch, width, requires_grad=True), start

    def whole(*, backward: bool) -> None:
        x, (h, c) = tensors()
        result = layer(x, (h[None], c[None]))[0].sum()
        if backward:
            result.backward()

    def by_cell(*, backward: bool) -> None:
        x, state = tensors()
        result = _unrolled(cell, x, state)
        if backward:
            result.backward()

    for backward in (False, True):
        fused = watch(lambda backward=backward: whole(backward=backward))
        assert fused.count("aten::mkldnn_rnn_layer") == 1
        parts = watch(lambda backward=backward: by_cell(backward=backward))
        assert fused.operations().by_family["recurrent"] == parts.operations().by_family["matmul"]


def test_layers_and_directions_add_up(watch: Any) -> None:
    steps, batch, width, hidden = 4, 3, 5, 7
    layer = torch.nn.LSTM(width, hidden, num_layers=2, bidirectional=True)
    seen = watch(lambda: layer(torch.ones(steps, batch, width)))
    weights = sum(weight.numel() for weight in layer.parameters() if weight.dim() == 2)
    assert seen.operations().by_family["recurrent"] == 2 * steps * batch * weights
    gates = 22 * steps * batch * hidden * 2 * 2
    assert seen.operations().by_family["pointwise"] == gates


@given(
    mode=st.sampled_from(sorted(LAYERS)),
    steps=st.integers(1, 4),
    batch=st.integers(1, 3),
    width=st.integers(1, 5),
    hidden=st.integers(2, 5),
    layers=st.integers(1, 3),
    both=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_cudnn_kernel_meets_every_matrix_once_at_every_position(
    *, mode: int, steps: int, batch: int, width: int, hidden: int, layers: int, both: bool
) -> None:
    """Counted by walking over the real layer's weights, position by position."""
    layer = LAYERS[mode](width, hidden, num_layers=layers, bidirectional=both)
    products = 0
    for _position in range(steps * batch):
        for weight in layer.parameters():
            products += weight.numel() if weight.dim() == 2 else 0
    x = Shape((steps, batch, width))
    weights = tuple(Shape(weight.shape) for weight in layer.parameters())
    rest = (mode, hidden, 0, layers, False, None, True, both, (), None)
    forward = Pricer().of(Signature("aten::_cudnn_rnn", encode_arguments((x, weights, 4, None, x, None, *rest))))
    assert forward.amount is not None
    assert forward.amount.algorithmic_ops == 2 * products
    gates = {LSTM: 22, GRU: 16, TANH: 2}[mode] * steps * batch * hidden * layers * (2 if both else 1)
    assert forward.beside[0][1].algorithmic_ops == gates
    for wants_weights in (True, False):
        before = (4, x, x, None, x, x, None, None, *rest, x, (True, True, False, wants_weights))
        backward = Pricer().of(Signature("aten::_cudnn_rnn_backward", encode_arguments((x, weights, *before))))
        assert backward.amount is not None, backward.problem
        assert backward.amount.algorithmic_ops == 2 * products * (1 + wants_weights)


def test_packed_sequences_count_their_positions(price: Callable[..., Price], shape: Callable[..., Shape]) -> None:
    weights = (shape(16, 3), shape(16, 4), shape(16), shape(16))
    named: dict[str, Any] = {
        "weight": weights,
        "hx": shape(1, 2, 4),
        "mode": LSTM,
        "hidden_size": 4,
        "num_layers": 1,
    }
    packed = price("aten::_cudnn_rnn", input=shape(7, 3), batch_sizes=(2, 2, 2, 1), **named).amount
    assert packed is not None
    assert packed.algorithmic_ops == 2 * 7 * (16 * 3 + 16 * 4)


def test_the_miopen_kernel_counts_like_the_cudnn_one(price: Callable[..., Price], shape: Callable[..., Shape]) -> None:
    weights = (shape(16, 3), shape(16, 4), shape(16), shape(16))
    named: dict[str, Any] = {"input": shape(5, 2, 3), "weight": weights, "hx": shape(1, 2, 4), "mode": LSTM}
    named |= {"hidden_size": 4, "num_layers": 2, "bidirectional": True}
    assert price("aten::miopen_rnn", **named).parts == price("aten::_cudnn_rnn", **named).parts
    named |= {
        "weight_buf": shape(9),
        "output": shape(5, 2, 4),
        "reserve": shape(9),
        "output_mask": (True,) * 4,
    }
    back = price("aten::miopen_rnn_backward", **named)
    assert back.parts == price("aten::_cudnn_rnn_backward", **named).parts
    assert back.beside[0][1].algorithmic_ops == 24 * 5 * 2 * 4 * 2 * 2


def test_an_unknown_kind_of_cell_has_no_price(price: Callable[..., Price], shape: Callable[..., Shape]) -> None:
    answer = price("aten::_cudnn_rnn", input=shape(5, 2, 3), weight=(shape(16, 3),), hx=shape(1, 2, 4), mode=9)
    assert answer.amount is None
    assert "recurrent mode" in answer.problem


def test_the_gates_of_an_lstm_cell_are_those_that_torch_runs_one_by_one(watch: Any) -> None:
    """On the CPU a cell is taken apart: products, then the gates that fused kernels hold inside."""
    batch, width, hidden = 3, 5, 7
    seen = watch(lambda: torch.nn.LSTMCell(width, hidden)(torch.ones(batch, width)))
    initialisation = watch(lambda: torch.nn.LSTMCell(width, hidden)).operations().by_family["pointwise"]
    gates = seen.operations().by_family["pointwise"] - initialisation
    assert gates == 22 * batch * hidden
