"""Bytes on the wire: JSON for what people read, raw arrays with one JSON header for what they do not.

| message | value | header ``engram`` |
|---|---|---|
| frame | JPEG | ``FrameHeader`` JSON |
| update proposal | running_max (M), sums (M, C), counts (M): float32 LE; normality | ``ProposalHeader`` JSON |
| bank | items (M, C): float32 LE; normality; exemplars | ``BankHeader`` JSON |
| score, event | the message's JSON | (none; events: ``content-type``) |

Normality is counts in float64 LE, as many as their grid asks for, see ``memory_store.normality``; none where the
header names no grid. Exemplars are JSON, see ``memory_store.exemplar``; the header says how many bytes.
"""

import hashlib
import re
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from schemas.arrays import Float32
from schemas.errors import BadMessageError
from schemas.messages import FIRST_FORM, READING, BankHeader, Message, NormalityHeader, ProposalHeader, versioned

HEADER = "engram"
EVENT_HEADERS: tuple[tuple[str, bytes], ...] = (("content-type", b"application/cloudevents+json"),)
MAX_HEADER_BYTES = 16 * 1024
TYPE_MAJOR = r"dev\.engram\.[a-z.]+\.v([0-9]{1,9})"
"""How the type of an event ends."""

M = TypeVar("M", bound=Message)


_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def encode_message(message: Message) -> bytes:
    """Compact UTF-8 JSON."""
    return message.model_dump_json().encode()


def encode_header(message: Message) -> tuple[tuple[str, bytes], ...]:
    """The record headers that carry ``message``."""
    return ((HEADER, encode_message(message)),)


def decode_message(kind: type[M], payload: bytes | None) -> M:
    """Parse and validate JSON bytes. Whatever the bytes are, the outcome is a message or this one error.

    What a newer minor version has added passes: fields that this one does not know are left out, words that it does not
    know are taken where a list of words may grow.

    Raises:
        BadMessageError: ``missing_header``, ``foreign`` (not our JSON), ``future_version`` or ``invalid_message``.
    """
    if payload is None:
        raise BadMessageError("missing_header", f"a {kind.__name__} must be in header '{HEADER}', there is none")
    try:
        return kind.model_validate_json(payload, extra="ignore", context=READING)
    except ValidationError as error:
        raise _explain(kind, payload, error) from error


def decode_header(kind: type[M], payload: bytes | None, key: bytes | None, named: str) -> M:
    """The message in a record's header ``engram``, whose key must be the field ``named`` of it.

    Raises:
        BadMessageError: as ``decode_message``, or ``oversized_header``, ``wrong_key``.
    """
    if payload is not None and len(payload) > MAX_HEADER_BYTES:
        raise BadMessageError("oversized_header", f"header must have at most {MAX_HEADER_BYTES} bytes: {len(payload)}")
    header = decode_message(kind, payload)
    wanted = str(getattr(header, named))
    if key != wanted.encode():
        raise BadMessageError("wrong_key", f"the key must be the {named} '{wanted}', got {key!r:.80}")
    return header


def _explain(kind: type[Message], payload: bytes, error: ValidationError) -> BadMessageError:
    try:
        content: Any = _ANYTHING.validate_json(payload)  # bounded in depth, unlike the standard library's
    except ValueError:
        return BadMessageError("foreign", f"a {kind.__name__} must be JSON, got {payload[:60]!r}")
    known, version = _majors(kind, content)
    if version is None:
        return BadMessageError("foreign", f"a {kind.__name__} must be a JSON object with schema_version")
    if isinstance(version, int) and version > known:
        text = f"{kind.__name__} has schema_version {_shown(version)}, this reader knows {known}"
        return BadMessageError("future_version", f"{text}; update Engram here first")
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:200]
    return BadMessageError(
        "invalid_message", f"{kind.__name__}.{where}: {first['msg']:.200}, got {_shown(first.get('input'))}"
    )


