"""Footage on disk: video files and folders of images, each a stretch of consecutive frames, read one by one."""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from inference.fit import FASTEST_FPS
from inference.pictures import FILM_SUFFIXES, PICTURE_SUFFIXES, in_natural_order
from schemas.arrays import UInt8
from schemas.errors import FatalError

log = logging.getLogger(__name__)

MOST_NAMED = 5
MASK_FOLDER_ENDING = "_gt"
"""UCSD keeps ``Test001_gt``, a folder of masks, beside ``Test001``."""
GREY_TOLERANCE = 2
"""Levels that the colours of one pixel may differ by in a grey video; lossy codecs do not give exact equality."""
WHOLE_VIDEO_SHARE = 0.98
"""Containers only estimate how many frames they hold; a video that ends before this share of them is cut off."""


@dataclass(frozen=True, slots=True)
class Source:
    """One stretch of consecutive frames: a video file, or the images of one folder in natural order of their names.

    Attributes:
        name: path below the folder that was searched; behind the camera's name where there are several cameras.
        files: the video, or the images.
        camera: that it is from; "" = the only one.
    """

    name: str
    files: tuple[Path, ...]
    camera: str = ""

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.files[0].suffix.lower() in FILM_SUFFIXES

    @property
    def clip(self) -> str:
        """What its labels and masks are named after: the file without its ending, or the folder."""
        return self.files[0].stem if self.is_video else self.files[0].parent.name


def find_sources(folder: Path) -> tuple[Source, ...]:
    """Video files and folders of images anywhere under ``folder``, in order of their names.

    Raises:
        FatalError: there are none, or it is no folder.
    """
    if not folder.is_dir():
        what = "it is a file; give the folder that it lies in" if folder.exists() else "there is none; check the path"
        raise FatalError(f"'{folder}' must be a folder of videos, or of folders of images, {what}")
    sources = sources_under(folder)
    if not sources:
        endings = ", ".join(sorted(FILM_SUFFIXES | PICTURE_SUFFIXES))
        raise FatalError(f"'{folder}' must hold videos or folders of images ({endings}), found none; check the path")
    return sources


def sources_under(folder: Path) -> tuple[Source, ...]:
    """As ``find_sources``, but there may be none. Hidden files and folders of masks are passed over.

    So is a folder with nothing in it, which is most likely a clip that was not copied, and is told.
    """
    entries = sorted(folder.rglob("*")) if folder.is_dir() else []
    files = [path for path in entries if path.is_file() and _is_footage(path, folder)]
    empty = [path for path in entries if path.is_dir() and _is_footage(path, folder) and not any(path.iterdir())]
    if empty:
        told = listed([path.name for path in empty])
        log.warning("'%s': %d folders are empty and passed over, were they copied? %s", folder, len(empty), told)
    videos = [path for path in files if path.suffix.lower() in FILM_SUFFIXES]
    sources = [Source(path.relative_to(folder).as_posix(), (path,)) for path in videos]
    images: dict[Path, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            images.setdefault(path.parent, []).append(path)
    for parent, members in images.items():
        name = parent.relative_to(folder).as_posix() if parent != folder else folder.resolve().name
        sources.append(Source(name, tuple(sorted(members, key=in_natural_order))))
    return tuple(sorted(sources, key=lambda source: source.name))


def listed(names: Sequence[str]) -> str:
    """The first of them, for a message; an ellipsis stands for more."""
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


SAMPLE_FRAMES = 50
"""So many time stamps say at what rate a video runs."""


def video_rate(path: Path) -> float:
    """Frames a second of a video, by its first time stamps where its container states what cannot be; 0 = not known."""
    capture = cv2.VideoCapture(str(path))
    try:
        told = float(capture.get(cv2.CAP_PROP_FPS))
        if told <= FASTEST_FPS:
            return max(0.0, told)  # 0 or -1 where it is not known
        stamps_ms = [capture.get(cv2.CAP_PROP_POS_MSEC) for _ in range(SAMPLE_FRAMES) if capture.grab()]
    finally:
        capture.release()
    span_ms = stamps_ms[-1] - stamps_ms[0] if stamps_ms else 0.0
    return 1000 * (len(stamps_ms) - 1) / span_ms if span_ms > 0 else 0.0


def promised_frames(path: Path) -> int:
    """How many frames a video should have, as far as its container knows; 0 = it does not say."""
    capture = cv2.VideoCapture(str(path))
    try:
        return _promised(capture, path)
    finally:
        capture.release()


def _promised(capture: cv2.VideoCapture, path: Path) -> int:
    """As ``promised_frames``, of one that is open; what it reads next stays what it was."""
    told, count = float(capture.get(cv2.CAP_PROP_FPS)), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if told > FASTEST_FPS:  # it may be the length times that
        count = min(count, count / told * video_rate(path))
    return max(0, round(count))


@dataclass(frozen=True, slots=True)
class Hole:
    """Stands for one or more frames that cannot be read. ``what`` names them."""

    what: str


def read_frames(source: Source, numbers: Iterable[int] | None = None, num_known: int = 0) -> Iterator[UInt8 | Hole]:
    """Frames, (H, W) or (H, W, 3) uint8 BGR; a ``Hole`` for each that cannot be read.

    Args:
        source: what is read.
        numbers: which frames, ascending, from 0, maybe without an end; None = all.
        num_known: how many a video has, if its container's word is not to be taken for it: many know but its length in
            seconds, and a rate.
    """
    wanted = itertools.count() if numbers is None else numbers
    if source.is_video:
        yield from _video_frames(source, iter(wanted), num_known)
        return
    for path in (source.files[index] for index in itertools.takewhile(lambda index: index < len(source.files), wanted)):
        image = cv2.imread(str(path), cv2.IMREAD_ANYCOLOR)
        yield Hole(f"'{path}'") if image is None else np.asarray(image, dtype=np.uint8)


def is_grey(source: Source) -> bool:
    """Whether the first frame that can be read has no colour; grey if there is none."""
    image = next((frame for frame in read_frames(source) if not isinstance(frame, Hole)), None)
    if image is None or image.ndim == 2:
        return True
    spread = image.max(axis=2).astype(np.int16) - image.min(axis=2)
    return bool(np.quantile(spread, 0.99) <= GREY_TOLERANCE)


def _is_footage(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    hidden = any(part.startswith(".") for part in parts)
    masks = any(part.lower().endswith(MASK_FOLDER_ENDING) for part in (parts if path.is_dir() else parts[:-1]))
    return not hidden and not masks


def _video_frames(source: Source, numbers: Iterator[int], num_known: int) -> Iterator[UInt8 | Hole]:
    path = source.files[0]
    capture = cv2.VideoCapture(str(path))
    try:
        promised = num_known or _promised(capture, path)
        index, due = 0, next(numbers, None)
        while capture.grab():
            if index == due:
                due = next(numbers, None)
                ok, image = capture.retrieve()
                yield np.asarray(image, dtype=np.uint8) if ok else Hole(f"'{path}' frame {index}")
            index += 1
        if index == 0:
            yield Hole(f"'{path}'")
        elif index < WHOLE_VIDEO_SHARE * promised:
            yield Hole(f"'{path}' from frame {index} of {promised} on")
    finally:
        capture.release()
