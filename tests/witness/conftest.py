"""A witness in this process or in one of its own, and logs that it may co-sign."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from auditor.ledger import SigningKey, load_or_create
from auditor.ledger.cosigning import Witness, read_witness
from auditor.ledger.merkle import leaf_hashes
from auditor.ledger.proofs import Prover, consistency_spans
from auditor.ledger.signed import SignedHead
from auditor.witness import Memory, Policy, Server, add_checkpoint
from auditor.witness.protocol import Request, write_request
from tests.ledger.conftest import Run, head_at


@dataclass
class Log:
    """A log of numbered leaves, with heads at any size."""

    key: SigningKey
    origin: str = "auditor.ledger/run/rank-00000.attempt-000/nonce"
    leaves: list[bytes] = field(default_factory=lambda: [str(number).encode() for number in range(400)])

    def head(self, size: int) -> SignedHead:
        return head_at(self.leaves[:size], self.origin, self.key)

    def prove(self, first: int, size: int) -> list[bytes]:
        prover = Prover(consistency_spans(first, size))
        prover.extend(leaf_hashes(self.leaves[:size]))
        return prover.parts()

    def request(self, first: int, size: int, **changes) -> bytes:
        request = Request(first, self.prove(first, size), self.head(size))._replace(**changes)
        return write_request(request)

    def forked(self) -> Log:
        return dataclasses.replace(self, leaves=[b"forked", *self.leaves[1:]])


class Here:
    """A witness in this process, without HTTP."""

    def __init__(self, directory: Path, *keys: SigningKey, name: str = "witness.example/w1") -> None:
        self.memory = Memory.open(directory, name)
        self.policy = Policy(keys={"auditor.ledger/": tuple(key.public_hex for key in keys)})
        self.witness = Witness(name, self.memory.key.public_hex)
        self.now_s = 1_800_000_000

    def add(self, data: bytes):
        return add_checkpoint(data, self.memory, self.policy, clock=lambda: self.now_s)

    @contextlib.contextmanager
    def served(self):
        server = Server(("127.0.0.1", 0), self.memory, self.policy)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class Elsewhere:
    """A witness in a process of its own, to be killed and started again."""

    def __init__(self, directory: Path, key: SigningKey) -> None:
        self.directory = directory
        self.key = key
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.witness: Witness | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "auditor", "witness", str(self.directory), "--name", "w1"]
        command += ["--accept", self.key.public_hex, "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout
        said = self.process.stdout.readline()
        assert said.startswith("listening on "), said
        self.url = said.removeprefix("listening on ").strip()
        self.port = int(self.url.rpartition(":")[2])
        self.witness = read_witness(self.process.stdout.readline())

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create(tmp_path / "key.pem")


@pytest.fixture
def log(key: SigningKey) -> Log:
    return Log(key)


@pytest.fixture
def here(tmp_path: Path, key: SigningKey):
    witness = Here(tmp_path / "witness", key)
    yield witness
    witness.memory.close()


@pytest.fixture
def elsewhere(tmp_path: Path, key: SigningKey):
    witness = Elsewhere(tmp_path / "witness", key)
    yield witness
    if witness.process and witness.process.poll() is None:
        witness.kill()


@pytest.fixture
def run(tmp_path: Path, key: SigningKey) -> Run:
    return Run(tmp_path / "ledger", key)
