"""Fused and list optimizers against torch's own code for one tensor at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from auditor.operations import Family
from auditor.tally import Phase

SIZES = [(3, 4), (5,), (2, 3, 2)]
OPTIMIZERS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.AdamW, {}),
    (torch.optim.AdamW, {"amsgrad": True}),
    (torch.optim.AdamW, {"maximize": True}),
    (torch.optim.Adam, {}),
    (torch.optim.Adam, {"amsgrad": True, "maximize": True}),
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"maximize": True}),
    (torch.optim.SGD, {"momentum": 0.9}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (torch.optim.Adagrad, {}),
    (torch.optim.Adagrad, {"maximize": True}),
]
NAMES = [f"{kind.__name__}-{'-'.join(settings)}" for kind, settings in OPTIMIZERS]


def _steps(kind: type[torch.optim.Optimizer], settings: dict[str, Any], **how: bool) -> Any:
    parameters = [torch.nn.Parameter(torch.ones(size)) for size in SIZES]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    return kind(parameters, lr=0.1, **settings, **how)  # type: ignore[call-arg]


def _cost(watch: Any, kind: type[torch.optim.Optimizer], settings: dict[str, Any], **how: bool) -> list[int]:
    """Of the first step, which makes the state, and of the second."""
    optimizer = _steps(kind, settings, **how)
    costs = []
    for _step in range(2):
        operations = watch(optimizer.step).operations(Phase.OPTIMIZER)
        assert operations.complete, operations.unpriced
        assert operations.by_family[Family.OPTIMIZER] == operations.total
        costs.append(operations.total)
    return costs


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=NAMES)
def test_a_fused_step_costs_what_its_single_tensor_form_costs(
    watch: Any, kind: type[torch.optim.Optimizer], settings: dict[str, Any]
) -> None:
    single = _cost(watch, kind, settings, foreach=False)
    assert _cost(watch, kind, settings, fused=True) == single
    assert min(single) > 0


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop])
def test_a_step_over_lists_costs_what_its_single_tensor_form_costs(
    watch: Any, kind: type[torch.optim.Optimizer]
) -> None:
    assert _cost(watch, kind, {}, foreach=True) == _cost(watch, kind, {}, foreach=False)


def test_adamw_costs_twelve_operations_per_element_and_one_per_counter_of_steps(watch: Any) -> None:
    elements = sum(torch.Size(size).numel() for size in SIZES)
    assert _cost(watch, torch.optim.AdamW, {}, fused=True) == [12 * elements + len(SIZES)] * 2


@pytest.mark.parametrize(("kind", "decay", "difference"), [(torch.optim.Adam, 0.1, 1), (torch.optim.AdamW, 0.0, -1)])
def test_weight_decay_that_only_its_value_tells_is_taken_as_usual_in_the_fused_form(
    watch: Any, kind: type[torch.optim.Optimizer], decay: float, difference: int
) -> None:
    """Torch does it where it is not 0; the value is not kept: AdamW is counted with decay, Adam without."""
    elements = sum(torch.Size(size).numel() for size in SIZES)
    single = _cost(watch, kind, {"weight_decay": decay}, foreach=False)
    fused = _cost(watch, kind, {"weight_decay": decay}, fused=True)
    assert [a - b for a, b in zip(single, fused, strict=True)] == [difference * elements] * 2


def test_a_gradient_scaler_unscales_with_two_operations_per_element(watch: Any) -> None:
    parameter = torch.nn.Parameter(torch.ones(3, 4))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(parameter.sum()).backward()
    seen = watch(lambda: scaler.unscale_(optimizer))
    assert seen.amount("aten::_amp_foreach_non_finite_check_and_unscale").algorithmic_ops == 2 * 12
