"""The fault proxy, held against a real Redis spoken to over a plain socket."""

import socket
from collections.abc import Iterator

import pytest

from deploy.local.redis import LocalRedis
from deploy.local.wait import wait_until
from tests.proxy import FaultProxy

DEADLINE_S = 30.0


@pytest.fixture
def proxy(redis_server: LocalRedis) -> Iterator[FaultProxy]:
    port = int(redis_server.address.rpartition(":")[2])
    with FaultProxy(lambda: port) as proxy:
        yield proxy


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)


def ask(connection: socket.socket, command: str) -> bytes:
    connection.sendall(command.encode() + b"\r\n")
    return connection.recv(1024)


def test_passes_bytes_both_ways(proxy: FaultProxy) -> None:
    with connect(proxy.port) as client:
        assert ask(client, "PING") == b"+PONG\r\n"
    assert proxy.num_connections == 1


def test_a_dropped_reply_was_acted_upon(proxy: FaultProxy, redis_server: LocalRedis) -> None:
    key = "proxy-counter"
    proxy.drop_replies(1)
    with connect(proxy.port) as client:
        assert ask(client, f"INCR {key}") == b""  # cut without an answer
    assert proxy.num_dropped == 1
    with connect(proxy.port) as client:
        assert ask(client, f"INCR {key}") == b":2\r\n"


def test_a_black_hole_keeps_the_connection_and_delivers_after_healing(proxy: FaultProxy) -> None:
    with connect(proxy.port) as client:
        assert ask(client, "PING") == b"+PONG\r\n"
        proxy.black_hole()
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(client, "PING")
        proxy.heal()
        client.settimeout(DEADLINE_S)
        assert client.recv(1024) == b"+PONG\r\n"


def test_a_delayed_reply_comes_late_but_comes(proxy: FaultProxy) -> None:
    with connect(proxy.port) as client:
        proxy.delay(0.5)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(client, "PING")
        client.settimeout(DEADLINE_S)
        assert client.recv(1024) == b"+PONG\r\n"


def test_refuse_closes_and_heal_reopens_the_same_port(proxy: FaultProxy) -> None:
    with connect(proxy.port) as client:
        assert ask(client, "PING") == b"+PONG\r\n"
        proxy.refuse()
        assert client.recv(1024) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(proxy.port)
    proxy.heal()
    with connect(proxy.port) as client:
        assert ask(client, "PING") == b"+PONG\r\n"


def test_cut_closes_connections_and_takes_new_ones(proxy: FaultProxy) -> None:
    with connect(proxy.port) as old:
        assert ask(old, "PING") == b"+PONG\r\n"
        proxy.cut()
        assert old.recv(1024) == b""
    with connect(proxy.port) as new:
        assert wait_until(lambda: ask(new, "PING") == b"+PONG\r\n", DEADLINE_S)
