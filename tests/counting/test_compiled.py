"""Compiled code counts what eager code counts: equal in the matrix families, from the graph for the rest."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import auditor
from auditor.operations import MATRIX_FAMILIES, Family

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning"),
]
PHASES = ("forward", "backward", "recompute", "optimizer", "inference")
WIDTH, HIDDEN = 8, 24


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _plain_code():
    """Code without vectors compiles in half the time; what is counted stands before any code is made."""
    with torch._inductor.config.patch({"cpp.simdlen": 0}):
        yield


@pytest.fixture
def vectors(_plain_code):
    """For what has no code without them."""
    with torch._inductor.config.patch({"cpp.simdlen": None}):
        yield


class Layers(nn.Module):
    """Products, a norm, an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(WIDTH, HIDDEN), nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x):
        return self.down(functional.gelu(self.norm(self.up(x))))


class Attention(nn.Module):
    """Two heads, causal."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        query, key, value = self.inside(x).view(batch, length, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return x + self.outside(mixed.transpose(1, 2).reshape(batch, length, WIDTH))


class Gpt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.attention, self.layers = nn.Embedding(32, WIDTH), Attention(), Layers()
        self.head = nn.Linear(WIDTH, 32, bias=False)

    def forward(self, tokens):
        x = self.attention(self.embedding(tokens))
        return self.head(x + self.layers(x))


class Convolutions(nn.Module):
    """Plain, depthwise, pointwise, transposed; a norm over batches; pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise, self.pointwise = nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.Conv2d(8, 16, 1)
        self.transposed, self.head = nn.ConvTranspose2d(16, 4, 2, stride=2), nn.Linear(4, 3)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.norm(self.first(x))), 2)
        x = self.transposed(functional.relu(self.pointwise(self.depthwise(x))))
        return self.head(x.mean((2, 3)))


class TakenApart(nn.Module):
    """Products so small that Inductor multiplies and adds them up itself."""

    def __init__(self) -> None:
        super().__init__()
        self.row, self.other = nn.Parameter(torch.randn(8, 1)), nn.Parameter(torch.randn(8, 1))
        self.vectors = nn.ParameterList(nn.Parameter(torch.randn(8)) for _ in range(4))
        self.linear = nn.Linear(8, 4)

    def forward(self, x):
        first, second, third, fourth = self.vectors
        parts = [x @ self.row, self.linear(x), torch.mv(x, first), torch.dot(second, third)]
        parts += [
            torch.bmm(x[None], self.other[None]),
            torch.addmv(torch.ones(1), x, fourth),
            torch.outer(first, second),
        ]
        return sum(weight * part.sum() for weight, part in enumerate(parts, start=1))  # no two have one gradient


def train(model, *batches):
    for batch in batches:
        model(batch).float().square().mean().backward()


def infer(model, *batches):
    with torch.no_grad():
        for batch in batches:
            model(batch)


def counted(work):
    with auditor.count() as count:
        work()
    return count


def products(count) -> dict[str, int]:
    """Executed operations of the matrix families, by phase."""
    return {phase: count.operations.select(phases=[phase], families=MATRIX_FAMILIES).executed_ops for phase in PHASES}


def amount(count, family, phase=None) -> int:
    return count.operations.select(families=[family], phases=[phase] if phase else None).executed_ops


def as_eager(build, work=train, batches=(), **options):
    """Count a model of its own eager, and compiled; they agree in the matrix families, phase by phase."""
    torch.manual_seed(0)
    eager = counted(lambda: work(build(), *batches))
    torch.manual_seed(0)
    compiled = counted(lambda: work(torch.compile(build(), **options), *batches))
    assert products(compiled) == products(eager)
    assert sum(products(eager).values()) > 0
    assert compiled.unpriced == {}
    return eager, compiled


def tokens(*sizes):
    return torch.randint(32, sizes)


