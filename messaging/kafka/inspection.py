"""What the topics of a cluster are set to, for the doctor."""

from collections.abc import Mapping, Sequence
from contextlib import closing

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from messaging.kafka.connection import KafkaConnection
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translated


def topic_settings(connection: KafkaConnection, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """Topic to setting to value, in the broker's names, with what it takes by default where nothing was set.

    Raises:
        FatalError: we may not ask.
        TransientError: the broker is away.
    """
    timeout_ms = int(connection.timeout_s * 1000)
    with reaching(connection, "connecting to Kafka"):
        admin = KafkaAdminClient(**connection.client_settings(), request_timeout_ms=timeout_ms)
    with closing(admin), translated("asking what topics are set to"):
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        found = admin.describe_configs(asked, config_filter="all").get("topic", {})
        return {
            name: {key: str(setting["value"]) for key, setting in settings.items()} for name, settings in found.items()
        }
