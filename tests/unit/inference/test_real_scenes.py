"""Real cameras: what a crowd in panic, a cart or a passer-by does is not done by the camera; another camera is another.

Needs the folder of research footage that the figures in ``docs/memory.md`` come from; no network looks at it here, so
the errors of all frames are the same.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.engine import place_greys
from inference.evidence import Seen, remember
from inference.recognition import Likeness, Recognition, recognised
from inference.steadiness import LEAST_PX, change_between, small_picture, steadied
from memory_store.normality import Normality, merge_all
from tests.architecture.repository import ROOT

DATA = Path(os.environ.get("ENGRAM_TEST_DATA", ROOT.parent / "shared" / "data"))
SCENES = {"ped2": 1, "umn1": 3, "umn2": 3, "umn3": 3}
"""Names, and which share of frames makes ten a second."""
MOST_FRAMES = 150
FPS = 10.0
SIZE = (192, 128)

pytestmark = pytest.mark.skipif(
    not all((DATA / name).is_dir() for name in SCENES),
    reason=f"needs {', '.join(SCENES)} in '{DATA}'; set ENGRAM_TEST_DATA to where they are",
)


def frames_of(path: Path, stride: int) -> np.ndarray:
    """Grey frames at model size, (F, H, W, 1)."""
    video, found = cv2.VideoCapture(str(path)), []
    for index in range(stride * MOST_FRAMES):
        ok, image = video.read()
        if not ok:
            break
        if index % stride == 0:
            grey = cv2.cvtColor(cv2.resize(image, SIZE), cv2.COLOR_BGR2GRAY)
            found.append(grey[..., None])
    video.release()
    return np.stack(found)


def clips_of(scene: str, kind: str, most: int) -> list[np.ndarray]:
    paths = sorted((DATA / scene / kind).glob("*.mp4"))[-most:]
    return [frames_of(path, SCENES[scene]) for path in paths]


def seen(frames: np.ndarray) -> Seen:
    cells = np.full((len(frames), SIZE[1] // 4, SIZE[0] // 4), 1e-4, np.float32)
    return Seen(cells, 0 * cells, place_greys(frames), np.full(len(frames), 40.0, np.float32))


@pytest.fixture(scope="module")
def memories() -> dict[str, Normality]:
    return {
        name: merge_all([remember(seen(frames), 0.0) for frames in clips_of(name, "train", 2)], float("inf"))
        for name in SCENES
    }


@pytest.fixture(scope="module")
def footage() -> dict[str, list[np.ndarray]]:
    return {name: clips_of(name, "test", 1) for name in SCENES}


def states(frames: np.ndarray, memory: Normality) -> list[Recognition]:
    known, small = Likeness.of(memory), [small_picture(frame) for frame in frames]
    found: list[Recognition] = []
    of = seen(frames)
    for index in range(1, len(frames)):
        whole = known.ask(of.errors_FRS[index], of.grey_FPQ[index], change_between(small[index - 1], small[index]))
        found.append(recognised(found[-1] if found else None, whole, known, FPS))
    return found


@pytest.mark.parametrize("scene", SCENES)
def test_its_own_camera_is_known_through_all_that_happens(scene: str, memories, footage) -> None:
    for frames in footage[scene]:
        found = states(frames, memories[scene])
        assert {one.state for one in found} == {"known"}
        assert not any(one.is_blind for one in found)
        assert max(one.slow.shift for one in found) < 0.5


@pytest.mark.parametrize("scene", SCENES)
def test_every_other_camera_differs_within_two_seconds(scene: str, memories, footage) -> None:
    for other, memory in memories.items():
        if other != scene:
            found = states(footage[scene][0], memory)
            assert {one.state for one in found[20:]} == {"differs"}, f"{scene} by the memory of {other}"
            assert all(one.is_blind for one in found)


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_taken_out_of_frames_of_a_camera_that_stands_still(scene: str, footage) -> None:
    for frames in footage[scene]:
        assert all(steadied(pair).clip_THWK is pair for pair in (frames[at : at + 2] for at in range(len(frames) - 1)))


@pytest.mark.parametrize("scene", SCENES)
def test_a_shake_of_a_pixel_is_seen_through_all_that_happens(scene: str, footage) -> None:
    draw, frames = np.random.default_rng(0), footage[scene][0]
    places = draw.integers(-1, 2, size=(len(frames), 2))
    shaken = np.stack([np.roll(frame, place, axis=(0, 1)) for frame, place in zip(frames, places, strict=True)])
    wrong = [
        np.hypot(change.down_px - down, change.right_px - right) > LEAST_PX
        for change, (down, right) in (
            (steadied(shaken[at : at + 2]).newest, places[at + 1] - places[at]) for at in range(len(frames) - 1)
        )
    ]
    assert np.mean(wrong) < 0.05
