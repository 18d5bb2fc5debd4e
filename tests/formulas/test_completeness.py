"""Nothing that torch runs is without a price, unless it is known why."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch._inductor.inductor_prims
import torch.distributed._symmetric_memory
import torch.nn.attention.varlen
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from auditor.formulas import TABLE, Pricer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Operators of torch that have no price on purpose: a pattern, and why.
UNPRICED = {
    r"aten::_?linalg_(eig|eigh|eigvals|svd|pinv)(\.|$)|prims::svd": "iterates until it converges",
    r"aten::linalg_matrix_exp": "how far the series goes depends on the values",
    r"aten::(_spsolve|_sparse_sparse_matmul)": "where elements meet, and are filled in, is in the indices",
    r"aten::(_sparse_semi_structured_tile|_cslt_sparse_mm_search)": "a search whose steps depend on the values",
    r"aten::_nested_tensor_(from_mask_left_aligned|softmax_with_shape)": "the sizes inside are values of a tensor",
    r"aten::glu_backward_jvp": "forward-mode derivatives of a gradient",
    r"symm_mem::fused_all_gather_": "how many processes' shards it gathers is not among its arguments",
    r"aten::quantized_(lstm|gru)": "weights packed into an object, which has no sizes",
    r"_?quantized::(conv|linear|quantized_\w+_cell|_?wrapped|int4mm)|mkldnn_prepacked::|sparse::qlinear": "the same",
    r"quantized::(embedding_\w+|cat\w*|(group|instance|layer)_norm)": "inference on packed numbers, not yet read",
    r"static_runtime::": "an executor for inference that no training runs",
    r"aten::(_test|_foobar)": "operators of torch's own tests",
}
REASONS = re.compile("|".join(f"(?:{pattern})" for pattern in UNPRICED))
# Namespaces that come with torch and hold kernels; others belong to whoever imported them.
NAMESPACES = """
    aten prims rngprims inductor inductor_prims mkl mkldnn mkldnn_prepacked onednn quantized _quantized quantization
    sparse static_runtime symm_mem c10d _c10d_functional _c10d_functional_autograd _dtensor _native profiler
    debugprims debug_mode_ops export torch_attn
"""
_COMPOSITE = "CompositeImplicitAutograd"


def _schemas() -> Iterator[tuple[str, Any]]:
    for schema in torch._C._jit_get_all_schemas():
        name = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
        yield name, schema


def _kernels() -> list[str]:
    """Every overload of torch's own namespaces that a backend computes, rather than other operators."""
    own = set(NAMESPACES.split())
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.partition("::")[0] in own]
    return [name for name in names if torch._C._dispatch_has_kernel(name) and not _composite(name)]


def _composite(name: str) -> bool | None:
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(name, _COMPOSITE)
    except RuntimeError:
        return None  # not an operator of the dispatcher


def _has_entry(name: str) -> bool:
    return TABLE.find(name) is not None or TABLE.find_sparse(name) is not None or name in TABLE.left


def test_every_kernel_of_torch_has_a_price_or_is_free_or_it_is_known_why_not() -> None:
    kernels = _kernels()
    missing = [name for name in kernels if not _has_entry(name)]
    assert len(kernels) > 2800
    assert sorted(name for name in missing if not REASONS.match(name)) == []
    assert len(missing) < len(kernels) / 20


def test_no_reason_is_left_over() -> None:
    missing = [name for name in _kernels() if not _has_entry(name)]
    assert [pattern for pattern in UNPRICED if not any(re.match(pattern, name) for name in missing)] == []


def test_every_entry_names_an_operator_that_torch_has() -> None:
    known = {schema.name for _, schema in _schemas()}
    entries = [entry.op.partition(".")[0] for entry in TABLE if entry.op.startswith("aten::")]
    assert [name for name in entries if name not in known and f"{name}_" not in known] == []


def test_what_is_made_of_other_operators_has_no_price_of_its_own() -> None:
    """It would be counted instead of its parts; these are kernels on some backend."""
    packets: dict[str, set[bool]] = {}
    for name, schema in _schemas():
        composite = _composite(name)
        if composite is not None:
            packets.setdefault(schema.name, set()).add(composite)
    priced = {entry.op for entry in TABLE if entry.function is not None}
    assert {name for name in priced if packets.get(name) == {True}} == {
        "aten::_fused_rms_norm",
        "aten::mish_backward",
    }


class Block(nn.Module):
    def __init__(self, width: int, *, norm: type[nn.Module], activation: nn.Module) -> None:
        super().__init__()
        self.norm, self.second_norm = norm(width), norm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width, bias=False)
        self.activation, self.dropout = activation, nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(self.norm(x)).view(*x.shape[:2], 3, 2, -1).permute(2, 0, 3, 1, 4)
        heads = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.out(heads.transpose(1, 2).reshape(x.shape)))
        return x + self.dropout(self.down(self.activation(self.up(self.second_norm(x)))))


class Decoder(nn.Module):
    def __init__(self, *, recompute: bool | None = None, norm: Any = nn.LayerNorm, activation: Any = None) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(50, 16), nn.Embedding(8, 16)
        self.blocks = nn.ModuleList(Block(16, norm=norm, activation=activation or nn.GELU()) for _ in range(2))
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.tokens.weight
        self.recompute = recompute

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.tokens(text) + self.places(torch.arange(text.shape[1]))
        for block in self.blocks:
            if self.recompute is None or not torch.is_grad_enabled():
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.recompute)
        return self.head(x)


