"""Asking a witness that is up, down, slow, or lying: what is believed, what it is called, and how long it takes."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import http.client
import socket
import threading
import time

import pytest

from auditor.errors import LedgerDiverged, UsageError, WitnessError
from auditor.ledger import load_or_create
from auditor.ledger.cosigning import Witness
from auditor.witness import ask

WITHIN_S = 5.0


def prove(log, size):
    return lambda first: log.prove(first, size)


def ask_for(url, witness, log, size=8, **changes):
    return ask(url, witness, log.head(size), prove(log, size), **({"within_s": WITHIN_S} | changes))


def test_a_head_is_cosigned_and_the_old_size_is_found_out(here, log):
    with here.served() as url:
        asked = ask_for(url, here.witness, log)
        assert here.witness.time_of(asked.head) == asked.time_s
        assert asked.head.text == log.head(8).text
        assert ask_for(url, here.witness, log, 100).head.head.size == 100, "it says 409, and what it has"
        assert ask_for(url, here.witness, log, 200, known_size=100).head.head.size == 200
        assert ask_for(url, here.witness, log, 200).head.head.size == 200, "once more"


def test_the_latest_head_can_be_fetched_as_it_was_cosigned(here, log):
    with here.served() as url:
        asked = ask_for(url, here.witness, log)
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        with contextlib.closing(connection):
            for origin, status in ((log.origin, 200), ("unknown", 404)):
                connection.request("GET", f"/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint")
                response = connection.getresponse()
                body = response.read().decode()
                assert response.status == status
                assert (body == asked.head.note) is (status == 200)


def test_a_fork_and_a_rollback_are_refused_with_what_they_are(here, log):
    with here.served() as url:
        ask_for(url, here.witness, log, 100)
        with pytest.raises(LedgerDiverged, match="do not extend those that it has co-signed before"):
            ask_for(url, here.witness, log.forked(), 120)
        with pytest.raises(LedgerDiverged, match=r"has co-signed 100 lines .* was cut back"):
            ask_for(url, here.witness, log, 50)


def test_a_key_or_a_log_that_the_witness_does_not_know_is_said(here, log, tmp_path):
    stranger = dataclasses.replace(log, key=load_or_create(tmp_path / "stranger"))
    elsewhere = dataclasses.replace(log, origin="example.com/log")
    with here.served() as url:
        with pytest.raises(WitnessError, match="does not accept the key") as caught:
            ask_for(url, here.witness, stranger)
        assert "--accept" in caught.value.remedy
        with pytest.raises(WitnessError, match="does not know the log"):
            ask_for(url, here.witness, elsewhere)


def test_an_answer_with_another_key_is_not_believed(here, log, tmp_path):
    stranger = Witness(here.witness.name, load_or_create(tmp_path / "stranger").public_hex)
    with here.served() as url, pytest.raises(WitnessError, match="not signed by"):
        ask_for(url, stranger, log)


def test_nobody_there(log, here):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(WitnessError, match="cannot be reached") as caught:
        ask_for(f"http://127.0.0.1:{port}", here.witness, log)
    assert "whole without it" in caught.value.remedy
    for url in ("ftp://host", "nonsense", "http://"):
        with pytest.raises(UsageError, match="not the address"):
            ask_for(url, here.witness, log)


@contextlib.contextmanager
def liar(*answers: bytes, drip: bytes = b""):
    """Answers each connection with the next of these bytes; then with a byte now and then, for ever."""
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve():
        for answer in answers:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    asked = b""
                    while not (b"old " in asked and asked.endswith(b"\n")):
                        asked += connection.recv(2**16)
                    connection.sendall(answer)
                    while drip and not ended.wait(0.05):
                        connection.sendall(drip)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        ended.set()
        server.close()
        thread.join(5)


def answer(status, body, length=None):
    size = len(body) if length is None else length
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, size) + body


def falsified(here, log, change):
    line = here.witness.cosign(log.head(8).text, 1_800_000_000, here.memory.key)
    blob = base64.b64encode(change(line.key_id + line.data)).decode()
    return f"\u2014 {here.witness.name} {blob}\n".encode()


LIES = {
    "a false signature": lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]),
    "another time": lambda blob: blob[:11] + bytes([blob[11] ^ 1]) + blob[12:],
    "no time": lambda blob: blob[:4] + bytes(8) + blob[12:],
    "a signature cut short": lambda blob: blob[:40],
    "another id": lambda blob: bytes(4) + blob[4:],
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_not_believed(here, log, name):
    with liar(answer(200, falsified(here, log, LIES[name]))) as url:
        with pytest.raises(WitnessError, match=r"does not hold|not signed by") as caught:
            ask_for(url, here.witness, log)
        assert caught.value.remedy


def test_a_cosignature_of_another_head_is_not_believed(here, log):
    line = here.witness.cosign(log.head(7).text, 1_800_000_000, here.memory.key).line.encode()
    with liar(answer(200, line)) as url, pytest.raises(WitnessError, match="does not hold"):
        ask_for(url, here.witness, log)


def test_a_cosignature_of_a_time_to_come_is_not_believed(here, log):
    line = here.witness.cosign(log.head(8).text, 2**40, here.memory.key).line.encode()
    with liar(answer(200, line)) as url, pytest.raises(WitnessError, match="a time to come"):
        ask_for(url, here.witness, log)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ((b"",), "cannot be reached"),
        ((b"noise\r\n\r\n",), "cannot be reached"),
        ((answer(200, b""),), "does not hold"),
        ((answer(200, b"\xff\xfe"),), "does not hold"),
        ((answer(200, b"x" * 400_000),), "more than"),
        ((answer(200, b"x", length=10**9),), "cannot be reached: IncompleteRead"),
        ((answer(500, b"sorry"),), "answered 500"),
        ((answer(503, b""),), "answered 503"),
        ((answer(302, b""),), "answered 302"),
        ((answer(409, b"many"),), "did not say which size"),
        ((answer(409, b"-1\n"),), "did not say which size"),
        ((answer(409, b"1\n"), answer(409, b"2\n")) * 2, "named another latest size 4 times"),
    ],
)
def test_a_wrong_answer_is_named(here, log, answers, told):
    with liar(*answers) as url, pytest.raises(WitnessError, match=told):
        ask_for(url, here.witness, log, within_s=2.0)


def test_a_size_above_ours_is_either_a_rollback_or_a_lie(here, log):
    with liar(answer(409, b"4000\n")) as url, pytest.raises(LedgerDiverged, match="or the witness lies"):
        ask_for(url, here.witness, log)


@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"H", b"T"),
    ],
)
def test_a_slow_witness_is_given_up_in_time(here, log, start, drip):
    silent = liar(start, drip=drip) if drip else _silent()
    with silent as url:
        began_s = time.monotonic()
        with pytest.raises(WitnessError, match="did not answer in time"):
            ask_for(url, here.witness, log, within_s=0.7)
        assert time.monotonic() - began_s < 2.5


@contextlib.contextmanager
def _silent():
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_client_that_says_too_much_or_too_little_is_answered(here, log):
    with here.served() as url:
        host = url.removeprefix("http://")
        for headers, body, status in (
            ({"Content-Length": "99999999"}, b"", 413),
            ({"Content-Length": "many"}, b"", 411),
            ({}, log.request(0, 5), 200),
        ):
            connection = http.client.HTTPConnection(host, timeout=5)
            with contextlib.closing(connection):
                connection.putrequest("POST", "/add-checkpoint")
                for name, value in (headers or {"Content-Length": str(len(body))}).items():
                    connection.putheader(name, value)
                connection.endheaders()
                connection.send(body)
                assert connection.getresponse().status == status
        for path in ("/", "/add-checkpoints", "/../etc/passwd"):
            connection = http.client.HTTPConnection(host, timeout=5)
            with contextlib.closing(connection):
                connection.request("POST", path, b"x")
                assert connection.getresponse().status == 404


@pytest.mark.parametrize(
    "header", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "4"}], ids=["two framings", "two lengths"]
)
def test_a_request_whose_length_could_be_read_in_two_ways_is_refused(here, header):
    with here.served() as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        with contextlib.closing(connection):
            connection.putrequest("POST", "/add-checkpoint")
            for name, value in [("Content-Length", "3"), *header.items()]:
                connection.putheader(name, value)
            connection.endheaders(b"abc")
            assert connection.getresponse().status == 411


def test_whoever_sends_a_byte_now_and_then_takes_nobodys_place_for_ever(here, log, monkeypatch):
    monkeypatch.setattr("auditor.witness.server._CONNECTED_S", 0.5)
    monkeypatch.setattr("auditor.witness.server._MOST_CONNECTIONS", 1)
    with here.served() as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=WITHIN_S) as slow:
            slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
            until_s = time.monotonic() + WITHIN_S
            with contextlib.suppress(OSError):
                while time.monotonic() < until_s:
                    slow.sendall(b"a")
                    time.sleep(0.1)
            assert time.monotonic() < until_s
        assert ask_for(url, here.witness, log).head.head.size == 8


def test_what_a_client_sends_cannot_steer_the_terminal(here, capsys):
    with here.served() as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=WITHIN_S) as client:
            client.sendall(b"GET /\x1b[31mred HTTP/1.1\r\nConnection: close\r\n\r\n")
            while client.recv(4096):
                pass
    said = capsys.readouterr().err
    assert "/?[31mred" in said
    assert "\x1b" not in said
