"""Several cameras for one network: whose footage is whose, by which name, and at which rate all of it is learned.

Frames of each camera are brought to the model's size as a worker brings them, so sizes may differ; rates may not, since
a network learns how far things move from one frame to the next.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from schemas.errors import FatalError
from training.footage.dataset import Video
from training.footage.material import normal_footage
from training.footage.sources import Hole, Source, read_frames
from training.footage.timing import RATE_TOLERANCE, Rate

log = logging.getLogger(__name__)


def footage_of(folders: Sequence[Path]) -> tuple[Source, ...]:
    """What may be learned of several cameras: their normal footage end to end, each part under its camera's name.

    Args:
        folders: a data set for each camera. A single one may be of any number of cameras, and is not named.

    Raises:
        FatalError: one holds no normal footage, or two hold the same.
    """
    if len(folders) == 1:
        return tuple(normal_footage(folders[0]))
    sources: list[Source] = []
    seen: dict[Path, Path] = {}
    for folder, camera in zip(folders, folder_names(folders), strict=True):
        own = normal_footage(folder)
        _refuse_shared(folder, own, seen)
        seen |= {source.files[0].resolve(): folder for source in own}
        sources += [replace(source, name=f"{camera}/{source.name}", camera=camera) for source in own]
    return tuple(sources)


def folder_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """A name for each folder: the last part of its path, or as many of the last as tell all of them apart."""
    paths = [folder.absolute().parts[1:] for folder in folders]
    lengths = range(1, 1 + max(1, *map(len, paths)))
    tries = (tuple("/".join(parts[-length:]) for parts in paths) for length in lengths)
    return next(names for names in tries if len(set(names)) == len(set(paths)))


def require_one_rate(sources: Sequence[Source], rate: Rate) -> None:
    """Make sure that footage is alike before it is decoded, which may take hours.

    Args:
        sources: of all cameras; those of which nothing can be read are passed over.
        rate: what is kept of them; if it says how many frames a second, they may come with any.

    Raises:
        FatalError: their rates differ by more than a tenth.
    """
    if rate.fps is not None:
        return
    rates = [(rate.of(source), source.name) for source in sources if _can_be_read(source)]
    (slowest, slow), (fastest, fast) = min(rates, default=(1.0, "")), max(rates, default=(1.0, ""))
    if fastest > slowest * (1 + RATE_TOLERANCE):
        text = f"all footage must have one rate, '{slow}' has {slowest:.4g} frames a second and '{fast}' {fastest:.4g}"
        raise FatalError(f"{text}; give --fps with the rate to keep, at which cameras will send")


def common_rate(videos: Sequence[Video], wanted: float | None) -> float:
    """Frames a second that stand for all videos: their own if it is one, else the one wanted, else that of most frames.

    Args:
        videos: at the rates that were kept of them.
        wanted: frames a second that were to be kept; None = all. Videos that are slower by more than a tenth are named
            in a warning.
    """
    num_frames: Counter[float] = Counter()
    for video in videos:
        num_frames[video.fps] += video.num_frames
    if wanted is not None and len(num_frames) > 1:
        _warn_of_other_rates(videos, wanted)
        return wanted
    return num_frames.most_common(1)[0][0]


def _refuse_shared(folder: Path, own: Sequence[Source], seen: dict[Path, Path]) -> None:
    """What were learned of one camera and held back of another would be no measure."""
    shared = next((source.files[0] for source in own if source.files[0].resolve() in seen), None)
    if shared is not None:
        text = f"each camera must have footage of its own, '{shared}' is in '{seen[shared.resolve()]}' and '{folder}'"
        raise FatalError(f"{text}; give each --data once, and none that lies within another")


def _warn_of_other_rates(videos: Sequence[Video], wanted: float) -> None:
    others = {video.camera or video.name: video.fps for video in videos if abs(video.fps / wanted - 1) > RATE_TOLERANCE}
    for name, fps in others.items():
        log.warning("'%s' keeps %.4g frames a second, %g are wanted: things move otherwise there", name, fps, wanted)


def _can_be_read(source: Source) -> bool:
    return any(not isinstance(frame, Hole) for frame in read_frames(source))
