"""From sources, names and settings to the cameras of a process: what each is to do, and the feed that does it."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundles.manifest import Manifest, load_manifest
from inference.pictures import is_film, is_picture
from producers.encoding import EncodingOptions
from producers.feed import CameraFeed
from producers.masking import ChangingMask
from producers.naming import default_camera_names
from producers.pacing import PacingOptions
from producers.sources import SourceOptions, open_source
from producers.sources.address import parse_address
from schemas.errors import SettingsError
from schemas.settings import Loaded, ProducerSettings, WatchSettings
from schemas.settings.cameras import CameraSection, producer_of
from schemas.settings.detection import ProducerSection
from schemas.settings.layers import FLAG, MAX_SECRET_BYTES, Given

RECORDED = ("file", "folder", "synthetic")
LOWEST_QUALITY = 40
"""JPEG quality below which a frame is rather dropped than sent."""


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera as it is to run.

    Attributes:
        camera_id: its name.
        source: as it is opened; may hold a password, so that ``repr`` leaves it out.
        producer: how its frames are taken and sent.
    """

    camera_id: str
    source: str = field(repr=False)
    producer: ProducerSection

    @property
    def is_recorded(self) -> bool:
        """Whether it has an end. SettingsError: an address that names no source."""
        return parse_address(self.source).kind in RECORDED


def camera_plans(
    loaded: Loaded[ProducerSettings] | Loaded[WatchSettings], sources: Sequence[str], names: Sequence[str]
) -> tuple[CameraPlan, ...]:
    """The cameras that somebody asked for.

    With ``sources``, those, each with the settings of the table that bears its name, if there is one. Without, the
    cameras of the file that have a source, or those of them that ``names`` names. A flag goes before what a table says.

    Args:
        loaded: settings and where they come from.
        sources: as they are opened, see ``resolved_sources``.
        names: of the cameras; none = named after the machine, or all of the file.

    Raises:
        SettingsError: no camera at all, one that the file has not, as many names as sources it is not, a source that
            stands nowhere, or a folder of films.
    """
    tables = loaded.settings.cameras
    if sources:
        chosen = dict(zip(camera_names(len(sources), names), sources, strict=True))
        if len(chosen) < len(sources):
            raise SettingsError(f"--camera must give each camera a name of its own, got {', '.join(names)}")
    else:
        chosen = {name: _source_of(name, tables[name]) for name in _named(tables, names)}
    command = "watch" if isinstance(loaded.settings, WatchSettings) else "produce"
    for name, source in chosen.items():
        _require_frames(source, name, command)
    flags = {path for path, origin in loaded.origins.items() if origin == FLAG}
    section = loaded.settings.producer
    return tuple(
        CameraPlan(name, source, producer_of(tables.get(name, CameraSection()), section, flags))
        for name, source in chosen.items()
    )


def _require_frames(source: str, name: str, command: str) -> None:
    """A folder is one recording by its pictures; whether films are parts of one, or of a camera each, only people know.

    Raises:
        SettingsError: it holds films alone; with what to type for either.
    """
    address = parse_address(source)
    try:
        found = list(Path(address.location).iterdir()) if address.kind == "folder" else []
    except OSError:  # whoever is to read it says why it cannot be
        return
    films = [path for path in found if is_film(path)]
    if not films or any(map(is_picture, found)):
        return
    folder = address.location.rstrip("/") or "/"
    names = " ".join(f"{shlex.quote(folder)}/*{end}" for end in sorted({path.suffix for path in films}))
    raise SettingsError(
        f"a folder must hold the pictures of one recording, '{folder}' holds films alone ({len(films)}); type\n"
        f'for film in {names}; do engram {command} "$film" --camera {name}; done\n'
        "if they are one camera's, one after the other, or, if each is of a camera of its own,\n"
        f"engram {command} {names}"
    )


def _named(tables: Mapping[str, CameraSection], names: Sequence[str]) -> tuple[str, ...]:
    known = tuple(name for name, table in tables.items() if table.has_source)
    if not known:
        raise SettingsError(
            "a source must be named, got none; give SOURCE or --source-file FILE, or [cameras.NAME] with a source in a"
            " settings file (--config)"
        )
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"cameras of the settings file are {', '.join(known)}, got {', '.join(unknown)}")
    return tuple(names) or known


def _source_of(name: str, table: CameraSection) -> str:
    """What a camera's table names as its source.

    Raises:
        SettingsError: the file or variable has none; what was read is never shown.
    """
    if table.source is not None:
        return table.source
    if table.source_env is not None:
        lines = os.environ.get(table.source_env, "").strip().splitlines()
        where = f"environment variable {table.source_env}"
    else:
        assert table.source_file is not None, "a table without any source is left out"
        lines = _lines(table.source_file)
        where = f"file '{table.source_file}'"
    if len(lines) != 1:
        raise SettingsError(f"cameras.{name}: {where} must hold one source in one line, got {len(lines)} lines")
    return lines[0]


