"""Whether a bank is what its log says: the chain of entries, its head, and the items of every version that is kept.

What this cannot see: whoever can write the store can write bank, log and head anew, all of them. Compare the head with
one that was noted elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memory_store.bank import GENESIS, AuditEntry, Bank, entry_of, first_broken_link
from memory_store.store import KEPT_ENTRIES, BankReader
from schemas.errors import DamagedError, FatalError, TransientError

LOOKS = 10
"""Times that log and bank are read again because somebody wrote between."""
ALL_ENTRIES = 2 * KEPT_ENTRIES
"""More than a store has; it trims its log by and by."""
SHORT = 12


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at and found.

    Attributes:
        bank_id: of the bank.
        head: digest of the newest entry, as the store says.
        num_entries: of the log.
        is_from_start: whether the log reaches back to the first entry; older ones may have been trimmed.
        versions: kept, ascending.
        faults: what is wrong, in words, the first broken link first; empty = the bank is what its log says.
    """

    bank_id: str
    head: str | None
    num_entries: int
    is_from_start: bool
    versions: tuple[int, ...]
    faults: tuple[str, ...]


def verify(store: BankReader, bank_id: str) -> Verification:
    """Walk the log and the kept versions of a bank.

    Raises:
        FatalError: there is no such bank.
        TransientError: the store is away, or the bank kept moving.
    """
    for _ in range(LOOKS):
        head = store.head(bank_id)
        if head is None:
            known = list(store.list_banks())
            raise FatalError(f"bank '{bank_id}' must exist, the store has {known}; see 'engram bank list'")
        found = _verified(store, bank_id, head)
        if not found.faults or store.head(bank_id) == head:
            return found
    raise TransientError(f"bank '{bank_id}' moved on at each of {LOOKS} looks; freeze it first, or try again")


def _verified(store: BankReader, bank_id: str, head: str) -> Verification:
    faults: list[str] = []
    entries: list[AuditEntry] = []
    rows = store.log_rows(bank_id, ALL_ENTRIES)
    for number, row in enumerate(rows, 1):
        try:
            entries.append(AuditEntry.from_text(row))
        except DamagedError as error:
            faults.append(f"row {number} of {len(rows)} of the log: {error}")
    faults += _faults_of_log(entries, head)
    newest = _newest(store, bank_id, faults)
    versions = tuple(store.versions(bank_id))
    written = {entry.version: entry for entry in entries if entry.writes_items}
    for version in versions:
        faults += _faults_of_version(store, bank_id, version, written)
    is_from_start = bool(entries) and entries[0].previous_entry == GENESIS
    if newest is not None and entries:
        faults += _faults_of_newest(newest, entries, versions)
        faults += _faults_of_state(newest, entries, is_from_start)
    return Verification(bank_id, head, len(entries), is_from_start, versions, tuple(faults))


def _faults_of_log(entries: Sequence[AuditEntry], head: str) -> list[str]:
    if not entries:
        return ["the log is empty"]
    faults = []
    broken = first_broken_link(entries)
    if broken is not None:
        which = f"entry {broken + 1} of {len(entries)} ({_told(entries[broken])})"
        faults.append(f"{which} does not follow from the one before")
    if entries[-1].digest_of_entry() != head:
        text = f"the newest entry ({_told(entries[-1])}) is not the one that the bank names"
        faults.append(f"{text}: it was changed, or others were taken away after it")
    return faults


def _newest(store: BankReader, bank_id: str, faults: list[str]) -> Bank | None:
    try:
        return store.read(bank_id)
    except DamagedError as error:
        faults.append(f"the newest version: {error}")
        return None


def _faults_of_version(store: BankReader, bank_id: str, version: int, written: Mapping[int, AuditEntry]) -> list[str]:
    try:
        bank = store.read_version(bank_id, version)
    except DamagedError as error:
        return [f"v{version}: {error}"]
    entry = written.get(version)
    if bank is None or entry is None:  # taken out meanwhile; or older than what is left of the log
        return []
    if (bank.version, bank.epoch, bank.digest) == (version, entry.epoch, entry.digest):
        return _faults_of_learning(bank, entry)
    return [f"v{version} has items {bank.digest[:SHORT]}, its entry ({_told(entry)}) says {entry.digest[:SHORT]}"]


def _faults_of_newest(newest: Bank, entries: Sequence[AuditEntry], versions: Sequence[int]) -> list[str]:
    faults = []
    entry = entry_of(newest, entries)
    if entry is None or entry.digest != newest.digest:
        faults.append(f"no entry wrote the newest version, v{newest.version} with items {newest.digest[:SHORT]}")
    else:
        faults += _faults_of_learning(newest, entry)
    if newest.version not in versions:
        faults.append(f"the newest version, v{newest.version}, is not among those kept")
    return faults


def _faults_of_learning(bank: Bank, entry: AuditEntry) -> list[str]:
    if bank.learn_s == entry.learn_s:
        return []
    return [f"v{bank.version} learns for {bank.learn_s} s, its entry ({_told(entry)}) says {entry.learn_s} s"]


def _faults_of_state(newest: Bank, entries: Sequence[AuditEntry], is_from_start: bool) -> list[str]:
    marks = [entry for entry in entries if not entry.writes_items]
    is_said = marks[-1].change.action == "freeze" if marks else False
    if newest.frozen == is_said or not (marks or is_from_start):
        return []
    return [f"the bank is {'frozen' if newest.frozen else 'not frozen'}, its log says otherwise"]


def _told(entry: AuditEntry) -> str:
    at = entry.committed_at.strftime("%Y-%m-%d %H:%M:%S")
    return f"v{entry.version}, {entry.change.action} by {entry.change.author}, {at}"
