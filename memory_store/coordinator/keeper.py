"""The coordinator's dealings with the store: current versions, creation, restoring, committing.

The store is not the archive: the compacted topic is. Whichever of the two (and of what this process has seen) is newest
wins, so a store that was wiped or went back is set right under a new epoch, and a topic that lags is caught up.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from memory_store.bank import Action, AuditEntry, Bank, Change, from_wire, next_epoch
from memory_store.coordinator.outgoing import Outgoing, bank_record
from memory_store.coordinator.settling import Base
from memory_store.store import BankStore, CommitOutcome, CommitRequest, RestoreRequest
from memory_store.views import InitialBank
from messaging.ports import Record
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError, TransientError
from schemas.messages import BankHeader

_log = logging.getLogger(__name__)

BUDGET_SPAN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and where what was written is told.

    Attributes:
        author: name in the log.
        holder: name on leases, unique among all processes ever started.
        lease_s: how long a lease lasts.
        topic: the compacted topic of banks.
    """

    author: str
    holder: str
    lease_s: float
    topic: str


class BankKeeper:
    """Knows the newest version of each bank and writes the next one."""

    def __init__(
        self,
        store: BankStore,
        initial: InitialBank,
        writer: Writer,
        outgoing: Outgoing,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._initial = initial
        self._writer = writer
        self._outgoing = outgoing
        self._wall_clock = wall_clock
        self._known: dict[str, Bank] = {}
        self._recent: dict[str, list[AuditEntry]] = {}

    @property
    def versions(self) -> Mapping[str, int]:
        """Bank id to version, as last seen."""
        return {bank_id: bank.version for bank_id, bank in self._known.items()}

    def begin(self, archived: Mapping[str, Bank]) -> None:
        """Bring store and archive to the same newest version of every bank."""
        for bank_id in sorted({*archived, *self._store.list_banks()}):
            kept = archived.get(bank_id)
            bank = self._reconciled(bank_id, kept)
            if kept is None or bank.age_order != kept.age_order:
                self._tell(bank)
            self._known[bank_id] = bank

    def renew(self) -> None:
        """Look at every known bank again."""
        for bank_id in list(self._known):
            self.renewed(bank_id)

    def current(self, bank_id: str) -> Bank:
        """The newest version as last seen; a bank that is nowhere is created from the bundle."""
        return self._known.get(bank_id) or self.renewed(bank_id)

    def renewed(self, bank_id: str) -> Bank:
        """The newest version as the store has it now."""
        known = self._known.get(bank_id)
        found = self._store.read_if_newer(known) if known else self._store.read(bank_id)
        if known is not None and found is known:
            return known
        bank = self._reconciled(bank_id, known)
        if known is None or bank.age_order != known.age_order:
            self._tell(bank)
        self._known[bank_id] = bank
        return bank

    def base(self, bank: Bank) -> Base:
        """What a round on ``bank`` starts from."""
        entries = self._recent.setdefault(bank.bank_id, list(self._store.log(bank.bank_id)))
        since = self._wall_clock() - BUDGET_SPAN
        entries[:] = [entry for entry in entries if entry.committed_at > since and entry.change.action == "update"]
        return Base(bank, self._initial.items_MC, sum(entry.change.moved for entry in entries))

    def commit(self, bank: Bank, change: Change) -> CommitOutcome:
        """Write ``bank`` as the next version and have it told.

        Raises:
            TransientError: another writer has the lease, the bank moved on, or the store is away. In the last case it
                is unknown whether it was written: ask ``was_applied`` before anything else.
        """
        lease = self._store.acquire(bank.bank_id, self._writer.holder, self._writer.lease_s)
        if lease is None:
            raise TransientError(f"another writer has the lease on bank '{bank.bank_id}': waiting for it to run out")
        outcome = self._store.commit(CommitRequest(lease, bank, change))
        if outcome.entry is not None:
            self._recent.setdefault(bank.bank_id, []).append(outcome.entry)
            self.renewed(bank.bank_id)
        self._store.release(lease)
        return outcome

    def was_applied(self, bank_id: str, commit_id: str) -> bool:
        """Whether a commit whose answer was lost went through."""
        return any(entry.change.commit_id == commit_id for entry in self._store.log(bank_id, newest=100))

    def _reconciled(self, bank_id: str, best: Bank | None) -> Bank:
        """What the store holds once it is no older than ``best``."""
        found = self._store.read(bank_id)
        if best is None:
            return found or self._created(bank_id)
        if found is not None and found.age_order >= best.age_order:
            return found
        return self._restored(best, found)

    def _created(self, bank_id: str) -> Bank:
        bank = self._initial.as_bank(bank_id, next_epoch(), self._wall_clock())
        return self._store.create(bank, self._change("create", "first proposal", bank.epoch))

    def _restored(self, best: Bank, found: Bank | None) -> Bank:
        epoch = next_epoch(best.epoch, found.epoch if found else None)
        bank = replace(best, epoch=epoch, committed_at=self._wall_clock(), frozen=False)
        what = f"the store had v{found.version} of epoch {found.epoch}" if found else "the store had none"
        _log.warning("bank %s: restoring v%d, %s", bank.bank_id, bank.version, what)
        self._store.restore(RestoreRequest(bank, found, self._change("restore", what, epoch)))
        if best.frozen:
            self._store.freeze(bank.bank_id)
        return self._store.read(bank.bank_id) or bank

    def _tell(self, bank: Bank) -> None:
        entry = self._store.log(bank.bank_id, newest=1)[-1]
        self._outgoing.add(bank_record(bank, entry, self._writer.topic))

    def _change(self, action: Action, reason: str, commit_id: str) -> Change:
        return Change(action, self._writer.author, reason, commit_id)


def newest_banks(records: Sequence[Record]) -> dict[str, Bank]:
    """The newest version of each bank among the records of the compacted topic; what is no bank is left out."""
    newest: dict[str, Bank] = {}
    for record in records:
        if record.value is None:
            continue
        try:
            bank = from_wire(decode_message(BankHeader, record.header(HEADER)), record.value)
        except BadMessageError as error:
            _log.error("record %s/%d/%d is no bank: %s", record.topic, record.partition, record.offset, error)
            continue
        if bank.bank_id not in newest or bank.age_order > newest[bank.bank_id].age_order:
            newest[bank.bank_id] = bank
    return newest