def test_training_counts_as_eager_and_what_is_decomposed_costs_about_what_it_is_part_of():
    eager, compiled = as_eager(Layers, train, [torch.randn(4, WIDTH)])
    for phase in ("forward", "backward"):
        fused, whole = ((c.operations.by_phase[phase] - products(c)[phase]) for c in (compiled, eager))
        assert 0.5 < fused / whole < 2
    assert compiled.operations.by_phase["recompute"] > 0  # activations that are cheaper made again than kept


def test_pointwise_work_is_counted_to_the_operation_though_it_is_fused():
    def work(function, x):
        return function(x)

    eager, compiled = as_eager(lambda: lambda x: (x @ x).exp().add(1).sqrt().mul(x).sum(), work, [torch.rand(6, 6)])
    assert compiled.operations.amounts == eager.operations.amounts


def test_inference_is_inference():
    _, compiled = as_eager(Layers, infer, [torch.randn(4, WIDTH)])
    assert set(filter(compiled.operations.by_phase.get, PHASES)) == {"inference"}


def test_attention_in_a_kernel_of_its_own():
    eager, compiled = as_eager(Gpt, train, [tokens(2, 16)])
    for count in (eager, compiled):
        assert count.operations.select(families=[Family.ATTENTION]).skippable_ops > 0
    assert amount(compiled, Family.ATTENTION) == amount(eager, Family.ATTENTION)


def test_convolutions_with_groups_and_transposed():
    eager, compiled = as_eager(Convolutions, train, [torch.randn(2, 3, 8, 8)])
    for phase in ("forward", "backward"):
        assert amount(compiled, Family.CONVOLUTION, phase) == amount(eager, Family.CONVOLUTION, phase) > 0


def test_recurrent_cells_unrolled():
    class Cells(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(WIDTH, 12)

        def forward(self, x):
            state = (x.new_zeros(len(x), 12), x.new_zeros(len(x), 12))
            for at in range(3):
                state = self.cell(x[:, at], state)
            return state[0]

    as_eager(Cells, train, [torch.randn(2, 3, WIDTH)])


def test_products_that_inductor_takes_apart_are_products_still():
    from torch._dynamo.utils import counters

    with torch._inductor.config.patch(fx_graph_cache=False):  # from a cache nothing is taken apart again
        as_eager(TakenApart, train, [torch.randn(1, 8)])
    assert counters["inductor"]["decompose_mm"] > 0


def test_one_graph_for_many_sizes_is_counted_by_the_sizes_of_each_call():
    from torch._dynamo.utils import counters

    as_eager(Attention, train, [torch.randn(*sizes, WIDTH) for sizes in ((2, 16), (3, 9), (5, 11))], dynamic=True)
    assert counters["stats"]["unique_graphs"] == 1


def test_graphs_compiled_anew_for_each_size():
    from torch._dynamo.utils import counters

    as_eager(Layers, train, [torch.randn(size, WIDTH) for size in (2, 3, 4)], dynamic=False)
    assert counters["stats"]["unique_graphs"] == 3


def test_graph_breaks_leave_each_part_counted_once():
    class Broken(Layers):
        def forward(self, x):
            x = self.up(x)
            torch._dynamo.graph_break()
            eager = torch.compiler.disable(torch.mm)(x, x.T)
            return self.down(self.norm(x) + eager.sum())

    as_eager(Broken, train, [torch.randn(4, WIDTH)])


def test_templates_chosen_by_autotuning_count_as_eager_and_the_tuning_is_not_counted():
    as_eager(Layers, infer, [torch.randn(32, WIDTH)], mode="max-autotune")


def test_what_the_partitioner_computes_again_is_recomputation():
    eager = counted(lambda: train(Gpt(), tokens(2, 16)))
    with torch._functorch.config.patch(activation_memory_budget=0.0):
        compiled = counted(lambda: train(torch.compile(Gpt()), tokens(2, 16)))
    for phase in ("forward", "backward"):
        assert products(compiled)[phase] == products(eager)[phase]
    assert products(compiled)["recompute"] > products(eager)["recompute"] == 0


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
def test_checkpoints_inside_and_around_compiled_code(outside):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.attention = nn.Linear(WIDTH, WIDTH), Attention()

        def forward(self, x):
            return checkpoint(self.attention, self.first(x), use_reentrant=False)

    x = torch.randn(2, 8, WIDTH)
    eager = counted(lambda: train(Checkpointed(), x))
    model = Checkpointed()
    if outside:
        model.attention.compile()
    else:
        model.compile()
    compiled = counted(lambda: train(model, x))
    last = 2 * (2 * 8) * WIDTH**2  # the last product: eager stops before it, a compiled forward runs to its end
    again = products(eager)["recompute"] + (last if outside else 0)
    assert products(compiled) == {**products(eager), "recompute": again}
    assert amount(compiled, Family.ATTENTION, "recompute") == amount(eager, Family.ATTENTION, "recompute") > 0


def test_compiled_autograd_counts_as_the_engine_does():
    def work(model, *batches):
        with torch._dynamo.compiled_autograd._enable(torch.compile):
            train(model, *batches)

    x = torch.randn(4, WIDTH)
    eager = counted(lambda: train(Layers(), x))
    compiled = counted(lambda: work(torch.compile(Layers()), x))
    assert products(compiled) == products(eager)
    assert compiled.operations.by_phase["optimizer"] == 0


@pytest.mark.usefixtures("vectors")
def test_flex_attention_skips_what_its_block_mask_leaves_out():
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    length, block = 256, 128
    mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, length, length, BLOCK_SIZE=block)
    query, key, value = torch.randn(3, 2, 2, length, 16)
    with torch.no_grad():
        count = counted(lambda: torch.compile(flex_attention)(query, key, value, block_mask=mask))
    attention = count.operations.select(families=[Family.ATTENTION])
    full = 2 * 2 * 2 * length**2 * (16 + 16)
    assert attention.algorithmic_ops == full
    assert attention.skippable_ops == full // 4  # one of four blocks lies above the diagonal
    assert count.unpriced == {}


