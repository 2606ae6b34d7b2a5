"""Settings of every process: sections with units in their names, and a loader that knows where each value came from."""

from schemas.settings.changes import Changes, changes
from schemas.settings.load import Loaded, load_settings, load_with_origins, masked
from schemas.settings.processes import (
    AllSettings,
    ConsoleSettings,
    ConsumerSettings,
    CoordinatorSettings,
    ProducerSettings,
    Settings,
    WatchSettings,
    WorkerSettings,
)

__all__ = [
    "AllSettings",
    "Changes",
    "ConsoleSettings",
    "ConsumerSettings",
    "CoordinatorSettings",
    "Loaded",
    "ProducerSettings",
    "Settings",
    "WatchSettings",
    "WorkerSettings",
    "changes",
    "load_settings",
    "load_with_origins",
    "masked",
]
