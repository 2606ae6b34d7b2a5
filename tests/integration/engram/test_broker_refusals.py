"""What stands between a process and a real broker is named with the address that was tried, and ends it or not."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion
from typer.testing import CliRunner

from deploy.local.wait import wait_until
from engram.cli.app import app
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.diagnosis import Contact, Fault, probe
from messaging.ports import OutRecord, Publisher, Reader, TopicSpec
from schemas.credentials import CredentialFile
from schemas.errors import FatalError, MisdirectedError, TransientError
from tests.secured_kafka import NOWHERE, PASSWORD, ROTATING, USER, SecuredKafka, token


def to(broker: SecuredKafka, listener: str) -> KafkaConnection:
    """A connection that the listener takes."""
    protocols = {"sasl": "SASL_PLAINTEXT", "tls": "SSL", "sasl_tls": "SASL_SSL", "mutual": "SSL"}
    connection = KafkaConnection(broker.at[listener], security_protocol=protocols.get(listener, "PLAINTEXT"))
    if "sasl" in listener:
        connection = replace(connection, sasl_mechanism="PLAIN", username=USER, password=PASSWORD)
    if listener in ("tls", "sasl_tls", "mutual"):
        connection = replace(connection, ssl_cafile=str(broker.authority))
    if listener == "mutual":
        connection = replace(connection, ssl_certfile=str(broker.client_cert), ssl_keyfile=str(broker.client_key))
    return connection


@pytest.mark.parametrize("listener", ["plain", "sasl", "tls", "sasl_tls", "mutual"])
def test_right_settings_are_let_in(broker: SecuredKafka, listener: str) -> None:
    connection = to(broker, listener)
    assert probe(connection) == Contact(broker.at[listener], (broker.at[listener],))
    with closing(KafkaBus(connection)) as bus:
        assert USER not in bus.existing_topics()
    assert connection.admitted.is_set()


WRONG: dict[str, tuple[str, dict[str, object], str]] = {
    "password": ("sasl_tls", {"password": "sesame"}, f"refuses user '{USER}' with PLAIN"),
    "user": ("sasl", {"username": "nobody"}, "refuses user 'nobody' with PLAIN"),
    "mechanism": ("sasl", {"sasl_mechanism": "SCRAM-SHA-512"}, "does not offer the mechanism SCRAM-SHA-512"),
    "tls to plain": ("plain", {"security_protocol": "SSL"}, "speaks Kafka without TLS"),
    "tls to sasl": ("sasl", {"security_protocol": "SASL_SSL"}, "speaks Kafka without TLS"),
    "plain to tls": ("tls", {"security_protocol": "PLAINTEXT"}, "speaks TLS, kafka.security_protocol is PLAINTEXT"),
    "sasl to tls": ("sasl_tls", {"security_protocol": "SASL_PLAINTEXT"}, "speaks TLS"),
    "no user": ("sasl", {"security_protocol": "PLAINTEXT"}, "wants a user and a password"),
    "no user, tls": ("sasl_tls", {"security_protocol": "SSL"}, "set it to SASL_SSL, kafka.sasl_mechanism to PLAIN"),
    "a user too many": (
        "plain",
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "username": "u", "password": "p"},
        "takes no SASL",
    ),
    "system's authorities": ("tls", {"ssl_cafile": None}, "does not hold"),
    "no certificate of ours": ("mutual", {"ssl_certfile": None, "ssl_keyfile": None}, "kafka.ssl_certfile"),
    "a file that is none": ("tls", {"ssl_cafile": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_only_another_setting_heals_is_fatal_and_named(broker: SecuredKafka, wrong: str) -> None:
    listener, changed, said = WRONG[wrong]
    connection = replace(to(broker, listener), **changed)  # type: ignore[arg-type]
    with closing(KafkaBus(connection)) as bus, pytest.raises(FatalError) as refused:
        bus.existing_topics()
    assert said in str(refused.value)
    assert broker.at[listener] in str(refused.value) or "/nowhere" in said
    assert PASSWORD not in str(refused.value)


def test_another_authority_is_named_with_the_file(broker: SecuredKafka) -> None:
    connection = replace(to(broker, "tls"), ssl_cafile=str(broker.stranger))
    with closing(KafkaBus(connection)) as bus, pytest.raises(FatalError, match=str(broker.stranger)):
        bus.publisher()


def test_a_certificate_for_another_name(broker: SecuredKafka) -> None:
    connection = replace(to(broker, "tls"), bootstrap_servers=broker.at["tls"].replace("localhost", "127.0.0.1"))
    found = probe(connection)
    assert isinstance(found, Fault)
    assert "127.0.0.1" in found.detail
    assert found.verdict == "settings"


@pytest.mark.parametrize(("listener", "advertised"), [("unknown", NOWHERE), ("refused", "127.0.0.1:1")])
def test_a_wrong_advertised_listener_is_told_with_both_addresses(
    broker: SecuredKafka, listener: str, advertised: str
) -> None:
    with closing(KafkaBus(to(broker, listener))) as bus, pytest.raises(MisdirectedError) as misled:
        bus.reader(["topic"], from_beginning=True)
    for part in (broker.at[listener], advertised, "advertised.listeners"):
        assert part in str(misled.value)


def test_a_good_server_among_bad_ones_is_enough(broker: SecuredKafka) -> None:
    connection = replace(to(broker, "plain"), bootstrap_servers=f"127.0.0.1:1,{NOWHERE},{broker.at['plain']}")
    assert probe(connection) == Contact(broker.at["plain"], (broker.at["plain"],))


def test_of_several_faults_the_lasting_one_comes_first_and_all_are_told(broker: SecuredKafka) -> None:
    servers = f"127.0.0.1:1,{NOWHERE},{broker.at['sasl']}"
    found = probe(replace(to(broker, "sasl"), bootstrap_servers=servers, password="wrong"))
    assert isinstance(found, Fault)
    assert found.verdict == "settings"
    assert found.detail.startswith(f"the broker at {broker.at['sasl']} refuses")
    assert "127.0.0.1:1 takes no connection" in found.detail
    assert NOWHERE in found.detail


def test_a_process_that_was_let_in_before_takes_a_refusal_as_passing(broker: SecuredKafka) -> None:
    connection = replace(to(broker, "sasl"), password="wrong", timeout_s=1.0)
    connection.admitted.set()
    with closing(KafkaBus(connection)) as bus, pytest.raises(TransientError, match="well before"):
        bus.publisher()


def has_trouble(reader: Reader) -> bool:
    try:
        reader.read(10, 0.2)
    except TransientError:
        return True
    return False


def test_a_password_that_is_changed_and_changed_back_is_no_end(
    broker: SecuredKafka, fresh_name: Callable[[str], str]
) -> None:
    user, topic = ROTATING, fresh_name("topic")
    admin = KafkaAdminClient(bootstrap_servers=broker.at["plain"])

    def set_password(password: str) -> None:
        upsertion = UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_256, password)
        admin.alter_user_scram_credentials([upsertion])

    set_password("first")
    connection = KafkaConnection(
        broker.at["scram"],
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        username=user,
        password="first",
    )
    with closing(admin), closing(KafkaBus(connection)) as bus:
        assert wait_until(lambda: isinstance(probe(connection), Contact), 30)  # the broker learns of users in a while
        bus.create_topics([TopicSpec(topic, 1)])
        reader, publisher = bus.reader([topic], from_beginning=True), bus.publisher()
        set_password("second")
        assert wait_until(lambda: isinstance(probe(connection), Fault), 30)
        wait_until(lambda: has_trouble(reader), 5)  # a client may also just wait
        set_password("first")
        assert wait_until(lambda: isinstance(probe(connection), Contact), 30)
        assert wait_until(lambda: is_taken(publisher, OutRecord(topic, "k", b"still here")), 60)
        assert wait_until(lambda: any_value(reader) == b"still here", 60)


def test_a_password_that_rotates_in_its_file_needs_no_restart(
    broker: SecuredKafka, fresh_name: Callable[[str], str], tmp_path: Path
) -> None:
    """The listener wants a new login each second, so that the old password serves nobody for long."""
    file, topic = tmp_path / "password", fresh_name("topic")
    admin = KafkaAdminClient(bootstrap_servers=broker.at["plain"])

    def rotate(password: str) -> None:
        file.write_text(f"{password}\n")
        admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(ROTATING, ScramMechanism.SCRAM_SHA_256, password)]
        )

    rotate("first")
    connection = KafkaConnection(
        broker.at["scram"],
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        username=ROTATING,
        credentials=CredentialFile(file, "kafka.credentials_file"),
    )
    with closing(admin), closing(KafkaBus(connection)) as bus:
        assert wait_until(lambda: isinstance(probe(connection), Contact), 30)
        bus.create_topics([TopicSpec(topic, 1)])
        reader, publisher = bus.reader([topic], from_beginning=True), bus.publisher()
        rotate("second")
        outdated = replace(connection, credentials=None, password="first")
        assert wait_until(lambda: isinstance(probe(outdated), Fault), 30)
        assert isinstance(probe(connection), Contact)
        assert wait_until(lambda: is_taken(publisher, OutRecord(topic, "k", b"after it")), 60)
        assert wait_until(lambda: any_value(reader) == b"after it", 60)


def test_a_token_that_has_run_out_is_told_and_the_next_one_lets_in(broker: SecuredKafka, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token(USER, lasts_s=-60))
    connection = KafkaConnection(
        broker.at["oauth"],
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        credentials=CredentialFile(file, "kafka.credentials_file"),
        ssl_cafile=str(broker.authority),
    )
    with closing(KafkaBus(connection)) as bus:
        with pytest.raises(FatalError, match=r"refuses the token of kafka\.credentials_file"):
            bus.existing_topics()
        file.write_text(token(USER))
        assert bus.existing_topics() is not None


def is_taken(publisher: Publisher, record: OutRecord) -> bool:
    try:
        publisher.publish(record)
    except TransientError:  # the client may have been refused just before the password was right again
        return False
    return True


def any_value(reader: Reader) -> bytes | None:
    try:
        return next((record.value for record in reader.read(10, 0.5)), None)
    except TransientError:
        return None


def call(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """The program itself, with no settings but these."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
    command = [sys.executable, "-m", "engram", *arguments]
    return subprocess.run(command, env=own | settings, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "arguments", [("produce", "synthetic://walkway?seed=1&seconds=1"), ("topics", "list"), ("events",)], ids=" ".join
)
def test_a_wrong_password_ends_every_command_with_2_and_one_line(
    broker: SecuredKafka, arguments: tuple[str, ...]
) -> None:
    settings = {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": broker.at["sasl"],
        "ENGRAM_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "ENGRAM_KAFKA__SASL_MECHANISM": "PLAIN",
        "ENGRAM_KAFKA__USERNAME": USER,
        "ENGRAM_KAFKA__PASSWORD": "hunter2",
    }
    done = call(*arguments, **settings)
    assert done.returncode == 2, done.stderr
    assert f"the broker at {broker.at['sasl']} refuses user '{USER}' with PLAIN" in done.stderr.splitlines()[-1]
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_nobody_knows_is_told_at_once_and_ends_the_producer_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engram.run.process.MISDIRECTED_S", 1.0)
    runner = CliRunner(env={"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": NOWHERE})
    done = runner.invoke(app, ["produce", "synthetic://walkway?seed=1&seconds=1"])
    assert done.exit_code == 2, done.stderr
    assert "trying again" in done.stderr.splitlines()[0]
    assert NOWHERE.partition(":")[0] in done.stderr.splitlines()[0]
    assert "given up" in done.stderr.splitlines()[-1]
