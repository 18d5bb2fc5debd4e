"""Identities: what was given is kept as text, and what was not given is kept with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import HardwareError
from auditor.hardware.identity import FIELDS, Device, cpu

if TYPE_CHECKING:
    from pathlib import Path


@given(
    st.dictionaries(st.sampled_from(FIELDS), st.tuples(st.booleans(), st.text())),
    st.sampled_from(["gpu", "cpu"]),
)
def test_an_identity_comes_back_as_it_was_written(fields: dict[str, tuple[bool, str]], kind: str) -> None:
    device = Device(
        kind=kind,
        given={name: text for name, (given_, text) in fields.items() if given_},
        not_given={name: text for name, (given_, text) in fields.items() if not given_},
    )
    mapping = device.to_mapping()
    assert all(isinstance(part, str) for pair in mapping.items() for part in pair)
    assert Device.from_mapping(mapping) == device


@pytest.mark.parametrize(
    "mapping", [{}, {"kind": "tpu"}, {"kind": "gpu", "colour": "red"}, {"kind": "gpu", "not_given.x": ""}]
)
def test_what_is_no_identity_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(HardwareError):
        Device.from_mapping(mapping)


def test_a_field_is_given_or_not_given_never_both() -> None:
    with pytest.raises(HardwareError):
        Device(kind="gpu", given={"name": "a"}, not_given={"name": "why"})


def test_this_machines_processor_says_what_it_is_and_why_it_stands_there() -> None:
    device = cpu("no NVML device: none here")
    assert device.kind == "cpu"
    assert device.given["no_gpu"] == "no NVML device: none here"
    assert int(device.given["num_cores"]) >= 1
    assert int(device.given["memory_bytes"]) > 2**20
    assert {"name", "architecture"} <= device.given.keys() | device.not_given.keys()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\nmodel name\t: another\n", "AMD EPYC"),
        ("processor\t: 0\nBogoMIPS\t: 50\n\nModel\t\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("no colon at all\n", None),
        ("model name\t:\n", None),
    ],
)
def test_the_processors_name_as_architectures_write_it(tmp_path: Path, text: str, name: str | None) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text, encoding="utf-8")
    device = cpu("", cpuinfo=path)
    assert device.given.get("name") == name
    assert ("name" in device.not_given) == (name is None)
