"""Which files of a folder are films, or the frames of a recording and in what order: alike wherever one is read.

Producers send such a folder and trainings learn from it; what one takes for the second frame the other must not take
for the tenth.
"""

import re
from pathlib import Path

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
FILM_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm", ".ts", ".wmv"})


def is_picture(path: Path) -> bool:
    """Whether it is named like a picture and is not hidden: some systems leave a note (``._1.jpg``) beside each."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def is_film(path: Path) -> bool:
    """Whether it is named like a film and is not hidden."""
    return path.suffix.lower() in FILM_SUFFIXES and not path.name.startswith(".") and path.is_file()


def in_natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort by this as a person reads names: 2 before 10, and the second day's first before the third day's."""
    parts = re.split(r"(\d+)", path.name)
    # Not isdigit(), which takes a raised two for a digit that int() then refuses.
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts], path.name
