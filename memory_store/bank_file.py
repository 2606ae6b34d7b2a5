"""One version of a bank as one file: safetensors, with ``items`` and what goes over the wire as metadata.

The tensor ``normality`` is there as well if the bank counts, and ``exemplars``, bytes, if operators have spoken.

| metadata | holds |
|---|---|
| ``engram-bank`` | version of this format, 1 |
| ``header`` | ``BankHeader`` JSON, with the audit entry |
| ``sha256`` | of that JSON and the tensors' bytes: tells damage and careless edits; it is no signature |
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from memory_store.bank import AuditEntry, Bank, from_wire, to_wire
from memory_store.exemplar import to_bytes
from schemas.codec import decode_message, encode_items, encode_message
from schemas.errors import BadMessageError, DamagedError, FatalError
from schemas.messages import BankHeader

FORMAT, HEADER, SHA256 = "engram-bank", "header", "sha256"
FORMAT_VERSION = 1
ITEMS, NORMALITY, EXEMPLARS = "items", "normality", "exemplars"


@dataclass(frozen=True, slots=True)
class Exported:
    """What a file holds: a bank, and the entry of the log that wrote it."""

    bank: Bank
    entry: AuditEntry


def write_bank_file(path: Path, bank: Bank, entry: AuditEntry) -> None:
    """Write a new file; if that fails it is absent.

    Raises:
        FatalError: it exists, or cannot be written.
    """
    header, value = to_wire(bank, entry)
    text = encode_message(header)
    metadata = {FORMAT: str(FORMAT_VERSION), HEADER: text.decode(), SHA256: _sha256(text, value)}
    tensors: dict[str, NDArray[Any]] = {ITEMS: np.asarray(bank.items_MC, dtype="<f4")}
    if bank.normality is not None:
        tensors[NORMALITY] = np.ascontiguousarray(bank.normality.values_N, dtype="<f8")
    if bank.exemplars:
        tensors[EXEMPLARS] = np.frombuffer(to_bytes(bank.exemplars), np.uint8)
    content = save_tensors(tensors, metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
        try:
            with file:
                file.write(content)
        except BaseException:
            path.unlink()
            raise
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise FatalError(f"'{path}' must not exist yet; remove it or choose another name") from error
        raise FatalError(f"'{path}' must be a file that we may write: {error.strerror}; choose another") from error


def read_bank_file(path: Path) -> Exported:
    """Read and check a file.

    Raises:
        DamagedError: it is not what was written.
        FatalError: it cannot be read, is none of ours, or is of another version of the format.
    """
    metadata, items_MC, rest = _opened(path)
    _require_version(path, metadata)
    if set(metadata) != {FORMAT, HEADER, SHA256}:
        raise _damaged(path, f"its metadata are {sorted(metadata)}")
    text, value = metadata[HEADER].encode(), encode_items(items_MC) + rest
    try:
        header = decode_message(BankHeader, text)
        if (header.num_items, header.item_dim) != items_MC.shape:
            raise _damaged(path, f"its header says ({header.num_items}, {header.item_dim}), it has {items_MC.shape}")
        bank = from_wire(header, value)
        entry = AuditEntry.from_json(header.audit)
    except BadMessageError as error:
        raise _damaged(path, str(error)) from error
    if _sha256(text, value) != metadata[SHA256]:
        raise _damaged(path, "header and items fail their SHA-256")
    if (entry.version, entry.epoch, entry.digest) != (bank.version, bank.epoch, bank.digest):
        raise _damaged(path, f"its entry is of v{entry.version}, its items of v{bank.version}")
    return Exported(bank, entry)


def _opened(path: Path) -> tuple[dict[str, str], Any, bytes]:
    """Metadata, items and the bytes of the counts and exemplars."""
    if not path.is_file():
        raise FatalError(f"'{path}' must be a file that 'engram bank export' wrote, there is none")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata, names = file.metadata() or {}, set(file.keys())
            if FORMAT not in metadata:
                raise _not_ours(path, "it is safetensors without a bank's header")
            if not {ITEMS} <= names <= {ITEMS, NORMALITY, EXEMPLARS} or file.get_slice(ITEMS).get_dtype() != "F32":
                raise _damaged(path, f"it has {sorted(names)} in place of float32 '{ITEMS}'")
            items_MC = file.get_tensor(ITEMS)
            counts = file.get_tensor(NORMALITY).astype("<f8").tobytes() if NORMALITY in names else b""
            exemplars = file.get_tensor(EXEMPLARS).tobytes() if EXEMPLARS in names else b""
    except SafetensorError as error:
        raise _not_ours(path, f"it is no safetensors, or cut short: {error}") from error
    except OSError as error:
        raise FatalError(f"'{path}' must be a file that we may read: {error}") from error
    if items_MC.ndim != 2:
        raise _damaged(path, f"its items have shape {items_MC.shape}")
    return metadata, items_MC, counts + exemplars


def _require_version(path: Path, metadata: dict[str, str]) -> None:
    version = metadata[FORMAT]
    if version == str(FORMAT_VERSION):
        return
    text = f"'{path}' must be of format {FORMAT_VERSION}, it is of {version!r:.20}"
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise FatalError(f"{text}: a newer Engram wrote it; update this one")
    raise FatalError(f"{text}: an older Engram wrote it; export the bank again with this one")


def _sha256(header: bytes, value: bytes) -> str:
    return hashlib.sha256(header + value).hexdigest()


def _not_ours(path: Path, why: str) -> FatalError:
    return FatalError(f"'{path}' must be a file that 'engram bank export' wrote, {why}; export the bank again")


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(f"'{path}' must be as 'engram bank export' wrote it, {why}; copy or export it again")
