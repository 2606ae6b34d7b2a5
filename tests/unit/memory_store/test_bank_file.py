"""A bank in a file comes back bit for bit, or is refused with what is wrong with it."""

import json
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as save_tensors

from memory_store.bank import Bank, Change, entry_for
from memory_store.bank_file import _sha256, read_bank_file, write_bank_file
from schemas.codec import encode_items
from schemas.errors import DamagedError, FatalError
from tests.unit.memory_store.counted import counting_bank, counts
from tests.unit.memory_store.proposals import a_bank, unit_rows

CHANGE = Change("update", "c1", "round", "id1", 2, 20, 1, (("cam1", 20),), 0.1, 0.2)


@pytest.fixture
def bank() -> Bank:
    return a_bank(version=7)


@pytest.fixture
def file(tmp_path: Path, bank: Bank) -> Path:
    path = tmp_path / "new" / "lobby.bank"
    write_bank_file(path, bank, entry_for(bank, CHANGE, "a" * 64, None))
    return path


def parts(path: Path) -> tuple[dict[str, str], np.ndarray]:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])
    return head["__metadata__"], np.frombuffer(content[8 + size :], "<f4").reshape(4, 6).copy()


def test_a_bank_comes_back_bit_for_bit_with_its_entry(file: Path, bank: Bank) -> None:
    read = read_bank_file(file)
    assert (read.bank.bank_id, read.bank.version, read.bank.epoch) == ("lobby", 7, bank.epoch)
    assert (read.bank.digest, read.bank.bundle_digest) == (bank.digest, bank.bundle_digest)
    assert read.bank.committed_at == bank.committed_at
    np.testing.assert_array_equal(read.bank.items_MC, bank.items_MC)
    assert read.entry == entry_for(bank, CHANGE, "a" * 64, None)


def test_how_long_it_is_to_learn_is_in_the_file(tmp_path: Path) -> None:
    bank = replace(counting_bank(), normality=counts(7), learn_s=600.0)
    write_bank_file(tmp_path / "a.bank", bank, entry_for(bank, CHANGE, None, None))
    read = read_bank_file(tmp_path / "a.bank")
    assert (read.bank.learn_s, read.entry.learn_s) == (600.0, 600.0)


def test_a_file_is_never_replaced(file: Path, bank: Bank) -> None:
    content = file.read_bytes()
    other = replace(bank, version=8)
    with pytest.raises(FatalError, match="must not exist yet"):
        write_bank_file(file, other, entry_for(other, CHANGE, None, None))
    assert file.read_bytes() == content


