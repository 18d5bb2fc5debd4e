"""The catalogue: what is shipped is whole and sourced; what does not fit is refused by file and line."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from auditor.errors import CatalogueError, ExitCode
from auditor.hardware import catalogue
from auditor.hardware.chips import Confidence, Provenance
from auditor.hardware.provenance import FIELDS

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.hardware.catalogue import Catalogue

TABLE = """\
schema: auditor.chips/1
vendor: Somebody
read: 2026-11-22
sources:
  sheet: {title: A data sheet, vendor: true, tells: [names, peak, die]}
  print: {title: A print, read: 2026-11-23, tells: [sm_count]}
bit_lengths:
  fp8: {bits: 8}
  fp16: {bits: 16}
cores_per_sm:
  "9.0": 128
chips:
  - id: one
    product: One
    device_names: [Device One]
    pci:
      - {device: "10de:0001", subsystems: ["10de:0002", "*:0003"]}
    architecture: Some
    compute_capability: "9.0"
    sm_count: 2
    memory_gb: 80
    dense_peak_tera: {fp8: 600, fp16: 300}
    dies: [{area_mm2: 800, count: 1, non_planar: true, node: some}]
    marketed_for_data_centre: true
    sources: [sheet]
    confidence: {names: datasheet, peak: datasheet, die: datasheet}
  - id: two
    product: Two
    device_names: []
    pci:
      - {device: "10de:0001", subsystems: ["10de:0004"]}
    architecture: Some
    marketed_for_data_centre: unknown
    sources: [sheet]
    confidence: {names: datasheet, peak: recalled, die: recalled}
