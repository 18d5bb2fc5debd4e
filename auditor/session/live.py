"""The sum of what a job's ranks have counted so far, kept in the store by which they found one another.

Each rank adds what is new of its own, at the pace of its intervals, and is told the sum in the answer: two short
questions to the store's server, whatever the number of ranks. Nothing of the job's is shared but that server: not its
client, which holds a lock while it waits, and not the class of it either. A client of torch's that waits in a thread
for a server that says nothing heeds no timeout, and aborts the process when the interpreter ends. So the two questions
are asked here, over a connection that is opened for them and closed after them, since a server on which thousands of
ranks hold a second one may run out of descriptors. A store that is dead, or hangs, costs a thread of ours some seconds.

The sum is a view, unsigned, and begins at zero with its store; the ledger is what counts.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from auditor import threads
from auditor.console import say
from auditor.errors import UnitError
from auditor.units import parse_ops

LIVE_FILE = "live.json"
_SCHEMA = "auditor.live/1"
_UNIT_OPS = 10**9  # a store adds numbers of 64 bits: so they reach to 9.2e27 operations
_WITHIN_S = 5.0
_MOST_FAILURES = 3  # one after another
_VALIDATE = struct.pack("=BI", 0, 0x3C85F7CE)
_ADD, _PING = b"\x04", b"\x0d"


class Live(NamedTuple):
    """What the ranks had counted when rank 0 last asked."""

    total_ops: int  # to 10^9 for each rank below what they had recorded
    processes: int  # that have added to it, those of earlier attempts too
    at_s: float  # time of day


class LiveSum:
    """Adds what this rank counts to the sum of the job; rank 0 writes the sum into the run's directory."""

    def __init__(self, directory: Path, run_id: str) -> None:
        self._path = directory / LIVE_FILE
        self._rank = -1
        self._prefix = f"auditor/{run_id}"
        self._counted_ops = self._added = 0
        self._joined = self._started = False
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._work, name="auditor-live-sum", daemon=True)

    def tell(self, counted_ops: int, *, rank: int) -> None:
        """So much has been counted here, by the process that is this rank now; returns at once."""
        self._counted_ops, self._rank = counted_ops, rank
        self._news.set()
        if not self._started:
            self._started = True
            threads.start(self._thread)

    def _work(self) -> None:
        failures = 0
        while failures < _MOST_FAILURES:
            self._news.wait()
            self._news.clear()
            try:
                self._add()
                failures = 0
            except Exception as error:  # noqa: BLE001 - nothing of this may matter
                failures, reason = failures + 1, error
        say(f"the live sum of the job has ended, and nothing else: its store does not answer: {_first_line(reason)}")

    def _add(self) -> None:
        distributed = sys.modules.get("torch.distributed")
        address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "")
        if distributed is None or not distributed.is_initialized() or not address or not port.isdecimal():
            return
        new = self._counted_ops // _UNIT_OPS - self._added
        amounts = {f"{self._prefix}/processes": 0 if self._joined else 1, f"{self._prefix}/giga_ops": new}
        processes, total = _add_in_store(address, int(port), amounts)
        self._added += new
        self._joined = True
        if self._rank == 0:
            _write(self._path, Live(total * _UNIT_OPS, processes, time.time()))


def read_live(directory: Path) -> Live | None:
    """The job's sum as rank 0 last wrote it; None where there is none."""
    try:
        document = json.loads((directory / LIVE_FILE).read_text(encoding="utf-8"))
        return Live(parse_ops(document["total_ops"]), int(document["processes"]), float(document["at_s"]))
    except (OSError, ValueError, LookupError, TypeError, UnitError):
        return None


def _add_in_store(address: str, port: int, amounts: Mapping[str, int]) -> list[int]:
    """What the numbers in torch's TCPStore come to once these have been added.

    The bytes are those of torch 2.13 (TCPStoreBackend.hpp): a query's number, texts after their length. A server that
    speaks otherwise answers the first query otherwise, or not, and is asked nothing more.
    Raises: OSError: there is no such server, or it does not answer in time.
    """
    with socket.create_connection((address, port), _WITHIN_S) as connection:
        nonce = secrets.token_bytes(4)
        connection.sendall(_VALIDATE + _PING + nonce)
        if _receive(connection, len(nonce)) != nonce:
            raise OSError("it is not a store that we know how to ask")
        return [_add_one(connection, f"/{key}".encode(), amount) for key, amount in amounts.items()]


def _add_one(connection: socket.socket, key: bytes, amount: int) -> int:
    connection.sendall(_ADD + struct.pack("=Q", len(key)) + key + struct.pack("=q", amount))
    (total,) = struct.unpack("=q", _receive(connection, 8))
    return int(total)


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("it closed the connection")
        data += more
    return data


def _write(path: Path, live: Live) -> None:
    document = {"schema": _SCHEMA, **live._asdict(), "total_ops": str(live.total_ops)}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document) + "\n", encoding="utf-8")
    draft.replace(path)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
