"""Addresses as people write them: read with their faults named, and shown without what is secret in them."""

import re
from dataclasses import dataclass

MASK = "**********"
_SECRET_PARAMETER = re.compile(
    r"([?&;](?:[^=&;#@]*(?:pass|pwd|token|secret|key|auth|login)[^=&;#@]*)=)[^&;#]*", re.IGNORECASE
)
_NO_PORT = re.compile(r"(://(?!\[)[^/:\s]*:)(?![0-9]{1,5}(?:[/?,]|$))[^/]*")
"""What stands where a port should, in a URL whose @ was forgotten."""

HostPort = tuple[str, int]


def host_ports(text: str) -> tuple[HostPort, ...]:
    """``host:port``, several divided by commas, as pairs; an IPv6 host is in brackets.

    Raises:
        ValueError: one of them is something else; the text is fit to be shown.
    """
    return tuple(_host_port(part.strip()) for part in text.split(","))


def listen_address(text: str) -> HostPort:
    """Where to listen: ``host:port``, or a port alone, which means this machine only. Port 0 = any that is free.

    Raises:
        ValueError: it is something else.
    """
    if re.fullmatch(r":?[0-9]{1,5}", text.strip()):
        text = f"127.0.0.1:{text.strip().removeprefix(':')}"
    return _host_port(text.strip(), least_port=0)


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Sentinels of a Redis, what they call its primary, the number of the database, and whether all speak TLS."""

    sentinels: tuple[HostPort, ...]
    name: str
    db: int
    is_tls: bool


def sentinel_address(url: str) -> SentinelAddress | None:
    """``redis+sentinel://host:26379,host/name/0``, or ``rediss+…``; None where the URL is of another kind.

    A sentinel without a port listens at 26379, a URL without a number means database 0.

    Raises:
        ValueError: it begins like one and goes on otherwise; the text is fit to be shown.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in ("redis+sentinel", "rediss+sentinel"):
        return None
    found = re.fullmatch(r"([^/@?#]+)/([A-Za-z0-9._-]+)(?:/([0-9]{1,4}))?", rest)
    if found is None:
        text = f"must be {scheme}://host:26379,host:26379/name/0, where the sentinels know the primary by this name"
        raise ValueError(f"{text}; user and password have settings of their own")
    hosts = [host if re.search(r":[0-9]+$", host) else f"{host}:26379" for host in found[1].split(",")]
    return SentinelAddress(host_ports(",".join(hosts)), found[2], int(found[3] or 0), scheme.startswith("rediss"))


def shown_host_port(address: HostPort) -> str:
    """The inverse of ``host_ports`` for one."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_port(text: str, least_port: int = 1) -> HostPort:
    host, colon, port = text.rpartition(":")
    if "/" in text or "@" in text:
        raise ValueError(f"must be host:port without scheme, user or path, got '{without_secrets(text)}'")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or (":" in bare and bare == host) or re.search(r"\s", host):
        hint = "; Kafka's usual port is 9092" if least_port else ""
        raise ValueError(f"must be host:port, got '{text}'{hint}")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not least_port <= int(port) < 65536:
        raise ValueError(f"must be host:port with a port from {least_port} to 65535, got '{text}'")
    return bare, int(port)


def without_secrets(text: str) -> str:
    """``text`` with stars for whatever may be a password: before the last @, and in parameters of telling names.

    Meant for text that may be no URL at all, because it is shown where somebody mistyped one.
    """
    text = _SECRET_PARAMETER.sub(rf"\1{MASK}", text)
    before, at, place = text.rpartition("@")
    if not at:
        return _NO_PORT.sub(rf"\1{MASK}", text)
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/*", before)
    lead = scheme.group() if scheme and scheme.group().endswith("/") else ""
    user, colon, _ = before[len(lead) :].partition(":")
    return f"{lead}{user if colon and lead else ''}{colon if lead else ''}{MASK}@{place}"
