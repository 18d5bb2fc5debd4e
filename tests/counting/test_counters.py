"""What both counters see: every operator once, on every thread, and nothing that does not compute."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import auditor
from auditor.counting.dispatch import DispatchCounter
from auditor.counting.native import NativeCounter
from auditor.errors import UsageError
from auditor.operations import MATRIX_FAMILIES
from auditor.tally import Phase

PRODUCT = 2 * 4 * 8 * 16


@pytest.fixture(params=["native", "dispatch"])
def count(request):
    return partial(auditor.count, counter=request.param)


@pytest.fixture
def a():
    return torch.randn(4, 8)


@pytest.fixture
def b():
    return torch.randn(8, 16)


def products(counted) -> int:
    return counted.operations.select(families=MATRIX_FAMILIES).executed_ops


def calls(counted, op) -> int:
    return sum(number for entry, number in counted.tally.items() if entry.signature.op == op)


def test_counts_only_inside_the_block(count, a, b):
    a @ b
    with count() as counted:
        a @ b
    a @ b
    assert products(counted) == PRODUCT
    assert counted.operations.total == PRODUCT


def test_can_be_asked_inside_the_block_and_goes_on(count, a, b):
    with count() as counted:
        a @ b
        assert products(counted) == PRODUCT
        a @ b
        assert products(counted) == 2 * PRODUCT
    assert products(counted) == 2 * PRODUCT


def test_two_counters_at_once_each_see_all(count, a, b):
    with count() as outer:
        a @ b
        with count() as inner:
            a @ b
    assert products(outer) == 2 * PRODUCT
    assert products(inner) == PRODUCT


def test_leaves_no_trace_when_detached(count, a, b):
    apply, bootstrap = torch.autograd.Function.apply, threading.Thread._bootstrap_inner
    with count():
        a @ b
    assert torch.autograd.Function.apply.__func__ is apply.__func__
    assert threading.Thread._bootstrap_inner is bootstrap
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


@pytest.mark.parametrize("kind", [NativeCounter, DispatchCounter])
def test_detached_under_a_mode_entered_later_it_counts_no_more(kind, a, b):
    counter = kind()
    counter.attach()
    with FakeTensorMode(allow_non_fake_inputs=True):
        counter.detach()
    a @ b
    assert not counter.take()


def test_composites_are_counted_by_their_parts_with_and_without_gradients(count, a):
    weight = torch.randn(16, 8)
    with count() as training:
        nn.functional.linear(a, weight)
    with count() as inferring, torch.inference_mode():
        nn.functional.linear(a, weight)
    assert products(training) == products(inferring) == PRODUCT


def _train_traced(a, b):
    """Everything that is only traced: fake tensors in a mode and without, real ones under it, meta ones, an update."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        made = torch.randn(4, 8)
        a @ b
        torch._foreach_add_([a], [a])
        layer = nn.Linear(8, 16)
        layer(mode.from_tensor(a)).sum().backward()
        torch.optim.AdamW(layer.parameters(), fused=True).step()
    made + made
    layer = nn.Linear(8, 16, device="meta")
    layer(a.to("meta")).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, foreach=True).step()


def test_what_is_only_traced_computes_nothing(count, a, b):
    with count() as counted:
        _train_traced(a, b)
    assert counted.operations.total == 0
    assert not counted.tally


def test_a_simulation_counts_what_is_traced_as_a_run_counts_what_is_executed(a, b):
    def train(device):
        layer = nn.Linear(8, 16, device=device)
        layer(torch.randn(4, 8, device=device)).relu().sum().backward()
        torch.optim.SGD(layer.parameters(), lr=0.1, foreach=True).step()  # others count their steps in real tensors

    with auditor.count(counter="dispatch") as executed:
        train("cpu")
    with auditor.count(simulated=True) as traced, FakeTensorMode():
        train("cpu")
    with auditor.count(simulated=True) as without_mode:
        train("meta")
    assert traced.tally == executed.tally
    assert without_mode.operations == executed.operations
    assert traced.operations.by_phase["optimizer"] > 0


def test_a_simulation_counts_nothing_that_is_executed(a, b):
    with auditor.count(simulated=True) as counted:
        (a @ b).relu()
    assert not counted.tally


def test_a_simulation_takes_no_values_from_tensors_that_have_none():
    with FakeTensorMode(), auditor.count(simulated=True) as counted:
        rows, experts = torch.empty(32, 16, dtype=torch.bfloat16), torch.empty(2, 16, 16, dtype=torch.bfloat16)
        torch._grouped_mm(rows, experts, torch.empty(2, dtype=torch.int32))
    assert products(counted) == 2 * 32 * 16 * 16


def test_the_native_counter_does_not_simulate():
    with pytest.raises(UsageError, match="native"), auditor.count(counter="native", simulated=True):
        pass


def test_threads_begun_inside_are_counted_exactly(count):
    each, threads = 300, 4
    x = torch.randn(2, 2)

    def work():
        for _ in range(each):
            x @ x

    with count() as counted:
        running = [threading.Thread(target=work) for _ in range(threads)]
        for thread in running:
            thread.start()
        while any(thread.is_alive() for thread in running):
            assert counted.operations.total >= 0  # read while they count
        for thread in running:
            thread.join()
        assert calls(counted, "aten::mm") == each * threads


