"""What one camera contributes to the next update of its bank, gathered over about a second of capture time.

Only normal frames contribute: their regular score passed the gate and no event is open or about to open. One draft
holds frames of one session against one version of one bank; a change of either closes it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from memory_store.proposal import ItemSums
from messaging.ports import OutRecord
from schemas.codec import encode_header, encode_proposal_arrays
from schemas.messages import FrameHeader, ProposalHeader
from workers.tracker import BankRef


@dataclass(frozen=True, slots=True)
class Draft:
    """Merged statistics of ``num_frames`` normal frames of one camera against ``bank``."""

    bank: BankRef
    session_id: str
    first_frame: int
    last_frame: int
    num_frames: int
    captured_from: datetime
    captured_to: datetime
    sums: ItemSums

    def continued_by(self, header: FrameHeader, bank: BankRef) -> bool:
        """Whether a frame may join: same session, same bank content."""
        return self.session_id == header.session_id and self.bank.digest == bank.digest

    def is_due(self, interval_s: float) -> bool:
        """Whether it spans its share of capture time."""
        return self.captured_to - self.captured_from >= timedelta(seconds=interval_s)


def passes_gate(regular_score: float, threshold: float) -> bool:
    """MNAD's gate (section 3.3): a frame may teach only if its regular score (high = irregular) is below the threshold.

    A threshold of 0 lets nothing pass, and neither do numbers that are none.
    """
    return regular_score < threshold


def begin(header: FrameHeader, bank: BankRef, sums: ItemSums) -> Draft:
    """A draft of one frame."""
    at, index = header.captured_at, header.frame_index
    return Draft(bank, header.session_id, index, index, 1, at, at, sums)


def extend(draft: Draft, header: FrameHeader, sums: ItemSums) -> Draft:
    """One more frame."""
    return replace(
        draft,
        last_frame=header.frame_index,
        num_frames=draft.num_frames + 1,
        captured_to=header.captured_at,
        sums=draft.sums.merge(sums),
    )


def proposal_record(draft: Draft, camera_id: str, bundle_digest: str, topic: str) -> OutRecord:
    """The record to publish; its key is the bank id, so one coordinator sees all of a bank's proposals in order."""
    num_items, item_dim = draft.sums.sums_MC.shape
    header = ProposalHeader(
        proposal_id=f"{camera_id}:{draft.session_id}:{draft.first_frame}-{draft.last_frame}",
        bank_id=draft.bank.bank_id,
        base_version=draft.bank.version,
        base_digest=draft.bank.digest,
        bundle_digest=bundle_digest,
        camera_id=camera_id,
        session_id=draft.session_id,
        first_frame=draft.first_frame,
        last_frame=draft.last_frame,
        num_frames=draft.num_frames,
        captured_from=draft.captured_from,
        captured_to=draft.captured_to,
        num_items=num_items,
        item_dim=item_dim,
    )
    value = encode_proposal_arrays(draft.sums.running_max_M, draft.sums.sums_MC, draft.sums.counts_M)
    return OutRecord(topic, draft.bank.bank_id, value, encode_header(header))
