"""What an operator does to banks from the page, where the console has their store."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from consumers.verdicts import Statement, verdict_on
from memory_store.bank import AuditEntry, Bank
from memory_store.comparison import compare
from memory_store.exemplar import exemplar_of, silenced_by
from memory_store.interventions import MAX_AUTHOR, Signature, kept_version, newest_of, roll_back
from memory_store.store import BankStore, all_banks
from schemas.arrays import Float64
from schemas.errors import BadMessageError, DamagedError, SettingsError, TransientError
from schemas.messages import AnomalyEvent

_log = logging.getLogger(__name__)

MAX_ENTRIES = 200
ALL_ENTRIES = 20_000

Measure = Literal["grey", "error"]
MEASURES: Mapping[Measure, str] = {
    "grey": "mean grey level of each place (0 to 1)",
    "error": "mean logarithm of the prediction error of each place",
}


@dataclass(frozen=True, slots=True)
class BankLine:
    """One bank in a list."""

    bank_id: str
    version: int
    is_frozen: bool
    committed_at: datetime
    num_items: int
    num_frames: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """What changed between two versions.

    Attributes:
        counted: frames that the later counts more; None where banks do not count.
        moved: of each item, how far, largest first: number of the item and Euclidean distance.
        by_camera: frames behind it.
        changes: by measure, the change at each place (P, Q); empty where banks do not count.
    """

    before: int
    after: int
    counted: float | None
    moved: Sequence[tuple[int, float]]
    by_camera: Mapping[str, int]
    entries: Sequence[AuditEntry]
    changes: Mapping[Measure, Float64]


class MemoryDesk:
    """Over a store; each call asks it anew. The coordinator stays the only one who teaches.

    Args:
        store: of the banks.
        now: wall clock, UTC.
    """

    def __init__(self, store: BankStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def banks(self) -> list[BankLine]:
        """All that can be read, by name."""
        found, damaged = all_banks(self._store)
        for error in damaged:
            _log.warning("%s", error)
        return [bank_line(bank) for bank in found]

    def bank(self, bank_id: str) -> BankLine:
        """One.

        Raises:
            FatalError: there is none of that name.
        """
        return bank_line(newest_of(self._store, bank_id))

    def log(self, bank_id: str) -> list[AuditEntry]:
        """Its newest entries, newest first."""
        return list(reversed(self._store.log(bank_id, MAX_ENTRIES)))

    def kept(self, bank_id: str) -> Sequence[int]:
        """Versions that can be gone back to, ascending."""
        return self._store.versions(bank_id)

    def today(self, event: AnomalyEvent) -> str | None:
        """Whether what people have said by now would keep an event from being told; see ``console.web.site``."""
        data = event.data
        try:
            bank = self._store.read(data.provenance.bank_id)
            like = exemplar_of(verdict_on(data, Statement("real", "console"), self._now(), "today"))
        except (TransientError, SettingsError, BadMessageError, DamagedError):
            return None
        if bank is None or bank.normality is None or bank.bundle_digest != data.provenance.bundle_digest:
            return None
        if like.flaw(bank.normality.grid) is not None:
            return None
        for one in bank.exemplars:
            if one.judgement == "normal" and one.event_id == like.event_id:
                return f"Today it would not be told: {one.operator} has called it normal."
            if silenced_by(one, [like]) is not None:
                return (
                    f"Today it would not be told: {one.operator} has called {one.event_id} normal, and it is like that."
                )
        return "Nothing that people have said by now would keep it from being told today."

    def difference(self, bank_id: str, before: int, after: int) -> Difference:
        """What changed from one version to another.

        Raises:
            FatalError: one of them is not kept.
        """
        newest = newest_of(self._store, bank_id)
        one, other = (kept_version(self._store, newest, version) for version in (before, after))
        found = compare(one, other, self._store.log(bank_id, ALL_ENTRIES))
        order = np.argsort(-found.moved_M, kind="stable")[:5]
        frames: dict[str, int] = {}
        for entry in found.entries:
            for camera, number in entry.change.cameras:
                frames[camera] = frames.get(camera, 0) + number
        changes: dict[Measure, Float64] = {}
        if one.normality is not None and other.normality is not None:
            changes = {measure: _of(other, measure) - _of(one, measure) for measure in MEASURES}
        moved = [(int(item), float(found.moved_M[item])) for item in order]
        return Difference(before, after, found.counted, moved, frames, found.entries, changes)

    def freeze(self, bank_id: str, by: str, reason: str) -> None:
        """Let it learn no more until ``thaw``."""
        self._store.freeze(bank_id, self._signed(by, reason).change("freeze"), self._now())

    def thaw(self, bank_id: str, by: str, reason: str) -> None:
        """Let it learn again."""
        self._store.unfreeze(bank_id, self._signed(by, reason).change("thaw"), self._now())

    def roll_back(self, bank_id: str, version: int, by: str, reason: str) -> int:
        """One more version with the content of an earlier one; its number.

        Raises:
            FatalError: it is not kept, or is what the bank has now.
            StaleVersionError: the bank kept moving.
        """
        return roll_back(self._store, bank_id, version, self._signed(by, reason)).version

    def _signed(self, by: str, reason: str) -> Signature:
        return Signature(f"{by}@console"[:MAX_AUTHOR], reason, self._now())


def bank_line(bank: Bank) -> BankLine:
    """What is shown of a bank."""
    frames = None if bank.normality is None else bank.normality.num_frames
    return BankLine(bank.bank_id, bank.version, bank.frozen, bank.committed_at, len(bank.items_MC), frames)


def _of(bank: Bank, measure: Measure) -> Float64:
    """A measure of each place, (P, Q); 0 where nothing was seen."""
    assert bank.normality is not None
    if measure == "grey":
        grey: Float64 = bank.normality.field("background")[..., 0] / max(bank.normality.num_frames, 1e-9)
        return grey
    errors = bank.normality.field("errors")
    means: Float64 = errors[..., 1] / np.maximum(errors[..., 0], 1e-9)
    return np.where(errors[..., 0] > 0, means, 0.0)
