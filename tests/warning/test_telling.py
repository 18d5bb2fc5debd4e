"""Who is told of a level while a real training runs: by real HTTP, by a real command, once, and at no cost to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.errors import AlertError
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, read_ledger
from auditor.warning.telling import MOST_TRIES, Teller, post, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRAINING = """
import os, sys, time, torch
a = torch.ones(64, 64, requires_grad=True)
optimizer = torch.optim.SGD([a], lr=0.1)
for step in range(int(sys.argv[1])):
    (a @ a).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    time.sleep(0.05)
while "UNTIL" in os.environ and not os.path.exists(os.environ["UNTIL"]):
    time.sleep(0.05)
"""
STEP_OPS = 3 * 2 * 64**3  # forward and backward products; and a little more that is elementwise


class Receiver(HTTPServer):
    """Takes what is posted, and answers with ``statuses`` in turn, the last of them for ever."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.statuses = [204]
        self.delay_s = 0.0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/alerts"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.server.delay_s)
        self.server.bodies.append(body)
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.bodies.append({"got": self.path})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def training(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(TRAINING)
    return path


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return kept | {"AUDITOR_COUNTER": "dispatch", "AUDITOR_SECOND_OPINION": "false", **settings}


def command(directory: Path, training: Path, steps: int, *options: str) -> list[str]:
    start = [sys.executable, "-m", "auditor", "run", "--out", str(directory), *options, "--"]
    return [*start, sys.executable, str(training), str(steps)]


def read(directory: Path) -> Any:
    return read_ledger(directory, recount=Recount(price=Pricer().price, digest=TABLE.digest))


def alerts_of(directory: Path) -> list[Any]:
    return [alert for segment in read(directory).segments for alert in segment.alerts]


def until(condition: Callable[[], object], seconds: float = 200.0) -> None:
    ends_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_s, "it did not come to pass"
        time.sleep(0.05)


def test_a_webhook_is_told_while_the_training_runs_and_a_killed_run_that_restarts_tells_nobody_twice(
    tmp_path: Path, training: Path, receiver: Receiver, schema_of: Callable[[str], dict[str, Any]]
) -> None:
    directory = tmp_path / "run"
    levels = f"{10 * STEP_OPS} us_ca_sb53={20 * STEP_OPS}"
    settings = environment(AUDITOR_ALERTS=levels, AUDITOR_ALERT_WEBHOOK=receiver.url)
    with subprocess.Popen(
        command(directory, training, 100_000), env=settings, cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        try:
            until(lambda: len(receiver.bodies) == 2)
            until(lambda: len(alerts_of(directory)) == 2)
        finally:
            for pid in (*_below(process.pid), process.pid):
                os.kill(pid, signal.SIGKILL)
        said = process.stderr.read().decode() if process.stderr else ""
    assert "the level 15728640 is passed" in said
    validator = Draft202012Validator(schema_of("alert"))
    for body in receiver.bodies:
        validator.validate(body)
        assert int(body["counted"]) >= int(body["at"])
    assert {body["rule"] for body in receiver.bodies} == {None, "us_ca_sb53"}
    assert {body["status"] for body in receiver.bodies} == {None, "in_force"}
    again = subprocess.run(command(directory, training, 60), env=settings, cwd=tmp_path, capture_output=True)
    assert again.returncode == 0
    assert len(receiver.bodies) == 2
    reading = read(directory)
    assert {segment.genesis.attempt for segment in reading.segments if segment.genesis.role == "rank"} == {0, 1}
    assert sorted(alert.told for alert in alerts_of(directory)) == ["webhook", "webhook"]


def _below(pid: int) -> list[int]:
    """The processes that this one has started, those that they have started first."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [other for child in map(int, found) for other in (*_below(child), child)]


def test_a_command_is_told_on_its_standard_input_and_is_no_part_of_the_run(tmp_path: Path, training: Path) -> None:
    script, out, directory = tmp_path / "hook.py", tmp_path / "told 1.json", tmp_path / "run"
    script.write_text(
        "import os, sys\n"
        "with open(sys.argv[1], 'a') as file:\n"
        "    file.write(sys.stdin.read() + '\\n')\n"
        "    file.write(repr([name for name in os.environ if name.startswith('AUDITOR_')]) + '\\n')\n"
    )
    words = f"{sys.executable} {script} '{out}'"
    settings = environment(AUDITOR_ALERT_COMMAND=words)
    done = subprocess.run(
        command(directory, training, 60, "--alert", str(5 * STEP_OPS)), env=settings, cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0
    body, names = out.read_text().splitlines()
    assert json.loads(body)["level"] == str(5 * STEP_OPS)
    assert names == "[]"
    (alert,) = alerts_of(directory)
    assert (alert.told, alert.name) == ("command", f"executed@{5 * STEP_OPS}")
    assert len(read(directory).segments) == 2  # the training's and the launcher's
    assert json.loads((directory / "status.json").read_text())["level_passed"] is True


def test_a_hook_that_fails_is_said_and_recorded_and_the_training_ends_as_it_would(
    tmp_path: Path, training: Path, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    directory = tmp_path / "run"
    settings = environment(AUDITOR_ALERT_WEBHOOK=receiver.url, AUDITOR_ALERTS=str(STEP_OPS))
    done = subprocess.run(command(directory, training, 20), env=settings, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
    assert b"nobody could be told by webhook: it answered 500" in done.stderr
    reading = read(directory)
    assert {gap.cause for gap in reading.gaps} == {"alert"}
    assert reading.verdict == "UNANCHORED"  # no operation is missing because of it
    assert alerts_of(directory) == []
    receiver.statuses = [204]
    before = len(receiver.bodies)
    again = subprocess.run(command(directory, training, 5), env=settings, cwd=tmp_path, capture_output=True)
    assert again.returncode == 0
    assert len(receiver.bodies) == before + 1  # whoever could not be told is told at the next start
    assert len(alerts_of(directory)) == 1


def test_a_strict_run_ends_with_3_where_a_level_is_passed(tmp_path: Path, training: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "run", training, 5, "--alert", "1000", "--strict"),
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 3
    assert b"the level 1000 is passed" in done.stderr


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Ask for a run with settings that do not fit, and give what is said of it."""
    from auditor.cli.main import main

    def run_with(directory: Path, **settings: str) -> str:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert main(["run", "--out", str(directory), "--", "true"]) == 2
        return capsys.readouterr().err

    return run_with


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("AUDITOR_ALERTS", "eighty%", "expected a level such as 80%, 2e25 or RULE=80%, got 'eighty%'"),
        ("AUDITOR_ALERTS", "0%", "expected a share above 0"),
        ("AUDITOR_ALERTS", "1.5", "expected a whole number of operations"),
        ("AUDITOR_ALERTS", "eu_ai_act_art15=80%", "did you mean 'eu_ai_act_art51'"),
        ("AUDITOR_ALERTS", "us_ear_red_flag_28=80%", "names a rule without a line"),
        ("AUDITOR_ALERT_WEBHOOK", "file:///etc/passwd", "expected an address that begins with http:// or https://"),
        ("AUDITOR_ALERT_COMMAND", "'not closed", "expected the words of a command"),
        ("AUDITOR_ALERT_TIMEOUT_S", "0", "expected a number of seconds above 0"),
        ("AUDITOR_ANSWERS", "nowhere.yaml", "nowhere.yaml: cannot be read"),
    ],
)
def test_a_setting_that_does_not_fit_is_told_before_the_training_begins(
    tmp_path: Path, refused: Callable[..., str], setting: str, value: str, words: str
) -> None:
    assert words in refused(tmp_path / "run", **{"AUDITOR_ALERTS": "80%", setting: value})
    assert not (tmp_path / "run").exists()


