"""Banks as stores hold them, header and items; what is anything else is one error."""

from memory_store.bank import Bank, from_wire
from schemas.codec import decode_message
from schemas.errors import BadMessageError, DamagedError
from schemas.messages import BankHeader


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


def _damaged(place: str, error: BadMessageError) -> DamagedError:
    text = f"what {place} must be a bank: {error}"
    return DamagedError(
        f"{text}; 'engram bank verify' tells which versions are sound, 'engram bank rollback' goes back"
    )
