"""A real broker with a listener of each kind, and the certificates that go with them, for tests of refusals."""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.ports import free_port
from tests.certificates import authority, signed

READY_S = 240.0
USER, PASSWORD = "gate", "open-sesame"
ROLE_PASSWORDS = {role: f"secret-of-{role}" for role in ("edge", "worker", "coordinator", "consumer", "console")}
"""Users without any right but those that a test gives them; all others may do everything."""
ROTATING = "rotating"
"""A user whom tests make, change and forget on the listeners of SCRAM."""
NOWHERE = "nowhere.invalid:9092"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
_TRUSTING = (
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
)
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@dataclass(frozen=True, slots=True)
class SecuredKafka:
    """A running broker.

    Attributes:
        at: listener to ``host:port``: plain, sasl, tls, sasl_tls, mutual (wants a certificate of the client), unknown
            (advertises a name that nobody knows), refused (advertises a port where nothing listens), scram (users are
            made and changed while it runs; each connection must log in again after a second).
        authority: the certificate that signed the broker's.
        stranger: one that did not.
        client_cert: signed by the authority, with ``client_key``.
        client_key: see there.
    """

    at: Mapping[str, str]
    authority: Path
    stranger: Path
    client_cert: Path
    client_key: Path


@contextmanager
def secured_kafka(folder: Path, jars: Path) -> Iterator[SecuredKafka]:
    """The broker lives until the context ends."""
    folder.mkdir(parents=True, exist_ok=True)
    trusted, stranger = authority(folder, "authority"), authority(folder, "stranger")
    broker_cert, broker_key = signed(folder, "localhost", trusted)
    client_cert, client_key = signed(folder, "client", trusted)
    keystore = folder / "broker.pem"
    keystore.write_text(broker_key.read_text() + broker_cert.read_text())
    names = ("sasl", "scram", "scram_tls", "oauth", "tls", "sasl_tls", "mutual", "unknown", "refused")
    ports: dict[str, int] = {}
    for name in names:
        ports[name] = free_port(ports.values())
    server = LocalKafka(folder, jars, KafkaSettings(more=_listeners(folder, ports, keystore, trusted)))
    try:
        server.start()
        server.wait_ready(READY_S)
        at = {"plain": server.address, **{name: f"localhost:{port}" for name, port in ports.items()}}
        yield SecuredKafka(at, trusted, stranger, client_cert, client_key)
    finally:
        server.kill()


def token(user: str, lasts_s: float = 3600.0) -> str:
    """For the listener that believes whoever says who he is."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": user, "iat": now - 120, "exp": now + lasts_s})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def _listeners(folder: Path, ports: Mapping[str, int], keystore: Path, trusted: Path) -> dict[str, str]:
    own = LocalKafka(folder)  # remembers the same ports in the same folder
    client, controller = own._port("client"), own._port("controller")
    protocols = {
        "sasl": "SASL_PLAINTEXT",
        "scram": "SASL_PLAINTEXT",
        "scram_tls": "SASL_SSL",
        "oauth": "SASL_SSL",
        "tls": "SSL",
        "sasl_tls": "SASL_SSL",
        "mutual": "SSL",
        "unknown": "PLAINTEXT",
        "refused": "PLAINTEXT",
    }
    advertised = {name: f"localhost:{port}" for name, port in ports.items()}
    advertised |= {"unknown": NOWHERE, "refused": "127.0.0.1:1"}
    listeners = [f"PLAINTEXT://127.0.0.1:{client}", f"CONTROLLER://127.0.0.1:{controller}"]
    listeners += [f"{name.upper()}://127.0.0.1:{port}" for name, port in ports.items()]
    told = [f"PLAINTEXT://127.0.0.1:{client}", *(f"{name.upper()}://{place}" for name, place in advertised.items())]
    kinds = ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT", *(f"{name.upper()}:{protocols[name]}" for name in ports)]
    known = " ".join(f'user_{user}="{word}"' for user, word in {USER: PASSWORD, **ROLE_PASSWORDS}.items())
    users = f'{_PLAIN} required username="broker" password="x" {known};'
    return {
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(told),
        "listener.security.protocol.map": ",".join(kinds),
        "sasl.enabled.mechanisms": "PLAIN",
        **{f"listener.name.{name}.plain.sasl.jaas.config": users for name in ("sasl", "sasl_tls")},
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.scram.scram-sha-256.sasl.jaas.config": f"{_SCRAM} required;",
        "listener.name.scram.scram-sha-256.connections.max.reauth.ms": "1000",
        "listener.name.scram_tls.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram_tls.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required;",
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.oauth.oauthbearer.sasl.jaas.config": f"{_OAUTH} required;",
        "listener.name.oauth.oauthbearer.sasl.server.callback.handler.class": _TRUSTING,
        "listener.name.oauth.oauthbearer.connections.max.reauth.ms": "2000",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER};User:CN=client;User:{ROTATING}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(trusted),
        "listener.name.mutual.ssl.client.auth": "required",
    }
