"""The small HTTP server: what it answers, and that strangers can make it neither wait nor grow."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from engram.observe import server as module
from engram.observe.server import Page, PageServer, Request, bound
from schemas.errors import SettingsError

DEADLINE_S = 60.0


def echo(request: Request) -> Page:
    if request.path == "/broken":
        raise RuntimeError("a fault")
    return Page.of_text(f"{request.path} {request.accept}")


@pytest.fixture
def make() -> Iterator[Callable[..., PageServer]]:
    with ExitStack() as opened:

        def started(look: Callable[[], None] = lambda: None) -> PageServer:
            made = PageServer(("127.0.0.1", 0), echo, look)
            made.start()
            opened.callback(made.close)
            return made

        yield started


@pytest.fixture
def server(make: Callable[..., PageServer]) -> PageServer:
    return make()


def talk(server: PageServer, request: bytes) -> bytes:
    """All that the server says to these bytes, until it ends the connection."""
    with connect(server) as stream:
        stream.sendall(request)
        return read_all(stream)


def connect(server: PageServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=DEADLINE_S)


def read_all(stream: socket.socket) -> bytes:
    found = b""
    try:
        while piece := stream.recv(4096):
            found += piece
    except ConnectionResetError:  # it did not read all that was sent
        pass
    return found


def get(server: PageServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*server.address, timeout=DEADLINE_S)
    with closing(connection):
        connection.request("GET", path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_page_is_given_with_path_and_wishes(server: PageServer) -> None:
    assert get(server, "/there?and=more") == (200, "/there text/html\n")


def test_a_head_has_no_body(server: PageServer) -> None:
    found = talk(server, b"HEAD /there HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 8\r\n" in found
    assert found.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"DELETE / HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET /a b HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/2\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET /" + b"a" * module.MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", b"431"),
    ],
)
def test_what_cannot_be_answered_is_refused(server: PageServer, request_: bytes, status: bytes) -> None:
    assert talk(server, request_).startswith(b"HTTP/1.1 " + status)
    assert get(server, "/still")[0] == 200


def test_a_fault_of_ours_is_told_and_ends_nothing(server: PageServer, caplog: pytest.LogCaptureFixture) -> None:
    assert get(server, "/broken") == (500, "a fault of ours; see the log\n")
    assert "/broken could not be answered" in caplog.text
    assert get(server, "/there")[0] == 200


def test_fifty_who_ask_at_once_are_all_answered_by_one_thread(server: PageServer) -> None:
    before, found = threading.active_count(), []
    askers = [threading.Thread(target=lambda: found.append(get(server, "/metrics")[0])) for _ in range(50)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(DEADLINE_S)
    assert found == [200] * 50
    assert threading.active_count() <= before


def test_who_sends_slowly_keeps_nobody_waiting(server: PageServer) -> None:
    with ExitStack() as opened:
        for _ in range(60):
            stream = opened.enter_context(connect(server))
            stream.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        assert get(server, "/there")[0] == 200


def test_who_does_not_end_his_request_is_let_go(
    make: Callable[..., PageServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_S", 0.1)
    server = make()
    with connect(server) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\n")
        assert read_all(stream) == b""


def test_connections_are_bounded(make: Callable[..., PageServer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    server = make()
    with connect(server), connect(server), connect(server) as third:
        assert read_all(third).startswith(b"HTTP/1.1 503")


def test_who_goes_away_ends_nothing(server: PageServer) -> None:
    for request in (b"", b"GET / HT", b"GET /there HTTP/1.1\r\n\r\n"):
        with connect(server) as stream:
            stream.sendall(request)
    assert get(server, "/there")[0] == 200


def test_it_looks_and_goes_on_looking_after_a_fault(
    make: Callable[..., PageServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    looks, twice = [], threading.Event()

    def look() -> None:
        looks.append(1)
        if len(looks) > 1:
            twice.set()
        raise RuntimeError("a fault")

    make(look)
    assert twice.wait(DEADLINE_S)


def test_an_address_that_is_taken_is_named_and_free_again_after_the_end() -> None:
    first = PageServer(("127.0.0.1", 0), echo, lambda: None)
    first.start()
    host, port = first.address
    with pytest.raises(SettingsError, match=rf"'127\.0\.0\.1:{port}' is not: Address already in use"):
        PageServer((host, port), echo, lambda: None)
    first.close()
    second = PageServer((host, port), echo, lambda: None)
    second.start()
    second.close()


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(
        SettingsError, match=rf"http\.listen \(--http\) must be a free address of this machine, '{host}"
    ):
        bound((host, 9100))
