"""A feed has images made no larger than whoever looks at them needs them; what is hidden is hidden at full size."""

from collections.abc import Iterator

import pytest

from producers.encoding import EncodingOptions
from producers.feed import CameraFeed, FeedRun
from producers.masking import ChangingMask
from producers.outlet import Outlet
from producers.pacing import PacingOptions
from producers.shrinking import num_halvings
from producers.sources import CapturedFrame, Image
from producers.view import FINE_PX, SMALL_PX
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, ScriptedSource, plain

SMALL = (64, 48)
CORNER = [[(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)]]


class Made(ScriptedSource):
    """Notes for which size its images were wanted."""

    def __init__(self) -> None:
        super().__init__([plain()] * 3)
        self.wanted: list[tuple[int, int] | None] = []

    def __iter__(self) -> Iterator[CapturedFrame]:
        for frame in super().__iter__():
            yield CapturedFrame(self.make, frame.captured_at, frame.clock)

    def make(self, wanted: tuple[int, int] | None) -> Image:
        self.wanted.append(wanted)
        return plain(width=640, height=480)


def mask(hides: bool) -> ChangingMask:
    made = ChangingMask()
    made.change(CORNER if hides else [])
    return made


@pytest.mark.parametrize(
    ("encoding", "watches", "wanted"),
    [
        (EncodingOptions(size=SMALL), False, SMALL),
        (EncodingOptions(size=SMALL), True, SMALL_PX),
        (EncodingOptions(size=(400, 50)), True, (400, SMALL_PX[1])),
        (EncodingOptions(size=SMALL, mask=mask(hides=False)), False, SMALL),
        (EncodingOptions(size=SMALL, mask=mask(hides=True)), False, None),
        (EncodingOptions(), True, None),
    ],
    ids=["small", "watched", "wide", "nothing hidden", "hidden", "as it comes"],
)
def test_images_are_made_for_those_who_look_at_them(
    encoding: EncodingOptions, watches: bool, wanted: tuple[int, int] | None
) -> None:
    source = Made()
    feed = CameraFeed("gate", source, encoding, PacingOptions(mode="backfill"), watches_view=watches)
    publisher = MemoryPublisher()
    FeedRun(feed, Outlet(publisher, "frames", lambda: START)).run()
    assert source.wanted == [wanted] * 3
    assert (publisher.frames[0].width, publisher.frames[0].height) == (encoding.size or (640, 480))


@pytest.mark.parametrize("size", [(3840, 2160), (1920, 1080), (1280, 720), (640, 480), (704, 576), (352, 288)])
def test_what_is_made_for_the_judge_is_fine_enough(size: tuple[int, int]) -> None:
    times = num_halvings(size, SMALL_PX)
    assert size[0] >> times >= FINE_PX[0]
    assert size[1] >> times >= FINE_PX[1]
