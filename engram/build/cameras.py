"""From names of sources and settings to what a producer runs."""

import os
from collections.abc import Sequence
from pathlib import Path

from bundles.manifest import load_manifest
from producers.encoding import EncodingOptions
from producers.feed import CameraFeed
from producers.masking import Mask
from producers.pacing import PacingOptions
from producers.sources import SourceOptions, open_source
from schemas.errors import SettingsError
from schemas.settings import Loaded, ProducerSettings
from schemas.settings.detection import ProducerSection
from schemas.settings.layers import MAX_SECRET_BYTES

LOWEST_QUALITY = 40
"""JPEG quality below which a frame is rather dropped than sent."""


def camera_names(num_sources: int, given: Sequence[str], unnamed: Sequence[str] = ()) -> tuple[str, ...]:
    """One name a source: those given; else ``unnamed``, or ``cam1``, ``cam2``, … where all is on one machine.

    Raises:
        SettingsError: not as many as sources.
    """
    names = tuple(given) or tuple(unnamed) or tuple(f"cam{number}" for number in range(1, num_sources + 1))
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
    options = SourceOptions(fps=producer.source_fps)
    return [
        CameraFeed(
            name,
            open_source(source, options),
            encoding,
            pacing,
            producer.session,
            when_full=producer.when_full,
            max_staleness_s=producer.max_staleness_s,
            watches_view=producer.watch_view,
        )
        for name, source in zip(names, sources, strict=True)
    ]


def bundle_defaults(loaded: Loaded[ProducerSettings], bundle: Path) -> dict[str, object]:
    """Size and rate that a bundle wants, for settings that nobody has given; only its manifest is read.

    Raises:
        BundleError: it cannot be read.
    """
    manifest = load_manifest(bundle)
    wanted: dict[str, object] = {"producer.fps": manifest.fps}
    if loaded.origins["producer.width"] == loaded.origins["producer.height"] == "default":
        wanted |= {"producer.width": manifest.width, "producer.height": manifest.height}
    return {path: value for path, value in wanted.items() if loaded.origins[path] == "default"}


def resolved_sources(sources: Sequence[str], files: Sequence[Path] = ()) -> tuple[str, ...]:
    """Sources as they are opened.

    ``env:NAME`` and ``file:PATH`` stand for what is in there, so that no password is seen in a list of processes.
    ``files`` hold one source a line; blank lines and those that begin with ``#`` are passed over.

    Raises:
        SettingsError: not set, not readable, or nothing named at all; what was read is never shown.
    """
    found = [_resolved(source) for source in sources]
    for path in files:
        found += [line for line in _lines(path) if not line.startswith("#")]
    if not found:
        raise SettingsError("a source must be named, got none; give SOURCE or --source-file FILE")
    return tuple(found)


def _resolved(source: str) -> str:
    kind, _, where = source.partition(":")
    if Path(source).exists() or kind not in ("env", "file") or where.startswith("//"):
        return source
    lines = _lines(Path(where)) if kind == "file" else os.environ.get(where, "").strip().splitlines()
    if len(lines) != 1:
        raise SettingsError(f"'{source}' must hold one source in one line, got {len(lines)} lines")
    return lines[0]


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SECRET_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise SettingsError(f"a file of sources must be readable, '{path}' is not: {error.strerror}") from error
    except UnicodeDecodeError as error:
        text = f"a file of sources must be text, '{path}' is not; a video is named without 'file:'"
        raise SettingsError(text) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