def test_a_server_that_is_busy_is_asked_again(receiver: Receiver) -> None:
    receiver.statuses = [503, 503, 200]
    pauses: list[float] = []
    took, failed = Teller(receiver.url, "", 5.0, lambda pause_s: bool(pauses.append(pause_s))).tell(b"{}")
    assert (took, failed) == (["webhook"], [])
    assert len(receiver.bodies) == MOST_TRIES
    assert pauses == [1.0, 4.0]


def test_it_is_given_up_after_so_many_tries_or_when_the_run_ends(receiver: Receiver) -> None:
    receiver.statuses = [503]
    assert Teller(receiver.url, "", 5.0, lambda _: False).tell(b"{}") == ([], ["webhook: it answered 503"])
    assert len(receiver.bodies) == MOST_TRIES
    Teller(receiver.url, "", 5.0, lambda _: True).tell(b"{}")
    assert len(receiver.bodies) == MOST_TRIES + 1


def test_a_redirection_is_not_followed(receiver: Receiver) -> None:
    receiver.statuses = [302]
    with pytest.raises(AlertError, match="answered 302"):
        post(receiver.url, b"{}", 5.0)
    assert receiver.bodies == [{}]


def test_a_server_that_does_not_answer_is_given_up(receiver: Receiver) -> None:
    receiver.delay_s = 1.0
    with pytest.raises(AlertError, match=r"took longer than|timed out"):
        post(receiver.url, b"{}", 0.2)
    with pytest.raises(AlertError, match="cannot be reached"):
        post("http://127.0.0.1:9/", b"{}", 1.0)


