"""What can be set about a worker. The command line maps settings to this; tests build it directly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from inference.decode import DecodeLimits
from schemas.settings.cameras import Severity
from schemas.settings.detection import EventsSection
from schemas.settings.shapes import Polygon
from schemas.topics import TopicNames

_DEFAULTS = EventsSection()
"""The settings are the home of defaults."""


@dataclass(frozen=True, slots=True)
class EventOptions:
    """How events are cut from scores, and what they hold.

    Attributes:
        enter, exit: None = from the calibration and the target rate.
        warning_per_day, critical_per_day: an event whose peak is so rare or rarer on normal video has this severity.
        thumbnail_px: longest side of the peak's picture in events; 0 = no picture.
    """

    enter: float | None = _DEFAULTS.enter
    exit: float | None = _DEFAULTS.exit
    target_false_alarms_per_day: float = _DEFAULTS.target_false_alarms_per_day
    min_duration_s: float = _DEFAULTS.min_duration_s
    merge_gap_s: float = _DEFAULTS.merge_gap_s
    update_interval_s: float = _DEFAULTS.update_interval_s
    max_duration_s: float = _DEFAULTS.max_duration_s
    cooldown_s: float = _DEFAULTS.cooldown_s
    warning_per_day: float = _DEFAULTS.warning_per_day
    critical_per_day: float = _DEFAULTS.critical_per_day
    thumbnail_px: int = _DEFAULTS.thumbnail_px


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """How the events of one camera are cut, and what is told in them of where they are and how much they matter.

    ``severity`` None = by how rare they are.
    """

    events: EventOptions = field(default_factory=EventOptions)
    zones: Mapping[str, Polygon] = field(default_factory=dict)
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of one worker.

    Attributes:
        worker_id: names this worker in its output, and fences an earlier process of the same name.
        bank_id: which bank a camera reads; may contain ``{camera_id}``.
        updates: whether normal frames contribute to updates at all.
        max_batch, max_wait_s: a micro-batch goes to the network when it is full or this old.
        commit_interval_s: how often output and progress are made durable together.
        proposal_interval_s: capture time that one contribution to the memory spans.
        learn_s: a camera whose bank rests on less normal video than this is not judged yet, so no event opens; a bank
            may have a number of its own.
        max_staleness_s: skip frames captured longer ago (live use); None = take every frame.
        camera_timeout_s: a camera silent for so long is lost: its event ends, its window starts anew.
        camera_forget_s: a camera silent for so long is forgotten, with its counts.
        max_cameras: beyond so many, those silent for longest are forgotten: anybody can make up a name.
        max_attempts: a record that so many owners have begun and not survived is given up as ``poison``.
        warn_late_s: scores that come later after their frames than this are warned of; None = never.
        events: of cameras that ``cameras`` does not name.
        cameras: by camera id.
        on_stop: ``hand_over`` leaves open events to the next owner; ``end_events`` ends them (nobody follows).
    """

    worker_id: str
    topics: TopicNames = field(default_factory=lambda: TopicNames.with_prefix(""))
    group: str = "engram-workers"
    bank_id: str = "shared"
    updates: bool = True
    max_batch: int = 8
    max_wait_s: float = 0.02
    decode_threads: int = 2
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    commit_interval_s: float = 0.1
    proposal_interval_s: float = 1.0
    learn_s: float = 60.0
    max_staleness_s: float | None = None
    camera_timeout_s: float = 30.0
    camera_forget_s: float = 3600.0
    max_cameras: int = 1024
    max_attempts: int = 3
    warn_late_s: float | None = 10.0
    on_stop: Literal["hand_over", "end_events"] = "hand_over"
    events: EventOptions = field(default_factory=EventOptions)
    cameras: Mapping[str, CameraOptions] = field(default_factory=dict)
