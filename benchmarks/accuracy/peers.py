"""Other counters on the same work: torch's FlopCounterMode on the step, fvcore on the forward pass."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from auditor.counting.reconcile import priced, reconcile
from auditor.counting.second_opinion import describe
from auditor.counting.static import analyse
from auditor.formulas import Pricer
from auditor.units import OPS_PER_MULTIPLY_ADD
from benchmarks.accuracy.figures import BIASES
from benchmarks.accuracy.steps import counted, step_of, subject_of

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.records import SecondOpinion
    from benchmarks.accuracy.catalogue import Model


def flop_counter(model: Model) -> dict[str, int]:
    """What FlopCounterMode counts of one training step, by operator (``aten::mm``)."""
    step = step_of(subject_of(model))
    with FlopCounterMode(display=False) as counter:
        step()
    by_operator = counter.get_flop_counts().get("Global", {})
    return {_name(packet): int(ops) for packet, ops in by_operator.items()}


def _name(packet: Any) -> str:
    return str(getattr(packet, "_qualified_op_name", packet))


def fvcore(model: Model) -> SecondOpinion:
    """fvcore's count of one call in training mode beside ours, reconciled."""
    subject = subject_of(model)
    with counted() as count:
        subject.call()
    ours = priced(count.tally, Pricer())
    subject = subject_of(model)
    theirs = analyse(subject.module, subject.args, subject.kwargs)
    return reconcile(ours, theirs, inputs=describe(subject.args, dict(subject.kwargs)))


def forward_macs(module: nn.Module, image: Tensor) -> dict[str, int]:
    """Our multiply-adds of a forward pass in evaluation mode, by kind of matrix work."""
    with torch.no_grad(), counted() as count:
        module.eval()(image)
    kinds = priced(count.tally, Pricer()).work.items()
    return {str(kind): sum(piece.ops * piece.calls for piece in work) // OPS_PER_MULTIPLY_ADD for kind, work in kinds}


def work_beside(module: nn.Module, image: Tensor) -> dict[str, int]:
    """What others may publish beside matrix work: fvcore's own handles by its names, and the biases."""
    from fvcore.nn import FlopCountAnalysis

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(module.eval(), image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        amounts = {name: int(amount) for name, amount in analysis.by_operator().items()}
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    return {**amounts, BIASES: sum(layer.bias.numel() for layer in layers if layer.bias is not None)}
