"""A camera's contribution: merged exactly, named by its frames, readable by the coordinator."""

import numpy as np

from memory_store.proposal import ItemSums
from schemas.codec import HEADER, decode_message, decode_proposal_arrays
from schemas.messages import ProposalHeader
from tests.unit.workers.arriving import header
from workers.proposals import begin, extend, proposal_record
from workers.tracker import BankRef

BANK = BankRef("shared", 4, "ab" * 32, "live")


def sums(seed: int) -> ItemSums:
    random = np.random.default_rng(seed)
    return ItemSums(
        random.uniform(-1, 1, 3).astype(np.float32),
        random.normal(size=(3, 8)).astype(np.float32),
        random.integers(0, 5, 3).astype(np.float32),
    )


def test_frames_merge_by_the_monoid() -> None:
    draft = begin(header(4), BANK, sums(0))
    for index in (5, 6):
        draft = extend(draft, header(index), sums(index))
    expected = sums(0).merge(sums(5)).merge(sums(6))
    assert np.array_equal(draft.sums.sums_MC, expected.sums_MC)
    assert (draft.first_frame, draft.last_frame, draft.num_frames) == (4, 6, 3)


def test_it_is_due_after_its_share_of_capture_time() -> None:
    draft = begin(header(0), BANK, sums(0))
    assert draft.is_due(0.0)
    assert not extend(draft, header(9), sums(1)).is_due(1.0)
    assert extend(draft, header(10), sums(1)).is_due(1.0)


def test_another_session_or_another_bank_content_does_not_join() -> None:
    draft = begin(header(0), BANK, sums(0))
    assert draft.continued_by(header(1), BANK)
    assert not draft.continued_by(header(1, session="s2"), BANK)
    assert not draft.continued_by(header(1), BankRef("shared", 5, "cd" * 32, "live"))


def test_the_record_travels_whole_under_the_banks_key() -> None:
    record = proposal_record(
        extend(begin(header(4), BANK, sums(0)), header(5), sums(1)),
        "cam1",
        "ef" * 32,
        "updates",
    )
    told = decode_message(ProposalHeader, dict(record.headers)[HEADER])
    assert (record.topic, record.key) == ("updates", "shared")
    assert told.proposal_id == "cam1:s1:4-5"
    assert (told.base_version, told.base_digest, told.num_frames) == (4, "ab" * 32, 2)
    merged = sums(0).merge(sums(1))
    for found, expected in zip(
        decode_proposal_arrays(told, record.value)[:3],
        (merged.running_max_M, merged.sums_MC, merged.counts_M),
        strict=True,
    ):
        assert np.array_equal(found, expected)
