"""A producer that knows the bundle says, once a session, what of its frames the bundle wants otherwise."""

import cv2
import numpy as np
import pytest

from bundles.manifest import Manifest
from inference.fit import NUM_STEPS
from producers.encoding import EncodingOptions
from producers.feed import CameraFeed, FeedRun
from producers.outlet import Outlet
from producers.pacing import PacingOptions
from producers.sources import Image
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, ScriptedSource, noisy

BUNDLE = Manifest(
    model="mnad-prediction",
    parameters={},
    clip_length=5,
    width=64,
    height=48,
    channels=3,
    fps=10.0,
    jpeg_quality=90,
    seed=0,
    training_data_digest="0" * 64,
    software="tests",
)
AS_WANTED = EncodingOptions(size=(64, 48), quality=90)


def told(
    caplog: pytest.LogCaptureFixture,
    images: list[Image],
    encoding: EncodingOptions = AS_WANTED,
    fps: float = 10.0,
    bundle: Manifest | None = BUNDLE,
) -> list[str]:
    source = ScriptedSource(images, fps=fps)
    pacing = PacingOptions(mode="backfill")
    feed = CameraFeed("gate", source, encoding, pacing, session_id="s1", bundle=bundle)
    FeedRun(feed, Outlet(MemoryPublisher(), "frames", lambda: START)).run()
    return [text for text in caplog.messages if text.startswith("camera gate, session s1: ")]


IMAGES = [noisy(128, 96, seed) for seed in range(3 * NUM_STEPS)]


def test_what_fits_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, IMAGES) == []


def test_the_rate_is_measured_by_capture_times(caplog: pytest.LogCaptureFixture) -> None:
    (text,) = told(caplog, IMAGES, fps=4.0)
    assert "4 frames a second come, the bundle was trained on 10" in text


def test_size_and_quality_are_told_as_they_are_sent(caplog: pytest.LogCaptureFixture) -> None:
    size, quality = told(caplog, IMAGES, EncodingOptions(size=(32, 24), quality=60))
    assert "frames have 32 x 24 pixels, the bundle takes 64 x 48" in size
    assert "a JPEG quality of about 60, the bundle was trained at 90" in quality


@pytest.mark.parametrize("why", ["sent grey", "seen grey"])
def test_colour_that_is_missing_is_told(caplog: pytest.LogCaptureFixture, why: str) -> None:
    grey = [cv2.cvtColor(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) for one in IMAGES]
    shown = IMAGES if why == "sent grey" else [np.asarray(one, np.uint8) for one in grey]
    encoding = EncodingOptions(size=(64, 48), quality=90, channels=1 if why == "sent grey" else 3)
    (text,) = told(caplog, shown, encoding)
    assert "frames are grey, the bundle was trained on colour" in text


def test_too_few_frames_and_no_bundle_are_no_reason_for_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, IMAGES[:NUM_STEPS], fps=1.0) == []
    assert told(caplog, IMAGES, fps=1.0, bundle=None) == []
