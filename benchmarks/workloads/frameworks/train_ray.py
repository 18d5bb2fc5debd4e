"""Trains under Ray Train, in two workers on this machine: ``python train_ray.py``."""

from __future__ import annotations

import tempfile

import ray
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, prepare_data_loader, prepare_model
from subject import ROWS, Mlp, Rows, descent
from torch.utils.data import DataLoader

WORKERS = 2


def train() -> None:
    model = prepare_model(Mlp())
    optimizer = descent(model)
    rows = Rows(get_context().get_world_size())
    for batch in prepare_data_loader(DataLoader(rows, batch_size=ROWS)):
        model(batch).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def main() -> None:
    ray.init(num_cpus=WORKERS + 1, include_dashboard=False)
    with tempfile.TemporaryDirectory() as directory:
        TorchTrainer(
            train,
            scaling_config=ScalingConfig(num_workers=WORKERS),
            run_config=RunConfig(storage_path=directory),
        ).fit()
    ray.shutdown()


if __name__ == "__main__":
    main()
