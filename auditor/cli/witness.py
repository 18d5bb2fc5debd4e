"""`auditor witness`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from auditor.errors import UsageError
from auditor.ledger import read_public_key
from auditor.ledger.cosigning import Witness, read_witness
from auditor.witness import Memory, Policy, Server

_LEDGERS = "auditor.ledger/"


def run(options: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    host, port = _address(options.listen)
    policy = Policy(keys=_accepted(options.accept))
    read_name(options.name)
    memory = Memory.open(Path(options.directory), options.name)
    try:
        server = Server((host, port), memory, policy)
        _announce(server, memory)
        _serve(server)
    finally:
        memory.close()
    return 0


def _announce(server: Server, memory: Memory) -> None:
    sys.stdout.write(f"listening on {server.url}\n{Witness(memory.name, memory.key.public_hex).verifier_key}\n")
    sys.stdout.flush()


def _serve(server: Server) -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    thread = threading.Thread(target=server.serve_forever, name="witness", daemon=True)
    thread.start()
    ended.wait()
    server.shutdown()
    server.server_close()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 2**16):
        raise UsageError(f"--listen: expected HOST:PORT, got {text!r}")
    return host.strip("[]"), int(port)


def _accepted(texts: list[str]) -> dict[str, tuple[str, ...]]:
    keys: dict[str, tuple[str, ...]] = {}
    for text in texts:
        origin, equals, key = text.rpartition("=")
        beginning = origin if equals else _LEDGERS
        keys[beginning] = (*keys.get(beginning, ()), read_public_key(key))
    return keys


def read_name(name: str) -> None:
    """The name can stand in a verifier key.

    Raises: UsageError: it cannot.
    """
    try:
        read_witness(Witness(name, "00" * 32).verifier_key)
    except Exception as error:
        raise UsageError(f"--name: expected a name without spaces and plus signs, got {name!r}") from error
