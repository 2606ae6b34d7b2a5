"""Arrays on the wire: little-endian float32, row by row, in a fixed order, of exactly the length the header says."""

import hashlib
import struct
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.arrays import Float32
from schemas.codec import decode_content, decode_proposal_arrays, encode_items, encode_proposal_arrays, items_digest
from schemas.errors import BadMessageError
from schemas.messages import BankHeader, ProposalHeader

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5))
SEEDS = st.integers(0, 2**32 - 1)
ITEMS_MC = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -0.125]], np.float32)


def any_numbers(seed: int, *shape: int) -> Float32:
    """Numbers of every size that float32 has, subnormal ones and both zeros too."""
    bits = np.random.default_rng(seed).integers(0, 2**32, shape, np.uint32)
    numbers = bits.view(np.float32)
    return np.where(np.isfinite(numbers), numbers, -np.float32(0))


def bank_header(items_MC: Float32, **changed: object) -> BankHeader:
    values: dict[str, object] = {
        "bank_id": "lobby",
        "version": 7,
        "epoch": "e1",
        "bundle_digest": "b" * 64,
        "digest": items_digest(items_MC),
        "previous_digest": None,
        "num_items": items_MC.shape[0],
        "item_dim": items_MC.shape[1],
        "committed_at": NOW,
    }
    return BankHeader.model_validate(values | changed)


def proposal_header(num_items: int, item_dim: int) -> ProposalHeader:
    return ProposalHeader(
        proposal_id="cam1:s1:0-9",
        bank_id="lobby",
        base_version=7,
        base_digest="a" * 64,
        bundle_digest="b" * 64,
        camera_id="cam1",
        session_id="s1",
        first_frame=0,
        last_frame=9,
        num_frames=10,
        captured_from=NOW,
        captured_to=NOW,
        num_items=num_items,
        item_dim=item_dim,
    )


def test_items_are_little_endian_single_precision_row_by_row() -> None:
    """Written out, so that a reader in another language can hold itself to it."""
    assert encode_items(ITEMS_MC) == struct.pack("<6f", 1.0, -2.0, 0.5, 3.0, 0.25, -0.125)


@pytest.mark.parametrize(
    "same_MC",
    [ITEMS_MC.astype(">f4"), ITEMS_MC.astype(np.float64), np.asfortranarray(ITEMS_MC), np.repeat(ITEMS_MC, 2, 0)[::2]],
    ids=["big-endian", "double", "column by column", "with gaps"],
)
def test_how_an_array_lies_in_memory_does_not_matter(same_MC: Float32) -> None:
    assert encode_items(same_MC) == encode_items(ITEMS_MC)
    assert items_digest(same_MC) == items_digest(ITEMS_MC)


def test_the_digest_of_items_is_sha_256_of_their_bytes() -> None:
    assert items_digest(ITEMS_MC) == hashlib.sha256(encode_items(ITEMS_MC)).hexdigest()
    assert items_digest(ITEMS_MC) != items_digest(np.ascontiguousarray(ITEMS_MC[::-1]))


@given(SHAPES, SEEDS)
@settings(max_examples=30, deadline=None)
def test_items_come_back_bit_for_bit(shape: tuple[int, int], seed: int) -> None:
    items_MC = any_numbers(seed, *shape)
    found_MC, counts, exemplars = decode_content(bank_header(items_MC), encode_items(items_MC))
    assert found_MC.dtype == np.float32
    assert found_MC.shape == items_MC.shape
    assert found_MC.tobytes() == items_MC.tobytes()
    assert (counts, exemplars) == (b"", b"")


@pytest.mark.parametrize("bit", range(0, 8 * 24, 5))
def test_no_bit_of_the_items_can_be_changed_unnoticed(bit: int) -> None:
    value = bytearray(encode_items(ITEMS_MC))
    value[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadMessageError) as refused:
        decode_content(bank_header(ITEMS_MC), bytes(value))
    assert refused.value.reason == "bad_payload"


def test_items_that_fail_their_digest_are_named_with_bank_and_version() -> None:
    with pytest.raises(BadMessageError, match=r"'lobby' v7 fails its digest"):
        decode_content(bank_header(ITEMS_MC, digest="0" * 64), encode_items(ITEMS_MC))


@pytest.mark.parametrize("value", [None, b"", b"\0" * 20, b"\0" * 23, b"\0" * 25, b"\0" * 28, b"\0" * 48])
def test_items_of_another_length_are_refused_with_both_lengths(value: bytes | None) -> None:
    with pytest.raises(BadMessageError, match=rf"must have 24 bytes, got {len(value or b'')}$") as refused:
        decode_content(bank_header(ITEMS_MC), value)
    assert refused.value.reason == "bad_payload"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_items_that_are_not_finite_are_refused_though_their_digest_holds(number: float) -> None:
    items_MC = ITEMS_MC.copy()
    items_MC[1, 2] = number
    with pytest.raises(BadMessageError, match="must be finite") as refused:
        decode_content(bank_header(items_MC), encode_items(items_MC))
    assert refused.value.reason == "bad_payload"


@given(SHAPES, SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_arrays_of_a_proposal_come_back_each_in_its_place(shape: tuple[int, int], seed: int) -> None:
    num_items, item_dim = shape
    sizes = ((num_items,), shape, (num_items,))
    given_arrays = [any_numbers(seed + number, *size) for number, size in enumerate(sizes)]
    value = encode_proposal_arrays(*given_arrays)
    assert len(value) == 4 * num_items * (item_dim + 2)
    *found, counts = decode_proposal_arrays(proposal_header(*shape), value)
    assert counts == b""
    assert [array.shape for array in found] == list(sizes)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in given_arrays]


def test_maxima_stand_before_sums_and_sums_before_counts() -> None:
    value = encode_proposal_arrays(np.full(2, 1, np.float32), np.full((2, 3), 2, np.float32), np.full(2, 3, np.float32))
    assert np.frombuffer(value, "<f4").tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 3, 3]


@pytest.mark.parametrize("length", [0, 39, 41, 36, 44])
def test_a_proposal_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadMessageError, match=rf"must have 40 bytes, got {length}$") as refused:
        decode_proposal_arrays(proposal_header(2, 3), b"\0" * length)
    assert refused.value.reason == "bad_payload"
    with pytest.raises(BadMessageError, match="got 0"):
        decode_proposal_arrays(proposal_header(2, 3), None)


@pytest.mark.parametrize("place", [0, 1, 2, 7, 8, 9])
def test_a_proposal_with_one_number_that_is_none_is_refused_wherever_it_stands(place: int) -> None:
    numbers = np.zeros(10, "<f4")
    numbers[place] = np.nan
    with pytest.raises(BadMessageError, match="NaN or infinity"):
        decode_proposal_arrays(proposal_header(2, 3), numbers.tobytes())
