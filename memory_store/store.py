"""The port of a memory store: versions of banks, leases, compare-and-set, log.

Every write is atomic and idempotent by ``Change.commit_id``: repeated because its answer was lost, it changes nothing.
Errors: ``TransientError`` store away, ``FatalError`` refused by the store (credentials, corrupt content).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from memory_store.bank import AuditEntry, Bank, Change
from schemas.errors import DamagedError, FatalError, SettingsError, StaleVersionError

KEPT_VERSIONS = 200
"""How many versions of each bank stay readable."""
KEPT_ENTRIES = 20_000
"""How many log entries of each bank are kept, about."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,100}")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a while: one bank, or all that a group leads, under a name that is no bank's.

    Attributes:
        bank_id: of the bank, or that name.
        holder: who has it.
        token: grows with each change of holder and fences the old ones.
    """

    bank_id: str
    holder: str
    token: int


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """Write ``bank`` if the store has version ``bank.version - 1`` of its epoch and the lease's token is current.

    The lease may be of another name than the bank's: whoever lost the lead can write no bank any more.
    """

    lease: Lease
    bank: Bank
    change: Change


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """Put ``bank``, of a new epoch, in the place of exactly ``replaces`` (None: of nothing).

    No lease is needed: the new epoch makes every commit that is under way stale.

    Attributes:
        bank: to be written.
        replaces: what is there.
        change: why.
        noted_digest: of what is there, as the log has it; None = that of ``replaces``, which is not damaged.
    """

    bank: Bank
    replaces: Bank | None
    change: Change
    noted_digest: str | None = None

    @property
    def replaced_digest(self) -> str | None:
        """What the log will say that was there before."""
        return self.noted_digest or (None if self.replaces is None else self.replaces.digest)


@dataclass(frozen=True, slots=True)
class CommitOutcome:
    """What a write came to.

    Attributes:
        status: ``applied``; ``duplicate``: it had been applied before; ``frozen``: refused, updates are switched off.
        entry: the log entry as stored; None if frozen, or if it is so long ago that the log no longer has it.
    """

    status: Literal["applied", "duplicate", "frozen"]
    entry: AuditEntry | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is noted beside a bank, and known though the bank itself is damaged."""

    version: int
    epoch: str
    frozen: bool


class BankReader(Protocol):
    """What a worker may do."""

    def read(self, bank_id: str) -> Bank | None:
        """The newest version, None if there is no such bank."""

    def read_if_newer(self, known: Bank) -> Bank | None:
        """``known`` itself if the store's version, epoch and frozen flag are the same; else as ``read``."""

    def standing(self, bank_id: str) -> Standing | None:
        """Version, epoch and whether it is frozen; None if there is no such bank."""

    def read_version(self, bank_id: str, version: int) -> Bank | None:
        """An earlier version, None if it was never written or is no longer kept."""

    def log(self, bank_id: str, newest: int = 1000) -> Sequence[AuditEntry]:
        """The ``newest`` entries, oldest first; rows that are none are left out, with a warning."""

    def log_rows(self, bank_id: str, newest: int) -> Sequence[bytes | str]:
        """What the log holds, as it lies there: the ``newest`` rows, oldest first."""

    def versions(self, bank_id: str) -> Sequence[int]:
        """The versions that ``read_version`` still has, ascending."""

    def head(self, bank_id: str) -> str | None:
        """``digest_of_entry`` of the newest log entry as noted beside the bank; None if there is no such bank."""

    def list_banks(self) -> Sequence[str]:
        """Ids of all banks, sorted."""

    def close(self) -> None:
        """Release connections."""


class BankStore(BankReader, Protocol):
    """What a coordinator or an operator may do."""

    def create(self, bank: Bank, change: Change) -> Bank:
        """Write ``bank`` if there is none of its id; the bank that is there afterwards."""

    def acquire(self, bank_id: str, holder: str, ttl_s: float) -> Lease | None:
        """Take the lease or prolong one's own; None while another holds it."""

    def release(self, lease: Lease) -> None:
        """Give it up; without effect if it is somebody else's by now."""

    def commit(self, request: CommitRequest) -> CommitOutcome:
        """Write the next version.

        Raises:
            OwnershipLostError: another holder took the lease since; the token is fenced.
            StaleVersionError: the store has another version or epoch, or no such bank.
        """

    def restore(self, request: RestoreRequest) -> CommitOutcome:
        """Write a bank under a new epoch. Version history above ``bank.version`` is dropped.

        Raises:
            StaleVersionError: the store does not hold ``replaces``.
        """

    def freeze(self, bank_id: str, change: Change, at: datetime) -> AuditEntry | None:
        """Refuse updates until ``unfreeze``; restores are taken, and leave the bank frozen.

        Args:
            bank_id: of the bank.
            change: of action ``freeze``.
            at: now, UTC.

        Returns:
            the log entry; None if it was frozen before, by another change: then nothing is written.

        Raises:
            FatalError: there is no such bank.
            StaleVersionError: it kept moving; try again.
        """

    def unfreeze(self, bank_id: str, change: Change, at: datetime) -> AuditEntry | None:
        """Allow updates again: as ``freeze``, with a change of action ``thaw``."""


def all_banks(store: BankReader) -> tuple[list[Bank], list[DamagedError]]:
    """The newest version of every bank, sorted, and what is wrong with those that are not what was written there."""
    found: list[Bank] = []
    damaged: list[DamagedError] = []
    for bank_id in store.list_banks():
        try:
            bank = store.read(bank_id)
        except DamagedError as error:
            damaged.append(error)
            continue
        if bank is not None:
            found.append(bank)
    return found, damaged


def kept_of(store: BankReader, bank_id: str) -> Bank | None:
    """What is kept of the newest version apart from the bank itself, for who finds that one damaged; None = nothing.

    Raises:
        DamagedError: this is damaged as well.
    """
    kept = store.versions(bank_id)
    return store.read_version(bank_id, kept[-1]) if kept else None


def read_instead(store: BankReader, bank_id: str) -> Bank:
    """The bank that somebody else made, for who came too late to create it.

    Raises:
        StaleVersionError: it is gone again.
    """
    found = store.read(bank_id)
    if found is None:
        raise StaleVersionError(f"bank '{bank_id}' vanished while it was created; try again")
    return found


def no_such_bank(bank_id: str) -> FatalError:
    """What freezing a bank says that is not there."""
    return FatalError(f"to be frozen or unfrozen a bank must exist, there is no '{bank_id}'; see 'engram bank list'")


def checked_id(text: str) -> str:
    """A bank id that is safe in keys.

    Raises:
        SettingsError: it is not.
    """
    return _checked(text, "a bank id", _ID)


def checked_prefix(text: str) -> str:
    """A key prefix that cannot be taken for a pattern.

    Raises:
        SettingsError: it can.
    """
    return _checked(text, "a key prefix", _PREFIX)


def _checked(text: str, what: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise SettingsError(f"{what} must match {pattern.pattern}, got {text!r}; choose a plainer name")
    return text
