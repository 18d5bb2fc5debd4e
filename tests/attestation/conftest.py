"""A small ledger by the project's own writer, weights beside it, and what is attested of them."""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auditor import rules
from auditor.attestation import seal
from auditor.cli.main import main
from auditor.hardware import catalogue
from auditor.ledger import SigningKey, load_or_create
from tests.ledger.conftest import Run

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Desk:
    """A run, its weights, and the file of the attestation; verbs are called as a person would."""

    run: Run
    weights: Path
    file: Path
    key_file: Path

    def attest(self, *more: str) -> int:
        where = [str(self.run.directory), "--weights", str(self.weights), "--key", str(self.key_file)]
        return main(["attest", *where, "--out", str(self.file), "--as-of", "2026-11-22", *more])

    def verify(self, *more: str, ledger: bool = False) -> int:
        directory = [str(self.run.directory)] if ledger else []
        what = ["--attestation", str(self.file), "--weights", str(self.weights)]
        return main(["verify", *directory, *what, *more])

    def envelope(self) -> dict[str, Any]:
        return json.loads(self.file.read_bytes())

    def statement(self) -> dict[str, Any]:
        return json.loads(base64.b64decode(self.envelope()["payload"]))

    def put(self, envelope: dict[str, Any] | bytes) -> None:
        self.file.write_bytes(envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode())

    def sign(self, payload: bytes | dict[str, Any]) -> None:
        """The envelope that the key's owner would have made of this payload."""
        self.put(seal(payload if isinstance(payload, bytes) else json.dumps(payload).encode(), self.run.key))

    def resign(self, change: Callable[[dict[str, Any]], object]) -> None:
        """The attestation as its owner would have signed it, had ``change`` been made."""
        statement = self.statement()
        change(statement)
        self.sign(statement)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create(tmp_path / "key.pem")


@pytest.fixture
def desk(tmp_path: Path, key: SigningKey) -> Desk:
    run = Run(tmp_path / "ledger", key)
    run.segment(3)
    run.launcher()
    weights = tmp_path / "weights"
    (weights / "tokenizer").mkdir(parents=True)
    (weights / "model-00001.safetensors").write_bytes(bytes(range(256)) * 5000)
    (weights / "model-00002.safetensors").write_bytes(b"second")
    (weights / "tokenizer" / "vocabulary.json").write_text("{}")
    return Desk(run, weights, tmp_path / "attestation.json", tmp_path / "key.pem")


@pytest.fixture
def attested(desk: Desk) -> Desk:
    assert desk.attest() == 0
    return desk


@pytest.fixture
def new_ledger(tmp_path: Path, key: SigningKey) -> Path:
    other = Run(tmp_path / "other", key, run_id="run-2")
    other.segment()
    return other.directory


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packs and the catalogue, which do not change, are read once for all tests."""
    for module in (rules, catalogue):
        monkeypatch.setattr(module, "load", _kept.setdefault(module, functools.cache(module.load)))


_kept: dict[Any, Any] = {}
