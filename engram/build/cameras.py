"""From names of sources and settings to what a producer runs."""

from collections.abc import Sequence

from producers.encoding import EncodingOptions
from producers.feed import CameraFeed
from producers.masking import Mask
from producers.pacing import PacingOptions
from producers.sources import open_source
from schemas.errors import SettingsError
from schemas.settings.detection import ProducerSection

LOWEST_QUALITY = 40
"""JPEG quality below which a frame is rather dropped than sent."""


def camera_names(num_sources: int, given: Sequence[str]) -> tuple[str, ...]:
    """One name a source: those given, or ``cam1``, ``cam2``, … when none is.

    Raises:
        SettingsError: not as many as sources.
    """
    names = tuple(given) or tuple(f"cam{number}" for number in range(1, num_sources + 1))
    if len(names) != num_sources:
        raise SettingsError(f"--camera must be given once per source or not at all, got {len(names)} for {num_sources}")
    return names


def camera_feeds(sources: Sequence[str], names: Sequence[str], producer: ProducerSection) -> list[CameraFeed]:
    """One feed a source; files are opened at once, cameras when the feed runs.

    Raises:
        SettingsError: an address that names no source.
        FatalError: a file or folder that cannot be read.
    """
    encoding = EncodingOptions(
        size=None if producer.width is None or producer.height is None else (producer.width, producer.height),
        quality=producer.jpeg_quality,
        min_quality=min(LOWEST_QUALITY, producer.jpeg_quality),
        max_bytes=producer.max_frame_bytes,
        mask=Mask.from_polygons(producer.mask) if producer.mask else None,
    )
    pacing = PacingOptions(producer.fps, producer.pace)
    return [
        CameraFeed(name, open_source(source), encoding, pacing, producer.session)
        for name, source in zip(names, sources, strict=True)
    ]
