"""Steps are told by the optimizers themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from auditor.counting.phases import PhaseTracker
from auditor.counting.steps import StepClock


def optimizer_of(learning_rate=0.1):
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return torch.optim.SGD([parameter], lr=learning_rate)


def clock():
    ended = []
    clock = StepClock(PhaseTracker(), lambda: ended.append(1))
    clock.attach()
    return clock, ended


def test_one_optimizer_gives_its_own_number_of_steps():
    watch, ended = clock()
    optimizer = optimizer_of()
    for _ in range(5):
        optimizer.step()
    watch.detach()
    optimizer.step()
    assert watch.steps == len(ended) == 5


def test_two_optimizers_in_turn_make_one_step_of_a_round():
    watch, _ = clock()
    generator, discriminator = optimizer_of(), optimizer_of()
    for _ in range(4):
        discriminator.step()
        generator.step()
    watch.detach()
    assert watch.steps == 4


def test_the_busiest_optimizer_sets_the_pace():
    watch, _ = clock()
    generator, critic = optimizer_of(), optimizer_of()
    for _ in range(3):
        for _ in range(5):
            critic.step()
        generator.step()
    watch.detach()
    assert watch.steps == 15


def test_a_successor_goes_on_counting_when_the_first_is_gone():
    watch, _ = clock()
    for _ in range(2):
        optimizer = optimizer_of()
        for _ in range(3):
            optimizer.step()
        del optimizer
    watch.detach()
    assert watch.steps == 6


def test_marks_take_over_from_optimizers():
    watch, _ = clock()
    optimizer = optimizer_of()
    watch.mark()
    optimizer.step()
    watch.mark()
    watch.detach()
    assert watch.steps == 2


@pytest.fixture
def users_hook():
    """A hook of the script's own, behind those that were there before: torch fails if one of these goes meanwhile."""
    handles = []
    yield lambda: handles.append(register_optimizer_step_post_hook(lambda *_: None))
    for handle in handles:
        handle.remove()


def test_a_clock_that_is_stopped_by_a_step_lets_that_step_end(users_hook):
    def stop() -> None:
        watch.detach()

    watch = StepClock(PhaseTracker(), stop)
    watch.attach()
    users_hook()
    optimizer = optimizer_of()
    for _ in range(2):
        optimizer.step()
    assert watch.steps == 1
    watch.detach()
    assert not watch._handles
