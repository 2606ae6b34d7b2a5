"""A TCP proxy that misbehaves on demand, to stand between a client and a real Redis or Kafka.

For Kafka, give the proxy's port as ``KafkaSettings.advertised_port``, else clients go past it after their first answer.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from deploy.local.ports import LOOPBACK, free_port

CHUNK_BYTES = 1 << 16


class FaultProxy:
    """Passes bytes to ``target_port()`` of this machine. Use as a context manager."""

    def __init__(self, target_port: Callable[[], int]) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._closed = threading.Event()
        self._delay_s = 0.0
        self._replies_to_drop = 0
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._num_dropped = 0
        self._num_connections = 0

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def num_dropped(self) -> int:
        """Replies dropped so far."""
        return self._num_dropped

    @property
    def num_connections(self) -> int:
        """Connections taken so far."""
        return self._num_connections

    def __enter__(self) -> "FaultProxy":
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._flows.set()
        self.refuse()

    def drop_replies(self, count: int) -> None:
        """Swallow the next ``count`` answers and cut their connections: the server acted, the client does not know.

        An answer is what one ``recv`` gives, which is a whole one as long as requests are not pipelined.
        """
        with self._lock:
            self._replies_to_drop = count

    def black_hole(self) -> None:
        """Connections stay open and are still taken, but no byte passes in either direction until ``heal``."""
        self._flows.clear()

    def delay(self, seconds: float) -> None:
        """Hold each piece of data back for this long, in both directions."""
        self._delay_s = seconds

    def cut(self) -> None:
        """Close all connections; new ones are taken."""
        with self._lock:
            doomed, self._sockets = self._sockets, set()
        for end in doomed:
            _close(end)

    def refuse(self) -> None:
        """Close all connections and take no new ones until ``heal``."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            _close(listener)
        self.cut()

    def heal(self) -> None:
        """Back to passing everything at once. What a black hole held back is delivered, as TCP would."""
        self._delay_s = 0.0
        with self._lock:
            self._replies_to_drop = 0
        self._flows.set()
        if self._listener is None and not self._closed.is_set():
            self._listen()

    def _listen(self) -> None:
        listener = socket.create_server((LOOPBACK, self.port))
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="proxy-accept", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._num_connections += 1
            try:
                server = socket.create_connection((LOOPBACK, self._target_port()), timeout=5)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            self._pump(client, server, is_reply=False)
            self._pump(server, client, is_reply=True)

    def _pump(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        def run() -> None:
            with suppress(OSError):
                while data := source.recv(CHUNK_BYTES):
                    if self._delay_s:
                        self._closed.wait(self._delay_s)
                    self._flows.wait()
                    if is_reply and self._drops_this():
                        break
                    sink.sendall(data)
            with self._lock:
                self._sockets -= {source, sink}
            _close(source)
            _close(sink)

        threading.Thread(target=run, name="proxy-pump", daemon=True).start()

    def _drops_this(self) -> bool:
        with self._lock:
            if self._replies_to_drop == 0:
                return False
            self._replies_to_drop -= 1
            self._num_dropped += 1
            return True


def _close(end: socket.socket) -> None:
    """Close in a way that also wakes a thread blocked on it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
