"""`auditor hardware`: what it prints, its JSON, and what it says of a call that is off."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.cli.main import main
from auditor.hardware import catalogue
from auditor.report.catalogued import field_rows
from auditor.rules import pack

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
L4 = HERE / "nvidia_smi_l4.xml"
DAY = ("--as-of", "2026-11-22")


@pytest.fixture(scope="module")
def books() -> tuple[Any, Any]:
    """Catalogue and rules, read once: each call would read them again."""
    return catalogue.load(), pack.load()


@pytest.fixture(autouse=True)
def read_once(books: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.cli.hardware.load", lambda: books[0])
    monkeypatch.setattr("auditor.rules.load", lambda: books[1])


@pytest.fixture
def auditor(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["hardware", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def document(auditor: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """The JSON of a call, checked against its published schema."""
    schema = json.loads((ROOT / "configs" / "schema" / "hardware.schema.json").read_text())
    Draft202012Validator.check_schema(schema)

    def read(*words: str) -> Any:
        code, out, err = auditor(*words, "--json")
        assert (code, err) == (0, "")
        loaded = json.loads(out)
        Draft202012Validator(schema).validate(loaded)
        return loaded

    return read


def test_the_list_names_every_part(auditor: Callable[..., Any], document: Callable[..., Any]) -> None:
    code, out, err = auditor("list", *DAY)
    assert (code, err, out.splitlines()[0]) == (
        0,
        "",
        "121 parts. Law as of 2026-11-22. The text of ECCN 3A090.a and .b was last checked on 2026-07-23;",
    )
    for words in ("h200-sxm", "15832", "mtt-s4000", "2896 4.76 3A090.b.1 and 3A090.b.2 recalled"):
        assert words in " ".join(out.split())
    assert len(document("list", *DAY)["chips"]) == 121
    vendors = [chip["vendor"] for chip in document("list", *DAY)["chips"]]
    assert vendors[0] == "NVIDIA"
    assert len([1 for one, after in pairwise(vendors) if one != after]) == len(set(vendors)) - 1  # each in one place
    _, moore, _ = auditor("list", "--vendor", "moore", *DAY)
    assert moore.startswith("1 part. ")
    assert "Moore Threads\n-----" in moore
    intel = document("list", "--vendor", "intel", *DAY)
    assert {chip["vendor"] for chip in intel["chips"]} == {"Intel"}


def test_the_law_of_the_day_is_the_one_that_counts(document: Callable[..., Any]) -> None:
    for chip_id, classes in (
        ("a800-sxm4-80gb", ["no rule", "none", "3A090.a"]),
        ("a100-sxm4-80gb", ["no rule", "3A090.a", "3A090.a"]),
    ):
        days = ("2022-10-01", "2023-01-01", "2026-11-22")
        assert [document("show", chip_id, "--as-of", day)["chips"][0]["eccn"] for day in days] == classes


def test_one_part_with_the_source_of_each_field(auditor: Callable[..., Any], document: Callable[..., Any]) -> None:
    code, out, _ = auditor("show", "h100-pcie-80gb", *DAY)
    assert code == 0
    for words in (
        "1513 dense tera-operations per second (fp8) x 8 bit = 12,104",
        "Every chip rule published by 2026-11-22",
        "glennklockwood.com",
        "not legal advice",
    ):
        assert words in " ".join(out.split())
    (chip,) = document("show", "h100-pcie-80gb", *DAY)["chips"]
    assert chip["fields"]["boost_mhz"] == {
        "value": "1620",
        "confidence": "computed",
        "sources": [],
        "computed_from": ["dense_peak_tera", "sm_count"],
        "read": None,
    }
    assert chip["fields"]["dies"]["sources"] == ["klock_h100"]
    assert chip["fields"]["dies"]["read"] == "2026-11-22"


def test_every_part_can_be_shown(auditor: Callable[..., Any], books: tuple[Any, Any]) -> None:
    for chip in books[0].chips:
        assert {row[0] for row in field_rows(chip)} == chip.provenance.keys()
        assert all(all(row) for row in field_rows(chip)), chip.id
    for chip_id in ("mi250x", "tpu-v3", "mlu590", "rubin"):
        code, out, _ = auditor("show", chip_id, *DAY)
        assert code == 0
        assert chip_id in out


def test_a_machine_by_what_its_tool_wrote(auditor: Callable[..., Any], document: Callable[..., Any]) -> None:
    code, out, _ = auditor("classify", "--nvidia-smi", str(L4), *DAY)
    assert code == 0
    for words in ("2 x NVIDIA L4 (gpu)", "3A090.a (3A090.a.2)", "242.5 dense", "TPP 3880 over 2 circuits; 4A090.a"):
        assert words in out
    read = document("classify", "--nvidia-smi", str(L4), *DAY)
    assert [device["chip"] for device in read["devices"]] == ["l4", "l4"]
    (machine,) = read["machines"]
    assert (machine["circuits"], machine["tpp_range"]) == ("2", {"lowest": "3880", "highest": "3880"})


def test_what_the_tool_wrote_can_be_piped(auditor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(L4.read_bytes())))
    code, out, _ = auditor("classify", "--nvidia-smi", "-", *DAY)
    assert (code, "2 x NVIDIA L4 (gpu)" in out) == (0, True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    code, _, err = auditor("classify", "--nvidia-smi", "-", *DAY)
    assert (code, "standard input" in err) == (2, True)


def test_a_file_that_leaves_devices_out_or_names_one_twice(auditor: Callable[..., Any], tmp_path: Path) -> None:
    one, other = b"GPU-11111111-2222-3333-4444-555555555555", b"GPU-66666666-7777-8888-9999-000000000000"
    file = tmp_path / "machine.xml"
    file.write_bytes(L4.read_bytes().replace(b"<attached_gpus>2", b"<attached_gpus>8").replace(other, one))
    code, out, told = auditor("classify", "--nvidia-smi", str(file), *DAY)
    assert (code, "over 2 circuits" in out) == (0, True)
    for words in ("8 devices are attached and describes 2: 6 are missing", "2 devices say that they are GPU-1111"):
        assert words in told
    _, plain, _ = auditor("classify", "--nvidia-smi", str(file), *DAY, "--json")
    assert json.loads(plain)["machines"][0]["circuits"] == "2"


def test_a_pci_id_by_itself_and_with_its_board(document: Callable[..., Any]) -> None:
    (bare,) = document("classify", "--device", "10DE:2335", *DAY)["devices"]
    assert (bare["chip"], bare["candidates"], bare["eccn"]) == (None, ["h200-sxm"], "3A090.a")
    (board,) = document("classify", "--device", "10de:2335/10de:18be", *DAY)["devices"]
    assert (board["chip"], board["eccn"], board["name"]) == ("h200-sxm", "3A090.a", "10de:2335")
    assert board["basis"].endswith("nothing else to compare")
    unheard = document("classify", "--device", "10de:fffe", *DAY)["judgements"][0]
    assert (unheard["eccn"], unheard["tpp_range"], unheard["chip_rules"]) == ("undetermined", None, [])
    (named,) = document("classify", "--device", "10de:2328", *DAY)["devices"]
    assert "H20B" in named["basis"]


def test_this_machine_by_its_driver(
    fake: Callable[..., Any], auditor: Callable[..., Any], document: Callable[..., Any]
) -> None:
    fake("h200", "rtx4090")
    read = document("classify", *DAY)
    assert [device["chip"] for device in read["devices"]] == ["h200-sxm", "rtx-4090"]
    assert read["machines"][0]["tpp_range"]["lowest"] == "21116.8"
    fake(init_error=9)
    read = document("classify", *DAY)
    (processor,), (judged,) = read["devices"], read["judgements"]
    assert (processor["kind"], processor["eccn"], judged["eccn"], judged["possible"]) == ("cpu", None, None, [])
    _, out, _ = auditor("classify", *DAY)
    assert "no accelerator seen: not judged" in out
    assert "undetermined" not in out.lower()


def test_an_id_alone_is_classed_and_with_a_board_that_nobody_lists_it_is_not(auditor: Callable[..., Any]) -> None:
    _, alone, _ = auditor("classify", "--device", "10de:2335", *DAY)
    assert "Every listed part that it can be is in this class" in " ".join(alone.split())
    _, unlisted, _ = auditor("classify", "--device", "10de:2335/10de:9999", *DAY)
    words = " ".join(unlisted.split())
    assert "it could be: H200 SXM or a part that is not listed" in words
    assert "The candidates decide nothing" in words
    assert "ECCN undetermined" in words


def test_before_a_text_and_after_it_was_last_seen(auditor: Callable[..., Any], document: Callable[..., Any]) -> None:
    device = ("classify", "--device", "10de:2335")
    _, first, _ = auditor(*device, "--as-of", "2022-12-01")
    words = "undetermined (The text of ECCN 4A090.a and .b of that day is not held here, only that since 2023-11-17)"
    assert words in " ".join(first.split())
    assert document(*device, "--as-of", "2022-12-01")["machines"][0]["class"]["outcome"] == "undetermined"
    assert document(*device, "--as-of", "2020-01-01")["machines"][0]["class"] is None
    for verb in (("list", "--vendor", "Biren"), device):
        for day, later in (("2026-07-23", False), ("2026-07-24", True)):
            _, out, _ = auditor(*verb, "--as-of", day)
            assert ("last checked on 2026-07-23; what came later" in " ".join(out.split())) == later
    _, listed, _ = auditor("list", "--vendor", "Biren", "--as-of", "2020-01-01")
    assert "no rule" in listed
    assert "undetermined" not in listed
    _, shown, _ = auditor("show", "l4", "--as-of", "2020-01-01")
    assert "No chip rule yet on 2020-01-01: the first is in force from 2022-10-21 on." in shown
    assert "there was no chip rule yet" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "--vendor", "Nobody"), ["no vendor 'Nobody'", "NVIDIA"]),
        (("show", "h200sxm"), ["no chip 'h200sxm'", "Did you mean h200-sxm"]),
        (("show", "%%%"), ["`auditor hardware list`"]),
        (("show", "H100"), ["Did you mean h100-sxm5-80gb, h100-pcie-80gb, h100-nvl"]),
        (("show", "NVIDIA H200"), ["Did you mean h200-sxm, h200-nvl?"]),
        (("show", "H200-SXM"), ["Did you mean h200-sxm?"]),
        (("show", "b200-sxm"), ["Did you mean b200?"]),
        (("show", "4090"), ["Did you mean rtx-4090"]),
        (("show", "L20X"), ["'NVIDIA L20X' is no part's own", "compute capability 9.0", "hardware classify"]),
        (("list", "--vendor", "A"), ["'A' begins several vendors", "Known are AMD, AWS."]),
        (("list", "--vendor", ""), ["no vendor ''"]),
        (("classify", "--device", "2335"), ["expected PCI ids such as 10de:2335", "lspci"]),
        (("classify", "--device", "10de:2335/18be"), ["expected PCI ids"]),
        (("classify", "--device", "10de:2335", "--nvidia-smi", "x"), ["not allowed with"]),
        (("classify", "--nvidia-smi", "none.xml"), ["none.xml: cannot be read", "nvidia-smi -q -x"]),
        (("list", "--as-of", "lately"), ["expected a day such as"]),
        ((), ["required: ACTION"]),
        (("draw",), ["invalid choice"]),
    ],
)
def test_a_call_that_is_off(auditor: Callable[..., Any], words: tuple[str, ...], said: list[str]) -> None:
    code, out, err = auditor(*words)
    assert (code, out) == (2, "")
    for part in said:
        assert part in err


def test_the_two_schemas_say_the_same_of_devices() -> None:
    report, hardware = (
        json.loads((ROOT / "configs" / "schema" / f"{name}.schema.json").read_text())["$defs"]
        for name in ("report", "hardware")
    )
    for name in ("device", "judgement", "machine", "chip_answer", "chip_source", "range_or_null", "decimal_or_null"):
        assert report[name] == hardware[name]
