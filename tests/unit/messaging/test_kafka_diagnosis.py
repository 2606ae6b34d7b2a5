"""The probe against sockets that are no broker, and addresses that are none."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.ports import free_port
from messaging.kafka import diagnosis
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.diagnosis import Fault, probe, reaching
from schemas.errors import FatalError, MisdirectedError, TransientError


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a program that does ``answer`` with each connection and then ends it."""

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                try:
                    answer(client)
                except OSError:
                    continue

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def fault(servers: str, **settings: str) -> Fault:
    found = probe(KafkaConnection(servers, **settings))  # type: ignore[arg-type]
    assert isinstance(found, Fault), found
    return found


def web_server(client: socket.socket) -> None:
    client.recv(1000)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_another_program_on_the_port_is_told_apart_from_a_broker_that_is_away(protocol: str) -> None:
    with listening(web_server) as address:
        found = fault(address, security_protocol=protocol)
    assert found.verdict == "settings"
    assert address in found.detail
    assert "port of Kafka" in found.remedy


def test_a_port_that_hangs_up_is_waited_for() -> None:
    """A balancer whose broker has not started yet looks like this."""
    with listening(lambda client: None) as address:
        assert fault(address).verdict == "away"
        assert fault(address, security_protocol="SSL").verdict == "away"


def test_a_port_that_says_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_STEP_S", 0.2)
    monkeypatch.setattr(diagnosis, "_AFTERTHOUGHT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = fault(f"127.0.0.1:{silent.getsockname()[1]}")
    assert found.verdict == "away"


def test_a_port_where_nothing_listens_is_waited_for_and_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    found = fault(address)
    assert (found.verdict, address in found.detail) == ("away", True)


def test_a_name_that_nobody_knows_is_named() -> None:
    found = fault("nowhere.invalid:9092")
    assert found.verdict == "address"
    assert "nowhere.invalid" in found.detail


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "ä..ö"])
def test_what_cannot_be_a_name_is_an_address_that_leads_nowhere(name: str) -> None:
    assert fault(f"{name}:9092").verdict == "address"


@pytest.mark.parametrize("servers", ["kafka", "kafka:0", "a:1,b", "kafka://a:9092"])
def test_an_address_that_is_none_is_a_mistake_in_the_settings(servers: str) -> None:
    assert fault(servers).verdict == "settings"


def test_a_password_in_an_address_is_not_repeated() -> None:
    assert "hunter2" not in str(fault("SASL_SSL://me:hunter2@kafka:9092"))


@given(st.binary(max_size=200))
def test_whatever_a_port_answers_is_a_fault_or_left_to_the_client(said: bytes) -> None:
    def answer(client: socket.socket) -> None:
        client.recv(1000)
        client.sendall(said)

    with listening(answer) as address:
        probe(KafkaConnection(address))


@pytest.mark.parametrize(
    ("verdict", "raised"), [("settings", FatalError), ("address", MisdirectedError), ("away", TransientError)]
)
def test_each_verdict_has_its_error(verdict: diagnosis.Verdict, raised: type[Exception]) -> None:
    error = Fault(verdict, "there is no way", "turn round").as_error("connecting")
    assert type(error) is raised
    assert str(error) == "connecting: there is no way; turn round"


def test_the_client_is_not_made_where_there_is_no_way() -> None:
    made = []
    with pytest.raises(TransientError), reaching(KafkaConnection("127.0.0.1:1"), "connecting"):
        made.append(1)
    assert not made
