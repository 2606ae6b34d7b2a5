"""All ways to bring clips to the network bring the same ones."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from inference.formats import ClipFormat
from tests.unit.training.scene import ramp
from training.footage.clip_stream import (
    BATCHES_AHEAD,
    DirectStream,
    PrefetchedStream,
    ResidentStream,
    Stream,
    clip_stream,
    uploaded,
)

CPU = torch.device("cpu")
FOOTAGE = ramp(600)
"""More frames than one part of an upload."""


def ways(form: ClipFormat) -> list[Stream]:
    return [
        DirectStream(FOOTAGE, form),
        ResidentStream(uploaded(FOOTAGE, CPU), form),
        PrefetchedStream(FOOTAGE, form, CPU),
    ]


@pytest.mark.parametrize("form", [ClipFormat(5), ClipFormat(3, stride=4), ClipFormat(1)])
@pytest.mark.parametrize("way", [0, 1, 2])
def test_every_way_brings_the_same_clips_in_order(way: int, form: ClipFormat) -> None:
    starts = [np.array([0, 40, 588]), np.array([7, 7, 300]), np.array([11])]
    found = list(ways(form)[way](iter(starts)))
    assert len(found) == 3
    for clips, batch in zip(found, starts, strict=True):
        assert clips.dtype == torch.uint8
        assert np.array_equal(clips.numpy(), FOOTAGE.clips(batch, form.length, form.stride))


def test_on_a_cpu_nothing_is_copied_ahead() -> None:
    assert isinstance(clip_stream(FOOTAGE, ClipFormat(5), CPU), DirectStream)


def test_reading_ahead_stops_at_its_bound_and_when_closed() -> None:
    asked: list[int] = []
    enough = threading.Event()

    def starts() -> Iterator[np.ndarray]:
        for index in range(100):
            asked.append(index)
            if index >= BATCHES_AHEAD:
                enough.set()
            yield np.array([index])

    clips = PrefetchedStream(FOOTAGE, ClipFormat(2), CPU)(starts())
    next(clips)
    assert enough.wait(10)
    clips.close()
    assert len(asked) <= BATCHES_AHEAD + 3
    assert "clips" not in [thread.name for thread in threading.enumerate()]


def test_an_error_while_reading_ahead_reaches_the_training() -> None:
    clips = PrefetchedStream(FOOTAGE, ClipFormat(5), CPU)(iter([np.array([0]), np.array([599])]))
    next(clips)
    with pytest.raises(IndexError):
        next(clips)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_all_frames_move_there() -> None:
    stream = clip_stream(FOOTAGE, ClipFormat(5), torch.device("cuda"))
    assert isinstance(stream, ResidentStream)
    (clips,) = stream(iter([np.array([3, 4])]))
    assert np.array_equal(clips.cpu().numpy(), FOOTAGE.clips(np.array([3, 4]), 5))
