"""Steps are profiled every so often, and a script's own profiler does not notice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, schedule

from auditor.config import load
from auditor.counting import captured, coverage, devices
from auditor.counting.coverage import Sampler
from auditor.formulas import TABLE, Pricer
from auditor.integrations import lifecycle
from auditor.ledger import Recount, read_ledger
from auditor.session.session import Session

# Torch says this once in a process; as an error it would be raised in the middle of a profile, which then crashes.
pytestmark = pytest.mark.filterwarnings("ignore:.*Profiler clears events:UserWarning")


@pytest.fixture
def sampler():
    """A sampler of every second step, with what it has told."""
    told = SimpleNamespace(profiles=[], problems=[])
    told.sampler = Sampler(2, on_profile=told.profiles.append, on_problem=told.problems.append)
    told.sampler.attach()
    yield told
    told.sampler.detach()


@pytest.fixture
def steps():
    """One step after another, each ended by its optimizer."""
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def run(number: int) -> None:
        for _ in range(number):
            model(torch.ones(4, 8)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def _ours() -> bool:
    return torch.autograd.profiler._is_profiler_enabled


def test_one_step_after_each_so_many_is_profiled(sampler):
    seen = []
    for step in range(1, 10):
        seen.append(_ours())
        torch.ones(2, 2) @ torch.ones(2, 2)
        sampler.sampler.step_ended(step)
    assert seen == [False, False, True, False, True, False, True, False, True]
    assert not _ours() or not sampler.problems
    assert [next(iter(work_out().values())).step for work_out in sampler.profiles] == [3, 5, 7, 9]
    assert not sampler.problems


def test_a_scripts_own_profiler_is_left_alone(sampler):
    with profile(activities=[ProfilerActivity.CPU]) as theirs:
        sampler.sampler.step_ended(2)
        torch.ones(2, 2) @ torch.ones(2, 2)
        sampler.sampler.step_ended(3)
    assert [event.key for event in theirs.key_averages() if event.key == "aten::mm"]
    assert sampler.profiles == []
    assert sampler.problems == ["a step was not profiled: the training's own profiler was at work"]


def test_a_scripts_profiler_that_begins_in_a_profiled_step_finds_nothing_in_its_way(sampler):
    sampler.sampler.step_ended(2)
    assert _ours()
    with profile(activities=[ProfilerActivity.CPU], schedule=schedule(wait=0, warmup=1, active=1)) as theirs:
        theirs.step()
        assert _ours()
        torch.ones(2, 2) @ torch.ones(2, 2)
    assert [event.key for event in theirs.key_averages() if event.key == "aten::mm"]
    sampler.sampler.step_ended(3)
    assert sampler.profiles == []
    assert sampler.problems == ["a step was not profiled to its end: the training's own profiler was started in it"]
    assert not _ours()


@pytest.mark.parametrize("warm_up_from", [1, 2, 3])
def test_a_scripts_profiler_that_warms_up_is_at_work(sampler, warm_up_from):
    shown = []
    plan = schedule(wait=warm_up_from - 1, warmup=2, active=1)
    with profile(
        activities=[ProfilerActivity.CPU], schedule=plan, on_trace_ready=lambda it: shown.append(it.key_averages())
    ) as theirs:
        for step in range(1, 13):
            torch.ones(2, 2) @ torch.ones(2, 2)
            sampler.sampler.step_ended(step)
            theirs.step()
    assert len(shown) == 12 // (warm_up_from + 2)
    assert all(event.count == 1 for events in shown for event in events if event.key == "aten::mm")
    assert "a step was not profiled: the training's own profiler was at work" in sampler.problems


def test_a_profiler_that_warms_up_before_the_auditor_comes_is_at_work(sampler):
    sampler.sampler.detach()
    with profile(activities=[ProfilerActivity.CPU], schedule=schedule(wait=0, warmup=2, active=1)) as theirs:
        sampler.sampler.attach()
        sampler.sampler.step_ended(2)
        for _ in range(3):
            theirs.step()
    assert sampler.problems == ["a step was not profiled: the training's own profiler was at work"]
    sampler.sampler.step_ended(4)
    assert _ours()


def test_torch_is_as_before_once_no_step_is_profiled_any_more(sampler):
    module = torch.autograd.profiler
    names = ("_prepare_profiler", "_enable_profiler", "_disable_profiler")
    sampler.sampler.detach()
    before = ([getattr(module, name) for name in names], list(captured.before_captures))
    sampler.sampler.attach()
    assert module._prepare_profiler is not before[0][0]
    sampler.sampler.step_ended(2)
    sampler.sampler.detach()
    assert ([getattr(module, name) for name in names], captured.before_captures) == before
    assert "KINETO_LOG_LEVEL" not in os.environ


def test_a_profiler_that_fails_is_told_and_goes_no_further(sampler, monkeypatch):
    def broken(**_):
        raise RuntimeError("CUPTI is in use")

    monkeypatch.setattr(torch.profiler, "profile", broken)
    sampler.sampler.step_ended(2)
    sampler.sampler.step_ended(3)
    assert sampler.problems == ["a step could not be profiled: RuntimeError('CUPTI is in use')"]
    assert sampler.profiles == []


def test_a_profile_that_cannot_be_stopped_is_none(sampler, monkeypatch):
    sampler.sampler.step_ended(2)
    stop = torch.profiler.profile.stop

    def failing(self):
        stop(self)
        raise RuntimeError("no more")

    monkeypatch.setattr(torch.profiler.profile, "stop", failing)
    sampler.sampler.step_ended(3)
    assert sampler.profiles == []
    assert sampler.problems == ["a step could not be profiled: RuntimeError('no more')"]


def test_a_capture_ends_the_profile_before_it_begins(sampler, monkeypatch):
    from torch.cuda import graphs

    sampler.sampler.step_ended(2)
    begun = []
    begin = captured._beginning(lambda *_: begun.append(_ours()))
    begin(object.__new__(graphs.CUDAGraph))
    devices.capture_ended()  # there was none
    assert begun == [False]
    assert sampler.problems == ["a step was not profiled to its end: a CUDA graph was captured in it"]


def test_nothing_is_started_or_stopped_while_a_stream_is_captured(sampler, monkeypatch):
    monkeypatch.setattr(coverage, "_capturing", lambda: True)
    sampler.sampler.step_ended(2)
    assert not _ours()
    monkeypatch.setattr(coverage, "_capturing", lambda: False)
    sampler.sampler.step_ended(4)
    monkeypatch.setattr(coverage, "_capturing", lambda: True)
    sampler.sampler.step_ended(5)
    assert _ours()
    monkeypatch.setattr(coverage, "_capturing", lambda: False)
    sampler.sampler.step_ended(6)
    assert len(sampler.profiles) == 1


def test_another_thread_cannot_give_up_a_profile(sampler):
    sampler.sampler.step_ended(2)
    thread = threading.Thread(target=sampler.sampler.give_up)
    thread.start()
    thread.join()
    assert _ours()


def test_steps_that_end_on_another_thread_are_not_profiled(sampler):
    thread = threading.Thread(target=sampler.sampler.step_ended, args=(2,))
    thread.start()
    thread.join()
    assert not _ours()
    assert sampler.problems == ["no step is profiled: they do not end on the main thread"]


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)"])
def test_a_process_may_end_in_the_middle_of_a_profiled_step(ending):
    code = (
        "import torch; from auditor.counting.coverage import Sampler\n"
        "sampler = Sampler(1, on_profile=print, on_problem=print); sampler.step_ended(1)\n"
        f"assert torch.autograd.profiler._is_profiler_enabled; torch.ones(2) + 1\n{ending}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (3 if ending else 0, "")


def test_a_step_that_takes_too_long_is_given_up(sampler, monkeypatch):
    assert not sampler.sampler.overdue
    monkeypatch.setattr(coverage, "LONGEST_STEP_S", -1.0)
    sampler.sampler.step_ended(2)
    assert sampler.sampler.overdue


def test_a_profile_that_is_too_large_is_not_worked_out(sampler, monkeypatch):
    monkeypatch.setattr(coverage, "_MOST_EVENTS", 1)
    sampler.sampler.step_ended(2)
    torch.ones(2, 2) @ torch.ones(2, 2)
    sampler.sampler.step_ended(3)
    (work_out,) = sampler.profiles
    with pytest.raises(Exception, match="events, more than 1"):
        work_out()


@pytest.fixture(params=["native", "dispatch"])
def audited(request, tmp_path):
    """An audited block with coverage every two steps, and the ledger that it leaves."""
    settings = load(
        {"counter": request.param, "coverage_every": "2", "second_opinion": "false", "strict": "true"}, environment={}
    )

    def audit(block):
        session = Session(tmp_path / "run", settings, run_id="0" * 32, command=("test",), eager=True)
        session.start()
        try:
            block(session)
        finally:
            session.stop()
        return read_ledger(tmp_path / "run", recount=Recount(price=Pricer().price, digest=TABLE.digest))

    return audit


def test_a_session_that_has_ended_leaves_the_environment_as_it_was(audited, steps):
    before = dict(os.environ)
    audited(lambda _: steps(1))
    assert dict(os.environ) == before


def test_the_ledger_holds_how_much_counted_operators_account_for(audited, steps):
    reading = audited(lambda _: steps(5))
    found = [seen.values for seen in reading.hardware if seen.event == "coverage"]
    assert [values["step"] for values in found] == ["3", "5"]
    assert {values["what"] for values in found} == {"operators"}
    assert all(float(values["share"]) == 1 for values in found)
    assert [gap for gap in reading.gaps if gap.cause == "coverage"] == []


def test_an_operator_without_a_price_is_named_and_makes_the_total_a_floor(audited, steps):
    def block(_):
        with torch.library._scoped_library("coveragetest", "FRAGMENT") as library:
            library.define("slow(Tensor x) -> Tensor")
            library.impl("slow", lambda x: torch.linalg.eigvals(x.repeat(50, 50)).real, "CPU")
            steps(2)
            torch.ops.coveragetest.slow(torch.ones(8, 8))
            steps(1)

    reading = audited(block)
    (values,) = [seen.values for seen in reading.hardware if seen.event == "coverage"]
    assert float(values["share"]) < 0.9
    eig = {"native": "aten::_linalg_eigvals", "dispatch": "aten::linalg_eig"}  # as the counter has torch do it
    assert int(values[f"unexplained_ns.{eig[reading.counters[0]]}"]) > 0
    assert int(values["unexplained_ns.coveragetest::slow"]) > 0
    (gap,) = [gap for gap in reading.gaps if gap.cause == "coverage"]
    assert gap.lower_bound
    assert "counted operators account for" in gap.message


def test_a_compiled_step_is_explained(audited):
    model = torch.compile(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU()), backend="inductor")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def block(_):
        for _ in range(3):
            model(torch.ones(256, 64)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    reading = audited(block)
    (values,) = [seen.values for seen in reading.hardware if seen.event == "coverage"]
    assert float(values["share"]) > 0.99


def test_a_fork_in_a_profiled_step_leaves_child_and_parent_without_a_profile(audited, steps):
    seen = []

    def block(session):
        lifecycle.follow(session)
        steps(2)
        assert _ours()
        pid = os.fork()
        if pid == 0:
            os._exit(int(_ours() or session._sampler._profiler is not None))
        seen.append((os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), _ours()))
        steps(3)

    reading = audited(block)
    assert seen == [(0, False)]
    assert [seen.values["step"] for seen in reading.hardware if seen.event == "coverage"] == ["5"]
    assert [gap.message for gap in reading.gaps if gap.cause == "coverage"] == [
        "a step was not profiled to its end: a process was forked in it"
    ]
