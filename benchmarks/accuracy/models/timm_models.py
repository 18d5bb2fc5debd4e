"""timm's models at the resolution for which their work is published."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from benchmarks.accuracy import torchvision_stub
from benchmarks.accuracy.catalogue import Model, Subject, register

BATCH = 2
# timm's name and the side of an image.
SIZES = {
    "resnet18": 160,
    "resnet50": 224,
    "resnext50_32x4d": 160,
    "densenet121": 224,
    "regnetx_004": 224,
    "mobilenetv2_100": 224,
    "mobilenetv3_small_100": 224,
    "mnasnet_small": 224,
    "ghostnet_100": 224,
    "tinynet_e": 106,
    "efficientnet_b1_pruned": 240,
    "tf_efficientnetv2_b0": 224,
    "cs3darknet_s": 256,
    "repvgg_a1": 224,
    "convnext_atto": 224,
    "poolformer_s12": 224,
    "vit_small_patch32_224": 224,
    "deit_tiny_patch16_224": 224,
    "swin_tiny_patch4_window7_224": 224,
    "pit_ti_distilled_224": 224,
    "levit_conv_128s": 224,
    "xcit_nano_12_p16_224": 224,
    "tiny_vit_5m_224": 224,
    "efficientvit_b0": 224,
    "efficientvit_m2": 224,
    "edgenext_x_small": 256,
    "mixer_s32_224": 224,
    "gmlp_ti16_224": 224,
    "repvit_m0_9": 224,
    "sequencer2d_s": 224,
}


def _create(name: str) -> nn.Module:
    torchvision_stub.install()
    import timm

    module: nn.Module = timm.create_model(name, pretrained=False)
    return module


def _logits(output: Any) -> Tensor:
    """The logits; where a model in training has two heads, their mean."""
    if isinstance(output, tuple):
        return torch.stack(output).mean(0)
    logits: Tensor = output
    return logits


def _register(name: str, size: int) -> None:
    def build() -> Subject:
        images, labels = torch.randn(BATCH, 3, size, size), torch.randint(1000, (BATCH,))
        return Subject(
            module=_create(name), args=(images,), loss=lambda output: F.cross_entropy(_logits(output), labels)
        )

    def published() -> tuple[nn.Module, Tensor]:
        return _create(name), torch.randn(1, 3, size, size)

    build.__doc__ = f"{size}x{size}, batch {BATCH}."
    register(Model(name=name, library="timm", build=build, published=published))


for _name, _size in SIZES.items():
    _register(_name, _size)
