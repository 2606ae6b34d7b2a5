"""The probe step by step, against a broker that answers as the test says."""

import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kafka import errors as kafka_errors

from messaging.kafka import diagnosis
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.diagnosis import Contact, Fault, probe, reaching
from schemas.errors import FatalError, MisdirectedError, TransientError
from tests.unit.messaging.scripted_broker import (
    API_VERSIONS,
    HANG_UP,
    METADATA,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    VERSIONS,
    Answers,
    authenticated,
    handshake,
    metadata,
    scripted,
)

ILLEGAL_SASL_STATE, AUTHENTICATION_FAILED = 34, 58
NOBODY = "127.0.0.1:1"
SASL: Mapping[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "username": "gate",
    "password": "hunter2",
}
READY: Answers = {API_VERSIONS: [VERSIONS], METADATA: [metadata()]}
LOCKED: Answers = {**READY, SASL_HANDSHAKE: [handshake("PLAIN")], SASL_AUTHENTICATE: [authenticated()]}


def fault(servers: str, **settings: Any) -> Fault:
    found = probe(KafkaConnection(servers, **settings))
    assert isinstance(found, Fault), found
    assert "hunter2" not in str(found)
    return found


def test_a_cluster_that_names_nobody_is_spoken_to_where_it_was_found() -> None:
    with scripted(READY) as broker:
        assert probe(KafkaConnection(broker.address)) == Contact(broker.address, (broker.address,))
        assert broker.asked == [API_VERSIONS, METADATA]


def test_the_broker_that_answers_comes_first_of_those_advertised() -> None:
    with scripted(READY) as broker:
        broker.answers = {**READY, METADATA: [metadata(NOBODY, broker.address, "127.0.0.1:2")]}
        found = probe(KafkaConnection(broker.address))
    assert found == Contact(broker.address, (broker.address, NOBODY, "127.0.0.1:2"))


def test_another_broker_that_is_advertised_is_asked_too() -> None:
    with scripted(READY) as door, scripted(READY) as inside:
        door.answers = {**READY, METADATA: [metadata(NOBODY, inside.address)]}
        found = probe(KafkaConnection(door.address))
        assert found == Contact(door.address, (inside.address, NOBODY))
        assert inside.asked == [API_VERSIONS, METADATA]


@pytest.mark.parametrize("at", ["127.0.0.1:1", "nowhere.invalid:9092"])
def test_advertised_addresses_that_lead_nowhere_are_told_with_the_way_to_them(at: str) -> None:
    with scripted({**READY, METADATA: [metadata(at, "127.0.0.1:2")]}) as broker:
        found = fault(broker.address)
    assert found.verdict == "address"
    start = f"Kafka at {broker.address} answers and tells clients to use {at}, 127.0.0.1:2, but there "
    assert found.detail.startswith(start)
    assert "advertised.listeners" in found.remedy


def test_an_advertised_broker_that_refuses_us_is_a_matter_of_settings() -> None:
    refusing: Answers = {**LOCKED, SASL_AUTHENTICATE: [authenticated(AUTHENTICATION_FAILED)]}
    with scripted(LOCKED) as door, scripted(refusing) as inside:
        door.answers = {**LOCKED, METADATA: [metadata(inside.address)]}
        found = fault(door.address, **SASL)
    assert found.verdict == "settings"
    assert f"the broker at {inside.address} refuses user 'gate' with PLAIN" in found.detail


def test_a_user_is_let_in_by_the_mechanism_that_is_set() -> None:
    with scripted(LOCKED) as broker:
        assert probe(KafkaConnection(broker.address, **SASL)) == Contact(broker.address, (broker.address,))
        assert broker.asked == [API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE, METADATA]


