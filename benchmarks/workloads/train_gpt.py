"""Train a small decoder-only transformer, byte by byte, on the source of Python's own standard library.

Plain PyTorch in one file, with what real training scripts have: gradient accumulation and clipping, a
learning-rate schedule, periodic evaluation, and checkpoints that a killed run resumes from.

    python train_gpt.py --out runs/gpt
    python train_gpt.py --out runs/gpt --resume runs/gpt/checkpoint.pt
"""

# mypy: disable-error-code="no-any-return,no-untyped-call"

from __future__ import annotations

import argparse
import math
import os
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VOCABULARY = 256  # bytes
TEXT_BYTES = 4 << 20
HELD_OUT_EVERY = 20  # every 20th file is kept for evaluation
EVAL_BATCHES = 4


class Attention(nn.Module):
    """Causal self-attention over [batch, time, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Attention and a four times wider two-layer network, each normalised before and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


class GPT(nn.Module):
    """Token and position embeddings, blocks, and a head of its own (not tied to the embedding)."""

    def __init__(self, *, layers: int, heads: int, width: int, context: int, checkpointing: str = "none") -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.apply(_initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = self._run(block, x)
        return self.head(self.norm(x))

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.checkpointing == "none" or not torch.is_grad_enabled():
            return block(x)
        reentrant = self.checkpointing == "reentrant"
        if (
            reentrant and not x.requires_grad
        ):  # frozen below: a reentrant checkpoint needs an input that wants gradients
            if not any(parameter.requires_grad for parameter in block.parameters()):
                return block(x)
            x.requires_grad_()
        return checkpoint(block, x, use_reentrant=reentrant)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def build_model(
    *,
    layers: int = 4,
    heads: int = 4,
    width: int = 256,
    context: int = 256,
    checkpointing: str = "none",
    freeze: int = 0,
    freeze_embedding: bool = False,
) -> GPT:
    """The model on the CPU; its embeddings or its first ``freeze`` blocks are left untrained if asked."""
    model = GPT(layers=layers, heads=heads, width=width, context=context, checkpointing=checkpointing)
    frozen: list[nn.Module] = list(model.blocks[:freeze])
    if freeze_embedding:
        frozen += [model.tokens, model.positions]
    for module in frozen:
        module.requires_grad_(False)
    return model


def build_optimizer(
    model: nn.Module, learning_rate: float, *, foreach: bool | None = None, fused: bool | None = None
) -> torch.optim.AdamW:
    """AdamW over what is trained; matrices decay, vectors do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.dim() >= 2], "weight_decay": 0.1},
        {"params": [parameter for parameter in trained if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), foreach=foreach, fused=fused)


def load_text(limit_bytes: int = TEXT_BYTES) -> tuple[Tensor, Tensor]:
    """The standard library's top-level modules by name, as bytes: those to train on, and those held out."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    if len(files) < HELD_OUT_EVERY:
        raise SystemExit("this Python came without the source of its standard library, which is the text to train on")
    parts: tuple[bytearray, bytearray] = (bytearray(), bytearray())
    for number, file in enumerate(files):
        if len(parts[0]) + len(parts[1]) >= limit_bytes:
            break
        parts[number % HELD_OUT_EVERY == 0].extend(file.read_bytes())
    train, held_out = (torch.frombuffer(part, dtype=torch.uint8) for part in parts)
    return train, held_out


def endless_batches(
    text: Tensor, batch: int, context: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of random windows of the text and, one byte on, of what is to be predicted."""
    while True:
        starts = torch.randint(len(text) - context, (batch,), generator=generator).tolist()
        windows = torch.stack([text[start : start + context + 1] for start in starts]).long().to(device)
        yield windows[:, :-1], windows[:, 1:]


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor, *, bf16: bool = False) -> Tensor:
    """Mean cross-entropy in nats per byte."""
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
        logits = model(inputs)
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, Tensor]],
    *,
    accumulate: int = 1,
    clip: float = 1.0,
    bf16: bool = False,
) -> Tensor:
    """One optimizer step over ``accumulate`` batches; answers with their mean loss, still on the device."""
    total = torch.zeros((), device=next(model.parameters()).device)
    for _ in range(accumulate):
        loss = loss_of(model, *next(batches), bf16=bf16) / accumulate
        loss.backward()
        total += loss.detach()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


@torch.no_grad()
def evaluate(
    model: nn.Module, text: Tensor, batch: int, context: int, device: torch.device, *, bf16: bool = False
) -> float:
    """Mean loss over the same few windows of held-out text each time."""
    windows = endless_batches(text, batch, context, torch.Generator().manual_seed(0), device)
    model.eval()
    losses = [loss_of(model, *next(windows), bf16=bf16) for _ in range(EVAL_BATCHES)]
    model.train()
    return float(torch.stack(losses).mean())


