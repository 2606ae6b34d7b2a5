"""Holding back footage for the calibration."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat, FrameFormat
from schemas.errors import FatalError
from tests.unit.training.small_footage import MINIATURE, write_images
from training.footage.dataset import FrameCache, Video
from training.footage.material import Material, Split, clip_starts, long_enough, normal_footage, split_videos

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


@given(st.lists(st.integers(20, 400), min_size=1, max_size=12), st.sampled_from([0.05, 0.15, 0.25]))
def test_the_share_asked_for_is_held_back_and_something_is_left_to_learn(lengths: list[int], share: float) -> None:
    split = split_videos(videos(*lengths), share)
    total = sum(lengths)
    assert round(share * total) <= len(frames(split.held_back)) <= 0.3 * total + 1
    assert split.training


def test_a_video_just_too_long_to_be_held_back_whole_is_cut() -> None:
    """Of 100 frames 15 are wanted and at most 30 given: a last video of 30 goes whole, one of 31 loses its tail."""
    whole, cut = split_videos(videos(70, 30)), split_videos(videos(69, 31))
    assert [video.num_frames for video in whole.held_back] == [30]
    assert [video.num_frames for video in whole.training] == [70]
    assert [(video.name, video.first_frame, video.num_frames) for video in cut.held_back] == [("v1", 85, 15)]
    assert [video.num_frames for video in cut.training] == [69, 16]


def test_of_many_short_videos_some_are_named(caplog: pytest.LogCaptureFixture) -> None:
    long_enough(videos(50, *range(1, 4), *range(1, 4)), CLIP)
    assert "left out 6 videos" in caplog.text
    assert "'v5' has 2, …" in caplog.text
    assert "'v6'" not in caplog.text
    caplog.clear()
    long_enough(videos(50, *range(1, 4), 1, 2), CLIP)
    assert "…" not in caplog.text


def test_of_many_videos_with_too_few_clips_some_are_named() -> None:
    with pytest.raises(FatalError, match=r"at least 99 clips of 5 frames, got 14 from 42 frames of 'v0', .*'v4'; re"):
        clip_starts(videos(*[6] * 7), CLIP, at_least=99)


def test_just_enough_clips_are_enough() -> None:
    assert len(clip_starts(videos(6), CLIP, at_least=2)) == 2


def test_only_test_footage_is_nothing_to_learn_from(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "a", 2)
    with pytest.raises(FatalError, match="must hold normal footage in a folder 'train', it has test footage only"):
        normal_footage(tmp_path)
    write_images(tmp_path / "train" / "b", 2)
    assert [source.name for source in normal_footage(tmp_path)] == ["b"]


def material(num_frames: int) -> Material:
    """Frames of 24 x 32 in two videos, of which the second is held back."""
    parts = (Video("a", 0, num_frames - 30, 8.0), Video("b", num_frames - 30, 30, 8.0))
    footage = FrameCache(np.zeros((num_frames, 24, 32, 3), np.uint8), parts, "0" * 64)
    return Material(MINIATURE, footage, split_videos(parts, 30 / num_frames), CLIP, 8.0)


def test_material_is_of_the_size_of_its_footage() -> None:
    found = material(200)
    assert found.frame == FrameFormat(32, 24, 3)
    clips = found.clips()
    assert (len(clips.training), len(clips.held_back)) == (166, 26)
    assert clips.held_back.min() == 170


def test_less_than_a_batch_to_learn_from_is_refused() -> None:
    first, second = videos(7, 93)
    with pytest.raises(FatalError, match="at least 4 clips of 5 frames, got 3 from 7 frames of 'v0'; record more"):
        Material(MINIATURE, material(200).footage, Split((first,), (second,)), CLIP, 10.0).clips()
    with pytest.raises(FatalError, match="at least 20 clips of 5 frames, got 3 from 7 frames of 'v0'"):
        Material(MINIATURE, material(200).footage, Split((second,), (first,)), CLIP, 10.0).clips()