@pytest.mark.parametrize(
    ("answers", "said", "remedy"),
    [
        ({SASL_HANDSHAKE: [handshake("PLAIN", error=ILLEGAL_SASL_STATE)]}, "takes no SASL", "set it to PLAINTEXT"),
        (
            {SASL_HANDSHAKE: [handshake("SCRAM-SHA-512", "GSSAPI", error=33)]},
            "does not offer the mechanism PLAIN",
            "set kafka.sasl_mechanism to GSSAPI, SCRAM-SHA-512",
        ),
        ({SASL_HANDSHAKE: [handshake(error=33)]}, "does not offer", "kafka.sasl_mechanism to one that it offers"),
        ({SASL_AUTHENTICATE: [authenticated(AUTHENTICATION_FAILED)]}, "refuses user 'gate'", "kafka.password"),
        ({SASL_AUTHENTICATE: [HANG_UP]}, "refuses user 'gate' with PLAIN", "kafka.username"),
    ],
)
def test_a_login_that_fails_is_told_with_the_step_it_failed_at(answers: dict[int, Any], said: str, remedy: str) -> None:
    with scripted({**LOCKED, **answers}) as broker:
        found = fault(broker.address, **SASL)
    assert (found.verdict, said in found.detail, remedy in found.remedy) == ("settings", True, True), found
    assert broker.address in found.detail


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("said", [b"", b"x", b"r=a,s=b,i=c", b"\xff", b"e=other-error"])
def test_a_broker_that_answers_nonsense_to_a_login_lets_nobody_in(mechanism: str, said: bytes) -> None:
    answers = {**LOCKED, SASL_HANDSHAKE: [handshake(mechanism)], SASL_AUTHENTICATE: [authenticated(said=said)]}
    with scripted(answers) as broker:
        found = probe(KafkaConnection(broker.address, **{**SASL, "sasl_mechanism": mechanism}))
    assert found != Contact(broker.address, (broker.address,))


def test_a_broker_that_wants_a_user_is_told_apart_from_one_that_is_broken() -> None:
    closing: Answers = {API_VERSIONS: [VERSIONS], METADATA: [HANG_UP]}
    with scripted({**closing, SASL_HANDSHAKE: [handshake("SCRAM-SHA-256", "PLAIN")]}) as broker:
        found = fault(broker.address)
    assert found.verdict == "settings"
    assert found.detail.endswith("wants a user and a password, kafka.security_protocol is PLAINTEXT")
    assert "set it to SASL_PLAINTEXT, kafka.sasl_mechanism to PLAIN or SCRAM-SHA-256, and name" in found.remedy
    for silent in (closing, {**closing, SASL_HANDSHAKE: [handshake(error=ILLEGAL_SASL_STATE)]}):
        with scripted(silent) as broker:
            found = fault(broker.address)
        assert found.verdict == "away"
        assert found.detail == f"the broker at {broker.address} answers and then ends the connection"


def test_a_user_whose_broker_hangs_up_after_the_login_is_not_told_to_log_in() -> None:
    with scripted({**LOCKED, METADATA: [HANG_UP]}) as broker:
        found = fault(broker.address, **SASL)
        assert broker.asked == [API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE, METADATA]
    assert (found.verdict, found.detail.endswith("ends the connection")) == ("away", True)


def test_the_first_server_that_lets_us_in_is_enough_and_later_ones_are_not_asked() -> None:
    with scripted(READY) as first, scripted(READY) as second:
        found = probe(KafkaConnection(f"{NOBODY},{first.address},{second.address}"))
        assert found == Contact(first.address, (first.address,))
        assert second.asked == []


def test_of_several_faults_the_one_that_only_settings_heal_is_told_first() -> None:
    locked: Answers = {API_VERSIONS: [VERSIONS], METADATA: [HANG_UP], SASL_HANDSHAKE: [handshake("PLAIN")]}
    with ExitStack() as stack:
        broker = stack.enter_context(scripted(locked))
        found = fault(f"{NOBODY},nowhere.invalid:9092,{broker.address}")
        assert found.verdict == "settings"
        first, second, third = found.detail.split("; ")
        assert broker.address in first
        assert (NOBODY in second, "nowhere.invalid" in third) == (True, True)
        found = fault(f"{NOBODY},nowhere.invalid:9092")
        assert (found.verdict, found.detail.startswith("the name 'nowhere.invalid'")) == ("address", True)


