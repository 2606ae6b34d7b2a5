"""How to reach Kafka, and the knobs of the adapter: plain values, mapped to the client's settings in one place."""

import logging
import threading
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import Cancelled
from kafka.net.manager import KafkaConnectionManager

from messaging.cloud_events import EventMode
from messaging.kafka.credentials import PASSWORD, TokenFile
from schemas.credentials import CredentialFile

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Where the brokers are and how to be let in.

    Attributes:
        bootstrap_servers: ``host:port``, several divided by commas.
        client_id: how the broker's logs and quotas call this process.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, with SASL only.
        username: SASL user; OAUTHBEARER has it in the token.
        password: SASL password; never in ``repr``.
        credentials: in place of ``password``, and the token of OAUTHBEARER.
        ssl_cafile: certificates to trust; None = the system's.
        ssl_certfile: our own certificate, where the broker asks for one.
        ssl_keyfile: its key.
        timeout_s: longest wait for the first contact, and for metadata.
        admitted: set once a broker has let this process in; from then on a refusal is passing, no mistake in the
            settings. Copies share it.
    """

    bootstrap_servers: str
    client_id: str = "engram"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials: CredentialFile | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    timeout_s: float = 10.0
    admitted: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def client_settings(self) -> dict[str, Any]:
        """Keyword arguments that every kafka-python client takes."""
        settings: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            PASSWORD: self.credentials or self.password,
            "ssl_cafile": self.ssl_cafile,
            "ssl_certfile": self.ssl_certfile,
            "ssl_keyfile": self.ssl_keyfile,
        }
        if self.sasl_mechanism == "OAUTHBEARER" and self.credentials is not None:
            settings |= {"sasl_oauth_token_provider": TokenFile(self.credentials), PASSWORD: None}
        return {name: value for name, value in settings.items() if value is not None} | {
            "bootstrap_timeout_ms": int(self.timeout_s * 1000),
            # A client that hears of another leader may not ask who it is until its metadata are so old: docs/faults.md
            "metadata_max_age_ms": 10_000,
            "reconnect_backoff_max_ms": 1000,  # the default of 30 s is how long we would be deaf after a broker restart
        }


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Bounds and deadlines of the adapter.

    Attributes:
        session_timeout_s: a member not heard of for so long loses its partitions.
        max_poll_interval_s: a member whose poll thread hangs for so long loses them too.
        unstable_limit_s: a membership that finds no stable group for so long, with the broker there, is given up.
        queue_bytes: records fetched and not yet received; fetching pauses above, and goes on below a half.
        queue_records: the same in records.
        in_flight_bytes: published and not yet acknowledged; ``publish`` refuses above.
        max_message_bytes: largest record that is sent at all.
        delivery_timeout_s: how long a publisher tries to get a record through.
        transaction_timeout_s: the broker aborts a transaction that is open for longer.
        commit_timeout_s: longest wait of a commit.
        replication_factor: of topics that are created; -1 = the broker's default.
        event_mode: how CloudEvents are written; both ways are read.
    """

    session_timeout_s: float = 10.0
    max_poll_interval_s: float = 60.0
    unstable_limit_s: float = 60.0
    queue_bytes: int = 32 * MIB
    queue_records: int = 2000
    in_flight_bytes: int = 64 * MIB
    max_message_bytes: int = 1_048_576
    delivery_timeout_s: float = 30.0
    transaction_timeout_s: float = 10.0
    commit_timeout_s: float = 15.0
    replication_factor: int = -1
    event_mode: EventMode = "structured"


def quiet_client_logs() -> None:
    """Keep kafka-python above DEBUG, where it formats every payload and prints settings with passwords in them.

    That a question is called off because its asker has been closed is no error, though the client logs it as one.
    """
    logger = logging.getLogger("kafka")
    if logger.getEffectiveLevel() < logging.INFO:
        logger.setLevel(logging.INFO)
    logging.getLogger("kafka.cluster").addFilter(_is_no_cancellation)  # the same one is added once


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    told = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(each, Cancelled) for each in told)


def try_again_after_refusals() -> None:
    """Make the client log in again after a refused login; as it comes it keeps the refusal, and never asks again.

    A password that is changed at the broker first, or wrongly and then back, would else need a restart of everything.
    """
    KafkaConnectionManager.maybe_raise_auth_failure = _raise_once


def _raise_once(manager: Any, node_id: object) -> None:
    refusal: Exception | None = manager._auth_failures.pop(node_id, None)
    if refusal is not None:
        raise refusal
