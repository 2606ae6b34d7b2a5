"""A network's way through footage, with a backend whose numbers can be reckoned by hand.

Frame n of the footage is n everywhere; what is "measured" on a clip says which frames it had and which bank it read.
"""

from collections.abc import Mapping

import numpy as np
import pytest

from inference.engine import Predictor
from inference.formats import FrameFormat
from networks.mnad import MnadParameters, MnadPrediction
from schemas.arrays import Float32, UInt8
from schemas.errors import FatalError
from training.evaluation.measuring import BATCH, Measuring, measure_video
from training.footage.dataset import FrameCache, Video

ITEMS = np.eye(2, 8, dtype=np.float32)
LENGTH, STRIDE = 3, 2
VIDEOS = (Video("a", 0, 17, 10.0), Video("b", 17, 9, 10.0, offset=30))
FRAMES = np.broadcast_to(np.arange(26, dtype=np.uint8)[:, None, None, None], (26, 8, 8, 1))
FOOTAGE = FrameCache(FRAMES, VIDEOS, "0" * 64)


class Reckoning:
    """PSNR: the newest frame. Regular score: the oldest, in 128ths. Distance: the bank's first number.

    Each clip teaches the first item one query, along the third axis.
    """

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken
        self.batches: list[int] = []

    def __call__(self, clips_BTHWK: UInt8, items_BMC: Float32) -> Mapping[str, Float32]:
        self.batches.append(len(clips_BTHWK))
        frames_BT = clips_BTHWK[..., 0, 0, 0].astype(np.float32)
        cells = np.broadcast_to(frames_BT[:, 1, None, None], (len(clips_BTHWK), 2, 2))
        sums = np.zeros_like(items_BMC)
        sums[:, 0, 2] = 1.0
        ones = np.ones(items_BMC.shape[:2], np.float32)
        psnr_db = np.where(frames_BT[:, -1] == self.broken, np.nan, frames_BT[:, -1])
        return {
            "psnr_db": psnr_db,
            "regular_score": frames_BT[:, 0] / 128,
            "clip_error": frames_BT.sum(axis=1),
            "feature_distance": items_BMC[:, 0, 0],
            "cell_errors": cells,
            "running_max": ones,
            "sums": sums,
            "counts": ones * [1, 0],
        }


def predictor(backend: Reckoning) -> Predictor:
    network = MnadPrediction(MnadParameters(width=4, depth=2, channels=1, clip_length=LENGTH, num_items=2))
    return Predictor(network, FrameFormat(8, 8, 1), "cpu", frame_stride=STRIDE, backend=backend)


def test_every_clip_of_a_video_is_measured_once_in_order() -> None:
    backend = Reckoning()
    results = measure_video(predictor(backend), FOOTAGE, VIDEOS[0], ITEMS)
    assert [result.psnr_db for result in results] == list(range(4, 17))
    assert [result.clip_error for result in results] == [3 * newest - 6 for newest in range(4, 17)]
    assert backend.batches == [BATCH, 13 - BATCH]


def test_with_a_fixed_memory_nothing_is_learned() -> None:
    run = Measuring(predictor(Reckoning())).fixed(FOOTAGE, VIDEOS, ITEMS)
    newest = [[kept.irregularity.measures.psnr_db for kept in video] for video in run.videos]
    assert newest == [list(range(4, 17)), list(range(21, 26))]
    assert (run.num_frames, any(run.updated)) == (18, False)
    assert np.array_equal(run.items_MC, ITEMS)


def test_the_map_of_plain_errors_is_kept_beside_the_clips_error() -> None:
    kept = Measuring(predictor(Reckoning())).fixed(FOOTAGE, VIDEOS, ITEMS).videos[1][0]
    assert (kept.clip_error, kept.error_map_RS.tolist()) == (17 + 19 + 21, [[19.0]])


def test_frames_below_the_gate_teach_the_frames_after_them() -> None:
    """The gate lets the clips that begin at frames 0, 1 and 2 in; at frame 3 it is reached, not undercut."""
    run = Measuring(predictor(Reckoning())).carried(FOOTAGE, VIDEOS, ITEMS, gate=3 / 128)
    assert run.updated == (True,) * 3 + (False,) * 15
    distances = [kept.irregularity.measures.feature_distance for video in run.videos for kept in video]
    assert distances[0] == 1.0
    assert distances[0] > distances[1] > distances[2] > distances[3]
    assert set(distances[3:]) == {distances[3]}, "a memory that learns no more, and the next video reads the same"
    assert distances[3] == pytest.approx(run.items_MC[0, 0])
    assert np.linalg.norm(run.items_MC, axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("gate", [None, 0.0])
def test_a_number_that_is_none_is_named_by_its_frame_in_the_source(gate: float | None) -> None:
    """Video b begins with frame 30 of its source, so that its newest frame 23 is that source's frame 36."""
    measuring = Measuring(predictor(Reckoning(broken=23)))
    with pytest.raises(FatalError, match="must give finite numbers, it does not at frame 36 of 'b'; train the bundle"):
        if gate is None:
            measuring.fixed(FOOTAGE, VIDEOS, ITEMS)
        else:
            measuring.carried(FOOTAGE, VIDEOS, ITEMS, gate)
