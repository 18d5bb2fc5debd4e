"""A training that is watched is the training that it was, and its forward pass gets a second count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.optim.optimizer import register_optimizer_step_post_hook

from auditor.counting.dispatch import DispatchCounter
from auditor.counting.second_opinion import Watcher, describe
from auditor.tally import Tally, merge

PATIENCE_S = 60.0


class Running:
    """A counter and a watcher, as a session keeps them."""

    def __init__(self, **options):
        self.counter = DispatchCounter()
        self.total = Tally({})
        self.watcher = Watcher(self.snapshot, **options)

    def snapshot(self):
        self.total = merge([(self.total, 1), (self.counter.take(), 1)])
        return self.total

    def __enter__(self):
        self.counter.attach()
        self.watcher.start()
        return self

    def __exit__(self, *_):
        self.counter.detach()
        self.watcher.stop()

    def opinions(self, number=1):
        """So many opinions, once they have come in."""
        found, deadline = [], time.monotonic() + PATIENCE_S
        while len(found) < number and time.monotonic() < deadline:
            found += self.watcher.poll()
            time.sleep(0.01)
        return found


def train(model, steps=5, batch=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batch = torch.ones(3, 4) if batch is None else batch
    for _ in range(steps):
        out = model(batch)
        out.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def children() -> set[str]:
    """Processes whose parent this one is; other tests of the same process may have left some."""
    lists = Path("/proc/self/task").glob("*/children")
    return {number for each in lists for number in each.read_text(encoding="ascii").split()}


def hooked(model):
    return any(part._forward_hooks or part._forward_pre_hooks for part in model.modules()) or (
        torch_modules._has_any_global_hook() or bool(torch_modules._global_module_registration_hooks)
    )


class Odd(nn.Module):
    """A linear layer whose forward pass does something else in any process but the training's."""

    def __init__(self, elsewhere):
        super().__init__()
        self.inner, self.elsewhere, self.home = nn.Linear(4, 4), elsewhere, os.getpid()

    def forward(self, x):
        if os.getpid() != self.home:
            self.elsewhere()
        return self.inner(x)


def test_the_workload_gets_an_opinion_that_agrees(train_gpt):
    model = train_gpt.build_model(layers=2, heads=2, width=16, context=8)
    before = children()
    with Running() as running:
        train(model, batch=torch.randint(256, (3, 8)))
        (opinion,) = running.opinions()
    assert opinion.unavailable == ""
    assert opinion.ours == opinion.theirs == str(2 * (24 * 24 * 16**2 + 4 * 3 * 8**2 * 16) + 2 * 24 * 16 * 256)
    assert opinion.explained == ()
    assert opinion.model == "GPT"
    assert opinion.inputs == '["int64[3,8]"]'
    assert not hooked(model)
    assert children() <= before


def test_each_signature_once_and_no_more_than_wanted():
    model = nn.Linear(4, 4)
    with Running(most_signatures=2, most_steps=9) as running:
        for rows in (1, 2, 2, 3, 4, 5):
            train(model, steps=1, batch=torch.ones(rows, 4))
        opinions = running.opinions(2)
        assert sorted(opinion.inputs for opinion in opinions) == ['["float32[2,4]"]', '["float32[3,4]"]']
        assert running.watcher.stop() == []
    assert not hooked(model)


def test_watching_ends_after_a_few_steps():
    model = nn.Linear(4, 4)
    with Running(most_steps=2) as running:
        train(model, steps=3)
        assert not running.watcher.watching
        assert not hooked(model)


def test_watching_ends_in_a_step_that_has_other_hooks_behind():
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    with Running(most_steps=2) as running:
        behind = register_optimizer_step_post_hook(lambda *_: None)
        for _ in range(4):
            optimizer.step()
        behind.remove()
        assert not running.watcher.watching
        assert not hooked(nn.Linear(1, 1))


def test_parts_run_again_in_the_backward_pass_are_not_taken_for_models():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Linear(4, 4)

        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(self.part, x, use_reentrant=False)

    with Running() as running:
        train(Checkpointed(), batch=torch.ones(3, 4).requires_grad_())
        (opinion,) = running.opinions()
        assert opinion.model == "Checkpointed"
        assert running.watcher.stop() == []


@pytest.mark.parametrize(
    ("elsewhere", "reason"),
    [
        (os.abort, "the process that ran it died"),
        (lambda: os._exit(0), "the process that ran it died"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: sys.exit(3), "SystemExit"),
        (lambda: subprocess.run(["true"], check=True), "effects outside (subprocess.Popen)"),
        (lambda: os.kill(os.getppid(), signal.SIGTERM), "effects outside (os.kill)"),
    ],
)
def test_what_goes_wrong_in_the_copy_is_told_and_the_training_goes_on(elsewhere, reason):
    with Running() as running:
        train(Odd(elsewhere))
        (opinion,) = running.opinions()
    assert reason in opinion.unavailable
    assert opinion.theirs == ""
    assert opinion.ours == "96"


