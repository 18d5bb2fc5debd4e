"""What two ranks count under each kind of parallelism, against what one process would do, worked out by hand.

Every amount below is a closed form over the sizes of `parallel_cases`. Each rank is held against its own; so work that
is replicated stands there as often as it is done, and work that is divided comes to the whole. How often parameters
are updated is shown by the reports on the ledgers that the same ranks keep of some cases.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from auditor.report.replication import Replication, gather
from tests.distributed.conftest import user_environment

ROWS, WIDTH, HIDDEN, STEPS = 4, 8, 16, 3
MICRO_BATCHES, MICRO_ROWS = 4, 2
PARAMETERS = 2 * WIDTH * HIDDEN
COUNTERS = ("native", "dispatch")
NATIVE_ALONE = {"ddp_hook"}  # on a thread of the network library, which the portable counter does not see


def product(rows: int, width: int = WIDTH, hidden: int = HIDDEN) -> int:
    return 2 * rows * width * hidden


def amounts(**by_name: int) -> Counter[str]:
    """Amounts by phase and family, written ``phase_family``."""
    return Counter({name: amount for name, amount in by_name.items() if amount})


def initial(parameters: int = PARAMETERS) -> Counter[str]:
    """An operation for each value that is drawn at random."""
    return amounts(inference_pointwise=parameters)


def passes(rows: int, times: int = 1, *, gradients: int = 3, loss: int = 1, hidden: int = HIDDEN) -> Counter[str]:
    """Forward and backward of the two products with an activation between them, and of a sum, if it has a ``loss``.

    ``gradients``: products of the backward: one for each weight, one for what is between them, one for the input.
    """
    return amounts(
        forward_matmul=times * 2 * product(rows, WIDTH, hidden),
        forward_pointwise=times * rows * hidden,
        forward_reduction=times * rows * WIDTH * loss,
        backward_matmul=times * gradients * product(rows, WIDTH, hidden),
        backward_pointwise=times * rows * hidden,
    )


def updates(parameters: int = PARAMETERS, times: int = STEPS) -> Counter[str]:
    """Plain gradient descent: an operation for each parameter."""
    return amounts(optimizer_optimizer=times * parameters)


def averaged(parameters: int = PARAMETERS, times: int = STEPS) -> Counter[str]:
    """DDP divides each gradient by the number of ranks before they are added up."""
    return amounts(backward_pointwise=times * parameters)


def stage(*, first: bool, last: bool) -> Counter[str]:
    """One stage of a pipeline over all steps.

    Before the first step torch runs a micro-batch through each stage to learn its sizes, and through the backward of
    all but the first. The micro-batches' gradients are added up, and divided by their number at the end of a step.
    """
    times = STEPS * MICRO_BATCHES
    sums = amounts(backward_pointwise=STEPS * (MICRO_BATCHES - 1) * PARAMETERS, forward_pointwise=STEPS * PARAMETERS)
    run = passes(MICRO_ROWS, times, gradients=3 if first else 4, loss=last)
    learned = passes(MICRO_ROWS, gradients=0 if first else 2, loss=last)
    if first:
        del learned["backward_pointwise"]
    return initial() + run + learned + sums + updates()


ALONE = initial() + passes(ROWS, STEPS) + updates()
DDP = ALONE + averaged()
FIRST, MIDDLE, LAST = stage(first=True, last=False), stage(first=False, last=False), stage(first=False, last=True)
LOCAL_ROWS = 2 * ROWS // 2
NORMED = LOCAL_ROWS * WIDTH
NORM_FORWARD = 7 * NORMED + 4 * LOCAL_ROWS  # mean, variance and scaling, weight and bias
NORM_BACKWARD = 5 * NORMED  # of weight and bias
SEQUENCE = (
    initial()
    + passes(2 * ROWS, STEPS, gradients=4, loss=0, hidden=HIDDEN // 2)
    + amounts(forward_reduction=STEPS * LOCAL_ROWS * WIDTH)
    + amounts(forward_normalization=STEPS * NORM_FORWARD, backward_normalization=STEPS * NORM_BACKWARD)
    + updates(PARAMETERS // 2 + 2 * WIDTH)
)


def expert(rows: int) -> Counter[str]:
    """The rows that one expert gets, after a router that looks at all of the rank's own."""
    router = amounts(
        forward_matmul=product(ROWS, WIDTH, WIDTH),
        backward_matmul=product(ROWS, WIDTH, WIDTH),
        forward_reduction=ROWS * WIDTH,
    )
    return initial(PARAMETERS + WIDTH * WIDTH) + router + passes(rows, gradients=4, loss=0) + updates(times=1)


