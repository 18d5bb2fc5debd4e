"""Packs of one's own: from the command line or the settings into the ledger, by version and digest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from auditor import config, rules
from auditor.cli.main import main
from auditor.distributed import Place
from auditor.ledger import read_ledger
from auditor.session.genesis import open_book

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., config.Settings]:
    def load(**values: str) -> config.Settings:
        return config.load({"key": str(tmp_path / "key.pem"), **values}, environment={}, directory=tmp_path)

    return load


def test_they_are_absolute_paths_that_children_get_and_no_ledger_records(
    settings: Callable[..., config.Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings(rules=os.pathsep.join(["a.yaml", "/b.yaml"]))
    assert [str(path) for path in found.rules] == [str(tmp_path / "a.yaml"), "/b.yaml"]
    again = config.load(environment=found.environment(), directory=tmp_path)
    assert again.rules == found.rules
    assert "rules" not in found.recorded()
    assert settings().rules == ()
    assert found.digest == settings().digest


def test_their_version_and_digest_go_into_the_ledger(
    settings: Callable[..., config.Settings], small_pack: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    own = write(small_pack, "own.yaml")
    place = Place(role="rank", rank=0, expected_ranks=1)
    for name, packs in (("with", str(own)), ("without", "")):
        book = open_book(
            tmp_path / name, settings(rules=packs), place, run_id="r", command=(), counter="dispatch", devices=()
        )
        book.seal("finished")
    (segment,) = read_ledger(tmp_path / "with", recount=None).segments
    (plain,) = read_ledger(tmp_path / "without", recount=None).segments
    pack = rules.outline(own)
    assert segment.genesis.versions["rules/own.yaml"] == pack.version == "1"
    assert segment.genesis.digests["rules/own.yaml"] == pack.digest
    assert segment.genesis.digests["rules"] == rules.load([*rules.shipped(), own]).digest
    assert plain.genesis.digests["rules"] == rules.digest()
    assert not any(name.startswith("rules/") for name in (*plain.genesis.digests, *plain.genesis.versions))


def test_a_pack_that_does_not_fit_is_told_before_the_training_begins(
    small_pack: str, write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write(small_pack.replace("ops: 1e6", "ops: lots"), "own.yaml")
    mark = tmp_path / "ran"
    code = main(["run", "--out", str(tmp_path / "out"), "--rules", str(own), "--", "touch", str(mark)])
    assert code == 2
    assert "own.yaml:" in capsys.readouterr().err
    assert not mark.exists()
    assert not (tmp_path / "out").exists()
