"""Who may do what: tokens, sessions, and how often a wrong token may be tried.

A token is 256 random bits, so what is kept of it is its SHA-256: who reads the file cannot log in with it. A line of
the file is ``ROLE NAME sha256:HEX``; the name is who verdicts are signed with.
"""

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.errors import SettingsError

Role = Literal["view", "operate"]
_LINE = re.compile(r"(view|operate)\s+([A-Za-z0-9][A-Za-z0-9._@-]{0,63})\s+sha256:([0-9a-f]{64})")
MAX_TOKEN = 256
"""Letters; longer ones are not even looked at."""

IDLE_S, LONGEST_S = 12 * 3600.0, 7 * 86_400.0
MAX_SESSIONS = 1000
MAX_FAILURES, WINDOW_S = 10, 60.0
MAX_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token gives: a name to sign with, and what it may do; ``digest`` is of the token."""

    name: str
    role: Role
    digest: str

    def line(self) -> str:
        """As it stands in the file."""
        return f"{self.role} {self.name} sha256:{self.digest}"

    @property
    def may_operate(self) -> bool:
        """Whether it may say and change things, and not only look."""
        return self.role == "operate"


def new_token(name: str, role: Role) -> tuple[str, Grant]:
    """A token, and what is kept of it.

    Raises:
        SettingsError: it is no name to sign with.
    """
    token = secrets.token_urlsafe(32)
    grant = Grant(name, role, _digest(token))
    if not _LINE.fullmatch(grant.line()):
        raise SettingsError(f"a name must be letters, digits or . _ @ -, 64 at most, got {name!r:.80}")
    return token, grant


def read_grants(text: str, source: str) -> tuple[Grant, ...]:
    """Lines, or parts divided by semicolons; blank ones and those that begin with # are left out.

    Raises:
        SettingsError: a line is something else; it is not shown, as it may hold a token.
    """
    grants = []
    for number, line in enumerate(re.split(r"[\n;]", text), start=1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            what = "ROLE NAME sha256:HEX with role view or operate; `engram console --make-token NAME` makes one"
            raise SettingsError(f"{source}: line {number} must be {what}")
        grants.append(Grant(found[2], "operate" if found[1] == "operate" else "view", found[3]))
    return tuple(grants)


@dataclass(slots=True)
class Session:
    """A login. ``csrf`` must come with whatever changes something."""

    grant: Grant
    csrf: str
    began_at_s: float
    seen_at_s: float


class Access:
    """Tokens, sessions and tries of one console; from any thread.

    Args:
        grants: who may come in.
        clock: seconds that only grow.
    """

    def __init__(self, grants: Iterable[Grant], clock: Callable[[], float] = time.monotonic) -> None:
        self._grants = tuple(grants)
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def grant_of(self, token: str, address: str) -> Grant | None:
        """What ``token`` gives; None = nothing. A failure counts against ``address``; see ``must_wait_s``."""
        digest = _digest(token) if len(token) <= MAX_TOKEN else ""
        found = None
        for grant in self._grants:  # all of them, so that the time it takes tells nothing
            if hmac.compare_digest(grant.digest, digest):
                found = grant
        if found is None:
            self._note_failure(address)
        return found

    def must_wait_s(self, address: str) -> float:
        """How long ``address`` may not try again, 0 = it may: so many failures within so long."""
        now_s = self._clock()
        with self._lock:
            recent = [at_s for at_s in self._failures.get(address, ()) if now_s - at_s < WINDOW_S]
        return 0.0 if len(recent) < MAX_FAILURES else WINDOW_S - (now_s - recent[-MAX_FAILURES])

    def begin(self, grant: Grant) -> str:
        """A session's secret."""
        secret, now_s = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._sessions[_digest(secret)] = Session(grant, secrets.token_urlsafe(32), now_s, now_s)
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return secret

    def session(self, secret: str) -> Session | None:
        """The session of a secret; None if there is none, or it has ended."""
        key, now_s = _digest(secret[:MAX_TOKEN]), self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if now_s - session.seen_at_s > IDLE_S or now_s - session.began_at_s > LONGEST_S:
                del self._sessions[key]
                return None
            session.seen_at_s = now_s
            self._sessions.move_to_end(key)
            return session

    def end(self, secret: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(secret[:MAX_TOKEN]), None)

    def _note_failure(self, address: str) -> None:
        with self._lock:
            failures = self._failures.setdefault(address, [])
            self._failures.move_to_end(address)
            failures.append(self._clock())
            del failures[:-MAX_FAILURES]
            if len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)


def is_csrf(session: Session, given: Sequence[str | None]) -> bool:
    """Whether one of what was given is the session's own."""
    return any(hmac.compare_digest(session.csrf, text) for text in given if text is not None and text.isascii())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
