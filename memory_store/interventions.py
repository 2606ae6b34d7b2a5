"""What an operator does to a bank. Each step is one more version or entry with a name and a reason; none is taken back.

No lease is needed: a bank that is put in the place of another has a new epoch, so whatever the coordinator has under
way is stale, and it goes on from what it then finds. A bank may be frozen all the while, and stays so: stop the damage,
look, go back, thaw.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from memory_store.bank import Action, Bank, Change, entry_of, entry_with, next_epoch
from memory_store.coordinator.guards import distance_moved
from memory_store.normality import Normality
from memory_store.store import KEPT_ENTRIES, BankReader, BankStore, RestoreRequest, checked_id
from schemas.errors import DamagedError, FatalError, SettingsError, StaleVersionError
from schemas.messages import MAX_LEARN_S

ATTEMPTS = 10
"""At putting a bank in the place of another: as many commits may come between."""
MAX_AUTHOR, MAX_REASON = 100, 500
"""Letters: an entry travels in a record header."""
SHORT = 12
"""Hex digits of a digest that a person compares."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who does it, why, when.

    Attributes:
        author: as in ``ann@edge7``.
        reason: in words; may be empty.
        at: UTC.

    Raises:
        SettingsError: author or reason cannot stand in a log.
    """

    author: str
    reason: str
    at: datetime

    def __post_init__(self) -> None:
        for what, text, longest in (("author", self.author, MAX_AUTHOR), ("reason", self.reason, MAX_REASON)):
            if len(text) > longest or not text.isprintable():
                raise SettingsError(f"--{what} must be one line of at most {longest} letters, got {text[:60]!r}")
        if not self.author.strip():
            raise SettingsError("--author must say who does this, got nothing; as in --author ann@edge7")

    def change(self, action: Action, what: str = "", anchor_distance: float = 0.0) -> Change:
        """For the log: what was done, then why. ``anchor_distance`` as in ``Change``."""
        said = ": ".join(part for part in (what, self.reason.strip()) if part)
        commit_id = f"{action} {secrets.token_hex(16)}"
        return Change(action, self.author, said, commit_id, anchor_distance=anchor_distance)


def newest_of(store: BankReader, bank_id: str) -> Bank:
    """The newest version.

    Raises:
        FatalError: there is no such bank.
        DamagedError: it is not what was written there; see ``roll_back``.
    """
    found = store.read(bank_id)
    if found is None:
        known = list(store.list_banks())
        raise FatalError(f"bank '{bank_id}' must exist, the store has {known}; 'engram bank create' makes one")
    return found


def newest_sound(store: BankReader, bank_id: str) -> Bank:
    """The newest version that is what was written there: who mends a damaged bank must get past it.

    Raises:
        FatalError: there is no such bank.
        DamagedError: not one version is.
    """
    try:
        return newest_of(store, bank_id)
    except DamagedError:
        for version in reversed(store.versions(bank_id)):
            with suppress(DamagedError):
                if (kept := store.read_version(bank_id, version)) is not None:
                    return kept
        raise


def kept_version(store: BankReader, newest: Bank, version: int | None) -> Bank:
    """A version of the bank whose newest one is given, across epochs; None = the newest itself.

    Raises:
        FatalError: there was never such a version, it is no longer kept, or its items are of another bundle.
    """
    if version is None:
        return newest
    found = newest if version == newest.version else store.read_version(newest.bank_id, version)
    name = f"v{version} of bank '{newest.bank_id}'"
    if found is None:
        what = "does not exist yet" if version > newest.version else "is no longer kept"
        raise FatalError(f"a version must be one that the store has, {name} {what}; it has {_told(store, newest)}")
    if found.kind != newest.kind:
        text = f"a version must be of the bank's bundle {newest.bundle_digest[:SHORT]}, {newest.items_MC.shape}"
        raise FatalError(f"{text}; {name} is of {found.bundle_digest[:SHORT]}, {found.items_MC.shape}")
    return found


def roll_back(store: BankStore, bank_id: str, version: int, by: Signature) -> Bank:
    """Write one more version with the items of version ``version``, its counts, and how long it was to learn.

    Versions of earlier epochs are taken as well: each rollback begins one, and the next must be able to go past it.
    A newest version that is damaged is gone back from like any other, to what is kept of itself as well.

    Raises:
        FatalError: see ``newest_sound``, ``kept_version``; or the bank has these items now.
        StaleVersionError: the bank kept moving.
    """
    newest = newest_sound(store, bank_id)
    source = kept_version(store, newest, version)
    is_the_same = (source.digest, source.learn_s) == (newest.digest, newest.learn_s)
    if is_the_same and not _is_damaged(store, bank_id):
        text = f"a rollback must change the items, bank '{bank_id}' v{newest.version} has those of v{version} already"
        raise FatalError(f"{text}; see 'engram bank log {bank_id}'")
    change = by.change("rollback", f"to v{version}", _anchor_distance(store, source))
    return replace_items(store, bank_id, source, change, by.at)


def learn_anew(store: BankStore, bank_id: str, by: Signature, learn_s: float | None = None) -> Bank:
    """Write one more version that has counted nothing yet: the way out where a scene has changed for good.

    Items stay: they are of the bundle, not of the scene. What operators said was of the old scene, on a scale that its
    counts made. A bank that has counted nothing yet has nothing to forget: it is only told how long to learn.

    Args:
        store: where.
        bank_id: of the bank.
        by: who, why, when.
        learn_s: seconds of normal video that its cameras are to be learned from, see ``Bank``; None = as the setting
            says.

    Raises:
        SettingsError: ``learn_s`` is no time that a camera can learn for.
        FatalError: see ``newest_of``; or the bank does not count, or nothing would change.
        StaleVersionError: the bank kept moving.
    """
    if learn_s is not None and not 0 < learn_s <= MAX_LEARN_S:
        text = f"a camera must learn for more than nothing and at most {_lasting(MAX_LEARN_S)}"
        raise SettingsError(f"{text}, got {learn_s:g} s; as in --for 10m")
    newest = newest_of(store, bank_id)
    if newest.normality is None:
        text = f"to learn anew a bank must count what is normal, the bundle of '{bank_id}' has no memory of that"
        raise FatalError(f"{text}; train or calibrate one (engram train, engram calibrate)")
    frames = newest.normality.num_frames
    if frames == 0 and learn_s == newest.learn_s:
        already = "" if learn_s is None else f" and learns for {_lasting(learn_s)} already"
        raise FatalError(f"bank '{bank_id}' has counted nothing yet{already}; is its camera running?")
    source, said = replace(newest, learn_s=learn_s), list[str]()
    if frames:
        source = replace(source, normality=Normality.empty(newest.normality.grid), exemplars=())
        said.append(f"forgets {frames:.0f} frames")
    if learn_s is not None:
        said.append(f"learns for {_lasting(learn_s)}")
    elif newest.learn_s is not None:
        said.append("learns for as long as memory.learn_s says")
    change = by.change("learn", ", ".join(said), _anchor_distance(store, newest))
    return replace_items(store, bank_id, source, change, by.at)


def _lasting(seconds: float) -> str:
    """A length of time in the largest unit that it is whole in."""
    units = (("d", 86_400), ("h", 3600), ("min", 60))
    unit, size = next((one for one in units if seconds % one[1] == 0), ("s", 1))
    return f"{seconds / size:g} {unit}"


def fork(store: BankStore, source: Bank, bank_id: str, by: Signature) -> Bank:
    """Make a bank with the items of a version of another one, which its log names.

    Raises:
        FatalError: there is a bank of this name.
    """
    origin = f"fork of '{source.bank_id}' v{source.version}, items {source.digest[:SHORT]}"
    change = by.change("create", origin, _anchor_distance(store, source))
    return make_bank(store, bank_id, source, change, by.at)


def make_bank(store: BankStore, bank_id: str, source: Bank, change: Change, at: datetime) -> Bank:
    """Make a bank, at version 0, with the items of ``source``.

    Raises:
        FatalError: there is a bank of this name.
        SettingsError: it is no name for a bank.
    """
    bank = replace(source, bank_id=checked_id(bank_id), version=0, epoch=next_epoch(), committed_at=at, frozen=False)
    if store.create(bank, change).epoch != bank.epoch:
        text = f"to be made a bank must not exist, '{bank_id}' does"
        raise FatalError(f"{text}; choose another name, or see 'engram bank show {bank_id}'")
    return bank


def replace_items(store: BankStore, bank_id: str, source: Bank, change: Change, at: datetime) -> Bank:
    """Write one more version with the items of ``source``, whatever the newest one is at that moment.

    Args:
        store: where.
        bank_id: of the bank that is changed.
        source: whose items, counts and time to learn; neither its version nor its epoch is believed.
        change: what the log will say; how far the items move is put in here.
        at: now, UTC.

    Raises:
        FatalError: there is no such bank, or it is of another bundle.
        StaleVersionError: the bank kept moving.
    """
    for _ in range(ATTEMPTS):
        newest, digest = _replaceable(store, bank_id)
        if newest.kind != source.kind:
            text = f"items must be of the bundle of bank '{bank_id}', {newest.bundle_digest[:SHORT]}"
            raise FatalError(f"{text}, they are of {source.bundle_digest[:SHORT]}; make a bank of another name of them")
        epoch = next_epoch(newest.epoch)
        bank = replace(
            newest,
            version=newest.version + 1,
            epoch=epoch,
            items_MC=source.items_MC,
            normality=source.normality,
            exemplars=source.exemplars,
            learn_s=source.learn_s,
            committed_at=at,
        )
        change = replace(change, moved=distance_moved(newest.items_MC, source.items_MC))
        try:
            store.restore(RestoreRequest(bank, newest, change, digest))
        except StaleVersionError:
            if entry_with(change.commit_id, store.log(bank_id)) is None:
                continue
            # It was written, the answer was lost, and a commit has come after it.
        return bank
    text = f"bank '{bank_id}' moved on at each of {ATTEMPTS} attempts"
    raise StaleVersionError(f"{text}; freeze it first: engram bank freeze {bank_id} --reason …")


def _replaceable(store: BankReader, bank_id: str) -> tuple[Bank, str]:
    """The newest version and its digest as the log has it; a damaged one with the content of the newest sound one.

    Raises:
        FatalError: see ``newest_sound``.
    """
    try:
        newest = newest_of(store, bank_id)
    except DamagedError:
        sound, noted = newest_sound(store, bank_id), store.standing(bank_id)
        if noted is None:
            raise
        stand_in = replace(sound, version=noted.version, epoch=noted.epoch, frozen=noted.frozen)
        entry = entry_of(stand_in, store.log(bank_id, KEPT_ENTRIES))
        return stand_in, sound.digest if entry is None else entry.digest
    return newest, newest.digest


def _is_damaged(store: BankReader, bank_id: str) -> bool:
    try:
        store.read(bank_id)
    except DamagedError:
        return True
    return False


def _anchor_distance(store: BankReader, source: Bank) -> float:
    """What the log of its bank says of a version; 0 where it says nothing."""
    entry = entry_of(source, store.log(source.bank_id, KEPT_ENTRIES))
    return 0.0 if entry is None else entry.change.anchor_distance


def _told(store: BankReader, newest: Bank) -> str:
    versions = [*store.versions(newest.bank_id)]
    whole = versions == [*range(versions[0], versions[-1] + 1)] if versions else False
    return f"v{versions[0]} to v{versions[-1]}" if whole else ", ".join(f"v{version}" for version in versions) or "none"
