"""The installed wheel works away from the checkout: with torch to train, without it to inspect."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import auditor

NEVER_FOR_HELP = {"torch", "numpy", "fvcore", "pynvml", "jinja2", "yaml", "rich", "cryptography", "cuda"}
NEEDS_NO_TORCH = [
    "ledger", "rules", "formulas", "report", "records", "operations", "tally", "hardware", "config",
    "attestation", "index", "cli.main", "cli.verify", "cli.report", "cli.attest", "cli.index",
]  # fmt: skip
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


@pytest.mark.parametrize("module", NEEDS_NO_TORCH)
def test_an_inspector_imports_it_without_torch(inspector, tmp_path, module):
    code = f"import auditor.{module} as it; print(it.__file__)"
    done = inspector.run("python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(inspector.directory))


def test_the_inspectors_environment_really_has_no_torch(inspector, tmp_path):
    assert "No module named 'torch'" in inspector.run("python", "-c", "import torch", cwd=tmp_path).stderr


def test_counting_without_torch_is_refused_with_the_command_that_installs_it(inspector, tmp_path):
    code = """if True:
        import auditor
        try:
            auditor.count()
        except auditor.AuditorError as error:
            print(error, error.remedy, sep=" | ")
    """
    done = inspector.run("python", "-c", code, cwd=tmp_path)
    assert done.stdout == "torch is not installed | Install it with: pip install 'auditor[train]'\n", done.stderr


@pytest.mark.parametrize("kind", ["configs", "kernels"])
def test_the_wheels_own_files_are_used(inspector, tmp_path, kind):
    code = f"from auditor.resources import tree; print(tree({kind!r}))"
    done = inspector.run("python", "-c", code, cwd=tmp_path)
    assert done.stdout.strip() == str(inspector.site / "auditor" / f"_{kind}")


@pytest.mark.parametrize("command", [("auditor",), ("python", "-m", "auditor")])
def test_version_and_help_as_a_command_and_as_a_module(inspector, tmp_path, command):
    version = inspector.run(*command, "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout.strip()) == (0, f"auditor {auditor.__version__}")
    shown = inspector.run(*command, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert {"run", "verify", "report"} <= set(re.findall(r"^ +(\w+) ", shown.stdout, re.MULTILINE))


def test_help_imports_nothing_heavy(trainer, tmp_path):
    done = trainer.run("python", "-X", "importtime", "-m", "auditor", "--help", cwd=tmp_path)
    assert done.returncode == 0
    imported = {name.split(".")[0] for name in IMPORTED.findall(done.stderr)}
    assert {"auditor", "argparse"} <= imported
    assert imported & NEVER_FOR_HELP == set()


def test_a_training_audited_from_the_wheel_is_verified_by_an_inspector(trainer, inspector, root, tmp_path):
    size = ("--layers=1", "--heads=2", "--width=16", "--context=16", "--batch=2", "--steps=3", "--device=cpu")
    script = str(root / "benchmarks" / "workloads" / "train_gpt.py")
    ledger = str(tmp_path / "run")
    # The wheel's sources are the checkout's, to the byte; what was built of these serves both.
    cache = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")}
    command = ("auditor", "run", "--out", ledger, "--", "python", script)
    trained = trainer.run(*command, *size, cwd=tmp_path, **cache)
    assert trained.returncode == 0, trained.stderr

    verified = inspector.run("auditor", "verify", ledger, cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    shown = inspector.run("auditor", "report", ledger, "--format", "json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    attested = inspector.run("auditor", "attest", ledger, "--weights", script, "--out", "attested.json", cwd=tmp_path)
    assert attested.returncode == 0, attested.stderr
    with_weights = ("--attestation", "attested.json", "--weights", script)
    checked = inspector.run("auditor", "verify", ledger, *with_weights, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    added = inspector.run("auditor", "index", "add", ledger, cwd=tmp_path)
    assert (added.returncode, added.stdout.partition(": ")[2]) == (0, "1 ledger read: 1 added\n"), added.stderr
    assert inspector.run("auditor", "index", "list", cwd=tmp_path).returncode == 0
    report = json.loads(shown.stdout)
    assert report["schema"] == "auditor.report/1"
    assert report["run"]["steps"] == 3
    assert report["unpriced"] == []
    assert int(report["operations"]["total"]) > 0
