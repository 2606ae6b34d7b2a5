"""One version of a memory bank and the log entry that says how it came about.

Dimensions: M items, C channels.
"""

import hashlib
import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np

from memory_store.exemplar import Exemplar, from_bytes, to_bytes
from memory_store.normality import Grid, Normality
from memory_store.taken import Taken
from schemas.arrays import Float32
from schemas.codec import content_digest, decode_content, encode_items, items_digest
from schemas.errors import DamagedError, FatalError
from schemas.messages import BankHeader

Action = Literal["create", "update", "restore", "rollback", "learn", "freeze", "thaw", "verdict"]
MARKS = frozenset({"freeze", "thaw"})
"""Actions that write no items: their entries name the version that was there, and leave it."""
GENESIS = "0" * 64
"""What the first entry of a log names as its predecessor."""
MAX_NAMED_CAMERAS = 100
"""An entry travels in a record header, so it names the largest contributors only."""


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """A bank as read from a store; two are the same content if and only if their digests are.

    Attributes:
        bank_id: name of the bank.
        version: 0 is the bundle's initial bank; each commit adds one.
        epoch: made anew whenever the bank is created or restored; see ``next_epoch`` and ``epoch_order``.
        bundle_digest: the bundle whose encoder the items belong to.
        items_MC: float32, read-only for good (it lies over immutable bytes); (0, 0) where the network has none.
        committed_at: when this version was written, UTC.
        frozen: whether updates were switched off when it was read.
        normality: what has been normal here, as counts; None where the bundle judges without.
        exemplars: what operators said of events, sorted by event.
        learn_s: seconds of normal video that this bank's cameras are to be learned from before events open, as an
            operator said; None = the setting ``memory.learn_s`` holds. It goes where the counts go, which it says the
            worth of: to the next version, to the archive and back, into a fork and a file; a rollback brings back
            that of its version. It is no content: an older Engram reads such a bank, learns by its setting, and leaves
            it out of the versions that it writes. The log vouches for it.
        digest: of all content, see ``schemas.codec``, computed here unless ``known_digest`` says it: who has just
            compared the bytes with it needs no second look.
        items_digest: of the items alone; proposals are computed against these.
    """

    bank_id: str
    version: int
    epoch: str
    bundle_digest: str
    items_MC: Float32
    committed_at: datetime
    frozen: bool = False
    normality: Normality | None = None
    exemplars: tuple[Exemplar, ...] = ()
    learn_s: float | None = None
    digest: str = field(init=False)
    items_digest: str = field(init=False)
    known_digest: InitVar[str | None] = None

    def __post_init__(self, known_digest: str | None) -> None:
        if self.items_MC.ndim != 2 or not np.isfinite(self.items_MC).all():
            text = f"items must be a finite (M, C) array, got shape {self.items_MC.shape}; bank '{self.bank_id}'"
            raise FatalError(f"{text} v{self.version}; load the bundle or the bank again")
        items = encode_items(self.items_MC)
        frozen_MC = np.frombuffer(items, dtype="<f4").reshape(self.items_MC.shape)
        object.__setattr__(self, "items_MC", frozen_MC)
        object.__setattr__(self, "items_digest", items_digest(frozen_MC))
        object.__setattr__(self, "digest", known_digest or self._content_digest(items))

    def _content_digest(self, items: bytes) -> str:
        if self.normality is None and not self.exemplars:
            return self.items_digest
        header, counts = (None, b"") if self.normality is None else self.normality.to_wire()
        return content_digest(items, counts, header, to_bytes(self.exemplars))

    @property
    def kind(self) -> tuple[str, tuple[int, ...], Grid | None]:
        """What banks must share for one to take the other's place: bundle, shape of the items, grid of the counts."""
        return self.bundle_digest, self.items_MC.shape, None if self.normality is None else self.normality.grid

    @property
    def age_order(self) -> tuple[int, str, int]:
        """Sorts the versions of one bank from oldest to newest, across restores."""
        return age_order(self.epoch, self.version)

    def wanted_s(self, learn_s: float) -> float:
        """Seconds of normal video that are wanted of its cameras, where the setting says ``learn_s``."""
        return learn_s if self.learn_s is None else self.learn_s

    def followed_by(self, items_MC: Float32, committed_at: datetime, normality: Normality | None = None) -> "Bank":
        """The next version in the same epoch; with the same counts if none are given, and all else as it was."""
        after = replace(self, version=self.version + 1, items_MC=items_MC, committed_at=committed_at, frozen=False)
        return after if normality is None else replace(after, normality=normality)