def test_what_could_not_be_written_whole_is_not_there(tmp_path: Path, bank: Bank) -> None:
    """A file may have so many bytes and no more, as on a disk that runs full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FatalError, match="must be a file that we may write: File too large"):
            write_bank_file(tmp_path / "x.bank", bank, entry_for(bank, CHANGE, None, None))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_named(tmp_path: Path, bank: Bank) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(FatalError, match=r"taken/x\.bank' must be a file that we may write"):
        write_bank_file(tmp_path / "taken" / "x.bank", bank, entry_for(bank, CHANGE, None, None))


@pytest.mark.parametrize("place", [0, 3, 9, 200, -1, -40])
def test_any_byte_that_was_changed_is_noticed(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x01
    file.write_bytes(content)
    with pytest.raises(FatalError, match="must be"):
        read_bank_file(file)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_file_that_was_cut_short_is_refused(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(FatalError, match="no safetensors, or cut short"):
        read_bank_file(file)


def test_what_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.bank"):
        with pytest.raises(FatalError, match="there is none"):
            read_bank_file(path)


Parts = tuple[dict[str, str], dict[str, Any]]


def header(metadata: dict[str, str], **changed: object) -> dict[str, str]:
    """With a header that says something else, and a SHA-256 that agrees."""
    text = json.dumps(json.loads(metadata["header"]) | changed)
    items = encode_items(a_bank(version=7).items_MC)
    return metadata | {"header": text, "sha256": _sha256(text.encode(), items)}


@pytest.mark.parametrize(
    ("forged", "says"),
    [
        (lambda meta, items: ({}, {"items": items}), "safetensors without a bank's header"),
        (lambda meta, items: (meta | {"engram-bank": "0"}, {"items": items}), "an older Engram wrote it; export the"),
        (lambda meta, items: (meta | {"engram-bank": "x"}, {"items": items}), "an older Engram wrote it"),
        (lambda meta, items: (meta | {"engram-bank": "2"}, {"items": items}), "a newer Engram wrote it; update"),
        (lambda meta, items: (meta | {"more": "x"}, {"items": items}), "its metadata are"),
        (lambda meta, items: ({"engram-bank": "1"}, {"items": items}), "its metadata are ['engram-bank']"),
        (lambda meta, items: (meta, {"other": items}), "it has ['other'] in place of"),
        (lambda meta, items: (meta, {"items": items, "more": items}), "in place of float32 'items'"),
        (lambda meta, items: (meta, {"items": items.astype(np.float64)}), "in place of float32 'items'"),
        (lambda meta, items: (meta, {"items": items[0]}), "its items have shape (6,)"),
        (lambda meta, items: (meta, {"items": items[:3]}), "its header says (4, 6), it has (3, 6)"),
        (lambda meta, items: (meta, {"items": items.T.copy()}), "its header says (4, 6), it has (6, 4)"),
        (lambda meta, items: (meta, {"items": items[::-1].copy()}), "fails its digest"),
        (lambda meta, items: (meta, {"items": items * np.nan}), "must be finite"),
        (lambda meta, items: (meta | {"sha256": "0" * 64}, {"items": items}), "fail their SHA-256"),
        (lambda meta, items: (meta | {"header": "{}"}, {"items": items}), "JSON object with schema_version"),
        (lambda meta, items: (header(meta, schema_version=2), {"items": items}), "update Engram here first"),
        (lambda meta, items: (header(meta, schema_version=0), {"items": items}), "schema_version"),
        (lambda meta, items: (header(meta, version=8), {"items": items}), "its entry is of v7, its items of v8"),
        (lambda meta, items: (header(meta, audit={}), {"items": items}), "an audit entry must have all its fields"),
        (
            lambda meta, items: (
                meta | {"header": meta["header"].replace('"bundle_digest":"b', '"bundle_digest":"c')},
                {"items": items},
            ),
            "fail their SHA-256",
        ),
    ],
)
def test_what_was_not_written_so_is_refused(
    file: Path, forged: Callable[[dict[str, str], np.ndarray], Parts], says: str
) -> None:
    metadata, tensors = forged(*parts(file))
    file.write_bytes(save_tensors(tensors, metadata))
    with pytest.raises(FatalError) as caught:
        read_bank_file(file)
    assert says in str(caught.value)


def test_damage_is_told_from_another_format(file: Path) -> None:
    metadata, items = parts(file)
    file.write_bytes(save_tensors({"items": unit_rows(5, 4, 6)}, metadata))
    with pytest.raises(DamagedError):
        read_bank_file(file)
    file.write_bytes(save_tensors({"items": items}, metadata | {"engram-bank": "2"}))
    with pytest.raises(FatalError) as caught:
        read_bank_file(file)
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize("num_items", [4, 0])
def test_counts_travel_with_the_items(tmp_path: Path, num_items: int) -> None:
    bank = replace(counting_bank(num_items=num_items), normality=counts(9), version=7)
    entry = entry_for(bank, Change("update", "c1", "round", "1"), None, None)
    write_bank_file(tmp_path / "counted.bank", bank, entry)
    found = read_bank_file(tmp_path / "counted.bank").bank
    assert (found.digest, found.kind) == (bank.digest, bank.kind)


def test_a_count_that_was_edited_is_noticed(tmp_path: Path) -> None:
    bank = replace(counting_bank(), normality=counts(9), version=7)
    path = tmp_path / "counted.bank"
    write_bank_file(path, bank, entry_for(bank, Change("update", "c1", "round", "1"), None, None))
    with safe_open(path, framework="numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["normality"][0] += 1.0
    path.write_bytes(save_tensors(tensors, metadata))
    with pytest.raises(DamagedError):
        read_bank_file(path)