def test_a_server_that_answers_a_byte_at_a_time_has_no_longer_than_any_other() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError), listening, listening.accept()[0] as connection:
            for byte in b"HTTP/1.0 200 OK\r\nSlow: " + b"a" * 60:
                connection.send(bytes([byte]))
                time.sleep(0.1)

    threading.Thread(target=answer, daemon=True).start()
    began_s = time.monotonic()
    with pytest.raises(AlertError, match=r"took longer than 0\.5 s"):
        post(f"http://127.0.0.1:{listening.getsockname()[1]}/", b"{}", 0.5)
    assert time.monotonic() - began_s < 3


@pytest.mark.parametrize(
    "address", ["http://[::1/s3cret", "http://host:s3cret/", "http://host/a s3cret", "http://h:0/s3cret"]
)
def test_an_address_that_is_none_is_refused_and_nowhere_told(
    address: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    told = refused(tmp_path / "run", AUDITOR_ALERTS="80%", AUDITOR_ALERT_WEBHOOK=address)
    assert "alert_webhook" in told
    assert "s3cret" not in told
    with pytest.raises(AlertError) as raised:
        post(address, b"{}", 1.0)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "failure"),
    [
        (["sleep", "60"], "took longer than 0.2 s"),
        (["false"], "false ended with 1"),
        (["nothing-of-that-name"], "No such file"),
    ],
)
def test_a_command_that_fails_is_told(words: list[str], failure: str) -> None:
    with pytest.raises(AlertError, match=failure):
        run(words, b"{}", 0.2 if words[0] == "sleep" else 20.0)


def test_the_first_of_two_ranks_tells_what_both_have_done(tmp_path: Path, training: Path, receiver: Receiver) -> None:
    """Started as a launcher does. Neither passes the level alone, and they exchange nothing."""
    directory, steps = tmp_path / "run", 80
    level = steps * STEP_OPS * 3 // 2
    processes = []
    for rank in range(2):
        settings = environment(
            AUDITOR_ALERTS=str(level),
            AUDITOR_ALERT_WEBHOOK=receiver.url,
            AUDITOR_INTERVAL_S="1",
            RANK=str(rank),
            WORLD_SIZE="2",
            LOCAL_RANK=str(rank),
            LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT="29511",
            UNTIL=str(tmp_path / "told"),
        )
        processes.append(
            subprocess.Popen(command(directory, training, steps), env=settings, cwd=tmp_path, stderr=subprocess.PIPE)
        )
    try:
        until(lambda: receiver.bodies)
        (tmp_path / "told").touch()
        assert [process.wait(120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    (body,) = receiver.bodies
    assert (body["ranks_seen"], body["ranks_expected"]) == (2, 2)
    assert int(body["counted"]) >= level
    assert [len(one.alerts) for one in read(directory).segments] == [1, 0]  # the first rank's alone
