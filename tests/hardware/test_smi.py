"""Reading `nvidia-smi -q -x`: what is there, what is said not to be, and what such a file never holds."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import AuditorError, DocumentError, ExitCode
from auditor.hardware import smi, smi_document
from auditor.hardware.catalogue import match

if TYPE_CHECKING:
    from auditor.hardware.catalogue import Catalogue

FILE = Path(__file__).parent / "nvidia_smi_l4.xml"
L4 = FILE.read_bytes()
# An H200 SXM: ids, part numbers, maximum clock and memory as its nvidia-smi printed them (public repository), in the
# elements of the L4's file.
H200 = (
    L4.replace(b"NVIDIA L4", b"NVIDIA H200")
    .replace(b"27B810DE", b"0x233510DE")
    .replace(b"16CA10DE", b"0x18BE10DE")
    .replace(b"900-2G193-0000-001", b"695-2G520-0280-000")
    .replace(b"27B8-895-A1", b"2335-895-A1")
    .replace(b"95.04.29.00.06", b"96.00.A0.00.01")
    .replace(b"Ada Lovelace", b"Hopper")
    .replace(b"23034 MiB", b"143771 MiB")
    .replace(b"2040 MHz", b"1980 MHz")
)


def test_two_real_boards(shipped: Catalogue) -> None:
    devices = smi.read(FILE).devices
    assert [device.given["uuid"][-4:] for device in devices] == ["5555", "0000"]
    assert devices[0].given == {
        "driver": "555.42.06",
        "cuda_driver": "12.5",
        "name": "NVIDIA L4",
        "uuid": "GPU-11111111-2222-3333-4444-555555555555",
        "serial": "1650000000001",
        "board_part_number": "900-2G193-0000-001",
        "gpu_part_number": "27B8-895-A1",
        "pci_device_id": "10de:27b8",
        "pci_subsystem_id": "10de:16ca",
        "pci_bus_id": "00000000:01:00.0",
        "vbios": "95.04.29.00.06",
        "inforom": "G193.0200.00.01",
        "architecture": "Ada Lovelace",
        "max_sm_clock_mhz": "2040",
        "max_memory_clock_mhz": "6251",
        "memory_bytes": str(23034 * 2**20),
        "virtualization_mode": "none",
    }
    assert devices[0].not_given == {"mig_mode": "nvidia-smi says 'N/A'"}
    for device in devices:
        found = match(device.to_mapping(), shipped)
        assert found.chip is not None
        assert found.chip.id == "l4"
        assert "agreeing: memory, maximum clock, board part" in found.basis


def test_an_h200_by_its_printed_values(shipped: Catalogue) -> None:
    found = match(smi.parse(H200, "h200.xml").devices[0].to_mapping(), shipped)
    assert found.chip is not None
    assert found.chip.id == "h200-sxm"
    assert "board part" in found.basis


def test_an_l20s_id_on_a_board_that_calls_itself_hopper_decides_nothing(shipped: Catalogue) -> None:
    text = H200.replace(b"NVIDIA H200", b"NVIDIA L20").replace(b"0x233510DE", b"26BA10DE")
    text = text.replace(b"0x18BE10DE", b"195710DE").replace(b"143771 MiB", b"46068 MiB")
    found = match(smi.parse(text, "l20.xml").devices[0].to_mapping(), shipped)
    assert (found.chip, found.exhaustive) == (None, False)
    assert {"l20", "h200-sxm"} <= {chip.id for chip in found.candidates}
    for words in ("architecture Hopper", "2335-895-A1", "695-2G520-0280-000", "VBIOS 96.00"):
        assert words in found.basis


def test_a_partitioned_device_is_its_parent(shipped: Catalogue) -> None:
    text = H200.replace(b"<current_mig>N/A", b"<current_mig>Enabled").replace(
        b"None\n\t\t</mig_devices>", b"<mig_device><index>0</index></mig_device></mig_devices>"
    )
    device = smi.parse(text, "mig.xml").devices[0]
    assert device.given["mig_mode"] == "enabled"
    assert "the whole circuit is judged" in match(device.to_mapping(), shipped).basis


def test_a_guest_sees_no_parent(shipped: Catalogue) -> None:
    text = L4.replace(b"<virtualization_mode>None", b"<virtualization_mode>VGPU")
    found = match(smi.parse(text, "guest.xml").devices[0].to_mapping(), shipped)
    assert (found.chip, found.exhaustive) == (None, False)


def test_what_the_tool_could_not_say_is_a_reason() -> None:
    text = L4.replace(b"23034 MiB", b"ERR!").replace(b"<serial>1650000000001</serial>", b"")
    device = smi.parse(text, "lost.xml").devices[0]
    assert device.not_given["memory_bytes"] == "nvidia-smi says 'ERR!'"
    assert device.not_given["serial"] == "the file has no serial"


@pytest.mark.parametrize(
    ("old", "new", "name", "words"),
    [
        (b"23034 MiB", b"lots", "memory_bytes", "'lots', not a whole number of MiB"),
        (b"23034 MiB", b"23034 GiB", "memory_bytes", "'23034 GiB', not a whole number of MiB"),
        (b"23034 MiB", b"-1 MiB", "memory_bytes", "'-1 MiB', not a whole number of MiB"),
        (b"23034 MiB", b"GPU requires reset", "memory_bytes", "'GPU requires reset', not"),
        (b"<sm_clock>2040 MHz", b"<sm_clock>[GPU requires reset]", "max_sm_clock_mhz", "not a whole number of MHz"),
        (b"27B810DE", b"27B8", "pci_device_id", "'27B8', not eight hexadecimal digits"),
        (b"27B810DE", b"Not Found", "pci_device_id", "nvidia-smi says 'Not Found'"),
        (b"<current_mig>N/A", b"<current_mig>Perhaps", "mig_mode", "'Perhaps', not 'Enabled' or 'Disabled'"),
        (b"<virtualization_mode>None", b"<virtualization_mode>Odd", "virtualization_mode", "not one of None, Pass"),
    ],
)
def test_one_field_in_unknown_words_costs_no_other(old: bytes, new: bytes, name: str, words: str) -> None:
    assert old in L4
    first, second = smi.parse(L4.replace(old, new, 2 if b"sm_clock" in old else 1), "x.xml").devices
    assert words in first.not_given[name]
    plain = smi.read(FILE).devices
    assert {**first.given, name: ""} == {**plain[0].given, name: ""}
    if b"sm_clock" not in old:
        assert second == plain[1]


@pytest.mark.parametrize("before", ["WARNING: infoROM is corrupted", "WARNING: <gpu> is lost", "a < b > c", ""])
@pytest.mark.parametrize("after", ["WARNING: infoROM is corrupted", "see <x> and >", ""])
def test_warnings_around_the_document_are_passed_over(before: str, after: str) -> None:
    text = f"{before}\n".encode() + L4 + f"\n{after}\n".encode()
    assert len(smi.parse(text, "warned.xml").devices) == 2


def test_a_place_counts_the_lines_of_warnings_too() -> None:
    with pytest.raises(DocumentError, match=r"x\.xml:3: expected a document type"):
        smi.parse(b"WARNING: <gpu>\n" + L4.replace(b"<!DOCTYPE nvidia_smi_log", b"<!DOCTYPE html"), "x.xml")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("declared", ["", ' encoding="utf-8"', ' encoding="utf-16"'])
def test_a_file_as_windows_shells_write_it(encoding: str, declared: str) -> None:
    text = L4.decode().replace('version="1.0"', f'version="1.0"{declared}').replace("\n", "\r\n")
    if encoding == "utf-8-sig" and "16" in declared:
        return
    assert smi.parse(text.encode(encoding), "shell.xml").devices == smi.read(FILE).devices


def test_half_of_a_letter_is_named() -> None:
    with pytest.raises(DocumentError, match="not XML: not utf-16-le"):
        smi.parse(b"\xff\xfe" + b"\x00\xd8", "x.xml")


def test_devices_that_the_file_leaves_out_are_told() -> None:
    assert smi.parse(L4, "x.xml").remarks == ()
    told = "x.xml: it says that 8 devices are attached and describes 2: 6 are missing."
    assert smi.parse(L4.replace(b"<attached_gpus>2", b"<attached_gpus>8"), "x.xml").remarks == (told,)
    (more,) = smi.parse(L4.replace(b"<attached_gpus>2", b"<attached_gpus>1"), "x.xml").remarks
    assert "1 more than that" in more
    assert smi.parse(L4.replace(b"<attached_gpus>2", b"<attached_gpus>N/A"), "x.xml").remarks == ()


def test_two_devices_with_one_uuid_are_told_and_both_counted() -> None:
    one, other = b"GPU-11111111-2222-3333-4444-555555555555", b"GPU-66666666-7777-8888-9999-000000000000"
    log = smi.parse(L4.replace(other, one), "x.xml")
    assert len(log.devices) == 2
    for device in log.devices:
        assert "uuid" not in device.given
        assert "2 devices of the file say that they are GPU-1111" in device.not_given["uuid"]
    assert "each is counted" in log.remarks[0]


def test_more_devices_than_any_machine_has_are_refused_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(DocumentError, match="expected at most 1024 devices"):
        smi.parse(b"<nvidia_smi_log>" + b"<gpu/>" * 100_000 + b"</nvidia_smi_log>", "many.xml")
    assert time.monotonic() - started < 20
    assert len(smi.parse(b"<nvidia_smi_log>" + b"<gpu/>" * 1024 + b"</nvidia_smi_log>", "x.xml").devices) == 1024


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"</gpu>", b"", ["not XML: mismatched tag"]),
        (b"nvidia_smi_log>", b"html>", ["expected the root element 'nvidia_smi_log', got 'html'"]),
        (b"gpu id=", b"cpu id=", ["not XML: mismatched tag"]),
        (b'"nvsmi_device_v12.dtd">', b'"nvsmi_device_v12.dtd" [<!ENTITY a "b">]>', ["without declarations of its own"]),
        (b"<!DOCTYPE nvidia_smi_log SYSTEM", b"<!DOCTYPE html SYSTEM", ["a document type 'nvidia_smi_log'"]),
        (b"NVIDIA L4", b"&ouml;", ["expected no entities"]),
        (b"NVIDIA L4", b"<a>" * 40 + b"</a>" * 40, ["at most 32 elements inside one another"]),
        (b"NVIDIA L4", b"\xff", ["not XML: "]),
        (b'version="1.0" ?', b'version="1.0" encoding="utf-7" ?', ["x.xml:1: not XML: multi-byte encodings"]),
        (b'version="1.0" ?', b'version="1.0" encoding="nothing" ?', ["x.xml:1: not XML: unknown encoding"]),
    ],
)
def test_what_does_not_fit_is_named(old: bytes, new: bytes, words: list[str]) -> None:
    assert old in L4
    with pytest.raises(DocumentError) as caught:
        smi.parse(L4.replace(old, new), "x.xml")
    for word in (*words, "x.xml"):
        assert word in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "nvidia-smi -q -x" in caught.value.remedy


def test_a_file_of_entities_that_multiply_is_refused() -> None:
    laughs = b'<!DOCTYPE nvidia_smi_log [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    text = re.sub(rb"<!DOCTYPE[^>]*>", laughs, L4).replace(b"NVIDIA L4", b"&b;")
    with pytest.raises(DocumentError, match="without declarations"):
        smi.parse(text, "laughs.xml")


def test_a_file_of_nothing_but_size_is_read_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = L4.replace(b"NVIDIA L4", b"\n" * 4_000_000)
    started = time.monotonic()
    assert len(smi.parse(spaces, "large.xml").devices) == 2
    assert time.monotonic() - started < 20
    monkeypatch.setattr(smi_document, "_MOST_ELEMENTS", 100)
    with pytest.raises(DocumentError, match="at most 100 elements"):
        smi.parse(L4.replace(b"NVIDIA L4", b"<a/>" * 200), "many.xml")


def test_a_file_without_devices_or_without_anything() -> None:
    nothing = re.sub(rb"<gpu .*</gpu>", b"", L4, flags=re.DOTALL)
    with pytest.raises(DocumentError, match="at least one element 'gpu'"):
        smi.parse(nothing, "none.xml")
    for content in (b"", b"No devices were found\n", b"<"):
        with pytest.raises(DocumentError, match=r"none.xml:1: not XML"):
            smi.parse(content, "none.xml")


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError, match="cannot be read: No such file"):
        smi.read(tmp_path / "none.xml")
    with pytest.raises(DocumentError, match="cannot be read: Is a directory"):
        smi.read(tmp_path)
    monkeypatch.setattr(smi_document, "LARGEST_BYTES", 100)
    with pytest.raises(DocumentError, match="larger than 100 bytes"):
        smi.read(FILE)


def test_a_text_that_would_act_is_made_visible_and_short() -> None:
    text = L4.replace(b"NVIDIA L4", b"\xe2\x80\xae" + b"x" * 500)
    name = smi.parse(text, "x.xml").devices[0].given["name"]
    assert name.startswith("?x")
    assert len(name) == 200


@given(place=st.integers(0, len(L4)), cut=st.integers(0, 40), insert=st.binary(max_size=20))
def test_any_bytes_give_devices_or_one_of_our_errors(place: int, cut: int, insert: bytes) -> None:
    try:
        devices = smi.parse(L4[:place] + insert + L4[place + cut :], "any.xml").devices
    except AuditorError:
        return
    for device in devices:
        assert device.to_mapping()["kind"] == "gpu"
