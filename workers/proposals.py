"""What one camera contributes to the next update of its bank, gathered over about a second of capture time.

Only normal frames contribute: no event is open or about to open, and where the bundle has no memory of normality their
regular score passed the gate. One draft holds frames of one session against one version of one bank; a change of either
closes it.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from inference.rarity import BLOCK_S
from inference.standard import Look, remembered
from memory_store.proposal import ItemSums
from messaging.ports import OutRecord
from schemas.codec import encode_header, encode_proposal_arrays
from schemas.messages import FrameHeader, ProposalHeader
from schemas.traceparent import TRACEPARENT, TRACESTATE
from workers.tracker import BankRef

WHOLE_SHARE = 0.8
"""Of a block's frames must have been scored for its highest level to count."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Merged statistics of ``num_frames`` normal frames of one camera against ``bank``.

    Attributes:
        looks: the frames for the memory of normality; none where the bundle has none.
        traceparent, tracestate: of the newest frame that has the first.
    """

    bank: BankRef
    session_id: str
    first_frame: int
    last_frame: int
    num_frames: int
    captured_from: datetime
    captured_to: datetime
    sums: ItemSums
    looks: tuple[Look, ...] = ()
    traceparent: str | None = None
    tracestate: str | None = None

    def continued_by(self, header: FrameHeader, bank: BankRef) -> bool:
        """Whether a frame may join: same session, same bank content."""
        return self.session_id == header.session_id and self.bank.digest == bank.digest

    def within(self, traceparent: str | None, tracestate: str | None) -> "Draft":
        """With the trace of its newest frame, if that has one."""
        return self if traceparent is None else replace(self, traceparent=traceparent, tracestate=tracestate)

    def is_due(self, interval_s: float) -> bool:
        """Whether it spans its share of capture time."""
        return self.captured_to - self.captured_from >= timedelta(seconds=interval_s)


def passes_gate(regular_score: float, threshold: float) -> bool:
    """MNAD's gate (section 3.3): a frame may teach only if its regular score (high = irregular) is below the threshold.

    A threshold of 0 lets nothing pass, and neither do numbers that are none.
    """
    return regular_score < threshold


def begin(header: FrameHeader, bank: BankRef, sums: ItemSums, look: Look | None = None) -> Draft:
    """A draft of one frame."""
    at, index = header.captured_at, header.frame_index
    return Draft(bank, header.session_id, index, index, 1, at, at, sums, () if look is None else (look,))


def extend(draft: Draft, header: FrameHeader, sums: ItemSums, look: Look | None = None) -> Draft:
    """One more frame."""
    return replace(
        draft,
        last_frame=header.frame_index,
        num_frames=draft.num_frames + 1,
        captured_to=header.captured_at,
        sums=draft.sums.merge(sums),
        looks=draft.looks if look is None else (*draft.looks, look),
    )


@dataclass(frozen=True, slots=True)
class Block:
    """The highest level in one block of capture time so far, see ``inference.rarity``.

    Attributes:
        number: of the block, counted from 1970.
        num_frames: scored in it.
        is_calm: whether no event was open or about to open in it.
    """

    number: int
    highest: float
    num_frames: int
    is_calm: bool

    def is_whole(self, fps: float) -> bool:
        """Whether most of it was seen."""
        return self.num_frames >= WHOLE_SHARE * BLOCK_S * fps


def block_after(before: Block | None, header: FrameHeader, level: float, is_calm: bool) -> tuple[Block, float | None]:
    """The block with one more frame in it, and the highest level of the one that has just ended, if it counts."""
    number = math.floor(header.captured_at.timestamp() / BLOCK_S)
    if before is not None and before.number == number:
        highest = max(before.highest, level)
        return Block(number, highest, before.num_frames + 1, before.is_calm and is_calm), None
    ended = before is not None and before.is_calm and before.is_whole(header.fps)
    return Block(number, level, 1, is_calm), before.highest if before is not None and ended else None


def proposal_record(draft: Draft, camera_id: str, bundle_digest: str, topic: str) -> OutRecord:
    """The record to publish; its key is the bank id, so one coordinator sees all of a bank's proposals in order."""
    num_items, item_dim = draft.sums.sums_MC.shape
    of, counts = None, b""
    if draft.looks:
        of, counts = remembered(draft.looks, draft.captured_to.timestamp()).to_wire()
    header = ProposalHeader(
        proposal_id=f"{camera_id}:{draft.session_id}:{draft.first_frame}-{draft.last_frame}",
        bank_id=draft.bank.bank_id,
        base_version=draft.bank.version,
        base_digest=draft.bank.items_digest or draft.bank.digest,
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
        normality=of,
    )
    value = encode_proposal_arrays(draft.sums.running_max_M, draft.sums.sums_MC, draft.sums.counts_M)
    told = ((TRACEPARENT, draft.traceparent), (TRACESTATE, draft.tracestate))
    trace = tuple((name, line.encode()) for name, line in told if line is not None)
    return OutRecord(topic, draft.bank.bank_id, value + counts, (*encode_header(header), *trace))