def learning_rate_at(step: int, *, steps: int, peak: float, warmup: int) -> float:
    """Linear up to ``peak`` at step ``warmup``, then a half cosine down to a tenth; steps count from 1."""
    if step <= warmup:
        return peak * step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.55 + 0.45 * math.cos(math.pi * progress))


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator, step: int) -> None:
    """The checkpoint stands whole under ``path``, or the one before it does."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(state | {"generator": generator.get_state(), "step": step}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    print(f"step {step:5d}  saved {path}", flush=True)


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> int:
    """Model, optimizer and data order are as they were saved; answers with the number of steps done."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return int(state["step"])


def train(arguments: argparse.Namespace) -> None:
    """The model is trained up to ``arguments.steps``, its losses printed, its checkpoints written."""
    torch.manual_seed(arguments.seed)
    device, bf16 = torch.device(arguments.device), arguments.autocast == "bf16"
    model = build_model(
        layers=arguments.layers,
        heads=arguments.heads,
        width=arguments.width,
        context=arguments.context,
        checkpointing=arguments.checkpoint_activations,
        freeze=arguments.freeze,
        freeze_embedding=arguments.freeze_embedding,
    ).to(device)
    optimizer = build_optimizer(model, arguments.lr, foreach=arguments.foreach, fused=arguments.fused)
    generator = torch.Generator().manual_seed(arguments.seed)
    first = restore(arguments.resume, model, optimizer, generator) if arguments.resume else 0
    text, held_out = load_text()
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{size:,} parameters, {len(text):,} bytes of text, on {device}, from step {first}", flush=True)

    network = cast("nn.Module", torch.compile(model)) if arguments.compile else model
    batches = endless_batches(text, arguments.batch, arguments.context, generator, device)
    started = time.perf_counter()
    for step in range(first + 1, arguments.steps + 1):
        rate = learning_rate_at(step, steps=arguments.steps, peak=arguments.lr, warmup=arguments.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = train_step(network, optimizer, batches, accumulate=arguments.accumulate, bf16=bf16)
        last = step == arguments.steps
        if last or step == 1 or is_due(step, arguments.log_every):
            pace_s = (time.perf_counter() - started) / (step - first)
            print(f"step {step:5d}  loss {loss.item():.4f}  rate {rate:.2e}  {pace_s:.3f} s/step", flush=True)
        if last or is_due(step, arguments.eval_every):
            eval_loss = evaluate(network, held_out, arguments.batch, arguments.context, device, bf16=bf16)
            print(f"step {step:5d}  eval {eval_loss:.4f}", flush=True)
        if arguments.out and (last or is_due(step, arguments.save_every)):
            save(arguments.out / "checkpoint.pt", model, optimizer, generator, step)


def is_due(step: int, every: int) -> bool:
    """Whether it is this step's turn; with 0 it is none's."""
    return every > 0 and step % every == 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, with what does not fit together refused."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    size = parser.add_argument_group("size")
    for name, default in (("layers", 4), ("heads", 4), ("width", 256), ("context", 256), ("batch", 8)):
        size.add_argument(f"--{name}", type=int, default=default)
    run = parser.add_argument_group("training")
    run.add_argument("--steps", type=int, default=80, help="optimizer steps in all, those before a resume included")
    run.add_argument("--accumulate", type=int, default=2, help="batches to one optimizer step")
    run.add_argument("--lr", type=float, default=1e-3, help="the highest learning rate")
    run.add_argument("--warmup", type=int, default=10, help="steps until the highest learning rate")
    run.add_argument("--freeze", type=int, default=0, metavar="N", help="leave the first N blocks untrained")
    run.add_argument("--freeze-embedding", action="store_true", help="leave the embeddings untrained")
    run.add_argument("--seed", type=int, default=0)
    how = parser.add_argument_group("how it is computed")
    how.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    how.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    how.add_argument("--checkpoint-activations", choices=("none", "reentrant", "non-reentrant"), default="none")
    how.add_argument("--autocast", choices=("none", "bf16"), default="none")
    how.add_argument("--foreach", action=argparse.BooleanOptionalAction, help="AdamW over lists of tensors")
    how.add_argument("--fused", action=argparse.BooleanOptionalAction, help="AdamW in one kernel")
    files = parser.add_argument_group("what is printed and kept", "every 0 steps: at the end only")
    files.add_argument("--log-every", type=int, default=5, metavar="STEPS")
    files.add_argument("--eval-every", type=int, default=20, metavar="STEPS")
    files.add_argument("--save-every", type=int, default=40, metavar="STEPS")
    files.add_argument("--out", type=Path, metavar="DIR", help="where checkpoints are written; none without it")
    files.add_argument("--resume", type=Path, metavar="FILE", help="continue from this checkpoint")
    arguments = parser.parse_args(argv)
    if arguments.width % arguments.heads:
        parser.error(f"--width {arguments.width} cannot be divided among --heads {arguments.heads}")
    if arguments.freeze > arguments.layers:
        parser.error(f"--freeze {arguments.freeze} is more than --layers {arguments.layers}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    train(parse_arguments(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
