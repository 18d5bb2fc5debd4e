"""The survey runs from one command, each model in a process of its own, and its report says what failed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.accuracy import peers, report
from benchmarks.accuracy.catalogue import Model, models, register
from benchmarks.accuracy.one import row
from benchmarks.accuracy.survey import measure, survey

NAMES = ["mlp", "vae", "lstm"]
BY_HAND = sorted(name for name, model in models().items() if model.library == "torch" and model.by_hand is not None)


@pytest.fixture(scope="module")
def surveyed(root, tmp_path_factory):
    """The JSON and the Markdown of a short survey."""
    out = tmp_path_factory.mktemp("survey")
    command = [sys.executable, "-m", "benchmarks.accuracy", "--no-compile", f"--out={out}", "--models", *NAMES]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout == (out / "accuracy.md").read_text(encoding="utf-8")
    return json.loads((out / "accuracy.json").read_text(encoding="utf-8")), process.stdout


def test_the_json_holds_every_column_of_every_model(surveyed):
    result, _ = surveyed
    assert result["schema"] == "auditor.accuracy/1"
    assert [each["name"] for each in result["rows"]] == [name for name in models() if name in NAMES]
    for each in result["rows"]:
        assert int(each["dispatch"]["phases"]["forward"]) > 0
        assert int(each["dispatch"]["phases"]["backward"]) > 0
        assert int(each["dispatch"]["phases"]["optimizer"]) > 0
        assert each["dispatch"]["unpriced"] == {}
        assert each["flop_counter"]["unexplained"] == each["fvcore"]["unexplained"] == "0"
        assert each["figures"][0]["ours"] == each["figures"][0]["theirs"] == each["fvcore"]["ours"]
        assert each["compiled"] == {"unavailable": "not run"}


def test_the_markdown_names_each_difference(surveyed):
    _, text = surveyed
    assert text.startswith("# Accuracy")
    assert "| lstm | mkldnn_rnn_layer | 2 |" in text
    assert "FlopCounterMode has no formula for it" in text
    assert "| FlopCounterMode | 2 | 1 | 0 | 0 |" in text
    assert "**" not in text.partition("## Counts")[2]


def test_there_are_at_least_sixty_models_of_many_libraries():
    every = models().values()
    assert len(every) >= 60
    assert {model.library for model in every} == {"torch", "transformers", "diffusers", "peft", "timm"}
    assert all(model.what for model in every)
    assert 8 <= sum(model.compiled for model in every) <= 14


def test_naming_the_models_loads_no_library_of_models(root):
    code = (
        "import sys; from benchmarks.accuracy.catalogue import models; models();"
        "sys.exit(bool({'transformers', 'timm', 'peft', 'diffusers', 'torchvision'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=120).returncode == 0


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="two models"):
        register(Model(name="mlp", library="torch", build=models()["mlp"].build))


@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_worked_out_by_hand_is_what_is_counted(name):
    opinion = peers.fvcore(models()[name])
    assert opinion.ours == opinion.theirs == str(models()[name].by_hand)


def test_a_process_that_fails_or_takes_too_long_is_a_row_that_says_so():
    assert measure("no-such-model", False, 60)["error"] == "KeyError: 'no-such-model'"
    assert measure("mlp", False, 0.01)["error"] == "it took more than 0.01 s"
    assert measure("mlp", True, 0.01)["compiled"] == {"unavailable": "it took more than 0.01 s"}


def test_a_row_that_failed_is_told_apart():
    (failed,) = survey(["mlp"], compile_too=False, workers=1, limit_s=0.01, tell=lambda _: None)
    text = report.to_markdown({"rows": [failed], "machine": {}, "date": "today", "command": "survey", "seconds": 1})
    assert "1 models, 1 of them failed" in text
    assert "| mlp | it took more than 0.01 s |" in text


def test_a_column_that_fails_leaves_the_others(monkeypatch):
    monkeypatch.setattr("benchmarks.accuracy.peers.fvcore", _refuse)
    measured = row(models()["mlp"])
    assert measured["fvcore"] == {"unavailable": "RuntimeError: no trace today"}
    assert measured["flop_counter"]["unexplained"] == "0"
    assert report.verdict(measured["fvcore"]) == "-"


def _refuse(_model):
    raise RuntimeError("no trace\ntoday")


@pytest.mark.parametrize(
    ("column", "word"),
    [
        ({"unavailable": "why"}, "-"),
        ({"unexplained": "0", "differences": []}, "exact"),
        ({"unexplained": "0", "differences": [{}]}, "named"),
        ({"unexplained": "1200", "differences": [{}]}, "**1,200 unexplained**"),
    ],
)
def test_a_column_in_a_word(column, word):
    assert report.verdict(column) == word


@pytest.mark.parametrize(
    ("compiled", "unpriced", "word"),
    [
        ("100", {}, "exact"),
        ("100", {"mine::op": 1}, "exact"),
        ("99", {}, "**-1**"),
        ("99", {"mine::op": 1}, "lower bound"),
        ("1200", {"mine::op": 1}, "**+1,100**"),
    ],
)
def test_the_compiled_column_in_a_word(compiled, unpriced, word):
    column = {"eager": {"matmul": "100"}, "compiled": {"matmul": compiled}, "unpriced": unpriced}
    assert report.compiled_verdict({"compiled": column}) == word
    assert report.compiled_verdict({"compiled": {"unavailable": "not run"}}) == "not run"
    assert report.compiled_verdict({"compiled": {"unavailable": "RuntimeError"}}) == "failed"


def test_a_native_counter_is_compared_signature_by_signature():
    apart = [{"operator": "aten::mm", "arguments": "[]", "phase": "forward", "native": 1, "dispatch": 2}]
    assert report.native_verdict({"native": {"unavailable": "x"}, "native_differs": None}) == "not available"
    assert report.native_verdict({"native": {}, "native_differs": []}) == "exact"
    assert report.native_verdict({"native": {}, "native_differs": apart}) == "1 differ"
