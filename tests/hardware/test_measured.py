"""A measurement is read back as it was written, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import HardwareError
from auditor.hardware.measured import Measurement

NUMBERS = st.decimals(min_value=0, max_value=10**6, places=3)
NAMES = st.sampled_from(["fp64", "fp32", "tf32", "bf16", "fp8", "int8"])

MEASUREMENTS = st.builds(
    Measurement,
    uuid=st.just("GPU-00000000-0000-0000-0000-000000000001"),
    rates_tera=st.dictionaries(NAMES, NUMBERS),
    dram_gb_per_s=st.none() | NUMBERS,
    l2_bytes=st.none() | st.integers(0, 2**40),
    sm_count=st.none() | st.integers(0, 1000),
    seconds=NUMBERS,
    not_measured=st.dictionaries(NAMES, st.text()),
)


@given(measurement=MEASUREMENTS)
def test_what_was_written_is_read(measurement):
    assert Measurement.from_mapping(measurement.to_mapping()) == measurement


@pytest.mark.parametrize(
    ("field", "text"),
    [("rate_tera.bf16", "fast"), ("rate_tera.bf16", "-1"), ("seconds", "NaN"), ("sm_count", "1.5"), ("l2_bytes", "٣")],
)
def test_a_number_that_is_none_is_named(field, text):
    with pytest.raises(HardwareError, match=field.rpartition(".")[2]):
        Measurement.from_mapping({"uuid": "GPU-1", "seconds": "1", field: text})


def test_what_is_missing_is_named():
    with pytest.raises(HardwareError, match="seconds, uuid missing"):
        Measurement.from_mapping({})