def test_a_forward_pass_that_never_ends_is_ended():
    with Running(limit_s=1.0) as running:
        train(Odd(_forever))
        (opinion,) = running.opinions()
    assert opinion.unavailable == "it took more than 1 s"


def _forever():
    while True:
        pass


def test_stopping_does_not_wait_and_leaves_no_process():
    with Running() as running:
        train(Odd(_forever))
        deadline = time.monotonic() + PATIENCE_S
        analysis = running.watcher._pending[0].analysis
        while not analysis.pid and time.monotonic() < deadline:
            assert running.watcher.poll() == []
        pid = analysis.pid
        assert _alive(pid)
        started = time.monotonic()
        (opinion,) = running.watcher.stop()
        assert time.monotonic() - started < 2
    assert "ended before" in opinion.unavailable
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(pid)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_files_are_written_once(tmp_path):
    log = tmp_path / "log"
    held = (tmp_path / "held").open("w")

    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            held.write("held\n")
            held.flush()
            with log.open("a") as file:
                file.write("once\n")
            return self.inner(x)

    with Running() as running:
        train(Writes())
        (opinion,) = running.opinions()
    held.close()
    assert "opens a file for writing" in opinion.unavailable
    assert log.read_text() == "once\n" * 5
    assert (tmp_path / "held").read_text() == "held\n" * 5


def test_a_model_in_shared_memory_is_left_alone():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).share_memory()
    with Running() as running:
        train(model, steps=5)
        (opinion,) = running.opinions()
    assert opinion.unavailable == ""
    assert int(model[1].num_batches_tracked) == 5


def test_a_training_that_handles_sigchld_has_no_opinion_and_sees_no_child():
    seen = []
    before = signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
    try:
        with Running() as running:
            train(nn.Linear(4, 4))
            (opinion,) = running.opinions()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert "SIGCHLD" in opinion.unavailable
    assert seen == []


def test_a_forward_pass_that_raises_is_not_counted_and_the_next_one_is():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = nn.Linear(4, 4), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 2:
                raise KeyError("now")
            return self.inner(x)

    model = Sometimes()
    with Running() as running:
        train(model, steps=1)
        with pytest.raises(KeyError, match="now"):
            train(model, steps=1)
        train(model, steps=1)
        (opinion,) = running.opinions()
    assert opinion.theirs == "96"
    assert not hooked(model)


def test_a_snapshot_that_fails_stops_the_watching_only():
    model = nn.Linear(4, 4)

    def broken():
        raise RuntimeError("no snapshot")

    watcher = Watcher(broken)
    watcher.start()
    train(model)
    (opinion,) = watcher.stop()
    assert "no snapshot" in opinion.unavailable
    assert not hooked(model)


def test_a_forked_process_of_the_training_is_not_watched():
    model = nn.Linear(4, 4)
    with Running() as running:
        running.watcher.arm()
        pid = os.fork()
        if pid == 0:
            model(torch.ones(1, 4))
            os._exit(0 if not torch_modules._has_any_global_hook() else 1)
        assert os.waitpid(pid, 0)[1] == 0


def _compiled_training(model, watcher_options):
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        if watcher_options is None:
            train(model, steps=6)
            opinions = []
        else:
            with Running(**watcher_options) as running:
                train(model, steps=6)
                opinions = running.opinions() if isinstance(model, nn.Module) else running.watcher.stop()
    return {name: dict(counters[name]) for name in ("stats", "frames", "graph_break")}, opinions


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["module", "function"])
def test_compiled_models_are_compiled_as_often_as_without(way):
    def build():
        torch.manual_seed(0)
        inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        if way == "module":
            return torch.compile(inner, backend="eager")
        function = torch.compile(lambda x: inner(x) * 2, backend="eager")
        function.parameters = inner.parameters
        return function

    bare, _ = _compiled_training(build(), None)
    watched, opinions = _compiled_training(build(), {})
    assert watched == bare
    assert bare["stats"]["unique_graphs"] == 1
    assert [opinion.theirs for opinion in opinions] == (["192"] if way == "module" else [])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiling_while_watched_ends_the_watching():
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    with Running(most_steps=99) as running:
        train(nn.Linear(4, 4), steps=2)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            train(torch.compile(nn.Linear(4, 4), backend="eager"), steps=2)
        assert not running.watcher.watching


