"""A real HTTP server that takes webhooks, and can refuse, hang or drip as it is told."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.local.wait import wait_until


@dataclass(frozen=True)
class Request:
    """One POST as it came; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """What it was sent, and how it answers.

    Attributes:
        status: of the answers, with ``headers``.
        mode: ``answer``; ``hang``: says nothing; ``drip``: a header's letters one by one, without end.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks/secret-token?room=1"
        self.status = 204
        self.headers: dict[str, str] = {}
        self.mode = "answer"
        self.requests: list[Request] = []
        self.over = threading.Event()

    def wait_for(self, number: int, timeout_s: float = 60.0) -> list[Request]:
        """The first requests, as soon as there are so many."""
        assert wait_until(lambda: len(self.requests) >= number, timeout_s), f"{len(self.requests)} of {number} requests"
        return self.requests[:number]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One that serves until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append(Request(self.path, headers, body))
            if made.mode == "hang":
                made.over.wait(60)
            elif made.mode == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not made.over.wait(0.05):
                    self.wfile.write(b"x")
            else:
                self.send_response(made.status)
                for name, value in made.headers.items():
                    self.send_header(name, value)
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def handle(self) -> None:
            with suppress(OSError):  # the other side has gone
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
