"""The catalogue: what is shipped is whole and sourced; what does not fit is refused by file and line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auditor.errors import CatalogueError, ExitCode
from auditor.hardware import catalogue
from auditor.hardware.chips import Confidence

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.hardware.catalogue import Catalogue

TABLE = """\
schema: auditor.chips/1
vendor: Somebody
read: 2026-11-22
sources:
  sheet: A data sheet
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
    confidence: {names: datasheet, peak: datasheet, die: secondary}
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
    assert two.confidence["peak"] is Confidence.RECALLED


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    sources: [sheet]\n", "", ["the field 'sources' is missing"]),
        ("sources: [sheet]", "sources: []", ["at least one source"]),
        ("sources: [sheet]", "sources: [shet]", ["did you mean 'sheet'"]),
        ("area_mm2: 800", "area_mm2: -800", ["dies[0].area_mm2", "above zero", "'-800'"]),
        ("area_mm2: 800", "area_mm2: 0", ["above zero"]),
        ("area_mm2: 800", "area_mm2: big", ["expected a number"]),
        ("count: 1", "count: 1.5", ["a whole number"]),
        ('["10de:0004"]', '["10de:0002"]', ["10de:0001 10de:0002 belongs to 'one'"]),
        ("id: two", "id: one", ["the id 'one' is taken"]),
        ("10de:0001", "10DE:0001", ["lower-case hexadecimal"]),
        ("10de:0002", "0002", ["subsystems such as"]),
        ("fp16: 300", "fp15: 300", ["did you mean 'fp16'"]),
        ("fp16: 300", "fp16: -300", ["above zero"]),
        ("sm_count: 2", "sm_count: 2\n    colour: red", ["unknown name 'colour'"]),
        ("sm_count: 2", "sm_conut: 2", ["did you mean 'sm_count'"]),
        ("peak: datasheet", "peak: datashet", ["did you mean 'datasheet'"]),
        (", die: secondary", "", ["the field 'die' is missing"]),
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
    with pytest.raises(CatalogueError, match=r"10de:0001 \(all boards\) belongs to 'one'"):
        load(tmp_path, for_all)


def test_a_source_named_twice_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text("schema: auditor.chips/1\nsources: {sheet: A sheet}\n", encoding="utf-8")
    with pytest.raises(CatalogueError, match="named already"):
        catalogue.load(paths)


def test_the_digest_changes_with_any_byte(tmp_path: Path) -> None:
    before = load(tmp_path, TABLE).digest
    assert before == catalogue.digest([tmp_path / "table.yaml"])
    assert before != load(tmp_path, TABLE + "#\n").digest
    with pytest.raises(CatalogueError, match="cannot be read"):
        catalogue.digest([tmp_path / "none.yaml"])


def test_every_shipped_chip_has_sources_and_says_how_sure_its_figures_are(shipped: Catalogue) -> None:
    assert len(shipped.chips) >= 80
    for chip in shipped.chips:
        assert set(chip.sources) <= shipped.sources.keys()
        assert chip.confidence.keys() == {"names", "peak", "die"}
        assert Confidence.DATASHEET in (chip.confidence["names"], chip.confidence["peak"])
        assert chip.marketed_for_data_centre is not None


def test_names_and_pci_ids_tell_the_shipped_chips_apart(shipped: Catalogue) -> None:
    names = [name for chip in shipped.chips for name in chip.device_names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("chip_id", ["b200", "gb200", "b300-sxm6", "gb300"])
def test_an_area_that_nobody_published_is_not_guessed(shipped: Catalogue, chip_id: str) -> None:
    chip = next(chip for chip in shipped.chips if chip.id == chip_id)
    assert chip.dies == ()
    assert catalogue.tpp(chip).performance_density is None


def test_the_h200s_cores_are_those_that_nvml_reports(shipped: Catalogue) -> None:
    chip = next(chip for chip in shipped.chips if chip.id == "h200-sxm")
    assert chip.num_cores == 16896
