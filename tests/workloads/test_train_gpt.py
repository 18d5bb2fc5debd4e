"""The workload trains: its loss falls, its checkpoints continue a run exactly, its flags do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path

LOSS = re.compile(r"step +(\d+)  (loss|eval) (\d+\.\d+)")


def losses(lines: list[str]) -> dict[tuple[str, int], float]:
    found = (LOSS.match(line) for line in lines)
    return {(match[2], int(match[1])): float(match[3]) for match in found if match}


def test_the_loss_falls(run_script):
    seen = losses(run_script("--steps=60", "--warmup=5", "--lr=5e-3", "--eval-every=30"))
    assert seen["loss", 1] == pytest.approx(torch.tensor(256.0).log().item(), abs=0.2)  # nothing known of any byte yet
    assert seen["loss", 60] < seen["loss", 1] - 1.5
    assert seen["eval", 60] < seen["eval", 30]


def test_the_same_seed_prints_the_same_losses_and_another_does_not(run_script):
    first, second = (losses(run_script("--steps=4", "--log-every=1")) for _ in range(2))
    other = losses(run_script("--steps=4", "--log-every=1", "--seed=1"))
    assert len(first) == 5
    assert first == second
    assert first != other


def test_a_killed_run_resumes_to_the_same_losses_and_parameters(run_script, script, tiny, tmp_path):
    schedule = ("--steps=12", "--log-every=1", "--eval-every=4", "--save-every=3")
    whole = losses(run_script(*schedule, f"--out={tmp_path / 'whole'}"))

    command = [sys.executable, str(script), *tiny, *schedule, f"--out={tmp_path / 'killed'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "saved" in line and line.startswith("step     6"):
                process.kill()
                break
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    saved_at = torch.load(checkpoint, weights_only=True)["step"]
    assert 6 <= saved_at < 12
    resumed = losses(run_script(*schedule, f"--out={checkpoint.parent}", f"--resume={checkpoint}"))

    assert resumed == {(kind, step): loss for (kind, step), loss in whole.items() if step > saved_at}
    expected, got = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"] for name in ("whole", "killed")
    )
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_accumulation_over_two_batches_is_one_batch_twice_as_large(train_gpt):
    model, twin = (train_gpt.build_model(layers=1, heads=2, width=32, context=16) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    text, _ = train_gpt.load_text(1 << 16)
    cpu = torch.device("cpu")
    inputs, targets = next(train_gpt.endless_batches(text, 8, 16, torch.Generator().manual_seed(0), cpu))
    halves = iter([(inputs[:4], targets[:4]), (inputs[4:], targets[4:])])

    loss = train_gpt.train_step(model, torch.optim.SGD(model.parameters(), 0.1), halves, accumulate=2)
    twin_loss = train_gpt.train_step(twin, torch.optim.SGD(twin.parameters(), 0.1), iter([(inputs, targets)]))

    torch.testing.assert_close(loss, twin_loss)
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    "flags",
    [
        ["--checkpoint-activations=reentrant"],
        ["--checkpoint-activations=non-reentrant"],
        ["--checkpoint-activations=reentrant", "--freeze-embedding"],
        ["--foreach"],
        ["--no-foreach"],
        ["--fused"],
    ],
)
def test_how_it_is_computed_does_not_change_what_is_learnt(run_script, flags):
    frozen = [flag for flag in flags if flag.startswith("--freeze")]
    plain = losses(run_script("--steps=5", "--log-every=1", *frozen))
    other = losses(run_script("--steps=5", "--log-every=1", *flags))
    assert plain.keys() == other.keys()
    for key, loss in plain.items():
        assert other[key] == pytest.approx(loss, abs=2e-4)


@pytest.mark.parametrize("flags", [["--autocast=bf16"], ["--accumulate=3"], ["--compile"]])
def test_each_flag_runs_and_learns(run_script, flags):
    seen = losses(run_script("--steps=12", "--warmup=2", "--lr=5e-3", *flags))
    assert seen["loss", 12] < seen["loss", 1] - 0.5


@pytest.mark.parametrize(
    ("flags", "frozen"),
    [
        (["--freeze=1"], ("blocks.0.",)),
        (["--freeze-embedding"], ("tokens.", "positions.")),
        (["--freeze=2", "--freeze-embedding"], ("blocks.", "tokens.", "positions.")),
    ],
)
def test_what_is_frozen_stays_and_the_rest_moves(run_script, tmp_path, flags, frozen):
    for steps in (1, 3):
        run_script(f"--steps={steps}", f"--out={tmp_path / str(steps)}", *flags)
    early, late = (torch.load(tmp_path / str(n) / "checkpoint.pt", weights_only=True)["model"] for n in (1, 3))
    moved = {name for name in early if not torch.equal(early[name], late[name])}
    assert moved == {name for name in early if not name.startswith(frozen)}


def test_nothing_is_written_unless_asked(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_script("--steps=2")
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_checkpoint_before_it(train_gpt, tmp_path, monkeypatch):
    model = train_gpt.build_model(layers=1, heads=1, width=8, context=8)
    optimizer = train_gpt.build_optimizer(model, 1e-3)
    generator, path = torch.Generator(), tmp_path / "checkpoint.pt"
    train_gpt.save(path, model, optimizer, generator, 1)
    monkeypatch.setattr(train_gpt.torch, "save", _half_a_checkpoint)
    with pytest.raises(OSError, match="No space left"):
        train_gpt.save(path, model, optimizer, generator, 2)
    assert train_gpt.restore(path, model, optimizer, generator) == 1


def _half_a_checkpoint(state: object, file) -> None:
    file.write(b"PK half")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [(["--width=30", "--heads=4"], "cannot be divided"), (["--freeze=3"], "more than --layers 2")],
)
def test_what_does_not_fit_together_is_refused(train_gpt, tiny, capsys, flags, complaint):
    with pytest.raises(SystemExit) as stop:
        train_gpt.parse_arguments([*tiny, *flags])
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_it_knows_nothing_of_the_auditor(script: Path):
    assert "auditor" not in script.read_text(encoding="utf-8")
