"""Holding back footage for the calibration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat
from schemas.errors import FatalError
from training.footage.dataset import Video
from training.footage.material import clip_starts, long_enough, split_videos

CLIP = ClipFormat(5)


def videos(*lengths: int) -> list[Video]:
    firsts = [sum(lengths[:index]) for index in range(len(lengths))]
    return [Video(f"v{index}", first, n, 10.0) for index, (first, n) in enumerate(zip(firsts, lengths, strict=True))]


def frames(parts: tuple[Video, ...]) -> list[int]:
    return [frame for part in parts for frame in range(part.first_frame, part.first_frame + part.num_frames)]


def test_whole_videos_where_there_are_several() -> None:
    split = split_videos(videos(*[100] * 10))
    assert [video.name for video in split.held_back] == ["v8", "v9"]
    assert [video.num_frames for video in split.training] == [100] * 8


def test_the_tail_of_a_single_video() -> None:
    split = split_videos(videos(1000))
    assert [(video.first_frame, video.num_frames) for video in split.training] == [(0, 850)]
    assert [(video.first_frame, video.num_frames) for video in split.held_back] == [(850, 150)]


def test_a_long_last_video_is_cut() -> None:
    split = split_videos(videos(100, 900))
    assert [video.num_frames for video in split.training] == [100, 750]
    assert [video.num_frames for video in split.held_back] == [150]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_every_frame_is_on_one_side_in_order(lengths: list[int]) -> None:
    split = split_videos(videos(*lengths))
    assert frames(split.training) + frames(split.held_back) == list(range(sum(lengths)))
    assert len(frames(split.held_back)) <= 0.3 * sum(lengths) + 1
    assert len(frames(split.held_back)) >= int(0.15 * sum(lengths) - 0.5)


def test_clips_never_reach_over_the_cut() -> None:
    split = split_videos(videos(100))
    training = clip_starts(split.training, CLIP, at_least=1)
    held_back = clip_starts(split.held_back, CLIP, at_least=1)
    assert training.max() + 4 == 84
    assert held_back.min() == 85


def test_too_little_footage_is_explained() -> None:
    with pytest.raises(FatalError, match=r"at least 4 clips of 5 frames, got 2 from 6 frames of 'v0'"):
        clip_starts(tuple(videos(6)), CLIP, at_least=4)


def test_a_clip_of_every_third_frame_needs_more_of_them() -> None:
    assert len(clip_starts(videos(20), ClipFormat(5, 3), at_least=1)) == 8


def test_videos_shorter_than_a_clip_are_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    kept = long_enough(videos(100, 4, 5, 2), CLIP)
    assert [video.name for video in kept] == ["v0", "v2"]
    assert "left out 2 videos of fewer than the 5 frames of a clip: 'v1' has 4, 'v3' has 2" in caplog.text


def test_nothing_as_long_as_a_clip_is_an_error() -> None:
    with pytest.raises(
        FatalError, match=r"at least 9 frames, which make one clip; 'v0' has 8, 'v1' has 3; give longer"
    ):
        long_enough(videos(8, 3), ClipFormat(5, 2))


def test_nothing_is_said_of_videos_long_enough(caplog: pytest.LogCaptureFixture) -> None:
    assert len(long_enough(videos(5, 50), CLIP)) == 2
    assert caplog.text == ""
