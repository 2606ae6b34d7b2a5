"""The parts of the Kafka adapter that need no broker: rules, settings, errors, and what is told."""

from collections.abc import Mapping

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.kafka.corrupt import CorruptBatches
from messaging.kafka.decoding import SkipCount
from messaging.kafka.errors import is_fenced, translate, translated
from messaging.kafka.topics import topic_configs
from messaging.ports import TopicSpec
from messaging.topics import check_partitions, check_state_topic, writer_scope
from schemas.errors import BadMessageError, FatalError, OwnershipLostError, TransientError

ZERO, ONE = TopicPartition("t", 0), TopicPartition("t", 1)


class Places:
    """What ``CorruptBatches`` asks of a consumer: where it stands, and to stand elsewhere."""

    def __init__(self, positions: Mapping[TopicPartition, int | None]) -> None:
        self.positions = dict(positions)

    def position(self, partition: TopicPartition, timeout_ms: int) -> int | None:
        return self.positions[partition]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset


@pytest.mark.parametrize(
    ("said", "stands_at", "goes_to"),
    [
        (f"Record batch for partition {ONE} at offset 7 failed crc check", 5, 8),
        (f"Record batch for partition {ONE} at offset 7 failed crc check", 9, 10),
        (f"Record batch for partition {ONE} at offset 0 failed crc check", 0, 1),
        (f"Record batch for partition {ONE} at offset 7 failed crc check", None, 8),
    ],
)
def test_an_offset_that_cannot_be_read_is_stepped_over_and_counted(
    said: str, stands_at: int | None, goes_to: int
) -> None:
    skipped, places = SkipCount(), Places({ZERO: 3, ONE: stands_at})
    corrupt = CorruptBatches(skipped)
    assert corrupt.step_over(places, kafka_errors.CorruptRecordError(said), [ZERO, ONE])
    assert places.positions == {ZERO: 3, ONE: goes_to}
    assert corrupt.num_skipped == skipped.num_skipped == 1


def test_a_fetch_without_a_whole_batch_is_known_by_what_the_client_says() -> None:
    error = kafka_errors.KafkaError(f"Failed to make progress reading messages at {ONE}=7. Received a non-empty")
    places = Places({ONE: 7})
    assert CorruptBatches(SkipCount()).step_over(places, error, [ONE])
    assert places.positions == {ONE: 8}


@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.KafkaTimeoutError(f"{ONE} at offset 7 timed out"),
        kafka_errors.CorruptRecordError("something at offset 7"),
        kafka_errors.CorruptRecordError(f"{ONE} is odd"),
        kafka_errors.CorruptRecordError(f"{TopicPartition('t', 10)} at offset 7"),
    ],
)
def test_what_is_about_something_else_moves_nothing(error: kafka_errors.KafkaError) -> None:
    corrupt, places = CorruptBatches(SkipCount()), Places({ZERO: 3, ONE: 5})
    assert not corrupt.step_over(places, error, [ZERO, ONE])
    assert (places.positions, corrupt.num_skipped) == ({ZERO: 3, ONE: 5}, 0)


def test_a_topic_whose_records_are_deleted_after_a_while() -> None:
    assert topic_configs(TopicSpec("t", 1, retention_ms=3_600_000, max_message_bytes=5000)) == {
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "delete",
        "segment.bytes": str(256 * 1024 * 1024),
        "retention.ms": "3600000",
        "segment.ms": "360000",
        "max.message.bytes": "5000",
    }


def test_a_topic_that_is_kept_as_long_as_the_broker_likes() -> None:
    assert topic_configs(TopicSpec("t", 1)).keys() == {"message.timestamp.type", "cleanup.policy", "segment.bytes"}


def test_a_compacted_topic_keeps_the_newest_and_forgets_no_key() -> None:
    found = topic_configs(TopicSpec("t", 1, compacted=True, retention_ms=1000))
    assert found == {
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "compact",
        "segment.ms": "300000",
        "segment.bytes": str(8 * 1024 * 1024),
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": "300000",
        "delete.retention.ms": "300000",
    }


@pytest.mark.parametrize(
    ("retention_ms", "segment_ms"),
    [(9_999, 1000), (10_009, 1000), (10_010, 1001), (864_000_000, 86_400_000), (864_000_010, 86_400_000)],
)
def test_a_segment_is_a_tenth_of_the_retention_from_a_second_to_a_day(retention_ms: int, segment_ms: int) -> None:
    assert topic_configs(TopicSpec("t", 1, retention_ms=retention_ms))["segment.ms"] == str(segment_ms)


def test_the_number_of_partitions_is_held_to() -> None:
    check_partitions(TopicSpec("t", 3), 3)
    for other in (2, 4):
        with pytest.raises(FatalError, match=f"'t' must have 3 partitions, it has {other}; set .* to {other}, or grow"):
            check_partitions(TopicSpec("t", 3), other)


@pytest.mark.parametrize(("subscribed", "grow"), [({"t": 3}, 3), ({"t": 1}, 2), ({"a": 2, "b": 2}, 2), ({}, 2)])
def test_states_belong_to_one_topic_of_as_many_partitions(subscribed: Mapping[str, int], grow: int) -> None:
    check_state_topic("states", 2, {"t": 2})
    with pytest.raises(FatalError, match=f"it has 2 and subscribed are .*`engram topics grow {grow}` makes them equal"):
        check_state_topic("states", 2, subscribed)


