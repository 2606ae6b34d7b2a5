"""What a person writes to name a source: reading it, and showing it without its credentials."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from schemas.errors import SettingsError

Kind = Literal["file", "folder", "rtsp", "http", "device", "synthetic"]

_SCHEMES: dict[str, Kind] = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "http": "http",
    "https": "http",
    "synthetic": "synthetic",
}
_DEVICE = re.compile(r"^(?:/dev/video)?(0|[1-9]\d{0,2})$")
# After a colon everything up to the last '@' may be a password with unquoted characters in it: better to mask a part of
# the path than to show a part of a password.
_USER_INFO = re.compile(r"(?<=://)(?:[^/\s@:]*:\S*@|[^/\s]*@)")
_SECRET_FIELD = re.compile(r"(?i)([?&;][^=&;\s]*(?:pass|pwd|token|secret|key|auth|user|usr|login)[^=&;\s]*=)[^&;\s]+")
_MISTYPED = re.compile(r"(?i)^(?:rtsps?|https?|synthetic):|^[^/\s]+:[^/\s]*@|@[^/\s]*:\d+(?:/|$)")
"""Looks like an address, and is none: better said so than looked for as a file."""
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password of a camera. Never shown: ``repr`` hides both."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({_MASK})"


@dataclass(frozen=True, slots=True)
class Address:
    """A source's address. ``repr`` and ``shown`` are safe to log, ``location`` is not.

    Attributes:
        kind: how it is opened.
        location: what the opener needs: a path, the whole address, or a device number.
    """

    kind: Kind
    location: str

    def __repr__(self) -> str:
        return f"Address({self.kind}, {self.shown})"

    @property
    def shown(self) -> str:
        """The location with credentials masked."""
        return mask_credentials(self.location) if self.kind != "device" else f"/dev/video{self.location}"

    @property
    def query(self) -> dict[str, str]:
        """Fields after ``?``."""
        return dict(parse_qsl(urlsplit(self.location).query, keep_blank_values=True))

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where to connect, with the scheme's usual port if none is given."""
        parts = urlsplit(self.location)
        usual = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}[parts.scheme.lower()]
        return parts.hostname or "", parts.port or usual

    @property
    def credentials(self) -> Credentials | None:
        """User and password, unquoted; None if the address names no user."""
        parts = urlsplit(self.location)
        if parts.username is None:
            return None
        return Credentials(unquote(parts.username), unquote(parts.password or ""))

    @property
    def host(self) -> str:
        """Host part without a port: the place of a synthetic scene."""
        return urlsplit(self.location).hostname or ""

    @property
    def request_target(self) -> str:
        """Path and query as they go into an HTTP request line."""
        parts = urlsplit(self.location)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @property
    def without_credentials(self) -> str:
        """The address as it goes into a request line."""
        parts = urlsplit(self.location)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def mask_credentials(text: str) -> str:
    """``text`` with the user info of every address, and every secret-looking field, replaced by ``***``.

    >>> mask_credentials("rtsp://bob:secret@cam/1?token=abc&x=1")
    'rtsp://***@cam/1?token=***&x=1'
    """
    return _SECRET_FIELD.sub(rf"\g<1>{_MASK}", _USER_INFO.sub(f"{_MASK}@", text))


def mask_address(text: str) -> str:
    """A whole address, well written or not, without what may be user and password: all before its last ``@``.

    >>> mask_address("rtsp:/bob:sec ret@cam/1")
    '***@cam/1'
    """
    scheme, separator, rest = text.rpartition("://") if text.count("://") == 1 else ("", "", text)
    before, at, place = rest.rpartition("@")
    if at and (separator or ":" in before):
        return mask_credentials(f"{scheme}{separator}{_MASK}@{place}")
    return mask_credentials(text)


def parse_address(text: str) -> Address:
    """Tell what kind of source ``text`` names.

    Raises:
        SettingsError: empty, or an unknown or incomplete address.
    """
    if not text.strip():
        raise SettingsError("a source must be named, got an empty text; give a file, folder, address or device")
    if (there := _existing(text) or _existing(text.strip())) is not None:
        return there
    text = text.strip()
    if device := _DEVICE.match(text):
        return Address("device", device[1])
    scheme, separator, _ = text.partition("://")
    if separator and len(scheme) > 1:  # one letter is a drive
        return _network_address(scheme.lower(), text)
    if _MISTYPED.search(text):
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise SettingsError(f"a source address must start with one of {known}, got '{mask_address(text)}'")
    return Address("file", text)


def _existing(text: str) -> Address | None:
    """A file or folder of that name, whatever else the name could mean."""
    path = Path(text)
    try:
        if path.is_dir():
            return Address("folder", text)
        return Address("file", text) if path.is_file() else None
    except (OSError, ValueError):  # no name for a file
        return None


def _network_address(scheme: str, text: str) -> Address:
    kind = _SCHEMES.get(scheme)
    if kind is None:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise SettingsError(f"a source address must start with one of {known}, got '{mask_address(text)}'")
    text = _quote_user_info(text)
    try:
        parts = urlsplit(text)
        complete = bool(parts.hostname) and parts.port != 0 and not _is_ambiguous(text)
    except ValueError:
        complete = False
    if not complete:
        shown = mask_address(text)
        raise SettingsError(
            f"a source address must name a host and a valid port, got '{shown}'; "
            "write '/' in a password as %2F, '@' as %40"
        )
    return Address(kind, text)


def _is_ambiguous(text: str) -> bool:
    """Whether what looks like the host may be a piece of a password with an unquoted '/'."""
    before_path, _, path = text.partition("://")[2].partition("/")
    return "@" in path and (":" in before_path or "@" in before_path)


def _quote_user_info(text: str) -> str:
    # Camera passwords often hold '#', '?' or '@', which would end the host part of an address early.
    scheme, _, rest = text.partition("://")
    before_query = rest.partition("/")[0]
    if "@" not in before_query:
        return text
    user_info, _, host = before_query.rpartition("@")
    safe = quote(user_info, safe=":%!$&'()*+,;=~-._")
    return f"{scheme}://{safe}@{host}{rest[len(before_query) :]}"
