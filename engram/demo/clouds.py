"""Where each frame of an event was unusual, for a film: computed again, calm, from the frames as they were sent.

An event tells it of its peak alone. A film that showed the peak's on all frames would point at where something is not
yet, or no longer.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from consumers.annotate import Cloud
from engram.demo.recompute import banks_of
from inference.decode import DecodeLimits
from inference.engine import Engine
from inference.explaining import explainer_of
from inference.standard import Standards
from memory_store.store import BankReader
from messaging.ports import Assigned, Bus, Claim, Delivery, Record
from schemas.messages import FrameScore
from schemas.topics import TopicNames
from workers.arrivals import Decoder
from workers.heatmap import heat_map, regions
from workers.partition import Clip, Partition

BATCH = 8
FrameOf = tuple[str, int]
"""Camera and frame index, of its only session."""


@dataclass(slots=True)
class FrameKeeper:
    """Takes the frames out of the log when all have come; see ``embedded.Companion``."""

    records: list[Record] = field(default_factory=list)

    def run(self, bus: Bus, names: TopicNames, stop: threading.Event) -> None:
        """See ``embedded.Companion``."""
        stop.wait()
        with closing(bus.reader([names.frames], from_beginning=True)) as reader:
            self.records = list(reader.read_to_end(0.0))


def clouds(
    records: Sequence[Record],
    scores: Sequence[FrameScore],
    wanted: Collection[FrameOf],
    engine: Engine,
    store: BankReader,
) -> Mapping[FrameOf, Cloud]:
    """By frame; those that were not scored have none.

    Args:
        records: of the frames topic, in the order of the log.
        scores: of all frames; each names the version of the memory that it was read with.
        wanted: which frames are asked for.
        engine: that scored them.
        store: where the versions are.

    Raises:
        EngramError: a version that a score names is not in the store.
    """
    told = {(score.camera_id, score.frame_index): score for score in scores if score.status == "scored"}
    wanted = [key for key in wanted if key in told]
    banks = banks_of([told[key] for key in wanted], store, engine)
    standards, calibration = Standards(engine.bundle.calibration), engine.bundle.calibration
    found: dict[FrameOf, Cloud] = {}
    for clips in _batches(records, set(wanted), engine):
        used = [banks[told[key].bank_id, told[key].bank_version] for key, _ in clips]
        results = engine.predictor.infer([clip.clip_THWC for _, clip in clips], np.stack([b.items_MC for b in used]))
        for (key, _), bank, result in zip(clips, used, results, strict=True):
            standard = standards.of(bank.digest, bank.normality)
            map_RS = standard.look(result).map_RS
            spreads_RS = explainer_of(standard, calibration).spreads_of(map_RS)
            boxes = tuple(region for region in regions(map_RS, spreads_RS) if region.score > 0)
            found[key] = Cloud(heat_map(spreads_RS), boxes)
    return found


def _batches(records: Sequence[Record], wanted: set[FrameOf], engine: Engine) -> Iterator[list[tuple[FrameOf, Clip]]]:
    """Clips of the wanted frames, a few together."""
    partitions: dict[int, Partition] = {}
    clips: list[tuple[FrameOf, Clip]] = []
    with closing(Decoder(engine.predictor.frame_format, DecodeLimits(), num_threads=1)) as decoder:
        for record in records:
            claim = Claim(record.topic, record.partition, epoch=0)
            if record.partition not in partitions:
                begun = Assigned(claim, record.offset)
                partitions[record.partition] = Partition.from_assignment(begun, {}, engine.predictor.clip_format, 0.0)
            (arrival,) = decoder.begin([Delivery(record, claim, is_replay=False)])
            admitted = partitions[record.partition].admit(arrival, None, 0.0)
            if isinstance(admitted, Clip):
                key = admitted.header.camera_id, admitted.header.frame_index
                if key in wanted:
                    clips.append((key, admitted))
            if len(clips) == BATCH:
                yield clips
                clips = []
    if clips:
        yield clips
