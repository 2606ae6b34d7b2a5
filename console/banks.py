"""Versions of banks as they were announced on ``memory-banks``: who wrote them, when, and why."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from console.kept import Ledger, Row
from memory_store.bank import AuditEntry, age_order, from_wire
from schemas.codec import encode_message
from schemas.errors import BadMessageError, DamagedError
from schemas.messages import BankHeader

MAX_BANKS = 500
MAX_VERSIONS = 200


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a bank.

    Attributes:
        entry: its line in the audit log; None where the announcement had none that can be read.
        learn_s: seconds of normal video that its cameras are to be learned from; None = as the setting says.
    """

    bank_id: str
    version: int
    epoch: str
    digest: str
    committed_at: datetime
    entry: AuditEntry | None
    learn_s: float | None = None

    @property
    def age_order(self) -> tuple[int, str, int]:
        """Sorts the versions of one bank from oldest to newest."""
        return age_order(self.epoch, self.version)


class BankBook:
    """Versions by bank, bounded; the oldest go first. Not thread-safe."""

    def __init__(self, ledger: Ledger, max_banks: int = MAX_BANKS, max_versions: int = MAX_VERSIONS) -> None:
        self._ledger = ledger
        self._max_banks = max_banks
        self._max_versions = max_versions
        self._banks: OrderedDict[str, OrderedDict[tuple[str, int], Version]] = OrderedDict()
        self._known_frames: dict[str, float] = {}

    def take(self, header: BankHeader, value: bytes | None) -> bool:
        """A version was announced; with its content, what it has counted is known too. Whether it is news."""
        if value is not None:
            self._count(header, value)
        name = (header.epoch, header.version)
        versions = self._banks.setdefault(header.bank_id, OrderedDict())
        self._banks.move_to_end(header.bank_id)
        if name in versions:
            return False
        versions[name] = version_of(header)
        row = Row(
            "bank", _key(header.bank_id, name), int(header.committed_at.timestamp() * 1000), encode_message(header)
        )
        self._ledger.put(row)
        if len(versions) > self._max_versions:
            self._ledger.drop("bank", _key(header.bank_id, versions.popitem(last=False)[0]))
        if len(self._banks) > self._max_banks:
            bank_id, dropped = self._banks.popitem(last=False)
            self._known_frames.pop(bank_id, None)
            for each in dropped:
                self._ledger.drop("bank", _key(bank_id, each))
        return True

    def names(self) -> list[str]:
        """All banks, sorted."""
        return sorted(self._banks)

    def versions(self, bank_id: str) -> list[Version]:
        """Of one bank, newest first."""
        found = list(self._banks[bank_id].values()) if bank_id in self._banks else []
        return sorted(found, key=lambda one: one.age_order, reverse=True)

    def known_frames(self, bank_id: str) -> float | None:
        """Frames that the newest version has counted as normal; None where it counts none, or is not known."""
        return self._known_frames.get(bank_id)

    def learn_s(self, bank_id: str) -> float | None:
        """How long its cameras are to be learned, by the newest version; None where the setting holds."""
        newest = max(self._banks.get(bank_id, {}).values(), key=lambda one: one.age_order, default=None)
        return None if newest is None else newest.learn_s

    def _count(self, header: BankHeader, value: bytes) -> None:
        try:
            normality = from_wire(header, value).normality
        except BadMessageError:
            return
        if normality is not None:
            self._known_frames[header.bank_id] = normality.num_frames


def version_of(header: BankHeader) -> Version:
    """What is shown of an announcement. Whatever stands where its audit entry should be ends nothing."""
    try:
        entry = AuditEntry.from_json(header.audit)
    except DamagedError:
        entry = None
    named = header.bank_id, header.version, header.epoch, header.digest
    return Version(*named, header.committed_at, entry, header.learn_s)


def _key(bank_id: str, name: tuple[str, int]) -> str:
    return f"{bank_id}:{name[0]}:{name[1]}"
