"""torch.nn's own layers: recurrent networks, attention, transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.accuracy.catalogue import Subject, model

BATCH, STEPS, WIDTH, HIDDEN, LAYERS = 4, 16, 32, 48, 2


def _first(output: Any) -> Tensor:
    first: Tensor = output[0] if isinstance(output, tuple) else output
    return first.square().mean()


def _sequence(width: int = WIDTH) -> Tensor:
    return torch.randn(BATCH, STEPS, width)


def _recurrent_ops(gates: int, directions: int = 1) -> int:
    """Each step multiplies every gate's weights with the input and with the hidden state, in each layer."""
    inputs = [WIDTH] + [directions * HIDDEN] * (LAYERS - 1)
    return sum(2 * BATCH * STEPS * directions * gates * HIDDEN * (width + HIDDEN) for width in inputs)


@model("lstm", by_hand=_recurrent_ops(4))
def lstm() -> Subject:
    """nn.LSTM, 2 layers, 32 to 48, 16 steps, batch 4."""
    return Subject(module=nn.LSTM(WIDTH, HIDDEN, LAYERS, batch_first=True), args=(_sequence(),), loss=_first)


@model("lstm-bidirectional", by_hand=_recurrent_ops(4, directions=2))
def lstm_bidirectional() -> Subject:
    """nn.LSTM in both directions, 2 layers with dropout between them."""
    module = nn.LSTM(WIDTH, HIDDEN, LAYERS, batch_first=True, bidirectional=True, dropout=0.1)
    return Subject(module=module, args=(_sequence(),), loss=_first)


@model("gru", by_hand=_recurrent_ops(3))
def gru() -> Subject:
    """nn.GRU, 2 layers, 32 to 48, 16 steps, batch 4."""
    return Subject(module=nn.GRU(WIDTH, HIDDEN, LAYERS, batch_first=True), args=(_sequence(),), loss=_first)


@model("rnn", by_hand=_recurrent_ops(1))
def rnn() -> Subject:
    """nn.RNN with tanh, 2 layers."""
    return Subject(module=nn.RNN(WIDTH, HIDDEN, LAYERS, batch_first=True), args=(_sequence(),), loss=_first)


class Cells(nn.Module):
    """A recurrence that the model's own Python steps through."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(WIDTH, HIDDEN), nn.GRUCell(HIDDEN, HIDDEN)

    def forward(self, sequence: Tensor) -> Tensor:
        state: Any = None
        hidden: Any = None
        for x in sequence.unbind(1):
            state = self.lstm(x, state)
            hidden = self.gru(state[0], hidden)
        last: Tensor = hidden
        return last


@model("cells", by_hand=2 * BATCH * STEPS * HIDDEN * (4 * (WIDTH + HIDDEN) + 3 * (HIDDEN + HIDDEN)))
def cells() -> Subject:
    """nn.LSTMCell and nn.GRUCell, stepped in Python."""
    return Subject(module=Cells(), args=(_sequence(),), loss=_first)


HEADS, MODEL, INNER = 4, 32, 64
_ROWS = BATCH * STEPS
_ATTENTION = 8 * _ROWS * MODEL**2 + 4 * BATCH * STEPS**2 * MODEL  # projections in and out, scores, their product
_NETWORK = 4 * _ROWS * MODEL * INNER


@model("multihead-attention", by_hand=_ATTENTION)
def multihead_attention() -> Subject:
    """nn.MultiheadAttention in training, without weights."""
    x = _sequence(MODEL)
    module = nn.MultiheadAttention(MODEL, HEADS, batch_first=True)
    return Subject(module=module, args=(x, x, x), kwargs={"need_weights": False}, loss=_first)


@model("multihead-attention-weights", by_hand=_ATTENTION)
def multihead_attention_weights() -> Subject:
    """nn.MultiheadAttention that also returns its weights: attention as separate products."""
    x = _sequence(MODEL)
    return Subject(module=nn.MultiheadAttention(MODEL, HEADS, batch_first=True), args=(x, x, x), loss=_first)


@model("transformer-encoder", by_hand=2 * (_ATTENTION + _NETWORK))
def transformer_encoder() -> Subject:
    """nn.TransformerEncoder, 2 layers, in training."""
    layer = nn.TransformerEncoderLayer(MODEL, HEADS, INNER, batch_first=True)
    return Subject(
        module=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), args=(_sequence(MODEL),), loss=_first
    )


@model("transformer", by_hand=2 * (_ATTENTION + _NETWORK) + 2 * (2 * _ATTENTION + _NETWORK))
def transformer() -> Subject:
    """nn.Transformer, 2 encoder and 2 decoder layers."""
    module = nn.Transformer(MODEL, HEADS, 2, 2, INNER, batch_first=True)
    return Subject(module=module, args=(_sequence(MODEL), _sequence(MODEL)), loss=_first)


class Probe(nn.Module):
    """A frozen encoder in evaluation mode, whose layers take torch's fast path, and a head that learns."""

    def __init__(self, frozen: nn.Module) -> None:
        super().__init__()
        self.frozen, self.head = frozen, nn.Linear(MODEL, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.frozen.eval()
        with torch.no_grad():
            features = self.frozen(x)
        out: Tensor = self.head(features)
        return out


class Attending(nn.Module):
    """Self-attention by `nn.MultiheadAttention`."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(MODEL, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return out


def _probe(name: str, what: str, frozen: Callable[[], nn.Module], ops: int) -> None:
    def build() -> Subject:
        return Subject(module=Probe(frozen()), args=(_sequence(MODEL),), loss=_first)

    build.__doc__ = what
    model(name, by_hand=ops + 4 * _ROWS * MODEL)(build)


_probe("fast-path-attention", "nn.MultiheadAttention's fast path below a head that learns.", Attending, _ATTENTION)
_probe(
    "fast-path-encoder",
    "nn.TransformerEncoderLayer's fast path below a head that learns.",
    lambda: nn.TransformerEncoderLayer(MODEL, HEADS, INNER, batch_first=True),
    _ATTENTION + _NETWORK,
)