SCRIPT = """
import hashlib, os, random, sys
import numpy, torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

class Chatty(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.drop = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout()
        self.b = nn.Linear(8, 2)
        self.seen = []

    def forward(self, x):
        self.seen.append(float(x.sum()))
        print("forward", len(self.seen), random.random(), float(numpy.random.rand()), os.write(1, b"raw\\n"))
        return self.b(self.drop(self.norm(self.a(x + torch.rand(())))))

WATCH
random.seed(1); numpy.random.seed(1); torch.manual_seed(1)
model = Chatty()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(6):
    model(torch.randn(3, 4)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
digest = hashlib.sha256()
for name, value in model.state_dict().items():
    digest.update(name.encode() + value.numpy().tobytes())
print(digest.hexdigest(), model.seen, random.random(), torch.rand(()), sorted(vars(model)))
try:
    print(os.wait())
except ChildProcessError:
    print("no child")
FINISH
"""
WATCH = """
from auditor.counting.dispatch import DispatchCounter
from auditor.counting.second_opinion import Watcher
from auditor.tally import Tally, merge
counter, total = DispatchCounter(), [Tally({})]
def snapshot():
    total[0] = merge([(total[0], 1), (counter.take(), 1)])
    return total[0]
watcher = Watcher(snapshot)
counter.attach(); watcher.start()
"""
FINISH = """
opinions = watcher.stop(wait_s=60)
sys.exit(0 if opinions[0].ours == opinions[0].theirs == str(2 * 3 * (32 + 16)) else 5)
"""


def run_script(watch, finish):
    text = SCRIPT.replace("WATCH", watch).replace("FINISH", finish)
    return subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, timeout=200, check=False)


def test_output_state_and_random_numbers_are_the_same_bit_for_bit():
    bare, watched = run_script("", ""), run_script(WATCH, FINISH)
    assert bare.returncode == 0
    assert bare.stderr == b""
    assert watched.stdout == bare.stdout
    assert watched.stderr == bare.stderr
    assert watched.returncode == 0
    assert b"no child" in bare.stdout


def test_an_analysis_that_goes_on_does_not_hold_the_trainings_output_open():
    endless = textwrap.dedent(
        """
        home = os.getpid()
        original = Chatty.forward
        def forward(self, x):
            while os.getpid() != home: pass
            return original(self, x)
        Chatty.forward = forward
        """
    )
    started = time.monotonic()
    done = run_script(f"{WATCH}{endless}watcher._limit_s = 300.0\n", "print(watcher.stop()[0].unavailable)")
    assert time.monotonic() - started < 150
    assert done.returncode == 0
    assert b"ended before" in done.stdout


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((torch.ones(2, 3),), {}, '["float32[2,3]"]'),
        ((1, 2.5, True, None), {}, '["#","#",true,null]'),
        (
            ([torch.ones(1)],),
            {"b": {"x": 1}, "a": torch.ones(2).half()},
            '[["float32[1]"],["\'a","float16[2]"],["\'b",[["\'x","#"]]]]',
        ),
        ((object(),), {}, '["\'object"]'),
    ],
)
def test_inputs_are_described_by_shape_not_by_value(args, kwargs, text):
    assert describe(args, kwargs) == text


@pytest.mark.parametrize("steps", [2, 6])
def test_the_tally_of_a_watched_training_is_the_same(steps):
    def tally(watched):
        running = Running()
        running.counter.attach()
        if watched:
            running.watcher.start()
        train(nn.Sequential(nn.Linear(4, 4), nn.Dropout()), steps=steps)
        running.__exit__()
        return running.snapshot()

    tally(watched=False)  # what torch does once only
    assert tally(watched=True) == tally(watched=False)


def test_a_process_with_many_open_files_gets_its_second_opinion():
    """select() knows no descriptors above 1023, and a large job has more."""
    from auditor.counting.aside import Analysis

    kept = []
    try:
        while not kept or kept[-1] < 1100:
            kept.append(os.dup(0))
        source, sink = os.pipe()
        analysis = Analysis(source, 1.0, 0.0)
        assert analysis.poll() is None
        os.write(sink, b"1\nnone for a reason\n")
        os.close(sink)
        assert analysis.poll(1.0) == "for a reason"
    finally:
        for number in kept:
            os.close(number)


def test_a_training_that_closes_what_it_does_not_know_loses_only_the_second_opinion(tmp_path):
    from auditor.counting.aside import Analysis

    source, sink = os.pipe()
    analysis = Analysis(source, 1.0, 0.0)
    os.close(source)
    with (tmp_path / "own").open("w") as own:  # takes the number that has become free
        assert own.fileno() == source
        assert "closed the descriptor" in str(analysis.poll())
        own.write("kept")
    os.close(sink)
