"""`auditor run` with a witness in the settings: co-signed at its end, and no run fails for want of a witness."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from auditor.formulas import TABLE, Pricer
from auditor.ledger import Outside, Recount, load_or_create, read_ledger
from auditor.ledger.cosigning import read_witness

SCRIPT = "import torch\ntorch.ones(2, 2) @ torch.ones(2, 2)\n"


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "signing.pem"
    load_or_create(path)
    return path


@pytest.fixture
def witness(tmp_path, key):
    command = [sys.executable, "-m", "auditor", "witness", str(tmp_path / "w"), "--name", "w1"]
    command += ["--accept", str(key), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().removeprefix("listening on ").strip(), process.stdout.readline().strip()
        process.terminate()


def test_the_ledger_is_cosigned_when_the_command_has_ended(write_script, audited, key, witness):
    url, verifier_key = witness
    done, directory = audited(
        sys.executable,
        write_script(SCRIPT),
        AUDITOR_KEY=str(key),
        AUDITOR_WITNESS=url,
        AUDITOR_WITNESS_KEY=verifier_key,
    )
    assert done.returncode == 0
    assert b"ledger WITNESSED" in done.stderr
    outside = Outside(witnesses=(read_witness(verifier_key),), quorum=1)
    recount = Recount(price=Pricer().price, digest=TABLE.digest)
    assert read_ledger(directory, recount=recount, outside=outside).verdict == "WITNESSED"
    assert read_ledger(directory, recount=recount).verdict == "UNANCHORED"


def test_a_witness_that_is_down_is_told_in_a_line_and_the_run_is_whole(write_script, audited, key, witness):
    began_s = time.monotonic()
    done, _ = audited(
        sys.executable,
        write_script(SCRIPT),
        options=("--strict",),
        AUDITOR_KEY=str(key),
        AUDITOR_WITNESS="http://127.0.0.1:9",
        AUDITOR_WITNESS_KEY=witness[1],
    )
    assert done.returncode == 0
    assert b"the ledger was not co-signed" in done.stderr
    assert b"ledger UNANCHORED" in done.stderr
    assert time.monotonic() - began_s < 120


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"AUDITOR_WITNESS": "http://127.0.0.1:9"}, b"go together"),
        ({"AUDITOR_WITNESS": "http://127.0.0.1:9", "AUDITOR_WITNESS_KEY": "nobody"}, b"not the key of a witness"),
    ],
)
def test_settings_that_name_no_witness_are_an_error_before_anything_runs(write_script, audited, settings, told):
    done, directory = audited(sys.executable, write_script(SCRIPT), **settings)
    assert done.returncode == 2
    assert told in done.stderr
    assert not directory.exists()