def test_the_first_client_is_made_where_the_probe_was_let_in_and_no_probe_follows() -> None:
    with scripted(READY) as broker:
        connection = KafkaConnection(broker.address)
        with reaching(connection, "connecting"):
            assert connection.admitted.is_set()
        asked = len(broker.asked)
        with reaching(connection, "connecting"):
            pass
        assert len(broker.asked) == asked


def test_a_wrong_setting_is_fatal_at_first_and_passing_for_who_was_let_in_before() -> None:
    refusing: Answers = {**LOCKED, SASL_AUTHENTICATE: [authenticated(AUTHENTICATION_FAILED)]}
    with scripted(refusing) as broker:
        connection = KafkaConnection(broker.address, **SASL)
        with (
            pytest.raises(FatalError, match=r"^connecting: the broker at .* refuses"),
            reaching(connection, "connecting"),
        ):
            pytest.fail("no client is to be made")
        assert not connection.admitted.is_set()
        connection.admitted.set()
        with (
            pytest.raises(
                TransientError, match=r"^connecting: .* refuses .*; it was well before, so it is tried again"
            ),
            reaching(connection, "connecting"),
        ):
            raise kafka_errors.KafkaTimeoutError("no bootstrap")


def test_what_the_client_says_of_a_broker_that_is_well_is_what_is_told() -> None:
    with scripted(READY) as broker:
        connection = KafkaConnection(broker.address)
        for theirs, ours in (
            (kafka_errors.UnsupportedVersionError("x"), FatalError),
            (kafka_errors.KafkaTimeoutError("x"), TransientError),
            (ConnectionResetError("x"), TransientError),
        ):
            with (
                pytest.raises(ours, match=f"^connecting: .*{type(theirs).__name__}: "),
                reaching(connection, "connecting"),
            ):
                raise theirs
        with pytest.raises(ZeroDivisionError), reaching(connection, "connecting"):  # ours, and none of the client's
            raise ZeroDivisionError


def test_a_name_that_leads_nowhere_is_passing_for_a_while() -> None:
    with pytest.raises(MisdirectedError), reaching(KafkaConnection("nowhere.invalid:1"), "connecting"):
        pytest.fail("no client is to be made")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ssl_cafile": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"ssl_certfile": "/nowhere/cert.pem"}, "/nowhere/cert.pem"),
        ({"ssl_certfile": "/nowhere/cert.pem", "ssl_keyfile": "/nowhere/key.pem"}, "/nowhere/"),
    ],
)
def test_a_certificate_that_cannot_be_read_is_named(settings: dict[str, str], named: str) -> None:
    with scripted(READY) as broker:
        found = fault(broker.address, security_protocol="SSL", **settings)
    assert (found.verdict, named in found.detail) == ("settings", True), found


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with scripted(READY) as broker:
        found = fault(broker.address, security_protocol="SSL", ssl_cafile=str(file))
    assert (found.verdict, str(file) in found.detail) == ("settings", True), found


@pytest.mark.parametrize(("protocol", "plain"), [("SSL", "PLAINTEXT"), ("SASL_SSL", "SASL_PLAINTEXT")])
def test_tls_to_a_port_without_it_is_told_with_the_protocol_to_set(protocol: str, plain: str) -> None:
    with scripted(READY) as broker:
        found = fault(broker.address, **{**SASL, "security_protocol": protocol})
    assert found.verdict == "settings"
    assert f"speaks Kafka without TLS, kafka.security_protocol is {protocol}" in found.detail
    assert found.remedy.startswith(f"set it to {plain}, ")


def test_tls_is_no_older_than_a_broker_of_today_speaks() -> None:
    context = diagnosis._tls_context(KafkaConnection("a:1", security_protocol="SSL"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_what_the_probe_does_not_understand_is_left_to_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of the probe")

    monkeypatch.setattr(diagnosis, "_walk", broken)
    assert probe(KafkaConnection("a:1,b:2")) == Contact("a:1")
