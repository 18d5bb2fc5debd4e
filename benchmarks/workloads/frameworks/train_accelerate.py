"""Trains under Accelerate: ``accelerate launch --cpu --num_processes 2 train_accelerate.py [MICRO_BATCHES]``."""

from __future__ import annotations

import sys

from accelerate import Accelerator
from subject import ROWS, Mlp, Rows, descent
from torch.utils.data import DataLoader


def main(micro_batches: int) -> None:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=micro_batches)
    model = Mlp()
    batches = DataLoader(Rows(accelerator.num_processes, micro_batches), batch_size=ROWS)
    model, optimizer, batches = accelerator.prepare(model, descent(model), batches)
    for batch in batches:
        with accelerator.accumulate(model):
            accelerator.backward(model(batch).sum())
            optimizer.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
