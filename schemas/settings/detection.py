"""Sections about the work itself: capture, inference, memory, events, coordination."""

import os
import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from schemas.messages import MAX_LEARN_S, Id
from schemas.settings.connections import WireLimits
from schemas.settings.hours import Hours, TimeZone
from schemas.settings.section import MIB, Moment, Seconds, Section
from schemas.settings.shapes import Fraction, Shapes

ClockSetting = Literal["auto", "camera", "arrival"]
BackendSetting = Literal["auto", "torch", "onnx", "openvino", "openvino-int8"]


def host_and_pid() -> str:
    """An id for this process: host name and process id, with letters that ids may have."""
    host = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in socket.gethostname())
    return f"{host[:48].lstrip('-.') or 'host'}-{os.getpid()}"


class MemorySection(Section):
    """Which bank a camera reads and whether it may change."""

    bank_id: str = Field(
        default="shared",
        pattern=r"^([A-Za-z0-9]|\{camera_id\})([A-Za-z0-9._-]|\{camera_id\})*$",
        description="bank of a camera; '{camera_id}' gives each its own, a plain name shares one among all; if none is "
        "set, each has its own where the bundle remembers what is normal by place",
    )
    updates: bool = Field(default=True, description="propose updates from normal frames; false freezes the memory")
    learn_s: float = Field(
        default=60.0,
        ge=0,
        le=MAX_LEARN_S,
        description="normal video that a camera's bank must rest on before events open; until then it is learning;"
        " 'engram bank learn BANK --for 10m' says it for one bank",
    )
    half_life_h: float = Field(
        default=168.0, gt=0, description="hours of capture time after which what was counted as normal weighs half"
    )
    refresh_interval_s: Seconds = Field(
        default=1.0, description="how often a worker asks the store for a newer version"
    )
    max_age_s: float | None = Field(
        default=None, gt=0, description="stop when the store was away for so long; none = go on with the last good copy"
    )


class ProducerSection(WireLimits):
    """How frames are taken, made small and sent."""

    fps: float = Field(
        default=10.0, gt=0, le=240, description="frames a second to send; a bundle says what it was trained at"
    )
    source_fps: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="frames a second of a recording that does not say it, or says it wrongly; of a folder of images",
    )
    width: int | None = Field(default=None, ge=16, le=8192, description="pixels to resize to; none = as captured")
    height: int | None = Field(default=None, ge=16, le=8192, description="pixels to resize to; none = as captured")
    mask: Shapes = Field(
        default=(),
        description="areas to black out before a frame leaves the machine: polygons [[x, y], …] or boxes"
        " [x, y, width, height], in fractions of the image",
    )
    hours: Hours = Field(
        default=(),
        description="when cameras are watched, like ['Mon-Fri 08:00-18:00', '22:00-06:00']; none = always; outside of"
        " them a camera is not even connected to; recordings are taken whole",
    )
    timezone: TimeZone | None = Field(
        default=None, description="where hours are meant, like Europe/Berlin; none = this machine's"
    )
    paused_until: Moment | None = Field(
        default=None, description="no camera is watched before, like 2026-01-31T08:00:00Z; recordings are taken whole"
    )
    clock: ClockSetting = Field(
        default="auto",
        description="time of a camera's frames. auto: its wall clock if it tells one and that is right, else its time"
        " stamps, else arrival; camera: time stamps only; arrival: when frames come in",
    )
    start: Moment | None = Field(
        default=None, description="when a recording begins, like 2026-01-31T08:00:00Z; none = when it is opened"
    )
    colours: Literal["all", "grey"] = Field(
        default="all", description="grey makes frames smaller, for networks that see no colours"
    )
    jpeg_quality: int = Field(default=90, ge=1, le=100, description="JPEG quality")
    session: Id | None = Field(
        default=None,
        description="names this run, so that a repeated one gives the same event ids; none = a new name each time",
    )
    pace: Literal["live", "backfill"] = Field(
        default="live",
        description="live: at capture speed, drops when the broker is slow; backfill: every frame, fast as may be",
    )
    buffer_bytes: int = Field(default=64 * MIB, ge=MIB, description="most bytes of frames in flight to the broker")
    when_full: Literal["newest", "oldest", "block", "max_staleness"] | None = Field(
        default=None,
        description="which frame is lost when there is no room: newest: the one that comes; oldest: the one that waits"
        " for longest; block: none, the source waits; max_staleness: also those that wait for longer than"
        " max_staleness_s; none = newest when live, block in backfill",
    )
    max_staleness_s: Seconds = Field(default=5.0, description="longest wait for the broker under max_staleness")
    spool_dir: Path | None = Field(
        default=None,
        description="folder that keeps frames while the broker is away, of one process alone; none = they are lost",
    )
    spool_bytes: int = Field(default=1024 * MIB, ge=MIB, description="most bytes in spool_dir, the oldest goes first")
    spool_age_s: Seconds = Field(default=86400.0, description="frames kept for longer are dropped from spool_dir")
    catch_up: Literal["oldest-first", "newest-first"] = Field(
        default="oldest-first",
        description="oldest-first: all in order, live ones behind those that were kept; newest-first: live ones at"
        " once, those that were kept as camera '<name>.late'",
    )
    catch_up_fps: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="most frames a second of a camera that catches up, its live ones among them; none = 3 x fps",
    )
    watch_view: bool = Field(
        default=True, description="tell when the picture is frozen, dark, covered, out of focus or moved"
    )
    heartbeat_s: float = Field(
        default=15.0, ge=1, le=3600, description="how often it is told at least, on camera-status, how a camera fares"
    )

    @model_validator(mode="after")
    def _spool_can_be_emptied(self) -> "ProducerSection":
        if self.catch_up_fps is not None and self.catch_up == "oldest-first" and self.catch_up_fps <= self.fps:
            text = f"catch_up_fps must be more than fps, or nothing is ever caught up; got {self.catch_up_fps:g}"
            raise ValueError(f"{text} and {self.fps:g}")
        if self.spool_dir is not None and self.when_full is not None:
            raise ValueError(f"with spool_dir frames are kept, leave when_full out; got {self.when_full}")
        return self

    @model_validator(mode="after")
    def _size_is_whole(self) -> "ProducerSection":
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height must be given both or not at all")
        return self


