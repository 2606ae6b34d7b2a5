"""The bundle a process was told to use, and what a worker makes of it.

Coordinators read a bundle without torch, so the parts that need it are imported where they are made.
"""

import gc
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bundles.calibration import Calibration
from engram.build.shipped import ANYWHERE, bundle_named, shipped_bundle
from memory_store.store import BankReader
from memory_store.views import BankCache, InitialBank
from schemas.settings.detection import EventsSection, MemorySection, WorkerSection

if TYPE_CHECKING:
    from inference.engine import Engine

log = logging.getLogger(__name__)


def bundle_folder(path: Path | None) -> Path:
    """Of the bundle that settings name; where they name none, of the one for any camera that comes along.

    Raises:
        SettingsError: this copy of the package has none.
    """
    return shipped_bundle(ANYWHERE) if path is None else bundle_named(path)


def load_engine(worker: WorkerSection) -> "Engine":
    """The bundle's network on its device and backend.

    Raises:
        SettingsError: no bundle is named, and none comes along.
        BundleError: it is incomplete or changed.
        FatalError: the backend cannot be had.
    """
    from inference.loading import open_engine  # noqa: PLC0415 - needs torch, which coordinators have not

    if worker.bundle is None:
        log.info(
            "no bundle is named: the one for any camera is used, which learns each for a while, see memory.learn_s"
        )
    engine = open_engine(bundle_folder(worker.bundle), worker.device, worker.threads, worker.backend)
    # PyTorch and the network stay for as long as the process: no search for cycles, and not the one at its end, need go
    # through their million objects.
    gc.freeze()
    return engine


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
