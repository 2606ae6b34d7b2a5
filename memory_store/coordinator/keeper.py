"""The coordinator's dealings with the store: current versions, creation, restoring, committing.

The store is not the archive: the compacted topic is. Whichever of the two (and of what this process has seen) is newest
wins, so a store that was wiped or went back is set right under a new epoch, and a topic that lags is caught up. But the
store is written by coordinators and operators alone, and the topic by whoever can: what comes from there was judged as
an update is (``archive``), makes no bank that the settings do not know, and does not touch a frozen one.

A bank of the store that lies beyond the limits is put back to the trained items: no frame would pass the gate with it,
so nothing would ever pull it back. One that is damaged is written again from what is kept of its newest version; where
that is damaged too it is set aside, so that the others go on, until an operator has mended it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from memory_store.bank import Action, AuditEntry, Bank, Change, entry_for, entry_of, entry_with, next_epoch
from memory_store.coordinator.archive import Archive, Archived
from memory_store.coordinator.guards import (
    Rejection,
    distance_moved,
    distance_to_anchor,
    foreign_bundle,
    foreign_exemplars,
    frozen,
    too_far_ahead,
    unfit,
)
from memory_store.coordinator.options import CoordinatorOptions, is_named
from memory_store.coordinator.outgoing import Outgoing, bank_record
from memory_store.store import BankStore, CommitOutcome, CommitRequest, Lease, RestoreRequest, kept_of
from memory_store.taken import Taken, joined
from memory_store.views import InitialBank
from schemas.errors import DamagedError, OwnershipLostError, StaleVersionError

_log = logging.getLogger(__name__)

BUDGET_SPAN = timedelta(hours=1)
FIRST_ENTRIES = 1000
"""Log entries read at first when the budget is added up; more if the hour has more."""
LATEST_ENTRIES = 100
"""Log entries among which the one of the newest version is; freezes and thaws may have come after it."""
MAX_LOOKS = 50
"""Banks looked at in one go; with more of them each has its turn later."""


class BankKeeper:
    """Knows the newest version of each bank and writes the next one.

    Attributes:
        lease: the lead; it fences every commit. Its owner puts the new one here when it was taken again.
        refused: banks of the archive that were not restored, by reason.
        damaged: banks that cannot be worked with now, and what is wrong with each.
    """

    def __init__(
        self,
        store: BankStore,
        initial: InitialBank,
        options: CoordinatorOptions,
        outgoing: Outgoing,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self.lease: Lease | None = None
        self.refused: Counter[str] = Counter()
        self.damaged: dict[str, str] = {}
        self._store = store
        self._initial = initial
        self._options = options
        self._outgoing = outgoing
        self._wall_clock = wall_clock
        self._known: dict[str, Bank] = {}
        self._recent: dict[str, list[AuditEntry]] = {}

    @property
    def versions(self) -> Mapping[str, int]:
        """Bank id to version, as last seen."""
        return {bank_id: bank.version for bank_id, bank in self._known.items()}

    @property
    def banks(self) -> Mapping[str, Bank]:
        """The newest version of each bank, as last seen."""
        return self._known

    def now(self) -> datetime:
        """The wall clock, for what is written."""
        return self._wall_clock()

    def begin(self, archive: Archive) -> None:
        """Bring store and archive to the same newest version of every bank."""
        self.refused.update(archive.refused)
        stored = self._store.list_banks()
        for bank_id in stored:
            with self.setting_aside(bank_id):
                self._begin_with(bank_id, archive.newest.get(bank_id))
        for bank_id in sorted(set(archive.newest) - set(stored)):
            if is_named(bank_id, self._options.bank_id) and self.has_room():
                self._begin_with(bank_id, archive.newest[bank_id])
            else:
                text = "is neither in the store nor one that memory.bank_id names"
                self._refuse(archive.newest[bank_id], Rejection("unknown_bank", text))

    def knows(self, bank_id: str) -> bool:
        """Whether the bank was there when the store was last looked at."""
        return bank_id in self._known or bank_id in self.damaged

    def has_room(self) -> bool:
        """Whether one more bank may be made."""
        return len(self._known) < self._options.max_banks

    def found(self, bank_id: str) -> Bank | None:
        """The newest version as the store has it now; None if there is none, and none is made."""
        if self.knows(bank_id) or self._store.read(bank_id) is not None:
            return self.renewed(bank_id)
        return None

    def find_new(self) -> None:
        """Look for banks that an operator has made."""
        for bank_id in self._store.list_banks():
            if not self.knows(bank_id):
                with self.setting_aside(bank_id):
                    self.renewed(bank_id)

    def renew(self) -> None:
        """Look at the known banks again, those first that were not looked at for the longest."""
        for bank_id in [*list(self._known)[:MAX_LOOKS], *list(self.damaged)[:MAX_LOOKS]]:
            with self.setting_aside(bank_id):
                bank = self.renewed(bank_id)
                del self._known[bank_id]
                self._known[bank_id] = bank

    @contextmanager
    def setting_aside(self, bank_id: str) -> Iterator[None]:
        """Work on one bank; if it turns out to be damaged that is told, and remembered until it no longer is."""
        try:
            yield
        except DamagedError as error:
            if bank_id not in self.damaged:
                _log.error("bank %s is set aside, the others go on: %s", bank_id, error, extra={"bank": bank_id})
            self.damaged[bank_id] = str(error)
            self._known.pop(bank_id, None)
        else:
            if self.damaged.pop(bank_id, None) is not None:
                _log.info("bank %s is sound again", bank_id, extra={"bank": bank_id})

    def current(self, bank_id: str) -> Bank:
        """The newest version as last seen; a bank that is nowhere is created from the bundle."""
        return self._known.get(bank_id) or self.renewed(bank_id)

    def renewed(self, bank_id: str) -> Bank:
        """The newest version as the store has it now."""
        known = self._known.get(bank_id)
        found = self._stored(bank_id, known)
        if known is not None and found is known:
            return known
        if known is not None and (found is None or found.age_order < known.age_order):
            bank = self._restored(known, found, "this coordinator's memory")
        else:
            bank = self._healed(found or self._created(bank_id))
        if known is None or bank.age_order != known.age_order:
            self._tell(bank)
        self._known[bank_id] = bank
        return bank

    def spent(self, bank_id: str) -> float:
        """How far a bank has moved within the hour, the sum of ``distance_moved`` over its commits."""
        since = self._wall_clock() - BUDGET_SPAN
        entries = self._recent.get(bank_id)
        if entries is None:
            entries = self._entries_since(bank_id, since)
        kept = [entry for entry in entries if entry.committed_at > since and entry.change.action == "update"]
        self._recent[bank_id] = kept
        return sum(entry.change.moved for entry in kept)

    def commit(self, bank: Bank, change: Change) -> CommitOutcome:
        """Write ``bank`` as the next version and have it told.

        Raises:
            OwnershipLostError: somebody else leads by now.
            DamagedError: what it is to follow is damaged, and no copy of that is sound.
            TransientError: the bank moved on, or the store is away. In the last case it is unknown whether it was
                written: ask ``was_applied`` before anything else.
        """
        if self.lease is None:
            raise OwnershipLostError(f"to write bank '{bank.bank_id}' the lead must be held")
        recent = self._recent.pop(bank.bank_id, None)  # until the answer is here, only the log knows
        try:
            outcome = self._store.commit(CommitRequest(self.lease, bank, change))
        except DamagedError as error:
            self._known.pop(bank.bank_id, None)
            self.renewed(bank.bank_id)
            raise StaleVersionError(f"bank '{bank.bank_id}' was damaged, and is written again") from error
        if outcome.status == "applied" and outcome.entry is not None:
            if recent is not None:
                self._recent[bank.bank_id] = [*recent, outcome.entry]
            self._known[bank.bank_id] = bank
            self._outgoing.add(bank_record(bank, outcome.entry, self._options.topics.memory_banks))
        else:
            self.renewed(bank.bank_id)
        return outcome

    def was_applied(self, bank_id: str, commit_id: str) -> bool:
        """Whether a commit whose answer was lost went through."""
        return self.entry_with(bank_id, commit_id) is not None

    def entry_with(self, bank_id: str, commit_id: str) -> AuditEntry | None:
        """What a commit has left in the log, if it went through not long ago."""
        return entry_with(commit_id, self._store.log(bank_id, LATEST_ENTRIES))

    def taken(self, bank_id: str) -> Taken | None:
        """What the newest rounds have taken in, whoever settled them; None if the log knows of none."""
        entries = self._store.log(bank_id, LATEST_ENTRIES)
        return joined(entry.change.taken for entry in entries if entry.change.taken is not None)

    def _begin_with(self, bank_id: str, kept: Archived | None) -> None:
        """Take the newer of what the store and the archive have."""
        found = self._stored(bank_id)
        if kept is not None and found is not None and kept.bank.age_order > found.age_order:
            flaw = frozen(found) or too_far_ahead(kept.bank, found)
            if flaw is not None:
                self._refuse(kept, flaw)
                kept = None
        if kept is not None and (found is None or kept.bank.age_order > found.age_order):
            bank = self._restored(kept.bank, found, kept.place)
        else:
            bank = self._healed(found or self._created(bank_id))
        if kept is None or bank.age_order != kept.bank.age_order:
            self._tell(bank)
        self._known[bank_id] = bank

    def _stored(self, bank_id: str, known: Bank | None = None) -> Bank | None:
        """What the store has, written again if only a copy of it is sound; ``known`` itself if there is nothing newer.

        Raises:
            DamagedError: nothing is.
        """
        try:
            return self._store.read_if_newer(known) if known else self._store.read(bank_id)
        except DamagedError as error:
            kept = kept_of(self._store, bank_id)
            if kept is None:
                raise
            _log.warning("bank %s: writing v%d again: %s", bank_id, kept.version, error, extra={"bank": bank_id})
            try:
                return self._written(kept, kept, f"what is kept of v{kept.version}, since the bank itself was damaged")
            except StaleVersionError:  # it is of an older version than the one that is damaged
                raise error from None

    def _refuse(self, kept: Archived, flaw: Rejection) -> None:
        self.refused[flaw.reason] += 1
        _log.warning("record %s does not restore bank '%s': %s", kept.place, kept.bank.bank_id, flaw.detail)

    def _created(self, bank_id: str) -> Bank:
        bank = self._initial.as_bank(bank_id, next_epoch(), self._wall_clock())
        return self._store.create(bank, self._change("create", "first proposal", bank.epoch))

    def _healed(self, found: Bank) -> Bank:
        """``found``, or the trained bank in its place if no update could have led there."""
        if found.frozen:
            return found
        foreign = foreign_bundle(found.bundle_digest, self._initial.bundle_digest)
        if foreign is not None:
            text = "bank %s v%d is left alone, what is proposed for it is rejected: %s; use its bundle, or another bank"
            _log.warning(text, found.bank_id, found.version, foreign.detail, extra={"bank": found.bank_id})
            return found
        flaw = self._flaw(found)
        if flaw is None:
            return found
        trained = self._initial.as_bank(found.bank_id)
        kept = replace(found, version=found.version + 1, normality=trained.normality)
        if found.normality is None and self._flaw(kept) is None:  # of an Engram that did not count yet
            _log.info("bank %s v%d: counts of normality are added to its items", found.bank_id, found.version)
            return self._written(kept, found, f"the items of v{found.version}, from here on with counts of normality")
        named = {"bank": found.bank_id}
        _log.warning(
            "bank %s v%d: back to the trained bank, %s", found.bank_id, found.version, flaw.detail, extra=named
        )
        fit = () if foreign_exemplars(found.exemplars, self._initial.grid) else found.exemplars
        whole = replace(kept, items_MC=trained.items_MC, exemplars=fit)
        return self._written(whole, found, f"the trained bank, since v{found.version} was unfit: {flaw.detail}")

    def _flaw(self, found: Bank) -> Rejection | None:
        return unfit(found, self._initial, self._options.limits.anchor_distance)

    def _restored(self, best: Bank, found: Bank | None, source: str) -> Bank:
        what = f"the store had v{found.version} of epoch {found.epoch}" if found else "the store had none"
        named = {"bank": best.bank_id}
        _log.warning("bank %s: restoring v%d from %s, %s", best.bank_id, best.version, source, what, extra=named)
        bank = self._written(best, found, f"from {source}; {what}")
        if best.frozen and not bank.frozen:
            change = self._change("freeze", "it was frozen before it was restored", f"freeze {bank.epoch}")
            self._store.freeze(bank.bank_id, change, self._wall_clock())
            bank = self._store.read(bank.bank_id) or bank
        return bank

    def _written(self, best: Bank, found: Bank | None, reason: str) -> Bank:
        """Put ``best`` in the place of ``found`` under a new epoch."""
        epoch = next_epoch(best.epoch, found.epoch if found else None)
        bank = replace(best, epoch=epoch, committed_at=self._wall_clock(), frozen=False)
        fits = found is not None and found.items_MC.shape == bank.items_MC.shape
        change = replace(
            self._change("restore", reason, epoch),
            moved=distance_moved(found.items_MC, bank.items_MC) if found is not None and fits else 0.0,
            anchor_distance=distance_to_anchor(bank.items_MC, self._initial.items_MC),
        )
        self._store.restore(RestoreRequest(bank, found, change))
        return self._store.read(bank.bank_id) or bank

    def _entries_since(self, bank_id: str, since: datetime) -> list[AuditEntry]:
        """The log as far back as ``since``, oldest first."""
        newest = FIRST_ENTRIES
        while True:
            entries = list(self._store.log(bank_id, newest))
            if len(entries) < newest or entries[0].committed_at <= since:
                return entries
            newest *= 4

    def _tell(self, bank: Bank) -> None:
        entry = entry_of(bank, self._store.log(bank.bank_id, LATEST_ENTRIES))
        if entry is None:  # the store has lost its log
            entry = entry_for(bank, self._change("restore", "told again", bank.epoch), None, None)
        self._outgoing.add(bank_record(bank, entry, self._options.topics.memory_banks))

    def _change(self, action: Action, reason: str, commit_id: str) -> Change:
        return Change(action, self._options.coordinator_id, reason, commit_id)
