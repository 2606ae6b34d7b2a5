"""A broker in a few lines that answers as a test says: real sockets, Kafka's bytes written out by hand."""

import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36
HANG_UP = None

Answers = Mapping[int, Sequence[bytes | None]]
"""By kind of question, the answers one after the other; the last is given again, ``HANG_UP`` ends the connection."""

VERSIONS = struct.pack(">hi", 0, 1) + struct.pack(">hhh", METADATA, 1, 1)
"""Metadata can be asked at version 1 only, so that its answer can be written out."""


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def metadata(*brokers: str) -> bytes:
    """The cluster has these brokers, ``host:port`` each."""
    rows = b""
    for number, broker in enumerate(brokers):
        host, _, port = broker.rpartition(":")
        rows += struct.pack(">i", number) + text(host) + struct.pack(">ih", int(port), -1)
    return struct.pack(">i", len(brokers)) + rows + struct.pack(">ii", 0, 0)


def handshake(*mechanisms: str, error: int = 0) -> bytes:
    return struct.pack(">hi", error, len(mechanisms)) + b"".join(map(text, mechanisms))


def authenticated(error: int = 0, said: bytes = b"") -> bytes:
    return struct.pack(">hhi", error, -1, len(said)) + said + struct.pack(">q", 0)


class ScriptedBroker:
    """Serves until closed.

    Attributes:
        address: ``127.0.0.1:port``.
        asked: kinds of question, in the order they came.
    """

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.answers: Answers = {}
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)

    def _serve(self) -> None:
        given: dict[int, int] = {}
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, suppress(OSError, struct.error):
                client.settimeout(10)
                while self._answered(client, given):
                    pass

    def _answered(self, client: socket.socket, given: dict[int, int]) -> bool:
        (length,) = struct.unpack(">i", _exactly(client, 4))
        question = _exactly(client, length)
        kind, _, correlation = struct.unpack_from(">hhi", question)
        self.asked.append(kind)
        choices = self.answers.get(kind, (HANG_UP,))
        answer = choices[min(given.get(kind, 0), len(choices) - 1)]
        given[kind] = given.get(kind, 0) + 1
        if answer is None:
            return False
        client.sendall(struct.pack(">ii", 4 + len(answer), correlation) + answer)
        return True


def _exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = client.recv(count - len(found))
        if not more:
            raise OSError("the other side has hung up")
        found += more
    return found


@contextmanager
def scripted(answers: Answers) -> Iterator[ScriptedBroker]:
    """A broker that knows its own address only when it runs; ``answers`` can be set later, too."""
    broker = ScriptedBroker()
    broker.answers = answers
    try:
        yield broker
    finally:
        broker.close()
