"""Cameras in the file, a table each, ``[cameras.gate]``; what one does not say is as ``[producer]``, ``[events]`` say.

The same table serves whoever sends the camera's frames (source, size, masks) and whoever judges them (thresholds,
zones); each takes what is its own.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.messages import Id
from schemas.settings.detection import ClockSetting, EventsSection, ProducerSection
from schemas.settings.hours import Hours, TimeZone
from schemas.settings.section import Moment, Section
from schemas.settings.shapes import Fraction, Shape, Shapes

Severity = Literal["info", "warning", "critical"]

_OF_PRODUCER = {
    "fps": "fps",
    "source_fps": "source_fps",
    "width": "width",
    "height": "height",
    "colours": "colours",
    "jpeg_quality": "jpeg_quality",
    "masks": "mask",
    "hours": "hours",
    "timezone": "timezone",
    "paused_until": "paused_until",
    "clock": "clock",
    "start": "start",
}
"""Key of a camera: key of ``[producer]`` whose value it stands for."""
_OF_EVENTS = ("enter", "exit", "target_false_alarms_per_day", "min_duration_s")
HOT = frozenset({"masks", "hours", "timezone", "paused_until", "zones", "severity", *_OF_EVENTS})
"""Keys of a camera that may change while it runs."""
HOT_DEFAULTS = frozenset(
    {
        *(f"producer.{key}" for key in ("mask", "hours", "timezone", "paused_until")),
        *(f"events.{key}" for key in EventsSection.model_fields),
        *("log.level", "log.format"),
    }
)
"""``section.key`` that may change while cameras run that do not say it themselves."""
SOURCE_KEYS = ("source", "source_file", "source_env")


class CameraSection(Section):
    """One camera; its name is that of the table and the key of all that is sent about it."""

    source: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="rtsp://…, http://…, /dev/video0, a film, a folder of images; an address with a password belongs"
        " into source_file or source_env",
    )
    source_file: Path | None = Field(default=None, description="file that holds the source, in one line")
    source_env: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable that holds the source"
    )
    fps: float | None = Field(default=None, gt=0, le=240, description="frames a second to send")
    source_fps: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="frames a second of a folder of images, or of a film that lies",
    )
    width: int | None = Field(default=None, ge=16, le=8192, description="pixels to resize to, with height")
    height: int | None = Field(default=None, ge=16, le=8192, description="pixels to resize to, with width")
    colours: Literal["all", "grey"] | None = Field(
        default=None, description="grey makes frames smaller, for networks that see no colours"
    )
    jpeg_quality: int | None = Field(default=None, ge=1, le=100, description="JPEG quality")
    masks: Shapes | None = Field(
        default=None,
        description="areas to black out before a frame leaves the machine: polygons [[x, y], …] or boxes"
        " [x, y, width, height], in fractions of the image; in place of producer.mask",
    )
    zones: dict[Id, Shape] = Field(
        default_factory=dict, description="names for parts of the image, told in events: a polygon or a box each"
    )
    hours: Hours | None = Field(
        default=None, description="when it is watched, like ['Mon-Fri 08:00-18:00', '22:00-06:00']; [] = always"
    )
    timezone: TimeZone | None = Field(default=None, description="where hours are meant, like Europe/Berlin")
    paused_until: Moment | None = Field(
        default=None, description="it is not watched before, 2026-01-31T08:00:00Z; written by 'engram pause'"
    )
    clock: ClockSetting | None = Field(default=None, description="time of its frames, see producer.clock")
    start: Moment | None = Field(default=None, description="when the recording begins, 2026-01-31T08:00:00Z")
    enter: Fraction | None = Field(default=None, description="anomaly score that opens an event")
    exit: Fraction | None = Field(default=None, description="score below which it may close")
    target_false_alarms_per_day: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="false alarms one will put up with, for the calibrated threshold"
    )
    min_duration_s: float | None = Field(default=None, ge=0, description="shorter stretches are no event")
    severity: Severity | None = Field(
        default=None, description="how much its events matter, told in them; none = by how rare they are"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> "CameraSection":
        named = [key for key in SOURCE_KEYS if getattr(self, key) is not None]
        if len(named) > 1:
            raise ValueError(f"only one of {', '.join(SOURCE_KEYS)} may be given, got {' and '.join(named)}")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height must be given both or not at all")
        if self.enter is not None and self.exit is not None and self.exit > self.enter:
            raise ValueError(f"exit must be at most enter, got exit {self.exit} and enter {self.enter}")
        return self

    @property
    def has_source(self) -> bool:
        """Whether its frames are to be sent, not only judged."""
        return any(getattr(self, key) is not None for key in SOURCE_KEYS)


Cameras = Annotated[dict[Id, CameraSection], Field(description="one table a camera: [cameras.gate]")]


def producer_of(camera: CameraSection, default: ProducerSection, above: Collection[str] = ()) -> ProducerSection:
    """How a camera's frames are taken and sent.

    Args:
        camera: its table.
        default: ``[producer]``.
        above: ``section.key`` whose value in ``default`` goes before the camera's own: those given as flags.
    """
    own = {default_key: getattr(camera, key) for key, default_key in _OF_PRODUCER.items()}
    return default.model_copy(update=_said(own, {path.removeprefix("producer.") for path in above}))


def events_of(camera: CameraSection, default: EventsSection) -> EventsSection:
    """When a camera's frames are an event: its own bounds, else those of ``[events]``.

    A camera that asks for a rate of false alarms of its own is free of a fixed ``enter`` of all.
    """
    own = _said({key: getattr(camera, key) for key in _OF_EVENTS})
    if camera.target_false_alarms_per_day is not None:
        own = {"enter": None, "exit": None} | own
    elif camera.enter is not None:
        own = {"exit": None} | own
    return default.model_copy(update=own)


def is_read_by(key: str, sections: Collection[str]) -> bool:
    """Whether a process with these sections looks at ``key`` of a camera."""
    return "producer" in sections if key in (*SOURCE_KEYS, *_OF_PRODUCER) else "events" in sections


def _said(own: Mapping[str, object], above: Collection[str] = ()) -> dict[str, object]:
    return {key: value for key, value in own.items() if value is not None and key not in above}