def _majors(kind: type[Message], content: Any) -> tuple[int, Any]:
    """The major version this reader knows and the one that came (None: not ours).

    That of an envelope is of what it envelops, or what its type says, if that is newer.
    """
    known = int(versioned(kind).model_fields["schema_version"].default)
    whole = content if isinstance(content, dict) else {}
    part = whole if versioned(kind) is kind else whole.get("data")
    version = part.get("schema_version") if isinstance(part, dict) else None
    typed = re.fullmatch(TYPE_MAJOR, str(whole.get("type"))[:200]) if part is not whole else None
    return known, int(typed[1]) if typed and int(typed[1]) > known else version


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a {type(value).__name__} too long to show"


def items_digest(items_MC: Float32) -> str:
    """SHA-256 (hex) of the little-endian float32 bytes: the identity of items, which proposals name."""
    return hashlib.sha256(encode_items(items_MC)).hexdigest()


def content_digest(items: bytes, counts: bytes = b"", of: NormalityHeader | None = None, exemplars: bytes = b"") -> str:
    """SHA-256 (hex) of a bank's bytes and of what its counts are of: the identity of its content.

    Without counts and exemplars it is the ``items_digest``.
    """
    # What was written before forms were told keeps its digest.
    untold = {"form"} if of is not None and of.form == FIRST_FORM else None
    told = b"" if of is None else of.model_dump_json(exclude=untold).encode()
    return hashlib.sha256(items + counts + told + exemplars).hexdigest()


def encode_items(items_MC: Float32) -> bytes:
    """Little-endian float32 bytes, row by row."""
    return np.ascontiguousarray(items_MC, dtype="<f4").tobytes()


def decode_content(header: BankHeader, value: bytes | None) -> tuple[Float32, bytes, bytes]:
    """Items (M, C) of a committed bank, the bytes of its counts, and those of its exemplars.

    Raises:
        BadMessageError: ``bad_payload`` if length, digest or finiteness do not hold.
    """
    has_more = header.normality is not None or header.exemplar_bytes > 0
    flat, rest = _floats_first(value, header.num_items * header.item_dim, has_more)
    if header.exemplar_bytes > len(rest) or (header.normality is None and header.exemplar_bytes != len(rest)):
        text = f"exemplars must have {header.exemplar_bytes} bytes, got {len(rest)}"
        raise BadMessageError("bad_payload", f"bank '{header.bank_id}' v{header.version}: {text}")
    split = len(rest) - header.exemplar_bytes
    items_MC, counts, exemplars = flat.reshape(header.num_items, header.item_dim), rest[:split], rest[split:]
    if content_digest(encode_items(items_MC), counts, header.normality, exemplars) != header.digest:
        raise BadMessageError("bad_payload", f"bank '{header.bank_id}' v{header.version} fails its digest")
    return items_MC, counts, exemplars


def encode_proposal_arrays(running_max_M: Float32, sums_MC: Float32, counts_M: Float32) -> bytes:
    """The value of a proposal record."""
    return b"".join(encode_items(part) for part in (running_max_M, sums_MC, counts_M))


def decode_proposal_arrays(header: ProposalHeader, value: bytes | None) -> tuple[Float32, Float32, Float32, bytes]:
    """Inverse of ``encode_proposal_arrays``, and the bytes of the counts of normality behind them.

    Raises:
        BadMessageError: ``bad_payload`` if the length does not fit the header or a number is not finite.
    """
    M, C = header.num_items, header.item_dim
    flat, counts = _floats_first(value, M * (C + 2), header.normality is not None)
    return flat[:M], flat[M : M + M * C].reshape(M, C), flat[M + M * C :], counts


def _floats_first(value: bytes | None, count: int, has_more: bool) -> tuple[Float32, bytes]:
    """So many float32, and what lies behind them."""
    if value is None or len(value) < 4 * count or (len(value) > 4 * count and not has_more):
        raise BadMessageError("bad_payload", f"value must have {4 * count} bytes, got {len(value or b'')}")
    array = np.frombuffer(value, dtype="<f4", count=count).astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise BadMessageError("bad_payload", "every number must be finite, got NaN or infinity")
    return array, value[4 * count :]
