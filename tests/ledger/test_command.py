"""`auditor verify`: what it prints and what it ends with."""

from __future__ import annotations

import pytest

from auditor.cli.main import main


@pytest.mark.parametrize(
    ("required", "code", "told"),
    [
        (None, 0, ""),
        ("INCOMPLETE", 0, ""),
        ("UNANCHORED", 5, "auditor: the ledger is INCOMPLETE; --require asks for UNANCHORED\n"),
    ],
)
def test_what_is_required_and_not_there_is_said(run, capsys, required, code, told):
    run.segment(seal=False)
    assert main(["verify", str(run.directory), *(["--require", required] if required else [])]) == code
    shown = capsys.readouterr()
    assert "INCOMPLETE" in shown.out
    assert "all hashes and signatures checked" in shown.out
    assert shown.err == told


def test_another_key_than_the_trusted_one(run, capsys):
    run.segment()
    assert main(["verify", str(run.directory), "--key", "0" * 64]) == 4
    shown = capsys.readouterr().out
    assert "not by the trusted one" in shown
    assert "all hashes" not in shown


def test_a_message_that_asks_ends_as_a_question(tmp_path, monkeypatch, capsys):
    (tmp_path / "auditor.yaml").write_text("intervall_s: 3\n")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--", "true"]) == 2
    assert "did you mean 'interval_s'? Correct the setting" in capsys.readouterr().err
