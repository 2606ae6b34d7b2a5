"""Which frames of a source are kept: by their numbers where its rate is steady, by its time stamps where it varies.

A producer samples a film by its time stamps. Where the rate is steady the numbers of the frames say the same; where it
varies (telephones, cameras by night, recordings of motion) frames chosen by number would show things moving at other
speeds than a worker will see. Labels and masks go by the frames' numbers all the same: one for each frame of the film.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import chain, count, islice, pairwise, takewhile
from pathlib import Path

import av
import numpy as np

from inference.sampling import FilmClock, Sampler, longest_step
from schemas.arrays import Float64, Int64
from training.footage.sources import Source, video_rate

log = logging.getLogger(__name__)

RATE_TOLERANCE = 0.1
"""Share by which rates may differ and are one rate all the same."""
STEADY_FRAMES = 0.5
"""Of a steady film so many frame times hold all that its frames are off where their numbers put them."""
USUAL_FACTOR = 1.6
"""Frame times that differ from the middle one by less are usual; 24 frames a second shown as 30 have two in turn."""
MOST_UNSTAMPED = 0.1
"""A film of which a larger share of frames has no time stamp that runs forwards has none to go by."""
MOST_FILMS = 4096
_BEGIN = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_FAULTS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class FilmTimes:
    """Of a film whose rate varies.

    Attributes:
        at_s_F: when each frame was taken, in seconds from the first on.
        is_whole: no damage has cost frames, so that there are as many as these.
    """

    at_s_F: Float64
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames of a source are kept.

    Attributes:
        fps: frames a second of those that are kept.
        step: where the rate is steady, one in so many is kept, see ``kept_indices``.
        chosen: where it varies, the numbers of those that are kept.
        num_read: where it varies, how many frames can be read.
        num_known: as ``num_read``, where the film is whole; 0 = what its container says is all that is known.
        pauses: which of those kept come after a pause over which no clip may reach; the first kept is 0.
    """

    fps: float
    step: float = 1.0
    chosen: tuple[int, ...] | None = None
    num_read: int = 0
    num_known: int = 0
    pauses: frozenset[int] = frozenset()

    def numbers(self) -> Iterator[int]:
        """Of the frames that are kept, in order; without an end where the rate is steady."""
        return kept_indices(self.step) if self.chosen is None else iter(self.chosen)

    def kept(self, num_frames: int) -> Int64:
        """Which are kept of so many frames."""
        return np.fromiter(takewhile(lambda number: number < num_frames, self.numbers()), np.int64)

    def possible_lengths(self, num_kept: int) -> range:
        """How many frames there may be if so many are kept: behind the last of them may be some that are not."""
        newest, following = islice(chain(self.numbers(), [self.num_read]), num_kept - 1, num_kept + 1)
        return range(newest + 1, following + 1)


@dataclass(frozen=True, slots=True)
class Rate:
    """How many frames a second to keep.

    Attributes:
        fps: None = all of them; of a film whose rate varies, as many as it usually has.
        image_fps: rate of folders of images, which do not say it themselves.
    """

    fps: float | None = None
    image_fps: float = 10.0

    def of(self, source: Source) -> float:
        """Frames a second of the source; where they vary, as many as are usual."""
        if not source.is_video:
            return self.image_fps
        times = varying_times(source.files[0])
        return video_rate(source.files[0]) or self.image_fps if times is None else usual_rate(times.at_s_F)

    def step(self, own_fps: float) -> float:
        """One frame in so many is kept, see ``kept_indices``; 1 = all, as of footage that is hardly faster."""
        if self.fps is None or own_fps <= self.fps * (1 + RATE_TOLERANCE):
            return 1.0
        return own_fps / self.fps

    def choice(self, source: Source) -> Choice:
        """Which frames of the source are kept: the ones that a producer would send."""
        own_fps = self.of(source)
        times = varying_times(source.files[0]) if source.is_video else None
        if times is not None:
            return chosen_by_time(times, own_fps, self.fps)
        step = self.step(own_fps)
        return Choice(own_fps / step, step)


def kept_indices(step: float) -> Iterator[int]:
    """The frames whose times come nearest to a steady rate, as producers choose them, without an end.

    Of 25 frames a second, 10 of which are wanted, the frames 0, 2, 5, 7, 10 and so on.
    """
    return (math.ceil(number * step - 0.5) for number in count())