"""


def load(tmp_path: Path, text: str) -> Catalogue:
    path = tmp_path / "table.yaml"
    path.write_text(text, encoding="utf-8")
    return catalogue.load([path])


def test_what_is_not_known_stays_unknown(tmp_path: Path) -> None:
    one, two = load(tmp_path, TABLE).chips
    assert (one.num_cores, one.marketed_for_data_centre) == (256, True)
    assert (two.num_cores, two.memory_gb, two.dies, two.marketed_for_data_centre) == (None, None, (), None)
    assert two.provenance["architecture"].confidence is Confidence.RECALLED
    assert "dense_peak_tera" not in two.provenance


def test_every_known_field_says_how_sure_it_is_and_by_what_it_is_told(tmp_path: Path) -> None:
    told = (
        load(
            tmp_path,
            TABLE.replace(
                "confidence: {names: datasheet, peak: datasheet, die: datasheet}",
                "confidence: {names: datasheet, peak: datasheet, die: {word: secondary, sources: [print]},"
                " sm_count: {word: computed, from: [dense_peak_tera]}, memory_gb: recalled}",
            ).replace("sources: [sheet]", "sources: [sheet, print]", 1),
        )
        .chips[0]
        .provenance
    )
    assert told["device_names"] == Provenance(
        confidence=Confidence.DATASHEET, sources=("sheet",), read=date(2026, 11, 22)
    )
    assert told["dies"] == Provenance(confidence=Confidence.SECONDARY, sources=("print",), read=date(2026, 11, 23))
    assert (told["sm_count"].confidence, told["sm_count"].computed_from) == (Confidence.COMPUTED, ("dense_peak_tera",))
    assert told["memory_gb"] == Provenance(confidence=Confidence.RECALLED, sources=(), read=None)
    assert told["compute_capability"].confidence is Confidence.RECALLED  # nothing tells of it


def test_a_field_that_nobody_rates_is_as_sure_as_what_tells_of_it(tmp_path: Path) -> None:
    text = TABLE.replace("sources: [sheet]", "sources: [print]", 1).replace(
        "{names: datasheet, peak: datasheet, die: datasheet}", "{names: recalled, peak: recalled, die: recalled}"
    )
    assert load(tmp_path, text).chips[0].provenance["sm_count"].confidence is Confidence.SECONDARY
    vendor = text.replace("tells: [sm_count]", "vendor: true, tells: [silicon]")
    assert load(tmp_path, vendor).chips[0].provenance["sm_count"].confidence is Confidence.DATASHEET


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    sources: [sheet]\n", "", ["the field 'sources' is missing"]),
        ("sources: [sheet]", "sources: []", ["confidence.names", "a source that tells of device_names"]),
        ("sources: [sheet]", "sources: [print]", ["confidence.names", "called datasheet", "{word: datasheet, sources"]),
        ("sources: [sheet]", "sources: [shet]", ["did you mean 'sheet'"]),
        ("tells: [sm_count]", "tells: [sm_conut]", ["did you mean 'sm_count'"]),
        ("title: A print, ", "", ["the field 'title' is missing"]),
        ("die: datasheet", "die: {word: secondary, sources: [nobody]}", ["unknown name 'nobody'"]),
        ("die: datasheet", "die: {word: computed, from: [nothing]}", ["unknown name 'nothing'"]),
        ("die: datasheet", "die: secondary, colour: recalled", ["unknown name 'colour'"]),
        ("area_mm2: 800", "area_mm2: -800", ["dies[0].area_mm2", "above zero", "'-800'"]),
        ("area_mm2: 800", "area_mm2: 0", ["above zero"]),
        ("area_mm2: 800", "area_mm2: big", ["expected a number"]),
        ("count: 1", "count: 1.5", ["a whole number"]),
        ('["10de:0004"]', '["10de:0002"]', ["a PCI id of its own for 'two'", "10de:0001 10de:0002 belongs to 'One'"]),
        ('["10de:0004"]', '["10de:0002"], shared_with: [One]', ["belongs to 'One'"]),  # the other does not say so
        ('["10de:0004"]', '["10de:0004"], function: imaginary', ["'virtual'"]),
        ("memory_gb: 80", "memory_gb: 80\n    link: {name: A link}", ["the field 'gb_per_s' is missing"]),
        ("memory_gb: 80", "memory_gb: 80\n    link: {name: A link, gb_per_s: -1}", ["link.gb_per_s", "above zero"]),
        ("id: two", "id: one", ["the id 'one' is taken"]),
        ("10de:0001", "10DE:0001", ["lower-case hexadecimal"]),
        ("10de:0002", "0002", ["subsystems such as"]),
        ("fp16: 300", "fp15: 300", ["did you mean 'fp16'"]),
        ("fp16: 300", "fp16: -300", ["above zero"]),
        ("sm_count: 2", "sm_count: 2\n    colour: red", ["unknown name 'colour'"]),
        ("sm_count: 2", "sm_conut: 2", ["did you mean 'sm_count'"]),
        ("peak: datasheet", "peak: datashet", ["did you mean 'datasheet'"]),
        (", die: datasheet", "", ["the field 'die' is missing"]),
        ("marketed_for_data_centre: true", "marketed_for_data_centre: yes", ["true or false"]),
        ("read: 2026-11-22", "read: lately", ["a date such as"]),
        ("vendor: Somebody\n", "", ["the field 'vendor' is missing"]),
        ("auditor.chips/1", "auditor.chips/9", ["'auditor.chips/1'"]),
        ("non_planar: true", "non_planar: perhaps", ["true or false"]),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in TABLE
    with pytest.raises(CatalogueError) as caught:
        load(tmp_path, TABLE.replace(old, new, 1))
    assert caught.value.exit_code is ExitCode.USAGE
    for word in (*words, "table.yaml:"):
        assert word in str(caught.value)


def test_a_pci_id_for_all_boards_is_taken_once(tmp_path: Path) -> None:
    for_all = TABLE.replace(', subsystems: ["10de:0002", "*:0003"]', "").replace(', subsystems: ["10de:0004"]', "")
    with pytest.raises(CatalogueError, match=r"10de:0001 \(all boards\) belongs to 'One'"):
        load(tmp_path, for_all)


def test_a_source_named_twice_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(
            "schema: auditor.chips/1\nread: 2026-11-22\nsources: {sheet: {title: A sheet, tells: [peak]}}\n",
            encoding="utf-8",
        )
    with pytest.raises(CatalogueError, match="named already"):
        catalogue.load(paths)


def test_the_digest_changes_with_any_byte(tmp_path: Path) -> None:
    before = load(tmp_path, TABLE).digest
    assert before == catalogue.digest([tmp_path / "table.yaml"])
    assert before != load(tmp_path, TABLE + "#\n").digest
    with pytest.raises(CatalogueError, match="cannot be read"):
        catalogue.digest([tmp_path / "none.yaml"])


def test_every_field_of_every_shipped_chip_says_how_sure_it_is(shipped: Catalogue) -> None:
    assert len(shipped.chips) >= 120
    for chip in shipped.chips:
        known = {name for name in FIELDS if getattr(chip, name) not in (None, (), {})}
        assert chip.provenance.keys() == known, chip.id
        for name, told in chip.provenance.items():
            assert set(told.sources) <= shipped.sources.keys()
            if told.confidence in (Confidence.DATASHEET, Confidence.SECONDARY):
                assert told.sources, (chip.id, name)
                assert told.read is not None
            if told.confidence is Confidence.RECALLED:
                assert not told.sources
            if told.confidence is Confidence.COMPUTED:
                assert told.sources or told.computed_from


def test_vendors_ids_and_masked_names_are_there(shipped: Catalogue) -> None:
    vendors = {chip.vendor for chip in shipped.chips}
    assert vendors == {
        "NVIDIA", "AMD", "Intel", "Google", "AWS", "Huawei", "Cambricon", "Biren", "Moore Threads"
    }  # fmt: skip
    assert shipped.named_ids["10de:2328"].name == "H20B"
    assert len(shipped.named_ids) == 18
    assert shipped.masked_names.keys() == {"NVIDIA L20X", "NVIDIA L20Y", "NVIDIA L20Z"}
    assert all(masked.parts for masked in shipped.masked_names.values())
    assert shipped.firmware["96.00"].compute_capability == "9.0"


def test_a_masked_name_is_of_entries(tmp_path: Path) -> None:
    masked = "masked:\n  - {name: X, seen: y, parts: [nothing], sources: [sheet], confidence: secondary}\nchips:"
    with pytest.raises(CatalogueError, match="nothing"):
        load(tmp_path, TABLE.replace("chips:", masked))


def test_a_named_id_is_no_entrys(tmp_path: Path) -> None:
    named = 'named_ids:\n  - {device: "10de:0001", name: Third, sources: [sheet], confidence: secondary}\nchips:'
    with pytest.raises(CatalogueError, match="a PCI id that no entry has, got '10de:0001'"):
        load(tmp_path, TABLE.replace("chips:", named))
    unsourced = named.replace("10de:0001", "10de:0009").replace("[sheet]", "[]")
    with pytest.raises(CatalogueError, match="at least one source for what is called secondary"):
        load(tmp_path, TABLE.replace("chips:", unsourced))
    twice = named.replace("10de:0001", "10de:0009").replace("chips:", "") + named[11:].replace("10de:0001", "10de:0009")
    with pytest.raises(CatalogueError, match=r"named_ids\[1\].device: expected a PCI id that no entry has"):
        load(tmp_path, TABLE.replace("chips:", twice))


def test_names_and_pci_ids_tell_the_shipped_chips_apart(shipped: Catalogue) -> None:
    names = [name for chip in shipped.chips for name in chip.device_names]
    # One driver gives both parts of this family the same name.
    assert {name for name in names if names.count(name) > 1} == {"AMD Instinct MI250X/MI250"}


@pytest.mark.parametrize("chip_id", ["b200", "gb200", "b300-sxm6", "gb300"])
def test_an_area_that_nobody_published_is_not_guessed(shipped: Catalogue, chip_id: str) -> None:
    chip = next(chip for chip in shipped.chips if chip.id == chip_id)
    assert chip.dies == ()
    assert catalogue.tpp(chip).performance_density is None


def test_the_h200s_cores_are_those_that_nvml_reports(shipped: Catalogue) -> None:
    chip = next(chip for chip in shipped.chips if chip.id == "h200-sxm")
    assert chip.num_cores == 16896