EXPECTED: dict[str, tuple[Counter[str], Counter[str]]] = {
    "alone": (ALONE, ALONE),
    "ddp": (DDP, DDP),
    "ddp_static_graph": (DDP, DDP),
    "ddp_accumulates": (
        initial() + passes(ROWS, 2) + averaged(times=2) + updates(times=1),  # added to the first's, then divided
    )
    * 2,
    "ddp_hook": (DDP, DDP),
    "ddp_unused": (DDP + initial(WIDTH * WIDTH),) * 2,  # what never takes part has no gradient
    "ddp_frozen": (
        initial()
        + passes(ROWS, STEPS, gradients=1)
        - amounts(backward_pointwise=STEPS * ROWS * HIDDEN)  # nothing below the activation wants a gradient
        + averaged(PARAMETERS // 2)
        + updates(PARAMETERS // 2),
    )
    * 2,
    "ddp_zero": (initial() + passes(ROWS, STEPS) + averaged() + updates(PARAMETERS // 2),) * 2,
    "ddp_uneven": (
        DDP,
        initial() + passes(ROWS) + passes(1) + averaged(times=2) + updates(times=2),
    ),
    "ddp_evaluates_on_rank_0": (
        initial()
        + passes(ROWS)
        + averaged(times=1)
        + updates(times=1)
        + amounts(inference_matmul=2 * product(100), inference_pointwise=100 * HIDDEN),
        initial() + passes(ROWS) + averaged(times=1) + updates(times=1),
    ),
    "fsdp": (
        initial(2 * PARAMETERS)
        + passes(ROWS, STEPS, loss=0)
        + passes(ROWS, STEPS, gradients=4)
        + updates(2 * PARAMETERS // 2),  # each rank updates its half
    )
    * 2,
    "fsdp_keeps": (initial() + passes(ROWS, STEPS) + updates(PARAMETERS // 2),) * 2,
    "fsdp_mixed": (initial() + passes(ROWS, STEPS) + updates(PARAMETERS // 2),) * 2,
    "fsdp_checkpointed": (
        initial()
        + passes(ROWS, STEPS)
        + updates(PARAMETERS // 2)
        + amounts(recompute_matmul=STEPS * product(ROWS), recompute_pointwise=STEPS * ROWS * HIDDEN),  # not the last
    )
    * 2,
    "tensor_parallel": (
        initial()
        + passes(ROWS, STEPS, loss=0, hidden=HIDDEN // 2)
        + amounts(forward_reduction=STEPS * ROWS * WIDTH)  # the loss is replicated: each rank adds up all of it
        + updates(PARAMETERS // 2),
    )
    * 2,
    "sequence_parallel": (SEQUENCE, SEQUENCE),
    "replicated": (amounts(inference_matmul=product(ROWS) + product(ROWS) // 2),) * 2,
    "pipeline_gpipe": (FIRST, LAST),
    "pipeline_1f1b": (FIRST, LAST),
    "pipeline_interleaved": (FIRST + MIDDLE, MIDDLE + LAST),
    "pipeline_zero_bubble": (FIRST + MIDDLE, MIDDLE + LAST),
    "experts": (expert(1), expert(7)),
}


BY_FOUR: dict[str, tuple[Counter[str], ...]] = {
    "fsdp_tensor_parallel": (
        initial()
        + passes(ROWS, STEPS, loss=0, hidden=HIDDEN // 2)
        + amounts(forward_reduction=STEPS * ROWS * WIDTH)  # replicated in each group
        + updates(PARAMETERS // 4),
    )
    * 4,
    "hybrid": (initial() + passes(ROWS, STEPS) + updates(PARAMETERS // 2),) * 4,
    "hybrid_normed": (
        initial()
        + passes(ROWS, STEPS, gradients=4, loss=0, hidden=HIDDEN // 2)
        + amounts(forward_reduction=STEPS * ROWS * WIDTH)
        + amounts(forward_normalization=STEPS * NORM_FORWARD, backward_normalization=STEPS * NORM_BACKWARD)
        + updates(PARAMETERS // 4 + WIDTH),
    )
    * 4,
    "pipeline_of_four": (FIRST, MIDDLE, MIDDLE, LAST),
}


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks have left."""
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def by_four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What four ranks have left."""
    return tmp_path_factory.mktemp("four")


@pytest.fixture(scope="module")
def counted(by_two: Path):
    """What each of two ranks counted: by case and counter."""
    return _count(by_two, 2)


@pytest.fixture(scope="module")
def counted_by_four(by_four: Path):
    """As `counted`, for the cases of four ranks."""
    return _count(by_four, 4, *BY_FOUR)


def _count(out: Path, num_ranks: int, *cases: str):
    program = Path(__file__).with_name("parallel_cases.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, program, out, *cases],
            env=user_environment(RANK=str(rank), WORLD_SIZE=str(num_ranks), PYTHONPATH=os.pathsep.join(sys.path)),
            stderr=subprocess.PIPE,
        )
        for rank in range(num_ranks)
    ]
    try:
        for process in ranks:
            _, errors = process.communicate(timeout=250)
            assert process.returncode == 0, errors.decode()
    finally:
        for process in ranks:
            process.kill()
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in range(num_ranks)]


def by_name(rows) -> Counter[str]:
    """Without the sizes that torch sends as integers before data: a few operations on a few numbers."""
    found: Counter[str] = Counter()
    for phase, family, precision, ops in rows:
        if not precision.startswith("int"):
            found[f"{phase}_{family}"] += ops
    return found


@pytest.mark.parametrize(
    ("case", "counter"),
    [(case, counter) for case in EXPECTED for counter in COUNTERS[: 1 if case in NATIVE_ALONE else 2]],
)
def test_each_rank_counts_what_it_did(counted, case, counter):
    for rank, expected in enumerate(EXPECTED[case]):
        result = counted[rank][f"{case} {counter}"]
        assert "failed" not in result, result["failed"]
        assert result["unpriced"] == {}
        found = by_name(result["rows"])
        if (
            case == "pipeline_zero_bubble"
        ):  # gradients of weights are added up outside of autograd, in the forward's phase
            found, expected = (_without_phase(each) for each in (found, expected))
        assert found == expected, f"rank {rank}"


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("case", list(BY_FOUR))
def test_each_of_four_ranks_counts_what_it_did(counted_by_four, case, counter):
    for rank, expected in enumerate(BY_FOUR[case]):
        result = counted_by_four[rank][f"{case} {counter}"]
        assert "failed" not in result, result["failed"]
        assert result["unpriced"] == {}
        assert by_name(result["rows"]) == expected, f"rank {rank}"


def _without_phase(by_phase: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, ops in by_phase.items():
        found[name.partition("_")[2]] += ops
    return found


@pytest.mark.parametrize("case", sorted(EXPECTED.keys() - NATIVE_ALONE))
def test_both_counters_agree(counted, case):
    for rank in counted:
        native, dispatch = (rank[f"{case} {counter}"] for counter in COUNTERS)
        assert native == dispatch


def test_mixed_precision_is_where_it_is_computed(counted):
    rows = counted[0]["fsdp_mixed native"]["rows"]
    assert {(phase, precision) for phase, _, precision, _ in rows} == {
        ("inference", "float32"),
        ("forward", "bfloat16"),
        ("backward", "bfloat16"),
        ("optimizer", "float32"),
    }


@pytest.mark.parametrize(("case", "replicated"), [("tensor_parallel", ("reduction",)), ("fsdp_keeps", ())])
def test_what_is_divided_comes_to_the_whole(counted, case, replicated):
    """Products and updates of both ranks together are those of one process on the rows that both had."""
    together = sum((_without_phase(by_name(rank[f"{case} native"]["rows"])) for rank in counted), Counter())
    alone = _without_phase(ALONE)
    times = 1 if case == "tensor_parallel" else 2
    assert together["matmul"] == times * alone["matmul"]
    assert together["optimizer"] == alone["optimizer"]
    assert all(together[family] == 2 * alone[family] for family in replicated)


def replication(
    kept_by: str,
    parameters: int,
    *,
    ranks: int = 2,
    groups: int = 1,
    copies: int = 1,
    ops: int | None = None,
    repeated: int | None = None,
) -> Replication:
    """An update of so many parameters by plain gradient descent."""
    return Replication(
        optimizer="SGD",
        kept_by=kept_by,
        ranks=ranks,
        groups=groups,
        copies=copies,
        parameters=parameters,
        updates=copies * parameters,
        step_ops=ops,
        repeated_ops=repeated,
    )


DATA_PARALLEL, PLACED = "DistributedDataParallel", "DTensor"
UPDATED: dict[str, tuple[Replication, ...]] = {
    "ddp native": (replication(DATA_PARALLEL, PARAMETERS, copies=2, ops=2 * PARAMETERS, repeated=PARAMETERS),),
    "ddp_frozen native": (
        replication(DATA_PARALLEL, PARAMETERS // 2, copies=2, ops=PARAMETERS, repeated=PARAMETERS // 2),
    ),
    "fsdp native": (replication(PLACED, 2 * PARAMETERS, ops=2 * PARAMETERS, repeated=0),),
    "sequence_parallel native": (
        replication(PLACED, 2 * WIDTH, copies=2),  # the norm's weight and bias
        replication(PLACED, PARAMETERS, repeated=0),
    ),
    "alone native": (),
    "ddp_zero native": (),
}
UPDATED |= {f"{name} dispatch": UPDATED[f"{name} native"] for name in ("ddp", "sequence_parallel")}
UPDATED_BY_FOUR: dict[str, tuple[Replication, ...]] = {
    "fsdp_tensor_parallel native": (replication(PLACED, PARAMETERS, ranks=4, ops=PARAMETERS, repeated=0),),
    "hybrid native": (replication(PLACED, PARAMETERS, ranks=4, copies=2, ops=2 * PARAMETERS, repeated=PARAMETERS),),
    "hybrid_normed native": (
        replication(PLACED, 2 * WIDTH, groups=2, repeated=0),  # which of them are the same, nobody says
        replication(PLACED, PARAMETERS, ranks=4, repeated=0),
    ),
}


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("name", list(UPDATED))
def test_a_report_shows_how_often_two_ranks_update_a_parameter(by_two, read, name):
    reading = read(by_two / name)
    found = gather(reading.segments, reading.ranks_expected)
    assert found.known == UPDATED[name]
    assert bool(found.unknown) == (not found.known)
    assert not found.partly


@pytest.mark.usefixtures("counted_by_four")
@pytest.mark.parametrize("name", list(UPDATED_BY_FOUR))
def test_a_report_shows_how_often_four_ranks_update_a_parameter(by_four, read, name):
    reading = read(by_four / name)
    found = gather(reading.segments, reading.ranks_expected)
    assert found.known == UPDATED_BY_FOUR[name]
    assert not found.unknown
    assert found.partly == (name == "hybrid_normed native")


@pytest.mark.usefixtures("counted", "counted_by_four")
@pytest.mark.parametrize("name", [*UPDATED, *UPDATED_BY_FOUR])
def test_what_is_replicated_is_counted_as_often_as_it_was_done(by_two, by_four, read, name):
    """The ledger's total is that of the ranks together, with nothing taken out and nothing added for looking."""
    case, _, _ = name.partition(" ")
    out, expected = (by_two, EXPECTED[case]) if name in UPDATED else (by_four, BY_FOUR[case])
    reading = read(out / name)
    together = by_name((*bucket[:3], amount.executed_ops) for bucket, amount in reading.operations.amounts.items())
    assert together == sum(expected, Counter())
    assert reading.gaps == ()


@pytest.mark.usefixtures("counted")
def test_nothing_is_said_of_a_group_of_which_a_rank_is_missing(by_two, read, tmp_path):
    shutil.copytree(by_two / "ddp native", tmp_path / "one")
    (tmp_path / "one" / "segments" / "rank-00001.attempt-000.jsonl").unlink()
    reading = read(tmp_path / "one")
    found = gather(reading.segments, reading.ranks_expected)
    assert found.known == ()
    assert found.unknown == ("SGD on 1 rank: 1 of the 2 ranks that share its parameters are in the record",)