def chosen_by_time(times: FilmTimes, usual_fps: float, wanted: float | None) -> Choice:
    """What a producer that is to send ``wanted`` frames a second sends of a film; None = as many as are usual."""
    sampler = Sampler(wanted or usual_fps)
    taken = [number for number, at_s in enumerate(times.at_s_F) if sampler.takes(_BEGIN + timedelta(seconds=at_s))]
    fps = min(wanted or usual_fps, usual_fps)
    after_pause = np.flatnonzero(np.diff(times.at_s_F[taken]) > longest_step(fps).total_seconds()) + 1
    num_read = len(times.at_s_F)
    pauses = frozenset(after_pause.tolist())
    return Choice(fps, chosen=tuple(taken), num_read=num_read, num_known=num_read * times.is_whole, pauses=pauses)


def varying_times(film: Path) -> FilmTimes | None:
    """When each frame was taken; None where its number says so, or nothing does."""
    found = film.stat()
    return _varying_times(film, found.st_size, found.st_mtime_ns)


def is_steady(times_F: Float64) -> bool:
    """Whether each frame comes when its number says, if some rate is taken for the true one."""
    if len(times_F) < 3:
        return True
    step_s = 1 / usual_rate(times_F)
    off_F = times_F - step_s * np.arange(len(times_F))
    return bool(off_F.max() - off_F.min() <= STEADY_FRAMES * step_s)


def usual_rate(times_F: Float64) -> float:
    """Frames a second, without what is much slower or faster than most; of two frames or more."""
    steps = np.maximum(np.diff(times_F), 1e-6)
    middle = np.median(steps)
    return float(1 / steps[(steps > middle / USUAL_FACTOR) & (steps < middle * USUAL_FACTOR)].mean())


@lru_cache(MOST_FILMS)
def _varying_times(film: Path, _size: int, _modified_ns: int) -> FilmTimes | None:
    packets_F = np.sort(_packet_stamps(film))
    if is_steady(packets_F):  # most films are, and that shows without decoding them
        return None
    stamps, num_faults = _picture_stamps(film)
    running = sum(later > earlier for earlier, later in pairwise(stamps))
    if running < (1 - MOST_UNSTAMPED) * (len(stamps) - 1):
        return None
    clock = FilmClock(video_rate(film) or usual_rate(packets_F), is_rate_given=False)
    times_F = np.array([clock.next(1000 * stamp_s, was_damaged=False)[0] for stamp_s in stamps])
    if is_steady(times_F):
        return None
    slowest, fastest = np.quantile(1 / np.diff(times_F), (0.05, 0.95))
    text = "'%s' has %.3g to %.3g frames a second: which are kept is told by its time stamps, as producers do"
    log.info(text, film, slowest, fastest)
    return FilmTimes(times_F, is_whole=num_faults == 0)


def _packet_stamps(film: Path) -> Float64:
    """Of what may be the frames, in seconds; none where they cannot be read."""
    found: list[float] = []
    try:
        with av.open(str(film.absolute()), metadata_errors="replace") as container:
            video = container.streams.video[0]
            if video.time_base is None:
                return np.array(found)
            unit_s = float(video.time_base)  # once: a product of fractions takes as long as reading a packet
            for packet in container.demux(video):
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None:
                    found.append(stamp * unit_s)
    except (av.FFmpegError, ValueError, IndexError):  # what was found before counts
        pass
    return np.array(found)


def _picture_stamps(film: Path) -> tuple[list[float], int]:
    """Of the frames as they are shown, in seconds, NaN where there is none; and how often damage was met."""
    found: list[float] = []
    with av.open(str(film.absolute()), metadata_errors="replace") as container:
        video, num_faults = container.streams.video[0], 0
        video.thread_type = "AUTO"
        packets = container.demux(video)
        while num_faults < _MAX_FAULTS:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                for frame in packet.decode():
                    found.append(math.nan if frame.time is None else frame.time)
                    num_faults += frame.is_corrupt
            except (av.FFmpegError, ValueError):  # damage, behind which it goes on
                num_faults, packets = num_faults + 1, container.demux(video)
    return found, num_faults
