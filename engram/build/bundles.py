"""The bundle a process was told to use, the one that comes with the package, and what a worker makes of it.

Coordinators read a bundle without torch, so the parts that need it are imported where they are made.
"""

import logging
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from bundles.calibration import Calibration
from memory_store.store import BankReader
from memory_store.views import BankCache, InitialBank
from schemas.errors import SettingsError
from schemas.settings.detection import EventsSection, MemorySection, WorkerSection

if TYPE_CHECKING:
    from inference.engine import Engine

log = logging.getLogger(__name__)


def require_bundle(path: Path | None) -> Path:
    """The bundle's folder.

    Raises:
        SettingsError: none is named.
    """
    if path is None:
        raise SettingsError("a bundle must be named: --bundle DIR, or worker.bundle; 'engram train' makes one")
    return path


def shipped_bundle() -> Path:
    """The bundle of the synthetic walkway, part of the package.

    Raises:
        SettingsError: this copy of the package has none.
    """
    path = Path(str(files("engram"))) / "data" / "walkway"
    if not path.is_dir():
        raise SettingsError(f"the demo's bundle must be in '{path}', it is not; name another with --bundle DIR")
    return path


def load_engine(worker: WorkerSection) -> "Engine":
    """The bundle's network on its device and backend.

    Raises:
        SettingsError: no bundle is named.
        BundleError: it is incomplete or changed.
        FatalError: the backend cannot be had.
    """
    from inference.loading import open_engine  # noqa: PLC0415 - needs torch, which coordinators have not

    return open_engine(require_bundle(worker.bundle), worker.device, worker.threads, worker.backend)


def warn_of_thin_evidence(events: EventsSection, calibration: Calibration) -> None:
    """Say it, once at the start, if a rate of false alarms is asked for that the bundle's footage cannot vouch for."""
    from workers.options import EventOptions  # noqa: PLC0415 - as above
    from workers.rules import beyond_evidence  # noqa: PLC0415

    told = beyond_evidence(EventOptions(**events.model_dump()), calibration)
    if told is not None:
        log.warning("%s", told)


def bank_cache(store: BankReader, engine: "Engine", memory: MemorySection) -> BankCache:
    """Cached banks that must fit the engine's bundle."""
    initial = InitialBank.of_bundle(engine.bundle)
    return BankCache(store, initial, memory.refresh_interval_s, memory.max_age_s)