def test_an_operator_that_raises_is_not_counted(count, a):
    with count() as counted:
        with pytest.raises(RuntimeError):
            a @ torch.randn(3, 3)
        a @ a.T
    assert calls(counted, "aten::mm") == 1


def test_a_tensor_subclass_is_counted_by_what_it_runs(count, a, b):
    class Wrapped(torch.Tensor):
        @staticmethod
        def __new__(cls, inner):
            wrapped = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
            wrapped.inner = inner
            return wrapped

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            args = [arg.inner if isinstance(arg, cls) else arg for arg in args]
            return func(*args, **(kwargs or {}))

    with count() as counted:
        Wrapped(a) @ Wrapped(b)
    assert products(counted) == PRODUCT


def test_lazy_modules_and_parameters_are_plain(count, a):
    with count() as counted:
        nn.Sequential(nn.LazyLinear(16), nn.ReLU())(a)
    assert products(counted) == PRODUCT


def test_functorch_transforms_are_counted_by_what_they_run(count, a):
    stack = torch.randn(5, 8, 16)
    with count() as counted:
        torch.vmap(lambda matrix: a @ matrix)(stack)
        torch.func.grad(lambda x: (x @ stack[0]).sum())(a)
    forward = 5 * PRODUCT
    assert products(counted) == forward + PRODUCT + PRODUCT


def test_numbers_of_any_value_make_one_signature(count, a):
    with count() as counted:
        for rate in range(1, 6):
            a.add_(a, alpha=0.1 * rate)
            a.mul(rate)
            a * torch.tensor(2.0)
    signatures = {entry.signature for entry in counted.tally}
    assert len([signature for signature in signatures if signature.op == "aten::add.Tensor"]) == 1
    assert sorted(s.arguments for s in signatures if s.op == "aten::mul.Tensor") == [
        '["float32[4,8]","#"]',
        '["float32[4,8]","float32[]"]',
    ]


def test_an_operator_without_a_price_is_named_and_makes_the_total_a_lower_bound(count, a):
    with torch.library._scoped_library("auditor_test", "DEF") as library:
        library.define("mystery(Tensor x) -> Tensor")
        library.impl("mystery", lambda x: x.clone(), "CPU")
        with count() as counted:
            torch.ops.auditor_test.mystery(a)
            torch.ops.auditor_test.mystery(a)
    assert counted.unpriced == {"auditor_test::mystery": 2}
    assert not counted.operations.complete


def test_operators_of_higher_order_are_counted_by_what_they_run(count, a, b):
    from torch._higher_order_ops import cond

    with count() as counted:
        cond(torch.tensor(True), lambda: a @ b, lambda: (a @ b) * 2, ())
    assert products(counted) == PRODUCT


def test_double_backward_is_backward_not_recomputation(count):
    x = torch.randn(3, 3, requires_grad=True)
    with count() as counted:
        (gradient,) = torch.autograd.grad((x @ x).sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert counted.operations.by_phase["recompute"] == 0
    assert counted.operations.by_phase["backward"] > 2 * 2 * 27


def test_gradients_through_functorch_and_of_custom_functions_are_backward(count, a, b):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x @ y

        @staticmethod
        def backward(ctx, gradient):
            x, y = ctx.saved_tensors
            with torch.enable_grad():
                return gradient @ y.T, x.T @ gradient

    a.requires_grad_()
    with count() as counted:
        torch.func.grad(lambda x: (x @ b).sum())(a.detach())
        Product.apply(a, b).sum().backward()
        torch.autograd.grad((a @ b).square().sum(), a, create_graph=True, retain_graph=False)
    assert counted.operations.by_phase["recompute"] == 0


def test_clipping_and_hand_written_updates_belong_to_the_optimizer(count):
    model = nn.Linear(8, 8)
    x = torch.randn(2, 8)
    with count() as counted:
        loss = model(x).square().mean()
        loss.backward()
        loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        model(x)  # a differentiable forward ends the update
        with torch.no_grad():
            model(x)
    phases = counted.operations.by_phase
    norms_and_updates = counted.operations.select(phases=[Phase.OPTIMIZER])
    assert norms_and_updates.executed_ops > 72 * 3
    assert counted.operations.select(phases=[Phase.OPTIMIZER], families=MATRIX_FAMILIES).executed_ops == 0
    assert phases["inference"] == 2 * 2 * 8 * 8


def test_a_custom_function_is_forward_inside_and_inference_without_gradients(count, a, b):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x @ y

        @staticmethod
        def backward(ctx, gradient):
            x, y = ctx.saved_tensors
            return gradient @ y.T, x.T @ gradient

    a.requires_grad_()
    with count() as counted:
        Product.apply(a, b).sum().backward()
        torch.ones(1, requires_grad=True) @ torch.ones(1)
    assert counted.operations.select(phases=["forward"], families=MATRIX_FAMILIES).executed_ops == PRODUCT + 2
    assert counted.operations.select(phases=["backward"], families=MATRIX_FAMILIES).executed_ops == 2 * PRODUCT
    with count() as counted, torch.no_grad():
        Product.apply(a, b)
    assert counted.operations.by_phase["inference"] == PRODUCT
