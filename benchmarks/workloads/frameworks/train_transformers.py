"""Trains under Transformers' Trainer: ``python train_transformers.py``, or the same below torchrun."""

from __future__ import annotations

import os
import sys
import tempfile

import torch
from subject import LEARNING_RATE, ROWS, STEPS, Mlp, Rows
from torch import nn
from transformers import Trainer, TrainingArguments


class WithLoss(nn.Module):
    """As the Trainer wants a model: it gives the loss first."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = Mlp()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.mlp(x)
        return rows.sum(), rows


def main(micro_batches: int) -> None:
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory,
            max_steps=STEPS,
            per_device_train_batch_size=ROWS,
            gradient_accumulation_steps=micro_batches,
            learning_rate=LEARNING_RATE,
            optim="sgd",
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        dataset = [{"x": row} for row in Rows(ranks, micro_batches)]
        Trainer(WithLoss(), arguments, train_dataset=dataset).train()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
