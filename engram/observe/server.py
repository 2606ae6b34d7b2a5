"""A small HTTP server for small pages: one thread, bounded in all that a stranger can make it hold.

All connections are served by one event loop, so 50 who ask at once cost no threads, and one who sends a letter a second
keeps nobody waiting. Each request has a deadline, a bound in bytes, and its connection ends with the answer.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from schemas.addresses import HostPort, shown_host_port
from schemas.errors import SettingsError

log = logging.getLogger(__name__)

HEAD_S, SEND_S = 5.0, 5.0
"""Time to send a request, and to take the answer."""
MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 128
LOOK_S = 5.0
_CLOSE_S = 2.0
TEXT, JSON = "text/plain; charset=utf-8", "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: the path without its query, and which formats the asker takes."""

    path: str
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    body: bytes
    content_type: str = TEXT
    status: HTTPStatus = HTTPStatus.OK

    @classmethod
    def of_text(cls, text: str, status: HTTPStatus = HTTPStatus.OK) -> "Page":
        """Plain text, with a line end."""
        return cls(f"{text}\n".encode(), status=status)


class PageServer:
    """Answers GET requests from a thread of its own, from ``start`` to ``close``.

    Args:
        address: where; port 0 = any that is free.
        answer: called in the thread, must be quick.
        look: called in the thread every ``LOOK_S``.

    Raises:
        SettingsError: the address is taken, or not one of this machine.
    """

    def __init__(self, address: HostPort, answer: Callable[[Request], Page], look: Callable[[], None]) -> None:
        self._socket = bound(address)
        self.address: HostPort = self._socket.getsockname()[:2]
        self._answer = answer
        self._look = look
        self._num_open = 0
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more; the address is free afterwards."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(_CLOSE_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            log.exception("the server of metrics and health has ended; the work goes on unseen")
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._talk, sock=self._socket, limit=MAX_HEAD_BYTES)
        looks = asyncio.create_task(self._keep_looking())
        await self._ending.wait()
        looks.cancel()
        server.close()
        talks = asyncio.all_tasks() - {asyncio.current_task()}
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _keep_looking(self) -> None:
        while True:
            try:
                self._look()
            except Exception:
                log.exception("a look at the counters failed")
            await asyncio.sleep(LOOK_S)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._num_open += 1
        try:
            page, with_body = await self._exchange(reader)
            writer.write(head_of(page) + (page.body if with_body else b""))
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), SEND_S)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass  # whoever asked has gone, or is too slow
        finally:
            self._num_open -= 1
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader) -> tuple[Page, bool]:
        """The answer, and whether its body is wanted."""
        if self._num_open > MAX_CONNECTIONS:
            return Page.of_text("too many connections", HTTPStatus.SERVICE_UNAVAILABLE), True
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_S)
        except asyncio.LimitOverrunError:
            return Page.of_text("the request is too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), True
        return self._answered(head)

    def _answered(self, head: bytes) -> tuple[Page, bool]:
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return Page.of_text("the request must be HTTP/1.1", HTTPStatus.BAD_REQUEST), True
        if words[0] not in ("GET", "HEAD"):
            return Page.of_text("there is nothing here but to read", HTTPStatus.METHOD_NOT_ALLOWED), True
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        try:
            page = self._answer(Request(words[1].partition("?")[0], fields.get("accept", "")))
        except Exception:
            log.exception("%s could not be answered", words[1].partition("?")[0])
            page = Page.of_text("a fault of ours; see the log", HTTPStatus.INTERNAL_SERVER_ERROR)
        return page, words[0] == "GET"


def bound(address: HostPort, setting: str = "http.listen (--http)") -> socket.socket:
    """A listening socket; ``setting`` is what named the address.

    Raises:
        SettingsError: the address is taken, or not one of this machine.
    """
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, place = found[0]
        return socket.create_server(place[:2], family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        text = f"{setting} must be a free address of this machine, '{shown_host_port(address)}' is not"
        raise SettingsError(f"{text}: {error.strerror or error}; name another, or stop who has it") from error


def head_of(page: Page) -> bytes:
    """Status line and headers."""
    lines = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1")
