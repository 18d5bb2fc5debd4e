"""What a profile showed of a step, as text that a ledger can hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import HardwareError
from auditor.hardware.coverage import KERNELS, MOST_NAMES, Coverage

TIMES = st.dictionaries(st.text(max_size=300), st.integers(0, 10**15), max_size=15)


@given(st.integers(0, 10**12), TIMES)
def test_what_was_written_is_read_again_and_the_longest_come_first(explained_ns, unexplained_ns):
    coverage = Coverage.of(7, KERNELS, explained_ns, unexplained_ns)
    again = Coverage.from_mapping(coverage.to_mapping())
    assert again == coverage
    assert list(again.unexplained_ns.items()) == list(coverage.unexplained_ns.items())
    assert coverage.busy_ns == explained_ns + sum(unexplained_ns.values())
    times = list(coverage.unexplained_ns.values())
    assert times == sorted(times, reverse=True)
    assert len(times) <= MOST_NAMES


def test_the_share_is_rounded_down_so_that_all_but_something_is_not_all():
    coverage = Coverage.of(1, KERNELS, 10**9 - 1, {"theirs": 1})
    assert str(coverage.share) == "0.9999"
    assert not coverage.suspect
    assert Coverage.of(1, KERNELS, 0, {}).share is None
    assert Coverage.of(1, KERNELS, 89, {"theirs": 11}).suspect


def test_it_is_told_in_one_sentence():
    coverage = Coverage.of(12, KERNELS, 750_000, {"flash::fwd": 200_000, "mine": 50_000})
    assert coverage.told == (
        "in step 12, counted operators account for 75.00% of the time of all kernels; "
        "not of: flash::fwd (200.0 us); mine (50.0 us)"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"step": "-1"},
        {"busy_ns": "5"},
        {"busy_ns": "many"},
        {"explained_ns": ""},
        {"what": "cores"},
        {"unexplained_ns.mine": "1.5"},
        {"unexplained_ns.other": "999999999999"},
        {"busy_ns": "1" * 30},
    ],
)
def test_what_is_no_coverage_is_refused(change):
    mapping = Coverage.of(1, KERNELS, 10, {"mine": 5}).to_mapping()
    with pytest.raises(HardwareError):
        Coverage.from_mapping(mapping | change)


def test_what_is_missing_is_refused():
    for name in ("step", "what", "busy_ns", "explained_ns"):
        mapping = Coverage.of(1, KERNELS, 10, {}).to_mapping()
        del mapping[name]
        with pytest.raises(HardwareError):
            Coverage.from_mapping(mapping)