@dataclass(frozen=True, slots=True)
class Change:
    """Why a version was written, as its writer says.

    Attributes:
        action: what was done.
        author: id of the coordinator or the operator.
        reason: in words.
        commit_id: the same for the same attempt, so that a repeated write has no second effect.
        num_proposals: proposals merged.
        num_frames: frames behind them.
        num_cameras: cameras behind them.
        cameras: frames by camera, largest first, at most ``MAX_NAMED_CAMERAS``.
        moved: mean Euclidean distance of the items to the version before, in [0, 2].
        anchor_distance: largest Euclidean distance of an item to the bundle's, in [0, 2].
        taken: of a round: which proposals are in it; None of anything else, and of an older Engram's.
    """

    action: Action
    author: str
    reason: str
    commit_id: str
    num_proposals: int = 0
    num_frames: int = 0
    num_cameras: int = 0
    cameras: tuple[tuple[str, int], ...] = ()
    moved: float = 0.0
    anchor_distance: float = 0.0
    taken: Taken | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of a bank's log. Each names the digest of the line before, so a changed line shows.

    Attributes:
        change: why, by whom.
        version: version written; of one of ``MARKS``, the version that was there.
        epoch: its epoch.
        digest: of its content.
        previous_digest: of the content before; None if there was none.
        committed_at: UTC.
        previous_entry: ``digest()`` of the entry before, ``GENESIS`` for the first.
        learn_s: of the version, see ``Bank``; its digest says nothing of it.
    """

    change: Change
    version: int
    epoch: str
    digest: str
    previous_digest: str | None
    committed_at: datetime
    previous_entry: str
    learn_s: float | None = None

    @property
    def writes_items(self) -> bool:
        """Whether a version was written; False of a freeze or a thaw."""
        return self.change.action not in MARKS

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they go into ``BankHeader.audit`` and into the stores."""
        content = {name: getattr(self.change, name) for name in _CHANGE_FIELDS}
        content["cameras"] = [list(pair) for pair in self.change.cameras]
        if self.change.taken is not None:  # what was written without keeps its digest
            content["taken"] = self.change.taken.to_json()
        if self.learn_s is not None:
            content["learn_s"] = self.learn_s
        content["committed_at"] = self.committed_at.astimezone(timezone.utc).isoformat()
        return content | {name: getattr(self, name) for name in _ENTRY_FIELDS}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "AuditEntry":
        """Inverse of ``to_json``.

        Raises:
            DamagedError: a field is missing or of another kind: the log was written by something else.
        """
        try:
            _require_kinds(content)
            change = Change(**{name: content[name] for name in _CHANGE_FIELDS if name != "cameras"})
            cameras = tuple((str(camera), int(frames)) for camera, frames in content["cameras"])
            taken = Taken.from_json(content["taken"]) if "taken" in content else None
            at = _instant(content["committed_at"])
            learn_s = float(content["learn_s"]) if "learn_s" in content else None
            rest = {name: content[name] for name in _ENTRY_FIELDS}
            whole = replace(change, cameras=cameras, taken=taken)
            return cls(change=whole, committed_at=at, learn_s=learn_s, **rest)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DamagedError(
                f"an audit entry must have all its fields, {error!r} is wrong; got {content!r:.200}"
            ) from error

    def to_text(self) -> str:
        """As stores keep it."""
        return json.dumps(self.to_json())

    @classmethod
    def from_text(cls, text: str | bytes) -> "AuditEntry":
        """Inverse of ``to_text``.

        Raises:
            DamagedError: it is no entry.
        """
        try:
            content = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise DamagedError(f"an audit entry must be JSON, got {text!r:.200}; see 'engram bank verify'") from error
        return cls.from_json(content)

    def digest_of_entry(self) -> str:
        """SHA-256 of the entry's canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


_EPOCH = re.compile(r"[0-9]{8,15}-[0-9a-f]{16}")
_CHANGE_FIELDS = tuple(item.name for item in fields(Change) if item.name != "taken")
_ENTRY_FIELDS = ("version", "epoch", "digest", "previous_digest", "previous_entry")
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("action", "author", "reason", "commit_id", "epoch", "digest", "previous_entry"), (str,)),
    **dict.fromkeys(("num_proposals", "num_frames", "num_cameras", "version"), (int,)),
    **dict.fromkeys(("moved", "anchor_distance"), (int, float)),
    "cameras": (list,),
    "previous_digest": (str, type(None)),
}
"""What JSON has of a field, exactly: true is no number."""


def _require_kinds(content: dict[str, Any]) -> None:
    """Whoever reads a log compares, slices and prints what is in it: only what can be, is an entry.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    for name, kinds in _KINDS.items():
        if type(content[name]) not in kinds:
            raise TypeError(f"{name} must be of {' or '.join(kind.__name__ for kind in kinds)}")
    for name in ("moved", "anchor_distance", "learn_s"):
        if not math.isfinite(content.get(name, 0.0)):
            raise ValueError(f"{name} must be finite")


