"""Footage on disk: video files and folders of images, each a stretch of consecutive frames."""

from dataclasses import dataclass
from pathlib import Path

from schemas.errors import FatalError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm", ".ts", ".wmv"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
MASK_FOLDER_ENDING = "_gt"
"""UCSD keeps ``Test001_gt``, a folder of masks, beside ``Test001``."""


@dataclass(frozen=True, slots=True)
class Source:
    """One stretch of consecutive frames: a video file, or the images of one folder in order of their numbers.

    Attributes:
        name: path below the folder that was searched.
        files: the video, or the images.
    """

    name: str
    files: tuple[Path, ...]

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.files[0].suffix.lower() in VIDEO_SUFFIXES

    @property
    def clip(self) -> str:
        """What its labels and masks are named after: the file without its ending, or the folder."""
        return self.files[0].stem if self.is_video else self.files[0].parent.name


def find_sources(folder: Path) -> tuple[Source, ...]:
    """Video files and folders of images anywhere under ``folder``, in order of their names.

    Raises:
        FatalError: there are none.
    """
    sources = sources_under(folder)
    if not sources:
        endings = ", ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
        raise FatalError(f"'{folder}' must hold videos or folders of images ({endings}), found none; check the path")
    return sources


def sources_under(folder: Path) -> tuple[Source, ...]:
    """As ``find_sources``, but there may be none. Hidden files and folders of masks are passed over."""
    files = sorted(path for path in folder.rglob("*") if _is_footage(path, folder)) if folder.is_dir() else []
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    sources = [Source(path.relative_to(folder).as_posix(), (path,)) for path in videos]
    images: dict[Path, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.setdefault(path.parent, []).append(path)
    for parent, members in images.items():
        name = parent.relative_to(folder).as_posix() if parent != folder else folder.resolve().name
        sources.append(Source(name, tuple(sorted(members, key=in_natural_order))))
    return tuple(sorted(sources, key=lambda source: source.name))


def in_natural_order(path: Path) -> tuple[int, str]:
    """Sort by the number in the name, so that 10.jpg comes after 9.jpg."""
    digits = "".join(letter for letter in path.stem if letter in "0123456789")
    return (int(digits) if digits else -1, path.name)


def _is_footage(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    hidden = any(part.startswith(".") for part in parts)
    masks = any(part.lower().endswith(MASK_FOLDER_ENDING) for part in parts[:-1])
    return not hidden and not masks and path.is_file()
