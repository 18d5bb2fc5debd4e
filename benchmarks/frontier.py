"""Runs at the frontier, added up from one rank of each kind: what a step computes over all ranks, and beside it what is
published of such runs. As Markdown.

python benchmarks/frontier.py                      # whole models, with and without activation checkpointing
python benchmarks/frontier.py --layers 2           # so many layers in a full stage: another model, of the same widths
python benchmarks/frontier.py --stages 4           # so many pipeline stages, and as many micro-batches
python benchmarks/frontier.py --json FILE          # and what each kind of rank came to, exactly
python benchmarks/frontier.py --out FILE           # and writes the Markdown there
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shlex
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ledger import describe_machine
from simulation import Layout, Part, Place, Traced, trace
from workloads import dense_transformer, mixture_of_experts
from workloads.dense_transformer import LLAMA_405B, Dense
from workloads.mixture_of_experts import DEEPSEEK_V3, Mixture

from auditor.operations import MATRIX_FAMILIES, Operations, add_up
from auditor.units import scientific, wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh

DENSE_LAYOUT = Layout(pipeline=16, data=128, tensor=8, micro_batches=16)
MIXTURE_LAYOUT = Layout(pipeline=16, data=128, expert=64, micro_batches=16)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Ranks that compute the same: where the first of them stands, how many they are, and what they have."""

    name: str
    place: Place
    ranks: int
    dense: int = 0  # layers of each sort
    routed: int = 0
    received: int | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model on its ranks. ``tokens``: of the whole run, as published."""

    sizes: Dense | Mixture
    layout: Layout
    full: int  # layers of a full stage
    checkpointing: bool
    tokens: int


def dense_kinds(subject: Subject) -> Iterator[Kind]:
    """The first and the last stage have a layer less, and beside that the embedding and the head.

    Rows of the vocabulary do not divide by the data-parallel ranks: the last of these has fewer of them.
    """
    layout, full = subject.layout, subject.full
    whole = (layout.data - 1) * layout.tensor
    for name, stage in (("first stage", 0), ("last stage", layout.pipeline - 1)):
        yield Kind(name=name, place=Place(stage), ranks=whole, dense=full - 1)
        rest = Place(stage, layout.data - 1)
        yield Kind(name=f"{name}, last shard", place=rest, ranks=layout.tensor, dense=full - 1)
    middle = (layout.pipeline - 2) * layout.data * layout.tensor
    yield Kind(name="other stages", place=Place(1), ranks=middle, dense=full)


def mixture_kinds(subject: Subject) -> Iterator[Kind]:
    """The dense layers come first; the last stage has the head and one layer of experts.

    In the second stage routing is uneven: half of its ranks are sent half as many rows again, which the others lack.
    """
    layout, full, sizes = subject.layout, subject.full, subject.sizes
    assert isinstance(sizes, Mixture)
    dense = sizes.dense_layers
    yield Kind(name="first stage", place=Place(0), ranks=layout.data, dense=dense, routed=max(full - dense, 0))
    yield Kind(name="last stage", place=Place(layout.pipeline - 1), ranks=layout.data, routed=1)
    rows = sizes.context * sizes.chosen
    for name, received in (("busy", rows * 3 // 2), ("idle", rows // 2)):
        second = {"name": f"second stage, {name} experts", "place": Place(1), "ranks": layout.data // 2}
        yield Kind(**second, routed=full, received=received)  # type: ignore[arg-type]
    yield Kind(name="other stages", place=Place(2), ranks=(layout.pipeline - 3) * layout.data, routed=full)


def kinds(subject: Subject) -> list[Kind]:
    """Every kind of rank; together they are all ranks."""
    found = list((dense_kinds if isinstance(subject.sizes, Dense) else mixture_kinds)(subject))
    assert sum(kind.ranks for kind in found) == subject.layout.world
    return found


def layers(subject: Subject) -> int:
    """Of the model, over its stages."""
    layout = subject.layout
    return sum((kind.dense + kind.routed) * kind.ranks for kind in kinds(subject)) // (layout.data * layout.tensor)


def build(subject: Subject, kind: Kind, mesh: DeviceMesh) -> Part:
    """What a rank of that kind has of the model."""
    sizes, layout = subject.sizes, subject.layout
    ends = {"first": kind.place.stage == 0, "last": kind.place.stage == layout.pipeline - 1}
    with torch.device("meta"):
        if isinstance(sizes, Dense):
            stage: Any = dense_transformer.Stage(sizes, kind.dense, **ends, checkpointing=subject.checkpointing)
            dense_transformer.parallelize(stage, mesh)
        else:
            stage = mixture_of_experts.Stage(
                sizes, kind.dense, kind.routed, **ends, checkpointing=subject.checkpointing
            )
            mixture_of_experts.parallelize(stage, mesh, kind.received)

    def states() -> Tensor:
        shape = (1, sizes.context // layout.tensor, sizes.width)
        return torch.empty(shape, dtype=torch.bfloat16, requires_grad=True)

    def tokens() -> Tensor:
        return torch.zeros(1, sizes.context, dtype=torch.long)

    def scores() -> Tensor:
        shape = (1, sizes.context, sizes.vocabulary // layout.tensor)
        return torch.empty(shape, dtype=torch.bfloat16, requires_grad=True)

    return Part(stage, tokens if ends["first"] else states, scores if ends["last"] else states, dense_transformer.loss)


def trace_kind(subject: Subject, kind: Kind) -> Traced:
    """What one rank of that kind computes in a step; once in a process."""
    warnings.simplefilter("ignore")
    return trace(subject.layout, kind.place, lambda mesh: build(subject, kind, mesh), subject.sizes.context)


def trace_all(subjects: Sequence[Subject], processes: int) -> list[list[tuple[Kind, Traced]]]:
    """One rank of each kind of each subject, each in a process of its own."""
    found = [kinds(subject) for subject in subjects]
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(["frontier"])  # torch is loaded once, and no rank has run where it is
    with ProcessPoolExecutor(processes, forked, max_tasks_per_child=1) as pool:
        waiting = [
            [pool.submit(trace_kind, subject, kind) for kind in each]
            for subject, each in zip(subjects, found, strict=True)
        ]
        return [
            [(kind, one.result()) for kind, one in zip(each, futures, strict=True)]
            for each, futures in zip(found, waiting, strict=True)
        ]


def subjects(full: int | None, stages: int | None = None) -> list[Subject]:
    """Both models, without and with activation checkpointing.

    ``full``: layers of a full stage, ``stages``: of the pipeline, and micro-batches; or the model's own.
    """
    published: list[tuple[Dense | Mixture, Layout, int, int]] = [
        (LLAMA_405B, DENSE_LAYOUT, 8, 15_600_000_000_000),
        (DEEPSEEK_V3, MIXTURE_LAYOUT, 4, 14_800_000_000_000),
    ]
    plain = [
        Subject(
            sizes=sizes,
            layout=replace(layout, pipeline=stages, micro_batches=stages) if stages else layout,
            full=full or own,
            checkpointing=False,
            tokens=tokens,
        )
        for sizes, layout, own, tokens in published
    ]
    return [*plain, *(replace(subject, checkpointing=True) for subject in plain)]


def world_total(found: Sequence[tuple[Kind, Traced]]) -> Operations:
    """What all ranks compute in a step."""
    return add_up([(one.operations, kind.ranks) for kind, one in found])


def as_json(subject: Subject, found: Sequence[tuple[Kind, Traced]]) -> dict[str, Any]:
    """What was traced, exactly."""
    kinds_found = [
        {
            "name": kind.name,
            "ranks": kind.ranks,
            "dense": kind.dense,
            "routed": kind.routed,
            "calls": one.calls,
            "operations": [[*bucket, *map(wire, amount)] for bucket, amount in one.operations],
            "unpriced": dict(one.operations.unpriced),
        }
        for kind, one in found
    ]
    head = {"model": subject.sizes.name, "layers": layers(subject), "checkpointing": subject.checkpointing}
    layout = subject.layout
    cut = {"stages": layout.pipeline, "world": layout.world, "sequences": layout.sequences}
    return head | cut | {"kinds": kinds_found}


def table(subject: Subject, found: Sequence[tuple[Kind, Traced]]) -> list[str]:
    """One model's ranks, and their sum."""
    sizes, layout = subject.sizes, subject.layout
    cut = f"pipeline {layout.pipeline}, data {layout.data}, " + (
        f"tensor {layout.tensor}" if layout.tensor > 1 else f"experts over {layout.expert} of these"
    )
    again = "layers checkpointed" if subject.checkpointing else "nothing checkpointed"
    lines = [f"## {sizes.name}, {layers(subject)} layers, {again}", ""]
    lines += [f"{layout.world:,} ranks ({cut}); {layout.sequences:,} sequences of {sizes.context:,} tokens a step.", ""]
    lines += ["| kind of rank | ranks | layers | calls of a rank | matrix operations | all operations |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for kind, one in found:
        lines.append(_row(kind.name, kind.ranks, kind.dense + kind.routed, f"{one.calls:,}", one.operations))
    return [*lines, _row("**all ranks**", layout.world, layers(subject), "", world_total(found)), ""]


def _row(name: str, ranks: int, num_layers: int, calls: str, operations: Operations) -> str:
    matrix = operations.select(families=MATRIX_FAMILIES).executed_ops
    return f"| {name} | {ranks:,} | {num_layers} | {calls} | {wire(matrix)} | {wire(operations.total)} |"


def beside_published(subject: Subject, found: Sequence[tuple[Kind, Traced]]) -> list[str]:
    """A whole run by the sum over all ranks, without what was repeated, and by what is published of it."""
    sizes, layout, total = subject.sizes, subject.layout, world_total(found)
    tokens = layout.sequences * sizes.context
    once = total.select(phases=("forward", "backward", "optimizer")).algorithmic_ops
    matrix = total.select(families=MATRIX_FAMILIES, phases=("forward", "backward"))
    counted = {
        "all ranks, algorithmic": once,
        "its matrix families alone": matrix.algorithmic_ops,
        "these without the masked half of attention": matrix.algorithmic_ops - matrix.skippable_ops,
    }
    lines = [f"| {sizes.name} | a token | the run of {scientific(subject.tokens)} tokens |", "|---|---:|---:|"]
    for name, ops in counted.items():
        run = ops * subject.tokens // tokens
        lines.append(f"| {name} | {ops / tokens / 1e9:,.2f} G | {scientific(run)} |")
    lines += [f"| {' | '.join(row)} |" for row in PUBLISHED[sizes.name]]
    return [*lines, ""]


# What is published: convention and source, operations of a token, of the run.
PUBLISHED = {
    LLAMA_405B.name: [
        ("6 N D, N = 405,853,388,800 (Llama 3 Herd, arXiv:2407.21783: 3.8e25)", "2,435.12 G", "3.799e25"),
        ("6 N D without the embedding, which is looked up and not multiplied", "2,422.51 G", "3.779e25"),
    ],
    DEEPSEEK_V3.name: [
        ("arXiv:2505.09343, table 2: with the unmasked half of attention", "250 G", "3.70e24"),
        ("6 N D, N = 37e9 active parameters", "222 G", "3.286e24"),
    ],
}

_HOW = """\
One rank of each kind, traced in a process of its own on torch's fake process group and fake tensors, under the
project's counter (`auditor.count(simulated=True)`): DTensor, FSDP2, the 1F1B schedule, autograd and fused AdamW are
torch's own, as they run on a cluster; no memory and no network is needed. Ranks of a kind compute the same; their
operations times their number, added up, are the step's. `tests/workloads/test_frontier.py` holds the sums against a
closed form, to the operation."""

_WHY = """\
6 N D takes each parameter for one multiply-add forward and two backward for each token. The count differs by what is no
product with a weight (attention's scores and mixes), by what is in N and computes no product (the embedding), and by
elementwise work, which 6 N D leaves out. Full scores are counted, as the kernels' mathematics has them; a causal mask
throws half away, and papers that halve the term come to less. What is computed again (*repeated* scores in the backward
of attention, checkpointed layers) is executed and shown above, and is no part of the algorithmic count below."""


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--layers", type=int, help="of a full stage; the default is the model's own")
    parser.add_argument("--stages", type=int, help="of the pipeline, and micro-batches; the default is the model's own")
    parser.add_argument("--checkpointing", choices=("with", "without", "both"), default="both", help="of activations")
    parser.add_argument("--processes", type=int, default=2, help="ranks that are traced at a time")
    parser.add_argument("--json", type=Path, help="write what each kind of rank came to into this file")
    parser.add_argument("--out", type=Path, help="write the Markdown into this file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    wanted = {"with": (True,), "without": (False,), "both": (False, True)}[arguments.checkpointing]
    asked = [one for one in subjects(arguments.layers, arguments.stages) if one.checkpointing in wanted]
    command = shlex.join(["python", "benchmarks/frontier.py", *(argv or sys.argv[1:])])
    machine = [*describe_machine(), f"- torch {torch.__version__}", f"- command: `{command}`"]
    began = time.perf_counter()
    found = trace_all(asked, arguments.processes)
    took = f"- tracing took {time.perf_counter() - began:.0f} s in {arguments.processes} processes at a time"
    heading = ["# A step at the frontier, added up from its ranks", "", _HOW, "", *machine, took, ""]
    lines = [line for subject, each in zip(asked, found, strict=True) for line in table(subject, each)]
    if arguments.layers is None and arguments.stages is None:
        lines += ["## Beside what is published", "", _WHY, ""]
        plain = [(one, each) for one, each in zip(asked, found, strict=True) if not one.checkpointing]
        lines += [line for subject, each in plain for line in beside_published(subject, each)]
    text = "\n".join([*heading, *lines]).rstrip() + "\n"
    sys.stdout.write(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    if arguments.json:
        document = [as_json(subject, each) for subject, each in zip(asked, found, strict=True)]
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
