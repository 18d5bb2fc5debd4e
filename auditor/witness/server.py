"""A witness behind HTTP: ``POST /add-checkpoint`` and ``GET /<hash of the origin>/checkpoint``, a thread each."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from auditor.errors import WitnessError, WitnessStateError
from auditor.witness.protocol import REQUEST_LIMIT_BYTES, Answer, Policy, add_checkpoint

if TYPE_CHECKING:
    from auditor.witness.state import Memory

_IDLE_S = 15.0  # that a client may take for a piece of its request
_CONNECTED_S = 60.0  # and that it may stay: whoever sends a byte now and then takes nobody's place for ever
_MOST_CONNECTIONS = 256
_CHECKPOINT = re.compile(r"/([0-9a-f]{64})/checkpoint")


class Server(ThreadingHTTPServer):
    """Serves one witness until `shutdown`. What fails in its memory is answered with 503, and nothing is co-signed."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], memory: Memory, policy: Policy) -> None:
        """Raises: WitnessError: the address cannot be listened on."""
        self.memory = memory
        self.policy = policy
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        try:
            super().__init__(address, _Handler)
        except (OSError, OverflowError) as error:
            raise WitnessError(
                f"{address[0]}:{address[1]} cannot be listened on: {error}",
                remedy="Name another with --listen; port 0 takes one that is free.",
            ) from error

    @property
    def url(self) -> str:
        """Where it is to be asked."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A thread of its own, where there are not too many; else the connection is closed."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """What the thread does."""
        limit = threading.Timer(_CONNECTED_S, _hang_up, [request])
        limit.daemon = True
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A client that went away is not worth more than a line."""
        sys.stderr.write(f"auditor: witness: a connection ended early: {sys.exc_info()[1]}\n")

    def checkpoint(self, origin_hash: str) -> Answer:
        """The latest head of the log with this hash, as it was co-signed."""
        remembered = self.memory.named(origin_hash)
        if remembered is None:
            return Answer(404, "no checkpoint of such a log was co-signed here\n")
        return Answer(200, remembered.note)


def _hang_up(request: socket.socket | tuple[bytes, socket.socket]) -> None:
    """Whoever waits for the client finds that it has gone."""
    if isinstance(request, socket.socket):
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: Server
    server_version = "auditor-witness"
    sys_version = ""

    def do_POST(self) -> None:
        """A head is to be co-signed."""
        data = self._body()
        if data is None:
            return
        if self.path != "/add-checkpoint":
            self._answer(Answer(404, "unknown; a witness takes POST /add-checkpoint\n"))
            return
        try:
            answer = add_checkpoint(data, self.server.memory, self.server.policy)
        except WitnessStateError as error:
            self.log_error("%s", error)
            answer = Answer(503, "the memory of the witness failed: nothing was co-signed\n")
        self._answer(answer)

    def do_GET(self) -> None:
        """The latest head of a log is asked for."""
        match = _CHECKPOINT.fullmatch(self.path)
        try:
            answer = self.server.checkpoint(match[1]) if match else Answer(404, "unknown\n")
        except WitnessStateError as error:
            self.log_error("%s", error)
            answer = Answer(503, "the memory of the witness failed\n")
        self._answer(answer)

    def _body(self) -> bytes | None:
        """The body of the request; None where it has none that is taken, which is answered."""
        lengths = self.headers.get_all("Content-Length", [])
        length = lengths[0] if len(lengths) == 1 and "Transfer-Encoding" not in self.headers else ""
        if not (length.isascii() and length.isdigit() and len(length) < 10):
            self.close_connection = True
            self._answer(Answer(411, "the length of the request is missing\n"))
            return None
        if int(length) > REQUEST_LIMIT_BYTES:
            self.close_connection = True
            self._answer(Answer(413, f"a request has at most {REQUEST_LIMIT_BYTES} bytes\n"))
            return None
        return self.rfile.read(int(length))

    def _answer(self, answer: Answer) -> None:
        data = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """One line on stderr; a client has no say in how a terminal shows it."""
        told = "".join(char if char.isprintable() else "?" for char in format % args)
        sys.stderr.write(f"auditor: witness: {told}\n")
