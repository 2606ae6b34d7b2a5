"""Sections about what lies outside: broker, store, log output."""

import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator, model_validator

from schemas.addresses import HostPort, host_ports, listen_address, sentinel_address
from schemas.settings.section import MIB, Seconds, Section


def default_store_url() -> str:
    """A SQLite file in ``$ENGRAM_HOME``, or in the user's data folder when that is not set."""
    home = os.environ.get("ENGRAM_HOME")
    return f"sqlite:///{(Path(home).absolute() if home else user_data_path('engram')) / 'banks.db'}"


class KafkaSection(Section):
    """The broker, the topics' names and sizes, and the group of the workers."""

    bootstrap_servers: str = Field(default="127.0.0.1:9092", min_length=1, description="host:port, comma separated")
    client_id: str = Field(default="engram", description="how this process names itself to the broker")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="SASL_SSL wherever the network is not yours alone"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        default=None, description="needed with SASL_*; the broker must offer it"
    )
    username: str | None = Field(default=None, description="SASL user")
    password: SecretStr | None = Field(default=None, description="SASL password; by environment or mounted file only")
    credentials_file: Path | None = Field(
        default=None,
        description="in place of password, read anew at each login, so that it may change; the token of OAUTHBEARER",
    )
    mac_keys: SecretStr | None = Field(
        default=None, description="keys of the roles that this process is or believes, see docs/operations.md"
    )
    mac_keys_path: Path | None = Field(
        default=None, description="file of them, in place of mac_keys, read again when it changes"
    )
    ssl_cafile: Path | None = Field(default=None, description="certificate authority to trust; none = the system's")
    ssl_certfile: Path | None = Field(default=None, description="our own certificate, where the broker asks for one")
    ssl_keyfile: Path | None = Field(default=None, description="its key")
    topic_prefix: str = Field(
        default="", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="put before every topic name, for example 'site-a.'"
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        description="consumer group that shares the frames; none = engram-workers under the topic prefix",
    )
    frames_partitions: int = Field(
        default=12,
        ge=1,
        le=1024,
        description="partitions of frames and camera-states: the most workers that can share the load",
    )
    session_timeout_s: float = Field(
        default=10.0, ge=1, le=300, description="a worker not heard of for so long is dead and its cameras move"
    )
    replication_factor: int = Field(
        default=-1, ge=-1, le=16, description="of topics created; -1 = the broker's default"
    )
    frames_retention_s: float = Field(default=3600.0, gt=0, description="how long the broker keeps frames")
    scores_retention_s: float = Field(
        default=7 * 86400.0, gt=0, description="how long the broker keeps scores and dead letters"
    )
    event_mode: Literal["structured", "binary"] = Field(
        default="structured",
        description="how CloudEvents are written: structured: all of it in the value; binary: its data in the value,"
        " the rest in headers; both are read",
    )
    events_retention_s: float = Field(default=30 * 86400.0, gt=0, description="how long the broker keeps events")

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers_are_addresses(cls, servers: str) -> str:
        host_ports(servers)
        return servers

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> "KafkaSection":
        if self.password is not None and self.credentials_file is not None:
            raise ValueError("a password is given twice: set password or credentials_file")
        if self.mac_keys is not None and self.mac_keys_path is not None:
            raise ValueError("keys are given twice: set mac_keys or mac_keys_path")
        if not self.security_protocol.startswith("SASL"):
            return self
        if self.sasl_mechanism == "OAUTHBEARER":
            if self.credentials_file is None:
                raise ValueError("OAUTHBEARER needs credentials_file, with the token")
        elif not all((self.sasl_mechanism, self.username, self.password or self.credentials_file)):
            raise ValueError(f"{self.security_protocol} needs sasl_mechanism, username and password")
        return self