def camera_names(num_sources: int, given: Sequence[str]) -> tuple[str, ...]:
    """One name a source: those given, else this machine's name and the number of the source.

    Raises:
        SettingsError: not as many as sources.
    """
    names = tuple(given) or default_camera_names(num_sources)
    if len(names) != num_sources:
        raise SettingsError(f"--camera must be given once per source or not at all, got {len(names)} for {num_sources}")
    return names


def camera_feeds(sources: Sequence[str], names: Sequence[str], producer: ProducerSection) -> list[CameraFeed]:
    """One feed a source, all with the same settings; see ``camera_feed``."""
    return [camera_feed(CameraPlan(name, source, producer)) for name, source in zip(names, sources, strict=True)]


def camera_feed(plan: CameraPlan, mask: ChangingMask | None = None, bundle: Manifest | None = None) -> CameraFeed:
    """The feed of one camera; a file is opened at once, a camera when the feed runs.

    Args:
        plan: what it is to do.
        mask: hides what ``plan`` says, and what else it is told to later; none = made here.
        bundle: what its frames are for; what does not fit is told.

    Raises:
        SettingsError: an address that names no source.
        FatalError: a file or folder that cannot be read.
    """
    producer = plan.producer
    mask = mask or ChangingMask()
    mask.change(producer.mask)
    encoding = EncodingOptions(
        size=None if producer.width is None or producer.height is None else (producer.width, producer.height),
        quality=producer.jpeg_quality,
        min_quality=min(LOWEST_QUALITY, producer.jpeg_quality),
        max_bytes=producer.max_frame_bytes,
        mask=mask,
        channels=3 if producer.colours == "all" else 1,
    )
    options = SourceOptions(start=producer.start, fps=producer.source_fps, clock=producer.clock)
    pacing = PacingOptions(producer.fps, producer.pace)
    return CameraFeed(
        plan.camera_id,
        open_source(plan.source, options),
        encoding,
        pacing,
        producer.session,
        when_full=producer.when_full,
        max_staleness_s=producer.max_staleness_s,
        watches_view=producer.watch_view,
        bundle=bundle,
    )


def bundle_defaults(loaded: Loaded[ProducerSettings], bundle: Path) -> dict[str, object]:
    """What a bundle wants, see ``bundle_wishes``, for settings that nobody has given.

    Raises:
        BundleError: it cannot be read.
    """
    wanted = bundle_wishes(bundle)
    sized = {"producer.width", "producer.height"}
    if any(loaded.origins[path] != "default" for path in sized):
        wanted = {path: value for path, value in wanted.items() if path not in sized}
    origin = f"bundle {bundle}"
    return {path: Given(value, origin) for path, value in wanted.items() if loaded.origins[path] == "default"}


def bundle_wishes(bundle: Path) -> dict[str, object]:
    """``section.key`` to value, as a producer of frames for a bundle should have them; only its manifest is read.

    Raises:
        BundleError: it cannot be read.
    """
    manifest = load_manifest(bundle)
    wishes: dict[str, object] = {
        "producer.fps": manifest.fps,
        "producer.width": manifest.width,
        "producer.height": manifest.height,
        "producer.colours": "grey" if manifest.channels == 1 else "all",
        "producer.jpeg_quality": manifest.jpeg_quality,
    }
    return {path: value for path, value in wishes.items() if value is not None}


def resolved_sources(sources: Sequence[str], files: Sequence[Path] = ()) -> tuple[str, ...]:
    """Sources as they are opened.

    ``env:NAME`` and ``file:PATH`` stand for what is in there, so that no password is seen in a list of processes.
    ``files`` hold one source a line; blank lines and those that begin with ``#`` are passed over.

    Raises:
        SettingsError: not set, not readable, or none in ``files``; what was read is never shown.
    """
    found = [_resolved(source) for source in sources]
    for path in files:
        found += [line for line in _lines(path) if not line.startswith("#")]
    if files and not found:
        raise SettingsError("a source must be named, got none; give SOURCE, or a line in the file of --source-file")
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
            text = file.read(MAX_SECRET_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"a file of sources must be readable, '{path}' is not: {error.strerror}") from error
    except UnicodeDecodeError as error:
        text = f"a file of sources must be text, '{path}' is not; a video is named without 'file:'"
        raise SettingsError(text) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
