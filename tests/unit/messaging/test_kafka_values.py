"""Settings, errors and topic rules of the Kafka adapter, without a broker."""

import logging

import pytest
from kafka import errors as kafka_errors

from messaging.kafka.connection import KafkaConnection, quiet_client_logs
from messaging.kafka.errors import is_fenced, translate, translated
from messaging.topics import writer_scope
from schemas.errors import BadMessageError, EngramError, FatalError, OwnershipLostError, TransientError

SECRET = "open-sesame"


def test_a_password_reaches_the_client_and_nothing_else() -> None:
    connection = KafkaConnection(
        "a:1,b:2", security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", username="u", password=SECRET
    )
    settings = connection.client_settings()
    assert SECRET not in repr(connection)
    assert settings["sasl_plain_password"] == SECRET
    assert settings["bootstrap_servers"] == ["a:1", "b:2"]
    assert (settings["security_protocol"], settings["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")


def test_what_is_not_set_is_left_to_the_client() -> None:
    settings = KafkaConnection("a:1").client_settings()
    assert not {"ssl_cafile", "ssl_certfile", "sasl_mechanism", "sasl_plain_password"} & settings.keys()
    assert settings["reconnect_backoff_max_ms"] == 1000


def test_the_clients_logs_never_go_below_info() -> None:
    root, logger = logging.getLogger(), logging.getLogger("kafka")
    before = (root.level, logger.level)
    try:
        root.setLevel(logging.DEBUG)
        logger.setLevel(logging.NOTSET)
        quiet_client_logs()
        assert not logging.getLogger("kafka.producer.kafka").isEnabledFor(logging.DEBUG)
        logger.setLevel(logging.ERROR)
        quiet_client_logs()
        assert logger.level == logging.ERROR
    finally:
        root.setLevel(before[0])
        logger.setLevel(before[1])


def test_a_question_that_is_called_off_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        quiet_client_logs()
    logger = logging.getLogger("kafka.cluster")
    for error in (kafka_errors.Cancelled("closing"), kafka_errors.KafkaConnectionError("away")):
        logger.error("Metadata refresh: failed %s", error)
    logger.error("Metadata refresh loop error")
    assert [record.getMessage() for record in caplog.records] == [
        "Metadata refresh: failed KafkaConnectionError: away",
        "Metadata refresh loop error",
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (kafka_errors.TopicAuthorizationFailedError(), FatalError),
        (kafka_errors.SaslAuthenticationFailedError(), TransientError),
        (kafka_errors.KafkaConfigurationError("x"), FatalError),
        (kafka_errors.MessageSizeTooLargeError(), BadMessageError),
        (kafka_errors.CommitFailedError(), OwnershipLostError),
        (kafka_errors.IllegalGenerationError(), OwnershipLostError),
        (kafka_errors.ProducerFencedError(), OwnershipLostError),
        (kafka_errors.KafkaTimeoutError("x"), TransientError),
        (kafka_errors.NodeNotReadyError("x"), TransientError),
        (ConnectionRefusedError("x"), TransientError),
    ],
)
def test_each_error_says_what_the_loop_should_do(theirs: Exception, ours: type[EngramError]) -> None:
    with pytest.raises(ours, match="while testing") as caught, translated("while testing"):
        raise theirs
    assert type(caught.value) is ours
    assert caught.value.__cause__ is theirs
    assert type(theirs).__name__ in str(caught.value)


def test_fencing_is_told_apart_from_a_group_that_moved_on() -> None:
    assert is_fenced(kafka_errors.ProducerFencedError())
    assert not is_fenced(kafka_errors.CommitFailedError())
    assert "another writer" in str(translate(kafka_errors.InvalidProducerEpochError(), "x"))


def test_scopes_of_writers_begin_with_the_prefix_and_never_run_into_each_other() -> None:
    assert writer_scope(["site-a.frames"], "site-a.engram-workers").startswith("site-a.")
    given = [(["a"], "b/c"), (["a"], "b"), (["a", "b"], "c"), (["a"], "b%2Fc")]
    scopes = {f"{writer_scope(topics, group)}/{writer}" for topics, group in given for writer in ("c", "d")}
    assert len(scopes) == 8