def _train_decoder(optimizer: Callable[[Any], torch.optim.Optimizer], *, half: bool = False, **settings: Any) -> None:
    model = Decoder(**settings)
    step = optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(step, 10)
    text = torch.randint(50, (2, 8))
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = functional.cross_entropy(model(text).flatten(0, 1), text.flatten(), label_smoothing=0.1)
        (loss / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        step.step()
        schedule.step()
        step.zero_grad()
    with torch.no_grad():
        torch.multinomial(functional.softmax(model(text)[:, -1].topk(5).values, -1), 1)
    with torch.inference_mode():
        model.eval()(text).argmax(-1)


def _train(model: nn.Module, x: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    result = model(x)
    result = result[0] if isinstance(result, tuple) else result
    functional.mse_loss(result, torch.zeros_like(result)).backward()
    optimizer.step()
    with torch.no_grad():
        model.eval()(x)


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.GroupNorm(2, 8),
        nn.Hardswish(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, dilation=2, padding=2, groups=2),
        nn.SiLU(),
        nn.Dropout2d(0.1),
        nn.ConvTranspose2d(16, 8, 2, stride=2),
        nn.LeakyReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AdaptiveAvgPool2d(2),
        nn.PixelShuffle(2),
        nn.Flatten(),
        nn.Linear(32, 4),
        nn.ELU(),
    )


PROGRAMS: dict[str, Callable[[], None]] = {
    "adamw": lambda: _train_decoder(torch.optim.AdamW),
    "adamw fused": lambda: _train_decoder(lambda p: torch.optim.AdamW(p, fused=True)),
    "adamw one by one": lambda: _train_decoder(lambda p: torch.optim.AdamW(p, foreach=False, amsgrad=True)),
    "adam, half": lambda: _train_decoder(torch.optim.Adam, half=True),
    "sgd": lambda: _train_decoder(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    "sgd fused": lambda: _train_decoder(lambda p: torch.optim.SGD(p, lr=0.1, fused=True)),
    "adafactor": lambda: _train_decoder(torch.optim.Adafactor),
    "rmsprop": lambda: _train_decoder(torch.optim.RMSprop),
    "adagrad": lambda: _train_decoder(torch.optim.Adagrad),
    "nadam": lambda: _train_decoder(torch.optim.NAdam),
    "rms norm, silu": lambda: _train_decoder(torch.optim.AdamW, norm=nn.RMSNorm, activation=nn.SiLU()),
    "gelu by tanh, half": lambda: _train_decoder(torch.optim.AdamW, half=True, activation=nn.GELU(approximate="tanh")),
    "recomputed": lambda: _train_decoder(torch.optim.AdamW, recompute=False),
    "recomputed, reentrant": lambda: _train_decoder(torch.optim.AdamW, recompute=True),
    "convolutional": lambda: _train(_convolutional(), torch.randn(2, 3, 16, 16)),
    "volumes": lambda: _train(nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4)), torch.randn(2, 2, 5, 5, 5)),
    "signals": lambda: _train(nn.Sequential(nn.Conv1d(2, 4, 3), nn.GLU(1), nn.AvgPool1d(2)), torch.randn(2, 2, 9)),
    "lstm": lambda: _train(nn.LSTM(4, 5, 2, bidirectional=True, dropout=0.1), torch.randn(3, 2, 4)),
    "lstm, projected": lambda: _train(nn.LSTM(4, 5, proj_size=3), torch.randn(3, 2, 4)),
    "gru": lambda: _train(nn.GRU(4, 5, 2, batch_first=True), torch.randn(3, 2, 4)),
    "rnn": lambda: _train(nn.RNN(4, 5, nonlinearity="relu"), torch.randn(3, 2, 4)),
    "encoder": lambda: _train(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 3, 8)),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_that_a_training_runs_is_without_a_price(watch: Any, name: str) -> None:
    torch.manual_seed(0)
    pricer = Pricer()
    operations = pricer.price(watch(PROGRAMS[name]).tally())
    assert pricer.problems == {}
    assert operations.unpriced == {}
    assert operations.total > 0


def _try(op: Any, watch: Any) -> Any:
    """Everything that the first samples of one operator run, forward and backward."""

    def program() -> None:
        for _, sample in zip(range(3), op.sample_inputs("cpu", torch.float32, requires_grad=True), strict=False):
            result = op(sample.input, *sample.args, **sample.kwargs)
            parts = result if isinstance(result, tuple | list) else [result]
            wanted = [part for part in parts if isinstance(part, torch.Tensor) and part.requires_grad]
            if wanted:
                sum(part.abs().sum() for part in wanted).backward()

    return watch(program)


# Calls that have no price because of what they are given.
UNKNOWN = ("resampled by a scale", "what it does depends on the rank", "how many elements meet is not in the sizes")


def test_every_operator_of_torchs_own_samples_is_priced_without_a_mistake(samples: list[Any], watch: Any) -> None:
    """Each formula meets real arguments of every overload that its samples reach."""
    pricer, unpriced, tried = Pricer(), Counter[str](), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in samples:
            try:
                seen = _try(op, watch)
            except (RuntimeError, TypeError, ValueError, NotImplementedError, AssertionError):
                continue  # samples of other types or devices; those that run are enough
            tried += 1
            unpriced.update(pricer.price(seen.tally()).unpriced)
    assert tried > 400
    wrong = {op: problem for op, problem in pricer.problems.items() if not any(each in problem for each in UNKNOWN)}
    assert wrong == {}
    unknown = [name for name in unpriced if name not in pricer.problems and not REASONS.match(name)]
    assert [name for name in unknown if not name.startswith("torch_nn::")] == []
