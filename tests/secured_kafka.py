"""A real broker with a listener of each kind, and the certificates that go with them, for tests of refusals."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.ports import free_port

READY_S = 240.0
USER, PASSWORD = "gate", "open-sesame"
NOWHERE = "nowhere.invalid:9092"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
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
    authority, stranger = _authority(folder, "authority"), _authority(folder, "stranger")
    broker_cert, broker_key = _signed(folder, "localhost", authority)
    client_cert, client_key = _signed(folder, "client", authority)
    keystore = folder / "broker.pem"
    keystore.write_text(broker_key.read_text() + broker_cert.read_text())
    names = ("sasl", "scram", "tls", "sasl_tls", "mutual", "unknown", "refused")
    ports: dict[str, int] = {}
    for name in names:
        ports[name] = free_port(ports.values())
    server = LocalKafka(folder, jars, KafkaSettings(more=_listeners(folder, ports, keystore, authority)))
    try:
        server.start()
        server.wait_ready(READY_S)
        at = {"plain": server.address, **{name: f"localhost:{port}" for name, port in ports.items()}}
        yield SecuredKafka(at, authority, stranger, client_cert, client_key)
    finally:
        server.kill()


def _listeners(folder: Path, ports: Mapping[str, int], keystore: Path, authority: Path) -> dict[str, str]:
    own = LocalKafka(folder)  # remembers the same ports in the same folder
    client, controller = own._port("client"), own._port("controller")
    protocols = {
        "sasl": "SASL_PLAINTEXT",
        "scram": "SASL_PLAINTEXT",
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
    users = f'{_PLAIN} required username="broker" password="x" user_{USER}="{PASSWORD}";'
    return {
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(told),
        "listener.security.protocol.map": ",".join(kinds),
        "sasl.enabled.mechanisms": "PLAIN",
        **{f"listener.name.{name}.plain.sasl.jaas.config": users for name in ("sasl", "sasl_tls")},
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.scram.scram-sha-256.sasl.jaas.config": f"{_SCRAM} required;",
        "listener.name.scram.scram-sha-256.connections.max.reauth.ms": "1000",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
        "listener.name.mutual.ssl.client.auth": "required",
    }


def _authority(folder: Path, name: str) -> Path:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl("req", "-x509", *new, "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert)
    return cert


def _signed(folder: Path, name: str, authority: Path) -> tuple[Path, Path]:
    cert, key, request, names = (folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
    names.write_text(f"subjectAltName=DNS:{name}\n")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl("req", *new, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    signer = ["-CA", authority, "-CAkey", authority.with_suffix(".key"), "-CAcreateserial"]
    _openssl("x509", "-req", *signer, "-days", "2", "-extfile", names, "-in", request, "-out", cert)
    return cert, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
