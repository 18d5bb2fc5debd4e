"""Denoising models and autoencoders of images, from diffusers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor

from benchmarks.accuracy.catalogue import Subject, model
from benchmarks.accuracy.models.small import BATCH, images


def _denoising(target: Tensor) -> Callable[[Any], Tensor]:
    return lambda output: F.mse_loss(output.sample[:, : target.shape[1]], target)


def _times() -> Tensor:
    return torch.randint(1000, (BATCH,))


@model("unet", library="diffusers")
def unet() -> Subject:
    """The denoising UNet of DDPM, two resolutions, attention in one."""
    from diffusers import UNet2DModel

    module = UNet2DModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=8,
    )
    image = images(16)
    return Subject(module=module, args=(image, _times()), loss=_denoising(torch.randn_like(image)))


@model("unet-conditioned", library="diffusers")
def unet_conditioned() -> Subject:
    """The UNet of Stable Diffusion, which attends to a text's embedding."""
    from diffusers import UNet2DConditionModel

    module = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=24,
        attention_head_dim=4,
    )
    latent = images(8, channels=4)
    text = torch.randn(BATCH, 12, 24)
    return Subject(module=module, args=(latent, _times(), text), loss=_denoising(torch.randn_like(latent)))


@model("dit", library="diffusers")
def dit() -> Subject:
    """DiT: a transformer over latent patches, modulated by time and class."""
    from diffusers import DiTTransformer2DModel

    module = DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=8, num_layers=2, sample_size=8, norm_num_groups=8, out_channels=4
    )
    latent = images(8, channels=4)
    classes = torch.randint(1000, (BATCH,))
    return Subject(
        module=module,
        args=(latent,),
        kwargs={"timestep": _times(), "class_labels": classes},
        loss=_denoising(torch.randn_like(latent)),
    )


@model("autoencoder-kl", library="diffusers")
def autoencoder_kl() -> Subject:
    """The autoencoder of latent diffusion."""
    from diffusers import AutoencoderKL

    module = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=16,
    )
    image = images(16)
    return Subject(module=module, args=(image,), loss=_denoising(image))
