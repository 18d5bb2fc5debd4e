"""What every framework here trains: two products without bias, an activation between them, the sum as the loss.

Its sizes are small enough that each operation of a step can be worked out by hand: `benchmarks/frameworks.py` does.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import Dataset

ROWS, WIDTH, HIDDEN, STEPS = 4, 8, 16, 3
LEARNING_RATE = 0.1


class Mlp(nn.Module):
    """Takes rows of `WIDTH` and gives as many of the same width."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x).relu())


class Rows(Dataset[torch.Tensor]):
    """As many rows as ``ranks`` take in all steps, ``times`` batches a step."""

    def __init__(self, ranks: int, times: int = 1) -> None:
        self._length = STEPS * ROWS * ranks * times

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return torch.ones(WIDTH)


def descent(model: nn.Module) -> torch.optim.Optimizer:
    """Plain gradient descent: an operation for each parameter and step."""
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
