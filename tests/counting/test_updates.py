"""When a step of an optimizer is looked at, and that looking leaves the training as it was."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim.optimizer import register_optimizer_step_post_hook

from auditor.counting import attachment, updates
from auditor.counting.dispatch import DispatchCounter
from auditor.counting.steps import StepClock
from auditor.counting.updates import UpdateWatch
from auditor.formulas import Pricer


@pytest.fixture
def watched(monkeypatch):
    """A counter and a watch at work as in one of several ranks; what was told, and what went wrong."""
    monkeypatch.setattr(updates, "_is_one_of_several", lambda: True)
    told, problems = [], []
    counter = DispatchCounter()
    clock = StepClock(counter.phases)
    watch = UpdateWatch(counter, told.append, problems.append)
    watch.attach()
    attachment.attach(counter, clock)
    yield watch, told, problems
    attachment.detach(counter, clock)
    watch.detach()


def optimizer_of(*sizes: int, kind=torch.optim.SGD, **options):
    parameters = [nn.Parameter(torch.ones(size)) for size in sizes]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    return kind(parameters, lr=0.1, **options)


def elements(looked) -> int:
    return sum(part.elements for part in looked.parts)


def test_the_first_step_is_looked_at_and_another_when_asked_and_told_if_it_is_new(watched):
    watch, told, _ = watched
    optimizer = optimizer_of(3, 4)
    for _ in range(3):
        optimizer.step()
    (first,) = told
    assert (first.number, first.optimizer, elements(first)) == (0, "SGD", 7)
    assert Pricer().price(first.calls).total == 7
    watch.ask()
    optimizer.step()
    assert told == [first]
    optimizer.param_groups[0]["params"][0].grad = None
    optimizer.step()
    assert told == [first]
    watch.ask()
    optimizer.step()
    assert [elements(one) for one in told] == [7, 4]


def test_a_momentum_that_begins_with_the_second_step_is_told(watched):
    watch, told, _ = watched
    optimizer = optimizer_of(5, momentum=0.9)
    for _ in range(3):
        optimizer.step()
        watch.ask()
    assert [Pricer().price(one.calls).total for one in told] == [5, 3 * 5]


def test_each_optimizer_has_its_number_for_good(watched):
    watch, told, _ = watched
    for size in (1, 2):
        optimizer_of(size).step()  # and it is gone
    other = optimizer_of(3)
    other.step()
    watch.forget()
    other.step()
    assert [(one.number, elements(one)) for one in told] == [(0, 1), (1, 2), (2, 3), (0, 3)]


def test_a_step_of_the_scripts_own_is_named_and_nothing_is_said_of_it(watched):
    class Mine(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    _, told, _ = watched
    optimizer_of(3, kind=Mine).step()
    assert [(one.optimizer, elements(one)) for one in told] == [("Mine", 0)]


def test_an_optimizer_that_lets_others_step_is_theirs_to_tell_of(watched):
    inner = optimizer_of(3)

    class Around(torch.optim.Optimizer):
        def step(self, closure=None):
            inner.step()

    watch, told, _ = watched
    outer = Around(inner.param_groups[0]["params"], {})
    for _ in range(2):
        outer.step()
        watch.ask()
    assert [(one.optimizer, elements(one)) for one in told] == [("SGD", 3)]


def test_a_step_that_raises_is_forgotten(watched):
    class Faulty(torch.optim.SGD):
        fails = True

        def step(self, closure=None):
            if self.fails:
                raise ValueError("no step")
            return super().step(closure)

    _, told, problems = watched
    faulty, other = optimizer_of(3, kind=Faulty), optimizer_of(4)
    for _ in range(2):
        with pytest.raises(ValueError, match="no step"):
            faulty.step()
    other.step()
    faulty.fails = False
    faulty.step()
    assert [(one.optimizer, elements(one)) for one in told] == [("SGD", 4), ("Faulty", 0)]
    assert problems == []


def test_an_optimizer_whose_step_raised_is_kept_alive_by_nobody(watched):
    optimizer = optimizer_of(3)

    def no_memory():
        raise MemoryError

    with pytest.raises(MemoryError):
        optimizer.step(no_memory)
    alive = weakref.ref(optimizer), weakref.ref(optimizer.param_groups[0]["params"][0])
    del optimizer
    gc.collect()
    assert [one() for one in alive] == [None, None]


def test_an_optimizer_need_not_be_one_that_can_be_hashed(watched):
    class Compared(torch.optim.SGD):
        def __eq__(self, other):
            return self is other

        __hash__ = None

    _, told, problems = watched
    optimizer_of(3, kind=Compared).step()
    assert [one.optimizer for one in told] == ["Compared"]
    assert problems == []


def test_a_hook_of_the_scripts_own_may_end_the_looking(watched):
    watch, told, _ = watched
    watch.detach()
    hook = register_optimizer_step_post_hook(lambda *_: watch.detach())
    watch.attach()
    try:
        for _ in range(2):
            optimizer_of(3).step()
    finally:
        hook.remove()
    assert told == []


def test_of_a_step_that_updates_rows_or_again_and_again_it_is_said_that_it_is_not_known(watched):
    _, told, _ = watched
    table = nn.Embedding(100, 4, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    torch.optim.SparseAdam(list(table.parameters())).step()
    optimizer_of(2, kind=torch.optim.LBFGS).step(lambda: torch.tensor(1.0))
    assert [[(part.kept_by, part.group, part.elements) for part in one.parts] for one in told] == [
        [("", "in part", 0)],
        [("", "several times", 0)],
    ]


@pytest.fixture
def group():
    """A process group of one rank."""
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    yield
    torch.distributed.destroy_process_group()


def stepped(model, optimizer):
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()


def test_a_wrapper_that_is_gone_keeps_nothing_alike(watched, group):
    watch, told, _ = watched
    model = nn.Linear(3, 2)
    wrapper = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters())
    stepped(wrapper, optimizer)
    del wrapper
    gc.collect()
    watch.ask()
    stepped(model, optimizer)
    assert [one.parts[0].kept_by for one in told] == ["DistributedDataParallel", ""]


def test_wrappers_that_were_never_finished_or_lost_their_group_are_passed_over(watched, group):
    _, told, problems = watched
    with pytest.raises(RuntimeError) as unfinished:
        nn.parallel.DistributedDataParallel(nn.ReLU())
    subset = torch.distributed.new_group([0])
    lost = nn.parallel.DistributedDataParallel(nn.Linear(3, 2), process_group=subset)
    torch.distributed.destroy_process_group(subset)
    stepped(lost.module, torch.optim.SGD(lost.parameters()))
    assert [one.parts[0].kept_by for one in told] == [""]
    assert problems == []
    assert unfinished.traceback


@pytest.mark.parametrize("lacking", ["parts_of", "difference"])
def test_what_fails_ends_the_looking_and_no_step(watched, monkeypatch, lacking):
    def fail(*_):
        raise AttributeError("torch has it no more")

    monkeypatch.setattr(updates, lacking, fail)
    watch, told, problems = watched
    optimizer = optimizer_of(2)
    for _ in range(2):
        optimizer.step()
        watch.ask()
    torch.testing.assert_close(optimizer.param_groups[0]["params"][0].detach(), torch.full((2,), 0.8))
    assert told == []
    assert [str(problem) for problem in problems] == ["torch has it no more"]


def test_a_count_that_was_cut_in_a_step_is_taken_in_the_next(watched, monkeypatch):
    differences = iter([None, updates.difference])
    found = updates.difference

    def difference(before, after):
        return found(before, after) if next(differences) else None

    monkeypatch.setattr(updates, "difference", difference)
    _, told, _ = watched
    optimizer = optimizer_of(2)
    optimizer.step()
    assert told == []
    optimizer.step()
    assert len(told) == 1


def test_a_compiled_step_is_not_looked_at_and_compiled_as_without(watched):
    def compiled() -> int:
        torch.compiler.reset()
        counter, optimizer = CompileCounter(), optimizer_of(2, 3)
        step = torch.compile(optimizer.step, backend=counter)
        for _ in range(3):
            step()
            watch.ask()
        return counter.frame_count

    watch, told, problems = watched
    graphs = compiled()
    assert (told, problems) == ([], [])
    watch.detach()
    assert graphs == compiled() > 0


def test_where_one_process_trains_alone_nothing_is_looked_at(watched, monkeypatch):
    monkeypatch.undo()
    _, told, problems = watched
    optimizer_of(2).step()
    assert (told, problems) == ([], [])
