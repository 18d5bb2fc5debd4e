"""What a device can do at most, and what is said of counts that do not fit into it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.hardware.bound import BOOST_TOLERANCE, RUN_AHEAD_S, Ceiling, ceiling, judge, needed_s, together
from auditor.hardware.measured import Measurement
from auditor.hardware.tensor_activity import reconcile
from auditor.operations import Amount, Bucket, Family, Operations
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from auditor.hardware.chips import Catalogue, Chip

TERA = 10**12
PLAIN = Ceiling(rates_tera={"bf16": Decimal(1), "fp32": Decimal("0.5"), "fp64": Decimal("0.25")}, basis="a test")


def counted(ops: int, precision: str = "bfloat16", family: Family = Family.MATMUL, **parts: int) -> Operations:
    bucket = Bucket(Phase.FORWARD, family, precision, Purpose.PRE_TRAINING)
    return Operations({bucket: Amount(algorithmic_ops=ops, **parts)}, {})


def chip(shipped: Catalogue, name: str) -> Chip:
    return next(one for one in shipped.chips if one.id == name)


def measured(**rates: str) -> Measurement:
    return Measurement(
        uuid="GPU-1",
        rates_tera={name: Decimal(rate) for name, rate in rates.items()},
        dram_gb_per_s=None,
        l2_bytes=None,
        sm_count=None,
        seconds=Decimal(1),
    )


def test_an_h200_may_boost_past_the_peak_that_its_sheet_gives(shipped: Catalogue) -> None:
    most = ceiling(chip(shipped, "h200-sxm"), None)
    assert most.rate_tera("bfloat16") == Decimal("989.4") * BOOST_TOLERANCE
    assert most.rate_tera("float8_e4m3fn") == 1979 * BOOST_TOLERANCE
    # What torch calls float32 may run as TF32 or in half precision; what has no rate of its own, at any.
    assert most.rate_tera("float32") == most.rate_tera("bfloat16")
    assert most.rate_tera("int64") == 1979 * BOOST_TOLERANCE


def test_a_part_whose_clock_goes_further_may_go_further(shipped: Catalogue) -> None:
    part = chip(shipped, "rtx-4090")
    assert ceiling(part, None).tolerance == Decimal(3105) / 2520


def test_what_was_measured_counts_where_it_is_more(shipped: Catalogue) -> None:
    most = ceiling(chip(shipped, "h20"), measured(bf16="690", fp8="100"))
    assert most.rate_tera("bfloat16") == 690 * BOOST_TOLERANCE
    assert most.rate_tera("float8_e5m2") == 296 * BOOST_TOLERANCE
    assert "measured" in most.basis


def test_a_slice_has_its_share_and_devices_together_their_sum(shipped: Catalogue) -> None:
    whole = ceiling(chip(shipped, "h200-sxm"), None)
    part = ceiling(chip(shipped, "h200-sxm"), None, share=Decimal(16) / 132)
    assert part.rate_tera("bfloat16") == pytest.approx(whole.rate_tera("bfloat16") * 16 / 132)
    assert together([whole, whole]).rate_tera("bfloat16") == 2 * whole.rate_tera("bfloat16")
    # One of them does not list the type: it counts with the highest that it can do at all.
    assert together([PLAIN, Ceiling(rates_tera={"fp8": Decimal(3)})]).rate_tera("bfloat16") == 4


def test_without_rates_there_is_no_bound_and_a_reason() -> None:
    unknown = ceiling(None, None, why="not identified")
    assert judge([(1, 1, 1, counted(10**30))], unknown).unknown == "not identified"
    assert together([PLAIN, unknown]).unknown == "not identified"
    assert "processor" in judge([], together([])).unknown


@pytest.mark.parametrize(
    ("operations", "seconds"),
    [
        (counted(TERA), 1),
        (counted(TERA, "float32"), 1),  # at half precision, if it is allowed to
        (counted(TERA, "float64"), 4),
        (counted(TERA, skippable_ops=TERA // 2), Decimal("0.5")),  # what is masked need not be computed
        (counted(TERA, repeated_ops=TERA), 1),  # nor is anything done twice
        (counted(4 * TERA, family=Family.CONVOLUTION), 1),  # Winograd
        (counted(TERA) + counted(TERA, "float32"), 2),
        (counted(TERA) + counted(TERA, family=Family.POINTWISE), 1),  # at the same time
        (counted(TERA) + counted(TERA, "float64"), 4),
        (Operations.none(), 0),
    ],
)
def test_the_least_time_for_what_was_counted(operations: Operations, seconds: int | Decimal) -> None:
    assert needed_s(operations, PLAIN) == seconds


def test_what_fits_is_kept_and_says_how_much_it_comes_to() -> None:
    bound = judge([(1, 10, 10_000_000, counted(4 * TERA)), (11, 10, 20_000_000, counted(6 * TERA))], PLAIN)
    assert bound.exceeded == ()
    assert bound.behind_s == 0
    assert bound.highest is not None
    assert (bound.highest.first_step, bound.highest.share) == (11, Decimal("0.6"))
    assert bound.utilisation == Decimal("0.5") * BOOST_TOLERANCE


def test_a_host_may_run_ahead_by_what_a_device_queues_and_no_further() -> None:
    queued = judge([(1, 1, 1_000_000, counted(9 * TERA)), (2, 1, 20_000_000, counted(TERA))], PLAIN)
    assert (queued.exceeded, queued.behind_s) == ((), 8)
    impossible = judge([(1, 1, 1_000_000, counted(12 * TERA)), (2, 1, 20_000_000, counted(TERA))], PLAIN)
    assert [stretch.first_step for stretch in impossible.exceeded] == [1]
    assert impossible.behind_s == 11 > RUN_AHEAD_S


@pytest.mark.parametrize(
    ("until_us", "ops", "absurd"),
    [
        (90, 9 * TERA, True),  # nine seconds of work in a hundred-thousandth of it
        (90_000, 9 * TERA + 1, True),
        (90_000, 9 * TERA, False),  # a hundred times: kernels as much longer than their launch
        (1, TERA // 10, False),  # a single kernel may be that long
        (0, TERA // 10 + 1, True),
    ],
)
def test_no_queue_explains_a_run_that_its_device_outlasts_a_hundredfold(until_us: int, ops: int, absurd: bool) -> None:
    bound = judge([(1, 5, until_us // 2, Operations.none()), (6, 5, until_us, counted(ops))], PLAIN)
    assert [(one.first_step, one.steps) for one in bound.exceeded] == ([(1, 10)] if absurd else [])


def test_a_count_that_is_a_little_too_high_shows_in_time() -> None:
    course = [(step, 1, step * 1_000_000, counted(12 * TERA // 10)) for step in range(1, 101)]
    bound = judge(course, PLAIN)
    assert bound.exceeded[0].first_step == 51  # 50 x 0.2 s are queued
    assert len(bound.exceeded) == 50


def test_time_that_was_not_needed_is_not_saved_up() -> None:
    bound = judge([(1, 1, 1_000_000_000, Operations.none()), (2, 1, 1_001_000_000, counted(50 * TERA))], PLAIN)
    assert [stretch.first_step for stretch in bound.exceeded] == [2]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(0, 10**13), st.sampled_from(["bfloat16", "float32", "int8"])),
        max_size=20,
    )
)
def test_no_course_within_the_peak_exceeds_and_none_far_above_it_is_kept(
    parts: list[tuple[int, int, str]],
) -> None:
    now, kept, over = 0, [], []
    for step, (took_us, ops, precision) in enumerate(parts, start=1):
        now += took_us
        fitting = min(ops, took_us * TERA // 10**6 // 2)
        kept.append((step, 1, now, counted(fitting, precision)))
        over.append((step, 1, now, counted(ops + 20 * TERA + took_us * TERA // 10**6, precision)))
    assert judge(kept, PLAIN).exceeded == ()
    assert len(judge(over, PLAIN).exceeded) == len(parts)


def seen(covered_s: str, tensor_s: str, clock: int | None = None) -> dict[str, str]:
    values = {"covered_us": str(int(Decimal(covered_s) * 10**6)), "tensor_us": str(int(Decimal(tensor_s) * 10**6))}
    return values | ({"sm_clock_mhz": str(clock)} if clock else {})


def test_counted_and_observed_agree_within_a_tenth(shipped: Catalogue) -> None:
    part = chip(shipped, "h200-sxm")
    run = counted(int(Decimal("989.4") * TERA * 40))  # forty seconds at the peak
    found = reconcile(run, part, [seen("100", "42")], 100_000_000)
    assert found is not None
    assert (found.least_s, found.most_s, found.observed_s) == (40, 40, 42)
    assert found.agrees
    assert not reconcile(run, part, [seen("100", "50")], 100_000_000).agrees  # type: ignore[union-attr]
    assert reconcile(run, part, [seen("100", "30")], 100_000_000).gap > 0  # type: ignore[union-attr]


def test_half_of_the_time_seen_is_held_against_half_of_the_count(shipped: Catalogue) -> None:
    run = counted(int(Decimal("989.4") * TERA * 40))
    found = reconcile(run, chip(shipped, "h200-sxm"), [seen("50", "20")], 100_000_000)
    assert found is not None
    assert (found.least_s, found.agrees) == (20, True)


def test_a_clock_below_the_rated_one_does_less_in_the_same_time(shipped: Catalogue) -> None:
    run = counted(int(Decimal("989.4") * TERA * 40))
    found = reconcile(run, chip(shipped, "h200-sxm"), [seen("100", "80", clock=915)], 100_000_000)
    assert found is not None
    assert (found.observed_s, found.agrees) == (40, True)


def test_whether_single_precision_ran_on_tensor_cores_is_left_open(shipped: Catalogue) -> None:
    run = counted(int(Decimal("494.7") * TERA * 40), "float32")
    for busy in ("0", "20", "40"):
        assert reconcile(run, chip(shipped, "h200-sxm"), [seen("100", busy)], 100_000_000).agrees  # type: ignore[union-attr]
    assert reconcile(run, chip(shipped, "h200-sxm"), [seen("100", "50")], 100_000_000).gap < 0  # type: ignore[union-attr]


def test_without_a_monitor_nothing_is_held_together(shipped: Catalogue) -> None:
    assert reconcile(counted(1), chip(shipped, "h200-sxm"), [{"energy_mj": "1"}], 1) is None


def test_pointwise_work_needs_no_tensor_core(shipped: Catalogue) -> None:
    run = counted(10**18, family=Family.POINTWISE)
    found = reconcile(run, chip(shipped, "h200-sxm"), [seen("100", "0")], 100_000_000)
    assert found is not None
    assert found.agrees
