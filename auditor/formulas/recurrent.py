"""Recurrent layers in one kernel: LSTM, GRU and plain layers of cuDNN, MIOpen and oneDNN.

*Matrix part*, in the recurrent family: every weight matrix (input, hidden and projection, of every layer and
direction) meets every position of every sequence once, so ``2 x positions x elements of the matrices``; the
gradients of data and of weights cost that once more each. Positions are steps times batch, or what is packed.

*Gates*, beside it as pointwise, per position, layer, direction and hidden unit, spelt out as in `pointwise`:

======  =======  ========  =================================================================================
cell    forward  backward  forward
======  =======  ========  =================================================================================
plain   2        4         sum, activation
LSTM    22       24        4 sums, 3 sigmoids of 4, tanh, cell 3, tanh, product
GRU     16       20        2 sums, 2 sigmoids of 4, product, sum, tanh, mixing 3
======  =======  ========  =================================================================================

Biases are the last additions of the products, and their gradients are in the backward column.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from auditor.errors import FormulaError
from auditor.formulas import registry
from auditor.formulas.sizes import multiply_adds, shapes
from auditor.operations import Family

if TYPE_CHECKING:
    from auditor.tally import Argument, Shape

formula = partial(registry.formula, family=Family.RECURRENT)
gates = partial(registry.beside, family=Family.POINTWISE)

_RELU, _TANH, _LSTM, _GRU = range(4)  # the modes of cuDNN, which all three use
FORWARD_OPS = {_RELU: 2, _TANH: 2, _LSTM: 22, _GRU: 16}
BACKWARD_OPS = {_RELU: 4, _TANH: 4, _LSTM: 24, _GRU: 20}


def _matrices(weights: Argument) -> int:
    return sum(weight.numel for weight in shapes([weights]) if len(weight) == 2)


def _positions(x: Shape) -> int:
    """``[steps,batch,width]``, either way round, or ``[packed,width]``."""
    return x.numel // x[-1]


def _products(x: Shape, weights: Argument, times: int = 1) -> int:
    return times * multiply_adds(_positions(x) * _matrices(weights), x)


def _cells(x: Shape, each: dict[int, int], mode: Argument, *factors: Argument) -> int:
    if not isinstance(mode, int) or mode not in each:
        raise FormulaError(f"a recurrent mode from 0 to 3 was expected, got {mode!r}")
    number = _positions(x) * each[mode]
    for factor in factors:
        number *= (2 if factor else 1) if isinstance(factor, bool) else factor if isinstance(factor, int) else 0
    return number


@formula("aten::_cudnn_rnn", "aten::miopen_rnn", source="positions x matrices")
def cudnn_rnn(x: Shape, weights: tuple[Shape, ...], *_: Argument) -> int:
    return _products(x, weights)


@formula("aten::_cudnn_rnn_backward", source="data gradients, and weight gradients where the mask wants them")
@formula("aten::miopen_rnn_backward", source="data gradients, and weight gradients where the mask wants them")
def cudnn_rnn_backward(x: Shape, weights: tuple[Shape, ...], *rest: Argument) -> int:
    mask = rest[-1]
    wants_weights = mask[3] if isinstance(mask, tuple) and len(mask) == 4 else True
    return _products(x, weights, 2 if wants_weights else 1)


@gates("aten::_cudnn_rnn", source="per position, layer, direction and hidden unit")
def cudnn_gates(x: Shape, _weights: Argument, *rest: Argument) -> int:
    _stride, _buffer, _hx, _cx, mode, hidden, _projection, layers, _first, _dropout, _train, both = rest[:12]
    return _cells(x, FORWARD_OPS, mode, hidden, layers, both)


@gates("aten::_cudnn_rnn_backward", source="per position, layer, direction and hidden unit")
def cudnn_gates_backward(x: Shape, _weights: Argument, *rest: Argument) -> int:
    mode, hidden, _projection, layers, _first, _dropout, _train, both = rest[8:16]
    return _cells(x, BACKWARD_OPS, mode, hidden, layers, both)


@gates("aten::miopen_rnn", source="per position, layer, direction and hidden unit")
def miopen_gates(x: Shape, _weights: Argument, *rest: Argument) -> int:
    _stride, _hx, _cx, mode, hidden, layers, _first, _dropout, _train, both = rest[:10]
    return _cells(x, FORWARD_OPS, mode, hidden, layers, both)


@gates("aten::miopen_rnn_backward", source="per position, layer, direction and hidden unit")
def miopen_gates_backward(x: Shape, _weights: Argument, *rest: Argument) -> int:
    mode, hidden, layers, _first, _dropout, _train, both = rest[8:15]
    return _cells(x, BACKWARD_OPS, mode, hidden, layers, both)


@formula("aten::mkldnn_rnn_layer", source="positions x the two matrices of one layer and direction")
def mkldnn_rnn_layer(x: Shape, of_input: Shape, of_hidden: Shape, *_: Argument) -> int:
    return _products(x, (of_input, of_hidden))


@formula("aten::mkldnn_rnn_layer_backward", source="data and weight gradients, always both")
def mkldnn_rnn_layer_backward(x: Shape, of_input: Shape, of_hidden: Shape, *_: Argument) -> int:
    return _products(x, (of_input, of_hidden), 2)


@gates("aten::mkldnn_rnn_layer", source="per position and hidden unit")
def mkldnn_gates(x: Shape, *rest: Argument) -> int:
    mode, hidden = rest[8:10]
    return _cells(x, FORWARD_OPS, mode, hidden)


@gates("aten::mkldnn_rnn_layer_backward", source="per position and hidden unit")
def mkldnn_gates_backward(x: Shape, *rest: Argument) -> int:
    mode, hidden = rest[13:15]
    return _cells(x, BACKWARD_OPS, mode, hidden)


@formula("aten::_lstm_mps", source="positions x matrices")
def mps_lstm(x: Shape, _hidden: Argument, weights: tuple[Shape, ...], *_: Argument) -> int:
    return _products(x, weights)


@gates("aten::_lstm_mps", source="per position, layer, direction and hidden unit")
def mps_gates(x: Shape, hidden: tuple[Shape, ...], _weights: Argument, *rest: Argument) -> int:
    _biases, layers, _dropout, _train, both = rest[:5]
    return _cells(x, FORWARD_OPS, _LSTM, hidden[0][-1], layers, both)


@formula("aten::lstm_mps_backward", source="data and weight gradients, always both")
def mps_lstm_backward(*arguments: Argument) -> int:
    x, weights = shapes([arguments[5]])[0], arguments[8]
    return _products(x, weights, 2)


@gates("aten::lstm_mps_backward", source="per position, layer, direction and hidden unit")
def mps_gates_backward(*arguments: Argument) -> int:
    x, hidden = shapes([arguments[5]])[0], shapes([arguments[7]])[0]
    _biases, layers, _dropout, _train, both = arguments[9:14]
    return _cells(x, BACKWARD_OPS, _LSTM, hidden[-1], layers, both)


# Cells whose products are operators of their own: only the gates are left.
@registry.formula("aten::_thnn_fused_lstm_cell", family=Family.POINTWISE, source="gates, and 4 for each bias")
def lstm_cell(_gates: Shape, _hidden: Shape, cell: Shape, *biases: Argument) -> int:
    return cell.numel * (FORWARD_OPS[_LSTM] + 4 * len(shapes(biases[:2])))


@registry.formula("aten::_thnn_fused_lstm_cell_backward_impl", family=Family.POINTWISE, source="gates")
def lstm_cell_backward(_hy: Argument, _cy: Argument, cell: Shape, *_: Argument) -> int:
    return cell.numel * BACKWARD_OPS[_LSTM]


@registry.formula("aten::_thnn_fused_gru_cell", family=Family.POINTWISE, source="gates, and 3 for each bias")
def gru_cell(_gates: Shape, _hidden_gates: Shape, hidden: Shape, *biases: Argument) -> int:
    return hidden.numel * (FORWARD_OPS[_GRU] + 3 * len(shapes(biases[:2])))


@registry.formula("aten::_thnn_fused_gru_cell_backward", family=Family.POINTWISE, source="gates")
def gru_cell_backward(grad: Shape, *_: Argument) -> int:
    return grad.numel * BACKWARD_OPS[_GRU]
