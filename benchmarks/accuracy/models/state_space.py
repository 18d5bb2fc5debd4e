"""Language models without attention, and mixtures of both."""

from __future__ import annotations

from benchmarks.accuracy.catalogue import Subject, model
from benchmarks.accuracy.models.small import LAYERS, SIZES, VOCABULARY, WIDTH, language, tokens


@model("mamba", library="transformers")
def mamba() -> Subject:
    """Mamba: depthwise convolutions and a selective scan, step by step."""
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, state_size=8)
    return Subject(module=MambaForCausalLM(config), kwargs=language())


@model("mamba2", library="transformers")
def mamba2() -> Subject:
    """Mamba 2: the scan in chunks."""
    from transformers import Mamba2Config, Mamba2ForCausalLM

    config = Mamba2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        state_size=8,
        num_heads=8,
        head_dim=16,
        n_groups=2,
        chunk_size=8,
    )
    return Subject(module=Mamba2ForCausalLM(config), kwargs=language())


@model("rwkv", library="transformers")
def rwkv() -> Subject:
    """RWKV: a linear recurrence, step by step."""
    from transformers import RwkvConfig, RwkvForCausalLM

    config = RwkvConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, attention_hidden_size=WIDTH)
    return Subject(module=RwkvForCausalLM(config), kwargs=language())


@model("recurrent-gemma", library="transformers")
def recurrent_gemma() -> Subject:
    """RecurrentGemma: a gated linear recurrence and local attention."""
    from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM

    sizes = {name: value for name, value in SIZES.items() if name != "max_position_embeddings"}
    config = RecurrentGemmaConfig(
        **{**sizes, "num_hidden_layers": 3}, lru_width=WIDTH, num_key_value_heads=1, attention_window_size=8
    )
    text = tokens()
    return Subject(
        module=RecurrentGemmaForCausalLM(config),
        kwargs={"input_ids": text, "labels": text.clone(), "use_cache": False},
    )
