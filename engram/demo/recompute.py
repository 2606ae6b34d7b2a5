"""The whole run once more, calm, in one thread: from the frames in the log and the bank versions that the scores name.

What a fleet did under a killed worker, a moving bank and any distribution of cameras must be what this gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from inference.engine import Engine
from inference.standard import Standards
from memory_store.bank import Bank
from memory_store.store import BankReader
from memory_store.views import InitialBank
from messaging.ports import Assigned, Claim, Delivery, Record
from schemas.codec import decode_message
from schemas.errors import EngramError
from schemas.messages import AnomalyEvent, FrameScore, utc_now
from workers.arrivals import Decoder
from workers.assessment import Assessor
from workers.options import WorkerOptions
from workers.output import Output
from workers.partition import Admitted, Clip, Partition, Warming
from workers.rules import CameraRules
from workers.tracker import BankRef

CHUNK = 32

FrameKey = tuple[str, str, int]
VersionKey = tuple[str, int]
"""Name of a bank, and number of its version."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What a calm run gives."""

    scores: Mapping[FrameKey, FrameScore]
    events: tuple[AnomalyEvent, ...]


def key_of(score: FrameScore) -> FrameKey:
    """Camera, session, frame index."""
    return score.camera_id, score.session_id, score.frame_index


def recompute(
    frames: Sequence[Record], told: Sequence[FrameScore], engine: Engine, store: BankReader, options: WorkerOptions
) -> Recomputed:
    """Score ``frames`` again, each with the bank version that its score in ``told`` names.

    Raises:
        EngramError: a version that a score names is not in the store, or has other items.
    """
    replay = _Replay(engine, {key_of(score): score for score in told}, banks_of(told, store, engine), options)
    for _, records in groupby(sorted(frames, key=_place), key=lambda record: record.partition):
        replay.partition(list(records))
    return replay.result()


class _Replay:
    def __init__(
        self,
        engine: Engine,
        told: Mapping[FrameKey, FrameScore],
        banks: Mapping[VersionKey, Bank],
        options: WorkerOptions,
    ) -> None:
        self._engine = engine
        self._told = told
        self._banks = banks
        self._options = options
        self._output = Output()
        standards = Standards(engine.bundle.calibration)
        self._assessor = Assessor(
            options, engine.bundle, standards, CameraRules(options.events, options.cameras), utc_now
        )

    def partition(self, records: Sequence[Record]) -> None:
        """All records of one partition, in order."""
        claim = Claim(records[0].topic, records[0].partition, epoch=0)
        partition = Partition.from_assignment(Assigned(claim, 0), {}, self._engine.predictor.clip_format, now_s=0.0)
        decoder = Decoder(self._engine.predictor.frame_format, self._options.limits, num_threads=1)
        for start in range(0, len(records), CHUNK):
            deliveries = [Delivery(record, claim, is_replay=False) for record in records[start : start + CHUNK]]
            self._assess([partition.admit(arrival, None, 0.0) for arrival in decoder.begin(deliveries)])
        decoder.close()

    def result(self) -> Recomputed:
        """Everything the replay has put out."""
        topics, records = self._options.topics, self._output.records
        scores = [decode_message(FrameScore, each.value) for each in records if each.topic == topics.frame_scores]
        events = [decode_message(AnomalyEvent, each.value) for each in records if each.topic == topics.anomaly_events]
        return Recomputed({key_of(score): score for score in scores}, tuple(events))

    def _assess(self, admitted: Sequence[Admitted]) -> None:
        refs = [self._ref(record) for record in admitted]
        full = [(record, ref) for record, ref in zip(admitted, refs, strict=True) if ref and isinstance(record, Clip)]
        items = [self._banks[ref.bank_id, ref.version].items_MC for _, ref in full]
        found = self._engine.predictor.infer([clip.clip_THWC for clip, _ in full], np.stack(items)) if full else []
        results = iter(found)
        for record, ref in zip(admitted, refs, strict=True):
            if ref is not None or not isinstance(record, Clip | Warming):  # what no score tells of was not scored
                result = next(results) if isinstance(record, Clip) else None
                bank = self._banks[ref.bank_id, ref.version] if ref else None
                self._assessor.assess(record, result, ref, self._output, bank)

    def _ref(self, record: Admitted) -> BankRef | None:
        if not isinstance(record, Clip | Warming):
            return None
        header = record.header
        score = self._told.get((header.camera_id, header.session_id, header.frame_index))
        if score is None:
            return None
        return BankRef(score.bank_id, score.bank_version, score.bank_digest, score.memory_state)


def banks_of(told: Sequence[FrameScore], store: BankReader, engine: Engine) -> dict[VersionKey, Bank]:
    """Every version of a bank that a score names.

    Raises:
        EngramError: a version that a score names is not in the store, or has other items.
    """
    initial = InitialBank.of_bundle(engine.bundle)
    found: dict[VersionKey, Bank] = {}
    for bank_id, version, digest in {(score.bank_id, score.bank_version, score.bank_digest) for score in told}:
        bank = store.read_version(bank_id, version) or (initial.as_bank(bank_id) if version == 0 else None)
        if bank is None or bank.digest != digest:
            raise EngramError(f"bank '{bank_id}' v{version} must be in the store as scored with, digest {digest[:12]}")
        found[bank_id, version] = bank
    return found


def _place(record: Record) -> tuple[int, int]:
    return record.partition, record.offset
