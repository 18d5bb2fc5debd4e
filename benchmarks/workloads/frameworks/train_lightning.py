"""Trains under Lightning: ``python train_lightning.py [STRATEGY] [MICRO_BATCHES]``; two ranks with any kind of ddp."""

from __future__ import annotations

import sys

import lightning
import torch
from subject import ROWS, STEPS, Mlp, Rows, descent
from torch.utils.data import DataLoader


class Module(lightning.LightningModule):
    """What Lightning trains."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = Mlp()

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        return self.mlp(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return descent(self)


def main(strategy: str, micro_batches: int) -> None:
    ranks = 1 if strategy == "auto" else 2
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=strategy,
        max_steps=STEPS,
        accumulate_grad_batches=micro_batches,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), DataLoader(Rows(ranks, micro_batches), batch_size=ROWS))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "auto", int(sys.argv[2]) if len(sys.argv) > 2 else 1)