class WorkerSection(WireLimits):
    """Batching, decoding and hand-over of one scoring process."""

    worker_id: Id = Field(default_factory=host_and_pid, description="names this process in scores; give a stable one")
    bundle: Path | None = Field(
        default=None,
        description="folder of the trained bundle, or one that comes along, by name: anywhere (the default) or walkway",
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto = CUDA when there is one"
    )
    backend: BackendSetting = Field(
        default="auto",
        description="library that computes the network, the same for all workers of a fleet; auto = on a CPU that of"
        " an export the bundle carries, openvino before onnx, else torch; openvino-int8 gives other scores",
    )
    threads: int | None = Field(
        default=None, ge=1, description="threads of the inference library; none = its own choice"
    )
    max_batch: int = Field(default=8, ge=1, le=1024, description="clips in one forward pass")
    max_wait_ms: float = Field(default=20.0, ge=0, description="longest wait to fill a batch")
    decode_threads: int = Field(default=2, ge=1, le=64, description="threads that decode JPEGs")
    commit_interval_ms: float = Field(
        default=100.0, ge=0, description="how often scores, events and positions are made durable"
    )
    proposal_interval_s: float = Field(
        default=1.0, ge=0, description="frames of a camera gathered in one proposal; 0 = each its own"
    )
    max_pixels: int = Field(default=4_194_304, ge=1024, description="largest image that is decoded, width times height")
    max_staleness_s: float | None = Field(
        default=None, gt=0, description="skip (and count) frames older than this; none = score every frame"
    )
    warn_late_s: float | None = Field(
        default=10.0,
        gt=0,
        description="warn when scores come later than this after their frames, or get there; none = never",
    )
    camera_timeout_s: Seconds = Field(
        default=30.0, description="no frame for so long ends an open event as camera_lost"
    )
    camera_forget_s: Seconds = Field(
        default=3600.0, description="a camera silent for so long is forgotten: state, window, counts"
    )
    max_attempts: int = Field(
        default=3, ge=1, description="give a record up, as poison, after so many workers died of it"
    )
    max_cameras: int = Field(
        default=1024, ge=1, description="cameras of one worker; beyond it those silent for longest are forgotten"
    )


class EventsSection(Section):
    """When anomalous frames become an event and when it is over."""

    enter: Fraction | None = Field(default=None, description="anomaly score that opens; none = from the calibration")
    exit: Fraction | None = Field(
        default=None, description="score below which it may close; none = from the calibration"
    )
    target_false_alarms_per_day: Seconds = Field(default=1.0, description="of one camera, for the calibrated threshold")
    min_duration_s: float = Field(default=0.3, ge=0, description="shorter stretches are no event")
    merge_gap_s: float = Field(default=2.0, ge=0, description="stretches closer than this are one event")
    cooldown_s: float = Field(
        default=0.0,
        ge=0,
        description="what comes back so soon joins the event, counted, and is no new alarm; ends come later by it",
    )
    update_interval_s: Seconds = Field(default=1.0, description="time between updates of an open event")
    max_duration_s: Seconds = Field(default=300.0, description="a longer event ends with reason timeout")
    warning_per_day: Seconds = Field(
        default=0.03, description="an event is a warning if normal video is as unusual so often a day, or more rarely"
    )
    critical_per_day: Seconds = Field(default=0.0003, description="the same for critical: 0.0003 is once in nine years")
    thumbnail_px: int = Field(
        default=320, ge=0, le=1024, description="longest side of the peak frame's picture in an event; 0 = no picture"
    )

    @model_validator(mode="after")
    def _exit_is_not_above_enter(self) -> "EventsSection":
        if self.enter is not None and self.exit is not None and self.exit > self.enter:
            raise ValueError(f"exit must be at most enter, got exit {self.exit} and enter {self.enter}")
        return self


class CoordinatorSection(Section):
    """The single writer of a bank, and the guards an update must pass."""

    writer_id: Id = Field(default_factory=host_and_pid, description="names this process in the audit log")
    lease_s: Seconds = Field(default=10.0, description="a standby takes over when the writer was silent for so long")
    round_s: float = Field(
        default=60.0, ge=0, description="capture time whose proposals make one commit; 0 = each its own"
    )
    quarantine_s: float | None = Field(
        default=None,
        ge=0,
        description="so far its camera must have gone on, so that an event can stop it; none = 30, or 0 without rounds",
    )
    max_anchor_distance: float = Field(
        default=0.05,
        gt=0,
        le=2,
        description="an item must stay nearer than this to its trained self; from 0.1 on nothing may teach any more",
    )
    change_budget_per_hour: float = Field(
        default=2.0, gt=0, description="a bank moves less than this in an hour, as the sum of its items' mean distances"
    )
    change_budget_per_round: float = Field(
        default=0.05, gt=0, description="a bank moves less than this in one commit, as its items' mean distance"
    )
    max_banks: int = Field(
        default=1000, ge=1, description="banks beyond which none is made for a new camera; an operator can make more"
    )
    guard_frames: int = Field(
        default=10, ge=0, description="frames before and after an event that must not teach either"
    )
    history: int = Field(default=200, ge=1, description="versions kept for reading back and rolling back")
