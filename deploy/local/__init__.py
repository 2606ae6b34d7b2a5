"""A real Apache Kafka and a real Redis on this machine, without containers: for the demo, for tests, for trying out.

Nothing here belongs in production: one node, no replication, no authentication, loopback only.
"""

from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.redis import LocalRedis
from deploy.local.stack import Stack, StackStatus, default_folder

__all__ = ["KafkaSettings", "LocalKafka", "LocalRedis", "Stack", "StackStatus", "default_folder"]
