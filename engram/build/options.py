"""From settings to the options of each part; no part reads settings itself."""

from typing import TYPE_CHECKING, TypeVar

from bundles.calibration import Calibration
from memory_store.coordinator.options import CAMERA, ChangeLimits, CoordinatorOptions, RoundRules
from schemas.errors import SettingsError
from schemas.settings import CoordinatorSettings, WatchSettings, WorkerSettings
from schemas.settings.cameras import events_of
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames

if TYPE_CHECKING:
    from workers.options import CameraOptions, EventOptions, WorkerOptions


def worker_group(kafka: KafkaSection) -> str:
    """The group that shares the frames."""
    return kafka.group or f"{kafka.topic_prefix}engram-workers"


def coordinator_group(kafka: KafkaSection) -> str:
    """The group of the coordinators, of which one leads."""
    return f"{kafka.topic_prefix}engram-coordinators"


S = TypeVar("S", CoordinatorSettings, WorkerSettings, WatchSettings)


def with_banks_for(settings: S, calibration: Calibration) -> S:
    """Settings in which each camera has a bank of its own, if what is normal is remembered by place and no bank is set.

    What one camera sees at a place says nothing of another; the items of a network may be shared.
    """
    if calibration.memory is None or "bank_id" in settings.memory.model_fields_set:
        return settings
    return settings.model_copy(update={"memory": settings.memory.model_copy(update={"bank_id": CAMERA})})


def bank_of(settings: CoordinatorSettings, camera_id: str) -> str:
    """Name of the bank that is this camera's alone, as ``with_banks_for`` would have it of a bundle that remembers.

    Raises:
        SettingsError: the settings name one bank for all.
    """
    given = settings.memory.bank_id if "bank_id" in settings.memory.model_fields_set else CAMERA
    if CAMERA not in given:
        text = f"--camera must name a camera with a bank of its own, by memory.bank_id all share '{given}'"
        raise SettingsError(f"{text}; name the bank, if all of them are meant")
    return given.format(camera_id=camera_id)


def coordinator_options(settings: CoordinatorSettings | WatchSettings) -> CoordinatorOptions:
    """Options of the coordinator."""
    section = settings.coordinator
    return CoordinatorOptions(
        coordinator_id=section.writer_id,
        topics=TopicNames.with_prefix(settings.kafka.topic_prefix),
        group=coordinator_group(settings.kafka),
        rules=RoundRules(round_s=section.round_s, quarantine_s=section.quarantine_s, guard_frames=section.guard_frames),
        bank_id=settings.memory.bank_id,
        max_banks=section.max_banks,
        limits=ChangeLimits(
            section.change_budget_per_hour, section.max_anchor_distance, section.change_budget_per_round
        ),
        half_life_s=settings.memory.half_life_h * 3600,
        learn_s=settings.memory.learn_s,
        lease_s=section.lease_s,
    )


def worker_options(settings: WorkerSettings | WatchSettings) -> "WorkerOptions":
    """Options of a worker that others follow: open events are left to the next owner when it stops."""
    from inference.decode import DecodeLimits  # noqa: PLC0415 - workers need an extra, coordinators do not
    from workers.options import WorkerOptions  # noqa: PLC0415

    section = settings.worker
    return WorkerOptions(
        worker_id=section.worker_id,
        topics=TopicNames.with_prefix(settings.kafka.topic_prefix),
        group=worker_group(settings.kafka),
        bank_id=settings.memory.bank_id,
        updates=settings.memory.updates,
        max_batch=section.max_batch,
        max_wait_s=section.max_wait_ms / 1000,
        decode_threads=section.decode_threads,
        limits=DecodeLimits(section.max_frame_bytes, section.max_pixels),
        commit_interval_s=section.commit_interval_ms / 1000,
        proposal_interval_s=section.proposal_interval_s,
        learn_s=settings.memory.learn_s,
        max_staleness_s=section.max_staleness_s,
        camera_timeout_s=section.camera_timeout_s,
        camera_forget_s=section.camera_forget_s,
        max_attempts=section.max_attempts,
        max_cameras=section.max_cameras,
        warn_late_s=section.warn_late_s,
        events=event_options(settings),
        cameras=camera_options(settings),
    )


def event_options(settings: WorkerSettings | WatchSettings) -> "EventOptions":
    """When frames are an event, of cameras that have no table of their own."""
    from workers.options import EventOptions  # noqa: PLC0415 - as above

    return EventOptions(**settings.events.model_dump())


def camera_options(settings: WorkerSettings | WatchSettings) -> "dict[str, CameraOptions]":
    """By camera id: when its frames are an event, its zones, and how much its events matter."""
    from workers.options import CameraOptions, EventOptions  # noqa: PLC0415 - as above

    return {
        name: CameraOptions(
            EventOptions(**events_of(table, settings.events).model_dump()), dict(table.zones), table.severity
        )
        for name, table in settings.cameras.items()
    }
