"""A worker's view of the banks: its own copy, renewed about once a second, and how far it can be trusted."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bundles.calibration import Calibration
from memory_store.bank import Bank
from memory_store.normality import Grid, Normality
from memory_store.store import BankReader
from schemas.arrays import Float32
from schemas.errors import BundleError, DamagedError, TransientError
from schemas.messages import MemoryState

if TYPE_CHECKING:
    from bundles.bundle import Bundle, InitialItems  # needs an extra, which the edge has not

_log = logging.getLogger(__name__)

MAX_COPIES = 1024
"""Banks may be named after cameras, and anybody can make up a camera; those not asked for longest go."""
LEARNING_SLACK, LEARNING_SLACK_S = 2.0, 60.0
"""Learning takes longer than the video it wants, by what versions take to be written and read: as long again, and no
longer than this, since rounds have no quarantine meanwhile."""
INITIAL_EPOCH = "initial"
"""Epoch of a bank that no store has seen yet."""


@dataclass(frozen=True, slots=True)
class InitialBank:
    """The items a bundle was trained with: version 0 of every bank, and the anchor that it must stay near to.

    Attributes:
        bundle_digest: of the bundle.
        items_MC: unit length each; (0, 0) without a bank.
        places_per_frame: most queries that one frame can hold against it; None = not known here, nothing is judged
            by it.
        grid: of the counts of normality; None = the bundle judges without.
        fps: frames a second.
        parent_frames: that the bundle's own counts stand for.
    """

    bundle_digest: str
    items_MC: Float32
    places_per_frame: int | None = None
    grid: Grid | None = None
    fps: float = 1.0
    parent_frames: float = 0.0

    @classmethod
    def of_bundle(cls, bundle: "Bundle") -> "InitialBank":
        """Of a whole bundle."""
        return cls._of(bundle.digest, bundle.items_MC, bundle.manifest.places_per_frame, bundle.calibration)

    @classmethod
    def of_items(cls, items: "InitialItems") -> "InitialBank":
        """Of what a coordinator reads of a bundle."""
        return cls._of(items.bundle_digest, items.items_MC, items.places_per_frame, items.calibration)

    @classmethod
    def _of(cls, digest: str, items_MC: Float32, places: int, calibration: Calibration) -> "InitialBank":
        if calibration.memory is None:
            return cls(digest, items_MC, places)
        grid, frames = Grid(calibration.memory.rows, calibration.memory.columns), calibration.memory_frames
        stands_for = float(calibration.num_frames) if frames is None else frames
        return cls(digest, items_MC, places, grid, calibration.fps, stands_for)

    def is_learning(self, bank: Bank, learn_s: float) -> bool:
        """Whether a bank is still making the acquaintance of its camera, so that no events open (about).

        ``learn_s`` is the setting, which holds where the bank has no number of its own.
        """
        if bank.normality is None:
            return False
        wanted_s = bank.wanted_s(learn_s)
        longest_s = min(LEARNING_SLACK * wanted_s, wanted_s + LEARNING_SLACK_S)
        return bank.normality.num_frames + self.parent_frames < longest_s * self.fps

    @property
    def is_empty(self) -> bool:
        """Whether the bundle keeps all that it knows to itself, so that there is nothing to share."""
        return self.items_MC.size == 0 and self.grid is None

    def as_bank(self, bank_id: str, epoch: str = INITIAL_EPOCH, committed_at: datetime | None = None) -> Bank:
        """Version 0 of bank ``bank_id``."""
        at = committed_at or datetime.fromtimestamp(0, timezone.utc)
        nothing_seen = None if self.grid is None else Normality.empty(self.grid)
        return Bank(bank_id, 0, epoch, self.bundle_digest, self.items_MC, at, normality=nothing_seen)


@dataclass(frozen=True, slots=True)
class BankView:
    """A bank to score with, and whether it is the newest."""

    bank: Bank
    memory_state: MemoryState


@dataclass(slots=True)
class _Copy:
    """The last good copy of one bank. ``confirmed_at`` None: the store was never reached for it."""

    view: BankView
    asked_at: float
    confirmed_at: float | None


class BankCache:
    """Reads each bank at most once per ``refresh_s``, so a dead store costs one time-out per interval, not per frame.

    Args:
        store: where banks are read.
        initial: the bundle's bank; what a bank must fit.
        refresh_s: age at which a copy is read again.
        max_age_s: oldest unconfirmed copy to go on with; None = any.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: BankReader,
        initial: InitialBank,
        refresh_s: float = 1.0,
        max_age_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._initial = initial
        self._refresh_s = refresh_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._began_at = clock()
        self._away_at = -math.inf
        self._copies: dict[str, _Copy] = {}

    def view(self, bank_id: str) -> BankView:
        """The bank to score with now.

        Raises:
            BundleError: the store's bank does not fit the bundle.
            TransientError: the copy is older than ``max_age_s``.
        """
        if self._initial.is_empty:
            return BankView(self._initial.as_bank(bank_id), "none")
        now = self._clock()
        copy = self._copies.get(bank_id)
        if copy is None or now - copy.asked_at >= self._refresh_s:
            copy = self._renewed(bank_id, copy)
            self._copies[bank_id] = copy
            if len(self._copies) > MAX_COPIES:
                del self._copies[min(self._copies, key=lambda known: self._copies[known].asked_at)]
        self._check_age(copy, now)
        return copy.view

    def expire(self, bank_id: str) -> None:
        """Read a bank again when it is asked for next."""
        copy = self._copies.get(bank_id)
        if copy is not None:
            copy.asked_at = -math.inf

    def age_s(self, bank_id: str) -> float | None:
        """Seconds since the store last confirmed the copy of ``bank_id``; None if it never did."""
        copy = self._copies.get(bank_id)
        return None if copy is None or copy.confirmed_at is None else self._clock() - copy.confirmed_at

    def views(self) -> dict[str, BankView]:
        """The copies held now, by bank id; callable from any thread."""
        return {bank_id: copy.view for bank_id, copy in list(self._copies.items())}

    def refresh(self) -> None:
        """Read the copy again that was read longest ago, if it is time: one whose camera is silent is to be fresh, too.

        One at most, and none while the store is away: who scores must not wait for it.

        Raises:
            BundleError: the store's bank does not fit the bundle.
        """
        now = self._clock()
        oldest = min(self._copies, key=lambda known: self._copies[known].asked_at, default=None)
        if oldest is not None and now - max(self._away_at, self._copies[oldest].asked_at) >= self._refresh_s:
            self._copies[oldest] = self._renewed(oldest, self._copies[oldest])

    def _renewed(self, bank_id: str, copy: _Copy | None) -> _Copy:
        known = copy.view.bank if copy and copy.view.bank.epoch != INITIAL_EPOCH else None
        confirmed_at = copy.confirmed_at if copy else None
        try:
            found = self._store.read_if_newer(known) if known else self._store.read(bank_id)
        except (TransientError, DamagedError) as error:
            if copy is None or copy.view.memory_state != "stale":
                _log.warning("bank %s: going on with the last good copy: %s", bank_id, error, extra={"bank": bank_id})
            bank = known or self._initial.as_bank(bank_id)
            # Asked at the answer, not at the question: the pause between attempts does not shrink by the time-out.
            now = self._clock()
            if isinstance(error, TransientError):
                self._away_at = now
            return _Copy(BankView(bank, "stale"), now, confirmed_at)
        now = self._clock()
        if found is None or (found.normality is None and self._initial.grid is not None):
            return self._without_bank(bank_id, known, now, confirmed_at)  # or of an Engram that did not count yet
        self._check_fit(found)
        if known is not None and found.epoch == known.epoch and found.version < known.version:
            text = "bank %s: the store went back from v%d to v%d"
            _log.warning(text, bank_id, known.version, found.version, extra={"bank": bank_id})
            return _Copy(BankView(known, "stale"), now, confirmed_at)
        return _Copy(BankView(found, "frozen" if found.frozen else "live"), now, now)

    def _without_bank(self, bank_id: str, known: Bank | None, now: float, confirmed_at: float | None) -> _Copy:
        if known is None:
            return _Copy(BankView(self._initial.as_bank(bank_id), "initial"), now, now)
        return _Copy(BankView(known, "stale"), now, confirmed_at)  # wiped: the coordinator will restore it

    def _check_age(self, copy: _Copy, now: float) -> None:
        age_s = now - (self._began_at if copy.confirmed_at is None else copy.confirmed_at)
        if self._max_age_s is not None and copy.view.memory_state == "stale" and age_s > self._max_age_s:
            bank = copy.view.bank
            text = f"a copy must be at most {self._max_age_s} s old, that of bank '{bank.bank_id}' v{bank.version} is"
            raise TransientError(f"{text} {age_s:.1f} s; bring the store back, or raise the limit")

    def _check_fit(self, bank: Bank) -> None:
        """Raise unless the bank belongs to this worker's bundle."""
        wanted = (self._initial.bundle_digest, self._initial.items_MC.shape, self._initial.grid)
        if bank.kind == wanted:
            return
        raise BundleError(
            f"a bank must fit the bundle: bundle {wanted[0]} has items {wanted[1]} and counts of {wanted[2]}; bank "
            f"'{bank.bank_id}' v{bank.version} has items {bank.items_MC.shape} and counts of {bank.kind[2]} of bundle "
            f"{bank.bundle_digest}; use that bundle, or another bank"
        )
