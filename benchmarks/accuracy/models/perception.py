"""Images, sound and both with text, from Transformers."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.accuracy.catalogue import Subject, model
from benchmarks.accuracy.models.small import (
    BATCH,
    HEADS,
    INNER,
    LAYERS,
    SIZES,
    VOCABULARY,
    WIDTH,
    images,
    tokens,
)

_BLOCKS: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
}
_PATCHES = 4 * 4  # of 8x8 pixels in a 32x32 image


def _patched_ops(extra_tokens: int, classes: int) -> int:
    """A vision transformer: patches, blocks with full scores over them and the extra tokens, a classifier."""
    length = _PATCHES + extra_tokens
    block = length * (8 * WIDTH**2 + 4 * WIDTH * INNER) + 4 * length**2 * WIDTH
    return BATCH * (2 * _PATCHES * 3 * 64 * WIDTH + LAYERS * block + 2 * WIDTH * classes)


def _labelled(size: int = 32, channels: int = 3) -> dict[str, Any]:
    return {"pixel_values": images(size, channels=channels), "labels": torch.randint(2, (BATCH,))}


@model("vit", library="transformers", by_hand=_patched_ops(1, 2), compiled=True)
def vit() -> Subject:
    """ViT, a classifier of 32x32 images in 8x8 patches."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(**_BLOCKS, image_size=32, patch_size=8)
    return Subject(module=ViTForImageClassification(config), kwargs=_labelled())


@model("deit", library="transformers", by_hand=_patched_ops(2, 2))
def deit() -> Subject:
    """DeiT, with its distillation token."""
    from transformers import DeiTConfig, DeiTForImageClassification

    config = DeiTConfig(**_BLOCKS, image_size=32, patch_size=8)
    return Subject(module=DeiTForImageClassification(config), kwargs=_labelled())


@model("swin", library="transformers")
def swin() -> Subject:
    """Swin: shifted windows of 4x4 patches, two stages."""
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(image_size=32, patch_size=2, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=4)
    return Subject(module=SwinForImageClassification(config), kwargs=_labelled())


@model("convnext", library="transformers")
def convnext() -> Subject:
    """ConvNeXt: depthwise 7x7 convolutions."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 2, 1])
    return Subject(module=ConvNextForImageClassification(config), kwargs=_labelled(64))


@model("segformer", library="transformers")
def segformer() -> Subject:
    """SegFormer: attention to reduced keys, a head that labels every pixel."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 4, 4], decoder_hidden_size=32
    )
    batch = {"pixel_values": images(64), "labels": torch.randint(2, (BATCH, 64, 64))}
    return Subject(module=SegformerForSemanticSegmentation(config), kwargs=batch)


@model("clip", library="transformers")
def clip() -> Subject:
    """CLIP: a text and an image tower, contrasted."""
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={**SIZES, "projection_dim": 32},
        vision_config={**_BLOCKS, "image_size": 32, "patch_size": 8, "projection_dim": 32},
        projection_dim=32,
    )
    batch = {"input_ids": tokens(), "pixel_values": images(32), "return_loss": True}
    return Subject(module=CLIPModel(config), kwargs=batch)


@model("detr", library="transformers")
def detr() -> Subject:
    """DETR on a small ResNet, with its matching loss."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = DetrConfig(
        backbone_config=backbone,
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        num_queries=8,
        num_labels=4,
    )
    wanted = [{"class_labels": torch.tensor([1, 2]), "boxes": torch.rand(2, 4) * 0.5 + 0.2} for _ in range(BATCH)]
    return Subject(module=DetrForObjectDetection(config), kwargs={"pixel_values": images(64), "labels": wanted})


@model("whisper", library="transformers")
def whisper() -> Subject:
    """Whisper: convolutions over a spectrum, an encoder, a decoder."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=16,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        max_source_positions=32,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    batch = {"input_features": torch.randn(BATCH, 16, 64), "labels": tokens(length=8), "use_cache": False}
    return Subject(module=WhisperForConditionalGeneration(config), kwargs=batch)


@model("wav2vec2", library="transformers")
def wav2vec2() -> Subject:
    """Wav2Vec2 with its CTC head: convolutions over samples, a grouped one over positions."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(
        **_BLOCKS,
        vocab_size=32,
        conv_dim=(32, 32, 32),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 8, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        apply_spec_augment=False,
        layerdrop=0.0,
    )
    batch = {"input_values": torch.randn(BATCH, 3200), "labels": torch.randint(1, 32, (BATCH, 6))}
    return Subject(module=Wav2Vec2ForCTC(config), kwargs=batch)