class StoreSection(Section):
    """Where banks are kept: Redis for a fleet, a SQLite file for one machine."""

    url: str = Field(
        default_factory=default_store_url,
        pattern=r"^(rediss?(\+sentinel)?|unix|sqlite)://",
        description="redis://host:6379/0, rediss://… (TLS), redis+sentinel://host:26379,host:26379/name/0 or "
        "sqlite:///path; default: in the user's data folder",
    )
    username: str | None = Field(default=None, description="Redis user (ACL)")
    password: SecretStr | None = Field(default=None, description="Redis password; by environment or mounted file only")
    credentials_file: Path | None = Field(
        default=None, description="in place of password, read anew at each login, so that it may change"
    )
    ssl_cafile: Path | None = Field(default=None, description="certificate authority to trust; none = the system's")
    key_prefix: str = Field(
        default="engram", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="put before every key of the store"
    )
    timeout_s: Seconds = Field(default=1.0, description="longest wait for one answer; workers wait 0.2 s at most")

    @field_validator("url")
    @classmethod
    def _url_can_be_read(cls, url: str) -> str:
        if url.startswith(("redis://", "rediss://")):
            try:
                parts = urlsplit(url)
                readable = parts.hostname is not None and parts.port != 0
            except ValueError:  # its text may hold a piece of the password
                readable = False
            if not readable or parts.fragment:
                raise ValueError("must be redis://host:6379/0; a password with special letters goes to store.password")
        sentinel_address(url)
        return url

    @model_validator(mode="after")
    def _one_password(self) -> "StoreSection":
        if self.password is not None and self.credentials_file is not None:
            raise ValueError("a password is given twice: set password or credentials_file")
        return self


class LogSection(Section):
    """What the process says about itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least severity written")
    format: Literal["text", "json"] = Field(default="text", description="text for people, json for collectors")


class HttpSection(Section):
    """Where a process shows its metrics and its health. There is no login: let only your own network reach it."""

    listen: str | None = Field(
        default=None, description="host:port for /metrics, /healthz, /readyz, /status; a port alone = loopback"
    )

    @field_validator("listen", mode="before")
    @classmethod
    def _port_may_be_a_number(cls, listen: object) -> object:
        return str(listen) if isinstance(listen, int) and not isinstance(listen, bool) else listen

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str | None) -> str | None:
        if listen is not None:
            listen_address(listen)
        return listen

    @property
    def address(self) -> HostPort | None:
        """Host and port; none = nothing is shown."""
        return None if self.listen is None else listen_address(self.listen)


class TracingSection(Section):
    """What frames spend their time on, told to a collector of OpenTelemetry. Needs ``engram[tracing]``."""

    enabled: bool = Field(default=False, description="make spans and send them; off, traces that come are passed on")
    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/]+(/\S*)?$",
        description="address of the collector's OTLP/HTTP, like http://collector:4318; none = what OTEL_EXPORTER_OTLP_*"
        " says, else this machine",
    )
    sample: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="part of the frames that a producer begins a trace for; OTEL_TRACES_SAMPLER goes before it",
    )


class ConsoleSection(Section):
    """Where the operator's page is, who may see it, and how much it keeps."""

    listen: str = Field(
        default="127.0.0.1:8765",
        description="host:port of the pages; a port alone = loopback; beyond loopback tokens must be given",
    )
    base_path: str = Field(
        default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="path under which a proxy shows it, like /engram"
    )
    proxies: str = Field(
        default="127.0.0.1", description="proxies whose X-Forwarded-* is believed: addresses, comma separated"
    )
    token_file: Path | None = Field(
        default=None, description="who may come in: lines of ROLE NAME sha256:HEX; --make-token writes one"
    )
    tokens: SecretStr | None = Field(
        default=None, description="the same lines, divided by semicolons; by environment or mounted file only"
    )
    ssl_certfile: Path | None = Field(default=None, description="our certificate, for TLS without a proxy")
    ssl_keyfile: Path | None = Field(default=None, description="its key")
    file: Path | None = Field(
        default=None, description="SQLite file that keeps what was read; none = console.db in the user's data folder"
    )
    max_events: int = Field(default=5000, ge=10, le=1_000_000, description="most events kept, the oldest goes first")
    max_bytes: int = Field(default=64 * MIB, ge=MIB, description="most bytes of events kept, pictures included")
    media: str | None = Field(
        default=None,
        description="where engram clips keeps pictures and videos, as this machine reaches it: a folder, or"
        " s3://bucket/prefix",
    )
    media_endpoint: str | None = Field(
        default=None, description="address of a server that speaks S3 and is not Amazon's, as browsers reach it"
    )
    grafana: str | None = Field(
        default=None, pattern=r"^https?://[^\s\"'<>]+$", description="address of a dashboard to link to"
    )

    @field_validator("listen", mode="before")
    @classmethod
    def _port_may_be_a_number(cls, listen: object) -> object:
        return str(listen) if isinstance(listen, int) and not isinstance(listen, bool) else listen

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        listen_address(listen)
        return listen

    @model_validator(mode="after")
    def _tls_is_complete(self) -> "ConsoleSection":
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile must be given both or not at all")
        return self


class WireLimits(Section):
    """Bounds that both ends of the frames topic keep."""

    max_frame_bytes: int = Field(
        default=256 * 1024, ge=1024, le=900 * 1024, description="largest JPEG; larger ones are refused undecoded"
    )