def test_a_scope_is_topics_then_group_with_what_would_divide_them_spelt_out() -> None:
    assert writer_scope(["a.x", "a.y"], "team/b c") == "a.x+a.y/team%2Fb%20c"


FATAL, LOST, PASSING = FatalError, OwnershipLostError, TransientError


@pytest.mark.parametrize(
    ("theirs", "ours", "advice"),
    [
        (kafka_errors.GroupAuthorizationFailedError, FATAL, "lacks Read on group 'the words"),
        (kafka_errors.ClusterAuthorizationFailedError, FATAL, "lacks a right on the cluster"),
        (kafka_errors.TransactionalIdAuthorizationFailedError, FATAL, "lacks Write on transactional id"),
        (kafka_errors.UnsupportedVersionError, FATAL, "check the kafka settings"),
        (kafka_errors.UnsupportedSaslMechanismError, PASSING, "was the password changed?"),
        (kafka_errors.SaslAuthenticationFailedError, PASSING, "was the password changed?"),
        (kafka_errors.UnknownMemberIdError, LOST, "the group has moved on"),
        (kafka_errors.FencedInstanceIdError, LOST, "the group has moved on"),
        (kafka_errors.RebalanceInProgressError, LOST, "the group has moved on"),
        (kafka_errors.InvalidProducerEpochError, LOST, "another writer took over"),
        (kafka_errors.InvalidProducerIdMappingError, LOST, "the transaction timed out"),
        (kafka_errors.InvalidTxnStateError, LOST, "another writer took over"),
        (kafka_errors.RecordListTooLargeError, BadMessageError, "larger than the topic takes"),
        (kafka_errors.NotLeaderForPartitionError, PASSING, "is it up?"),
        (kafka_errors.UnknownTopicOrPartitionError, PASSING, "is it up?"),
        (TimeoutError, PASSING, "is it up?"),
    ],
)
def test_each_error_of_the_client_is_one_of_ours_with_advice(
    theirs: type[Exception], ours: type[Exception], advice: str
) -> None:
    found = translate(theirs("the words of the client"), "while testing")
    assert type(found) is ours
    assert str(found).startswith("while testing: ")
    assert advice in str(found)
    assert f"{theirs.__name__}: " in str(found)
    assert "the words of the client" in str(found)
    if isinstance(found, BadMessageError):
        assert found.reason == "too_large"


@pytest.mark.parametrize(
    ("doing", "right"),
    [
        ("publishing to 'a'", "Write on topic 'a'"),
        ("committing as writer 'w'", "Write on topic 'a'"),
        ("reading", "Read"),
    ],
)
def test_a_right_that_lacks_is_named_by_what_was_done(doing: str, right: str) -> None:
    said = str(translate(kafka_errors.TopicAuthorizationFailedError({"a"}), doing))
    assert f"this user lacks {right}" in said
    assert "`engram topics acls`" in said


def test_errors_of_our_own_pass_through_untranslated() -> None:
    for error in (OwnershipLostError("ours"), ValueError("a mistake"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, translated("while testing"):
            raise error
        assert caught.value is error


def test_only_errors_of_the_writer_are_fencing() -> None:
    fenced = {
        error
        for error in vars(kafka_errors).values()
        if isinstance(error, type)
        and issubclass(error, kafka_errors.KafkaError)
        and is_fenced(Exception.__new__(error))
    }
    assert fenced == {
        kafka_errors.ProducerFencedError,
        kafka_errors.InvalidProducerEpochError,
        kafka_errors.InvalidProducerIdMappingError,
        kafka_errors.InvalidTxnStateError,
    }


def test_each_setting_of_a_connection_reaches_the_client_under_its_name() -> None:
    connection = KafkaConnection(
        "a:1,b:2",
        client_id="me",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        username="u",
        password="p",
        ssl_cafile="ca",
        ssl_certfile="cert",
        ssl_keyfile="key",
        timeout_s=2.5,
    )
    assert connection.client_settings() == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "me",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
        "ssl_cafile": "ca",
        "ssl_certfile": "cert",
        "ssl_keyfile": "key",
        "bootstrap_timeout_ms": 2500,
        "metadata_max_age_ms": 10_000,
        "reconnect_backoff_max_ms": 1000,
    }
    assert KafkaConnection("a:1").client_settings().keys() == {
        *("bootstrap_servers", "client_id", "security_protocol", "bootstrap_timeout_ms", "reconnect_backoff_max_ms"),
        "metadata_max_age_ms",
    }


def test_deadlines_stand_in_the_order_that_they_must() -> None:
    """Else a commit is given up while its transaction may still go through, or a member is put out as it polls."""
    options = KafkaOptions()
    assert options.session_timeout_s < options.max_poll_interval_s <= options.unstable_limit_s
    assert options.transaction_timeout_s < options.commit_timeout_s < options.delivery_timeout_s
    assert options.max_message_bytes < options.queue_bytes <= options.in_flight_bytes
