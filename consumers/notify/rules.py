"""The rules file of ``engram notify``: who is told of which events, when, and how often. TOML, checked as a whole.

What is secret (addresses with a token in them, passwords, header values) may be written as ``env:NAME`` or
``file:PATH``, and is read when the rules are.
"""

import base64
import os
import re
import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from consumers.durations import duration
from schemas.errors import SettingsError
from schemas.settings.hours import TIMES
from schemas.settings.toml import parsed_toml

MAX_LETTERS = 1 << 20
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_TOPIC = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"
_ADDRESS = re.compile(r"[!-~]+")
_CODED = "whsec_"
_OUR_HEADERS = frozenset(
    {
        *("connection", "content-length", "content-type", "expect", "host", "te", "trailer", "transfer-encoding"),
        *("traceparent", "tracestate", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)


def _duration(value: Any) -> Any:
    return duration(value) if isinstance(value, str) else value


def _lasting(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError("must be a length of time above 0, such as 30s or 10m")
    return value


def _hours(text: str) -> str:
    if not re.fullmatch(TIMES, text):
        raise ValueError("must be two times of day such as 22:00-06:00")
    return text


def _revealed(value: Any) -> Any:
    """What ``env:NAME`` and ``file:PATH`` stand for; anything else is itself."""
    if not isinstance(value, str):
        return value
    kind, colon, where = value.partition(":")
    if not colon or kind not in ("env", "file"):
        return value
    try:
        found = os.environ[where] if kind == "env" else Path(where).read_text("utf-8-sig")
    except (KeyError, OSError, UnicodeDecodeError):
        raise ValueError(f"{value} must be set and readable, it is not") from None
    if len(found.strip().splitlines()) != 1:
        raise ValueError(f"{value} must hold one line")
    return found.strip()


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
        raise ValueError("a header's name must be letters, digits and -")
    if name.lower() in _OUR_HEADERS:
        raise ValueError("this header is written by us, or by HTTP itself, and cannot be given")
    return name


def _header_value(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isascii():
        raise ValueError("must be ASCII letters, as all that HTTP carries in a header")
    return value


def _key(value: SecretStr) -> SecretStr:
    signing_key(value.get_secret_value())
    return value


def signing_key(secret: str) -> bytes:
    """The bytes to sign with: those of ``whsec_`` and base64, or of the text itself.

    Raises:
        ValueError: there are none, so that everybody could sign; or what is behind ``whsec_`` is no base64.
    """
    try:
        is_coded = secret.startswith(_CODED)
        key = base64.b64decode(secret.removeprefix(_CODED), validate=True) if is_coded else secret.encode()
    except ValueError:
        raise ValueError(f"must be base64 behind {_CODED}, with its = at the end, or any other text") from None
    if not key:
        raise ValueError("must not be empty")
    return key


def _in_one_line(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().isprintable():
        raise ValueError("must be one line of printable letters")
    return value


def _address(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        is_fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:
        is_fit = False
    if not is_fit or not _ADDRESS.fullmatch(value.get_secret_value()):
        raise ValueError("must be http://… or https://…, without blanks, user and password (give them as a header)")
    return value


def _certificates(path: Path) -> Path:
    """Looked into here: a file that is none would end who has begun to follow the rules."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ValueError(f"must be a file of certificates, '{path}' is not: {error}") from None
    return path


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # a ZoneInfoNotFoundError is a KeyError
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    except KeyError:
        raise ValueError("must be a time zone such as Europe/Berlin, that this machine knows (tzdata)") from None
    return name


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    AfterValidator(_lasting),
    WithJsonSchema({"type": "string", "examples": ["30s", "10m", "1h30m"]}),
]
Hours = Annotated[str, AfterValidator(_hours), WithJsonSchema({"type": "string", "pattern": f"^{TIMES}$"})]
Secret = Annotated[
    SecretStr,
    BeforeValidator(_revealed),
    AfterValidator(_in_one_line),
    WithJsonSchema({"type": "string", "description": "as it is, or env:NAME, or file:PATH"}),
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Phase = Literal["start", "update", "end"]
Severity = Literal["info", "warning", "critical"]
Name = Annotated[str, Field(pattern=_NAME)]


class _Part(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class WebhookTarget(_Part):
    """An HTTP address that events are posted to."""

    url: Annotated[Secret, AfterValidator(_address)] = Field(description="http:// or https://")
    secret: Annotated[Secret, AfterValidator(_key)] | None = Field(
        default=None, description="signs each request (Standard Webhooks): whsec_ and base64, or any text"
    )
    headers: dict[Annotated[str, AfterValidator(_header)], Annotated[Secret, AfterValidator(_header_value)]] = Field(
        default_factory=dict, description="further headers, such as Authorization"
    )
    format: Literal["cloudevents", "text"] = Field(
        default="cloudevents", description='the event whole, or {"text": …} as Slack and Mattermost want it'
    )
    timeout: Duration = Field(default=timedelta(seconds=10), description="longest wait for the whole answer")
    give_up_after: Duration = Field(
        default=timedelta(hours=1), description="from when the event was published; then it becomes a dead letter"
    )


class MqttTarget(_Part):
    """An MQTT broker, as Home Assistant uses one."""

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=1883, ge=1, le=65535)
    tls: bool = Field(default=False, description="usually with port 8883")
    ca_file: Annotated[Path, AfterValidator(_certificates)] | None = Field(
        default=None, description="certificate authority to trust; none = the system's"
    )
    username: Secret | None = None
    password: Secret | None = None
    client_id: Name | None = Field(default=None, description="none = a new one each time")
    base_topic: str = Field(default="engram", pattern=_TOPIC, description="before every topic of ours")
    discovery_prefix: str | None = Field(
        default="homeassistant", pattern=_TOPIC, description="where Home Assistant looks for new devices"
    )
    give_up_after: Duration = Field(default=timedelta(hours=1), description="as for a webhook")


class Rule(_Part):
    """Which events are told to whom. Of a target's rules, the first that fits an event decides."""

    name: str = Field(min_length=1, max_length=100)
    to: tuple[Name, ...] = Field(min_length=1, description="names of targets")
    cameras: tuple[str, ...] = Field(default=("*",), min_length=1, description="names or patterns such as gate*")
    zones: tuple[str, ...] = Field(default=(), description="names or patterns; an event that names no zone fits")
    hours: tuple[Hours, ...] = Field(
        default=(), description="when the event began; may reach over midnight, and 00:00-00:00 is the whole day"
    )
    days: tuple[Day, ...] = Field(default=(), description="on which the hours begin")
    min_severity: Severity | None = Field(default=None, description="an event without a severity fits")
    min_score: float = Field(default=0.0, ge=0, le=1, description="of the event's peak, an anomaly score")
    phases: tuple[Phase, ...] = Field(default=("start", "end"), min_length=1)
    quiet: Duration | None = Field(
        default=None, description="of one camera: further events are counted, and told together when it is over"
    )


class NotifyRules(_Part):
    """The whole file."""

    timezone: Annotated[str, AfterValidator(_zone)] = Field(default="UTC", description="of hours and days")
    webhooks: dict[Name, WebhookTarget] = Field(default_factory=dict)
    mqtt: dict[Name, MqttTarget] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = Field(min_length=1)

    @property
    def targets(self) -> dict[str, WebhookTarget | MqttTarget]:
        """All of them by name."""
        return {**self.webhooks, **self.mqtt}

    def rules_for(self, target: str) -> tuple[Rule, ...]:
        """Those that tell ``target``, in the order of the file."""
        return tuple(rule for rule in self.rules if target in rule.to)

    @model_validator(mode="after")
    def _names_are_clear(self) -> "NotifyRules":
        both = self.webhooks.keys() & self.mqtt.keys()
        if both:
            raise ValueError(f"targets must have a name of their own, {sorted(both)} are named twice")
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError(f"rules must have a name of their own, got {names}")
        for rule in self.rules:
            unknown = sorted(set(rule.to) - self.targets.keys())
            if unknown:
                raise ValueError(f"rule '{rule.name}' tells {unknown}, there are {sorted(self.targets)}")
        return self


def read_rules(path: Path) -> NotifyRules:
    """Read and check a file.

    Raises:
        SettingsError: with file, line and key of each fault; nothing secret is shown.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(MAX_LETTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SettingsError(f"the rules must be a file that can be read, '{path}' is not: {why}") from error
    if len(text) > MAX_LETTERS:
        raise SettingsError(f"{path}: the rules must be a file of at most {MAX_LETTERS} letters, it is longer")
    try:
        content = parsed_toml(text)
    except ValueError as error:
        raise SettingsError(f"{path}: the rules must be TOML: {error}") from error
    try:
        return NotifyRules.model_validate(content)
    except ValidationError as error:
        # A list whose parts are wrong counts as empty besides.
        parts = [part for part in error.errors(include_url=False) if part["type"] != "too_short"] or error.errors()
        raise SettingsError("\n".join(_told(path, text, part) for part in parts)) from error


def _told(path: Path, text: str, part: Any) -> str:
    place = [step for step in part["loc"] if step != "[key]"]
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")
    message = "no such key" if part["type"] == "extra_forbidden" else str(part["msg"]).removeprefix("Value error, ")
    return f"{path}, line {line_of(text, place)}: {name or 'rules'}: {message}"


def line_of(text: str, place: Sequence[str | int]) -> int:
    """The line, from 1, of the key or table that ``place`` leads to, or of the nearest table around it."""
    lines = _lines(text)
    for length in range(len(place), 0, -1):
        if tuple(place[:length]) in lines:
            return lines[tuple(place[:length])]
    return 1


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    found: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]", line)
        key = re.match(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*[=.]""", line)
        if header:
            names = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                counts[names] = counts.get(names, -1) + 1
                table = (*names, counts[names])
                found.setdefault(names, number)
            else:
                table = names
            found.setdefault(table, number)
        elif key:
            found.setdefault((*table, key[1]), number)
    return found