def test_an_optimizer_that_is_compiled_belongs_to_the_update_and_steps():
    def work(wrap):
        torch.manual_seed(0)
        model = Layers()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
        step = wrap(optimizer.step)
        with auditor.count() as count:
            for _ in range(3):
                train(model, torch.ones(4, WIDTH))
                step()
                optimizer.zero_grad()
        return count

    eager, compiled = work(lambda step: step), work(torch.compile)
    assert compiled.steps == eager.steps == 3
    assert compiled.operations.by_phase["optimizer"] == eager.operations.by_phase["optimizer"] > 0
    assert compiled.unpriced == {}


def test_frozen_weights_count_as_the_layers_they_are_of():
    class Frozen(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, WIDTH), nn.ReLU())

    with torch._inductor.config.patch(freezing=True):
        as_eager(lambda: Frozen().eval(), infer, [torch.randn(2, 3, 8, 8)])


def test_a_call_that_fails_is_not_counted_and_hides_nothing_after_it():
    def failing(x, index):
        return (x @ x)[index]

    compiled = torch.compile(failing)
    x = torch.randn(4, 4)
    compiled(x, torch.tensor([1]))
    with auditor.count() as count:
        compiled = torch.compile(failing)
        compiled(x, torch.tensor([2]))
        once = products(count)["forward"]
        with pytest.raises((IndexError, RuntimeError)):
            compiled(x, torch.tensor([99]))
        assert products(count)["forward"] == once
        x @ x
    assert products(count)["forward"] == once + 2 * 4**3


