"""Encoders of text and encoder-decoders of Transformers."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.accuracy.catalogue import Subject, model
from benchmarks.accuracy.models.small import (
    BATCH,
    HEADS,
    INNER,
    LAYERS,
    LENGTH,
    SIZES,
    VOCABULARY,
    WIDTH,
    tokens,
)

_ROWS = BATCH * LENGTH
_BLOCK = 8 * _ROWS * WIDTH**2 + 4 * BATCH * LENGTH**2 * WIDTH + 4 * _ROWS * WIDTH * INNER
_MASKED_HEAD = 2 * _ROWS * WIDTH * (WIDTH + VOCABULARY)


def _masked() -> dict[str, Any]:
    return {"input_ids": tokens(), "labels": tokens()}


@model("bert", library="transformers", by_hand=LAYERS * _BLOCK + _MASKED_HEAD, compiled=True)
def bert() -> Subject:
    """BERT with its masked-language head."""
    from transformers import BertConfig, BertForMaskedLM

    return Subject(module=BertForMaskedLM(BertConfig(**SIZES)), kwargs=_masked())


@model("roberta", library="transformers", by_hand=LAYERS * _BLOCK + _MASKED_HEAD)
def roberta() -> Subject:
    """RoBERTa with its masked-language head."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    return Subject(module=RobertaForMaskedLM(RobertaConfig(**SIZES)), kwargs=_masked())


@model("distilbert", library="transformers", by_hand=LAYERS * _BLOCK + 2 * BATCH * WIDTH * (WIDTH + 2))
def distilbert() -> Subject:
    """DistilBERT, a classifier."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=WIDTH, hidden_dim=INNER, n_layers=LAYERS, n_heads=HEADS, max_position_embeddings=64
    )
    batch = {"input_ids": tokens(), "labels": torch.randint(2, (BATCH,))}
    return Subject(module=DistilBertForSequenceClassification(config), kwargs=batch)


@model("albert", library="transformers")
def albert() -> Subject:
    """ALBERT: one layer's weights for all layers."""
    from transformers import AlbertConfig, AlbertForMaskedLM

    return Subject(module=AlbertForMaskedLM(AlbertConfig(**SIZES, embedding_size=32)), kwargs=_masked())


@model("deberta-v2", library="transformers")
def deberta() -> Subject:
    """DeBERTa-v2: attention with content and position apart."""
    from transformers import DebertaV2Config, DebertaV2ForMaskedLM

    config = DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"])
    return Subject(module=DebertaV2ForMaskedLM(config), kwargs=_masked())


@model("modernbert", library="transformers")
def modernbert() -> Subject:
    """ModernBERT: gated networks, windows in two layers of three."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    sizes = {**SIZES, "cls_token_id": 1, "sep_token_id": 2}
    return Subject(module=ModernBertForMaskedLM(ModernBertConfig(**sizes, local_attention=8)), kwargs=_masked())


@model("longformer", library="transformers")
def longformer() -> Subject:
    """Longformer: a sliding window, computed in chunks."""
    from transformers import LongformerConfig, LongformerForMaskedLM

    config = LongformerConfig(**SIZES, attention_window=8)
    return Subject(module=LongformerForMaskedLM(config), kwargs=_masked())


def _pair() -> dict[str, Any]:
    return {"input_ids": tokens(), "labels": tokens(length=LENGTH // 2), "use_cache": False}


def _translated_ops() -> int:
    """T5's encoder over LENGTH and decoder over half of it, which also attends to the encoder; its head."""
    source, target = LENGTH, LENGTH // 2
    encoder = BATCH * (8 * source * WIDTH**2 + 4 * source**2 * WIDTH + 4 * source * WIDTH * INNER)
    own = 8 * target * WIDTH**2 + 4 * target**2 * WIDTH
    across = 4 * (target + source) * WIDTH**2 + 4 * target * source * WIDTH
    decoder = BATCH * (own + across + 4 * target * WIDTH * INNER)
    return LAYERS * (encoder + decoder) + 2 * BATCH * target * WIDTH * VOCABULARY


@model("t5", library="transformers", by_hand=_translated_ops())
def t5() -> Subject:
    """T5, 2 encoder and 2 decoder layers, attention as separate products."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        d_kv=16,
        d_ff=INNER,
        num_layers=LAYERS,
        num_heads=HEADS,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    return Subject(module=T5ForConditionalGeneration(config), kwargs=_pair())


@model("bart", library="transformers", by_hand=_translated_ops())
def bart() -> Subject:
    """BART."""
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    return Subject(module=BartForConditionalGeneration(config), kwargs=_pair())
