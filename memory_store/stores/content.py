"""Banks as stores hold them, header and items; what is anything else is one error."""

import logging
from collections.abc import Iterable

from memory_store.bank import AuditEntry, Bank, from_wire
from schemas.codec import decode_message
from schemas.errors import BadMessageError, DamagedError
from schemas.messages import BankHeader

_log = logging.getLogger(__name__)


def held_bank(place: str, header: bytes, items: bytes | None, frozen: bool) -> Bank:
    """The bank held at ``place``, which the error names.

    Raises:
        DamagedError: it is none.
    """
    try:
        return from_wire(held_header(place, header), items, frozen)
    except BadMessageError as error:
        raise _damaged(place, error) from error


def held_header(place: str, header: bytes) -> BankHeader:
    """The header held at ``place``.

    Raises:
        DamagedError: it is none.
    """
    try:
        return decode_message(BankHeader, header)
    except BadMessageError as error:
        raise _damaged(place, error) from error


def held_entries(place: str, rows: Iterable[bytes | str]) -> list[AuditEntry]:
    """The entries among the rows of a log; one bad row must not hide the others, nor stop who reads them."""
    entries, flaws = [], list[str]()
    for row in rows:
        try:
            entries.append(AuditEntry.from_text(row))
        except DamagedError as error:
            flaws.append(str(error))
    if flaws:
        text = "%d rows of the log of what %s are no entries and left out, 'engram bank verify' tells more: %s"
        _log.warning(text, len(flaws), place, flaws[0])
    return entries


def _damaged(place: str, error: BadMessageError) -> DamagedError:
    text = f"what {place} must be a bank: {error}"
    return DamagedError(
        f"{text}; 'engram bank verify' tells which versions are sound, 'engram bank rollback' goes back"
    )