def test_two_counters_at_once_each_see_all():
    x = torch.randn(4, WIDTH)
    with auditor.count() as outer:
        model = torch.compile(Layers())
        train(model, x)
        with auditor.count() as inner:
            train(model, x)
    for phase in ("forward", "backward"):
        assert products(outer)[phase] == 2 * products(inner)[phase] > 0
    assert inner.unpriced == outer.unpriced == {}


def test_a_graph_compiled_before_anybody_counted_is_named():
    model = torch.compile(Layers())
    x = torch.randn(4, WIDTH)
    no_cache = torch._inductor.config.patch(fx_graph_cache=False)  # in a cache it may be described
    with no_cache, torch._functorch.config.patch(enable_autograd_cache=False):
        train(model, x)
    count = counted(lambda: train(model, x))
    assert count.unpriced == {"torch.compile::undescribed_graph": 2}
    assert products(count)["backward"] > 0  # what it hands to libraries is seen all the same


def test_a_branch_whose_choice_is_data_is_named():
    def branching(x):
        return torch.cond(x.sum() > 0, lambda x: x @ x, lambda x: x * 2, (x,))

    with torch.no_grad():
        count = counted(lambda: torch.compile(branching)(torch.ones(4, 4)))
    assert count.unpriced == {"torch.compile::higher_order::cond": 1}


def test_sizes_that_only_the_data_tell_are_named():
    def choosing(x):
        return x[x > 0].exp().sum()

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        count = counted(lambda: torch.compile(choosing, fullgraph=True)(torch.randn(9)))
    assert "torch.compile::aten::exp" in count.unpriced


def test_a_custom_operator_is_named_as_it_is_in_eager():
    with torch.library._scoped_library("auditor_test", "DEF") as library:
        library.define("mystery(Tensor x) -> Tensor")
        library.impl("mystery", lambda x: x @ x, "CPU")
        library.impl("mystery", torch.empty_like, "Meta")
        count = counted(lambda: torch.compile(lambda x: torch.ops.auditor_test.mystery(x) + 1)(torch.ones(4, 4)))
    assert count.unpriced == {"auditor_test::mystery": 1}
    assert products(count)["forward"] == 0


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_backends_that_run_operator_by_operator_are_counted_as_they_run(backend):
    as_eager(Layers, train, [torch.randn(4, WIDTH)], backend=backend)


def test_a_backend_that_nobody_knows_is_named():
    def vendor(graph, inputs):
        return graph.forward

    count = counted(lambda: infer(torch.compile(Layers(), backend=vendor), torch.randn(4, WIDTH)))
    assert count.unpriced == {"torch.compile::backend vendor": 1}


def test_compiling_and_learning_go_on_as_without_the_auditor():
    from torch._dynamo.utils import counters

    def work():
        torch._dynamo.reset()
        counters.clear()
        torch.manual_seed(0)
        model = Layers()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        step = torch.compile(model)
        for size in (2, 3, 2, 5):
            train(step, torch.randn(size, WIDTH))
            torch._dynamo.graph_break()
            optimizer.step()
            optimizer.zero_grad()
        told = {
            name: dict(counters[name]) for name in ("stats", "frames", "graph_break", "recompiles", "unimplemented")
        }
        return told, [parameter.detach().clone() for parameter in model.parameters()]

    bare, learnt = work()
    with auditor.count():
        audited, learnt_under_audit = work()
    assert audited == bare
    assert bare["stats"]["unique_graphs"] == 2  # the second one for every size
    assert all(map(torch.equal, learnt, learnt_under_audit))


def test_leaves_torch_as_it_was():
    from torch._dynamo import convert_frame
    from torch._inductor import codecache, compile_fx, output_code

    def places():
        return (
            convert_frame._compile,
            compile_fx._compile_fx_inner,
            output_code.CompiledFxGraph.__call__,
            vars(codecache.GuardedCache)["iterate_over_candidates"],
            tuple(sys.meta_path),
        )

    before = places()
    with auditor.count(), auditor.count():
        assert all(now is not then for now, then in zip(places(), before, strict=True))
    assert places() == before
