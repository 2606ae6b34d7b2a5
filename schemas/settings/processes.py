"""Which sections each process has. One file may hold the sections of all of them."""

from pydantic import Field

from schemas.settings.cameras import Cameras
from schemas.settings.connections import (
    ConsoleSection,
    HttpSection,
    KafkaSection,
    LogSection,
    StoreSection,
    TracingSection,
)
from schemas.settings.detection import (
    CoordinatorSection,
    EventsSection,
    MemorySection,
    ProducerSection,
    WorkerSection,
)
from schemas.settings.section import Section


class Settings(Section):
    """What every process has."""

    kafka: KafkaSection = Field(default_factory=KafkaSection)
    log: LogSection = Field(default_factory=LogSection)


class ProducerSettings(Settings):
    """``engram produce``."""

    http: HttpSection = Field(default_factory=HttpSection)
    tracing: TracingSection = Field(default_factory=TracingSection)
    producer: ProducerSection = Field(default_factory=ProducerSection)
    cameras: Cameras = Field(default_factory=dict)


class WorkerSettings(Settings):
    """``engram work``."""

    http: HttpSection = Field(default_factory=HttpSection)
    tracing: TracingSection = Field(default_factory=TracingSection)
    store: StoreSection = Field(default_factory=StoreSection)
    memory: MemorySection = Field(default_factory=MemorySection)
    worker: WorkerSection = Field(default_factory=WorkerSection)
    events: EventsSection = Field(default_factory=EventsSection)
    cameras: Cameras = Field(default_factory=dict)


class CoordinatorSettings(Settings):
    """``engram coordinate`` and ``engram bank``."""

    http: HttpSection = Field(default_factory=HttpSection)
    tracing: TracingSection = Field(default_factory=TracingSection)
    store: StoreSection = Field(default_factory=StoreSection)
    memory: MemorySection = Field(default_factory=MemorySection)
    worker: WorkerSection = Field(default_factory=WorkerSection, description="for the bundle")
    coordinator: CoordinatorSection = Field(default_factory=CoordinatorSection)


class ConsumerSettings(Settings):
    """``engram events``, ``archive``, ``notify``, ``clips`` and all who read what the others wrote."""

    http: HttpSection = Field(default_factory=HttpSection)


class ConsoleSettings(Settings):
    """``engram console``."""

    http: HttpSection = Field(default_factory=HttpSection)
    store: StoreSection = Field(default_factory=StoreSection)
    memory: MemorySection = Field(default_factory=MemorySection)
    events: EventsSection = Field(default_factory=EventsSection, description="for the wanted rate of false alarms")
    console: ConsoleSection = Field(default_factory=ConsoleSection)


class WatchSettings(Settings):
    """``engram watch``: everything in one process."""

    http: HttpSection = Field(default_factory=HttpSection)
    tracing: TracingSection = Field(default_factory=TracingSection)
    store: StoreSection = Field(default_factory=StoreSection)
    memory: MemorySection = Field(default_factory=MemorySection)
    producer: ProducerSection = Field(default_factory=ProducerSection)
    worker: WorkerSection = Field(default_factory=WorkerSection)
    events: EventsSection = Field(default_factory=EventsSection)
    coordinator: CoordinatorSection = Field(default_factory=CoordinatorSection)
    console: ConsoleSection = Field(default_factory=ConsoleSection)
    cameras: Cameras = Field(default_factory=dict)


AllSettings = WatchSettings
"""Has every section there is; a file is held against it, whichever process reads it."""
