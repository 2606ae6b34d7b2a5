"""The compacted topic of banks, read when a coordinator takes the lead.

Anybody who can write the topic can put a record there, so what it says of a bank is judged like an update: whatever an
update could not have led to is left out and counted, and never stops the coordinator.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memory_store.bank import Bank, from_wire
from memory_store.coordinator.guards import Rejection, false_age, foreign_bundle, unfit
from memory_store.views import InitialBank
from messaging.ports import Record
from schemas.codec import HEADER, decode_header
from schemas.errors import BadMessageError
from schemas.messages import BankHeader

_log = logging.getLogger(__name__)

MAX_TOLD = 10
"""Records that are named in the log; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A bank as the topic has it, and where: topic/partition/offset."""

    bank: Bank
    place: str


@dataclass(frozen=True, slots=True)
class Archive:
    """What the topic holds.

    Attributes:
        newest: by bank id, the newest that could be restored.
        refused: records that could not, by reason.
    """

    newest: Mapping[str, Archived]
    refused: Counter[str]


def read_archive(records: Sequence[Record], initial: InitialBank, anchor_limit: float | None) -> Archive:
    """The newest version of each bank among the records of the compacted topic.

    Args:
        records: all of the topic.
        initial: what a bank must fit and stay near to.
        anchor_limit: how near; None = any.
    """
    newest: dict[str, Archived] = {}
    refused: Counter[str] = Counter()
    for record in records:
        if record.value is None:
            continue
        place = f"{record.topic}/{record.partition}/{record.offset}"
        try:
            bank = _restorable(record, initial, anchor_limit)
        except BadMessageError as error:
            refused[error.reason] += 1
            if refused.total() <= MAX_TOLD:
                _log.warning("record %s restores no bank, %s: %s", place, error.reason, error)
            continue
        if bank.bank_id not in newest or bank.age_order > newest[bank.bank_id].bank.age_order:
            newest[bank.bank_id] = Archived(bank, place)
    return Archive(newest, refused)


def _restorable(record: Record, initial: InitialBank, anchor_limit: float | None) -> Bank:
    """The bank of a record.

    Raises:
        BadMessageError: it is none, or none that an update could have led to.
    """
    header = decode_header(BankHeader, record.header(HEADER), record.key, "bank_id")
    bank = from_wire(header, record.value)
    flaw = flaw_of(bank, initial, anchor_limit)
    if flaw is not None:
        raise BadMessageError(flaw.reason, flaw.detail)
    return bank


def flaw_of(bank: Bank, initial: InitialBank, anchor_limit: float | None) -> Rejection | None:
    """What keeps a bank from outside from being restored: no update could have led to it."""
    return (
        foreign_bundle(bank.bundle_digest, initial.bundle_digest)
        or false_age(bank.epoch, bank.version)
        or unfit(bank, initial, anchor_limit)
    )