def _instant(text: str) -> datetime:
    """In UTC.

    Raises:
        TypeError, ValueError, OverflowError: the text is no time of a known zone.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("committed_at must name its zone")
    return at.astimezone(timezone.utc)


def entry_for(bank: Bank, change: Change, previous_digest: str | None, previous_entry: str | None) -> AuditEntry:
    """The log entry of writing ``bank`` after the entry with digest ``previous_entry``."""
    head = previous_entry or GENESIS
    written = bank.version, bank.epoch, bank.digest
    return AuditEntry(change, *written, previous_digest, bank.committed_at, head, bank.learn_s)


def mark_for(header: BankHeader, change: Change, at: datetime, previous_entry: str) -> AuditEntry:
    """The log entry of freezing or thawing the version of ``header``, after the entry with that digest."""
    return AuditEntry(change, header.version, header.epoch, header.digest, header.digest, at, previous_entry)


def entry_of(bank: Bank, entries: Sequence[AuditEntry]) -> AuditEntry | None:
    """The newest entry that wrote ``bank``, of a log that is oldest first; None if it is not among them."""
    wanted = (bank.version, bank.epoch)
    written = (entry for entry in reversed(entries) if entry.writes_items and (entry.version, entry.epoch) == wanted)
    return next(written, None)


def entry_with(commit_id: str, entries: Sequence[AuditEntry]) -> AuditEntry | None:
    """The newest entry of that attempt; None if it is not among them."""
    return next((entry for entry in reversed(entries) if entry.change.commit_id == commit_id), None)


def first_broken_link(entries: Sequence[AuditEntry]) -> int | None:
    """Index of the first entry that does not follow from the one before it, oldest first; None if all do."""
    for index in range(1, len(entries)):
        before, entry = entries[index - 1], entries[index]
        linked = entry.previous_entry == before.digest_of_entry() and entry.previous_digest == before.digest
        if not (linked and _continues(before, entry)):
            return index
    return None


def _continues(before: AuditEntry, entry: AuditEntry) -> bool:
    """Whether the version of an entry may come after that of the one before it."""
    if not entry.writes_items:
        return (entry.version, entry.epoch, entry.digest) == (before.version, before.epoch, before.digest)
    if entry.epoch == before.epoch:
        return entry.version == before.version + 1
    return epoch_order(entry.epoch) > epoch_order(before.epoch)


def to_wire(bank: Bank, entry: AuditEntry) -> tuple[BankHeader, bytes]:
    """Header and value of the bank as a record."""
    num_items, item_dim = bank.items_MC.shape
    of, counts = (None, b"") if bank.normality is None else bank.normality.to_wire()
    exemplars = to_bytes(bank.exemplars)
    header = BankHeader(
        bank_id=bank.bank_id,
        version=bank.version,
        epoch=bank.epoch,
        bundle_digest=bank.bundle_digest,
        digest=bank.digest,
        previous_digest=entry.previous_digest,
        num_items=num_items,
        item_dim=item_dim,
        committed_at=bank.committed_at,
        audit=entry.to_json(),
        normality=of,
        exemplar_bytes=len(exemplars),
        learn_s=bank.learn_s,
    )
    return header, encode_items(bank.items_MC) + counts + exemplars


def from_wire(header: BankHeader, value: bytes | None, frozen: bool = False) -> Bank:
    """Inverse of ``to_wire``.

    Raises:
        BadMessageError: the value does not fit its header.
    """
    items_MC, counts, said = decode_content(header, value)
    normality = None if header.normality is None else Normality.from_wire(header.normality, counts)
    written_at, bundle, exemplars = header.committed_at, header.bundle_digest, from_bytes(said)
    return Bank(
        *(header.bank_id, header.version, header.epoch, bundle, items_MC, written_at, frozen, normality, exemplars),
        learn_s=header.learn_s,
        known_digest=header.digest,
    )


def next_epoch(*known: str | None) -> str:
    """A new epoch that sorts after every known one: a generation number, and noise that tells two firsts apart."""
    newest = max((epoch_order(epoch)[0] for epoch in known if epoch), default=0)
    return f"{max(newest, 0) + 1:08d}-{secrets.token_hex(8)}"


def age_order(epoch: str, version: int) -> tuple[int, str, int]:
    """Sorts versions of one bank from oldest to newest, across restores."""
    return (*epoch_order(epoch), version)


def epoch_order(epoch: str) -> tuple[int, str]:
    """Sorts epochs by age; what ``next_epoch`` did not make is older than all that it makes, generation -1."""
    return (int(epoch.partition("-")[0]) if _EPOCH.fullmatch(epoch) else -1), epoch
