"""The parts of a worker: network and cached banks. Needs torch."""

from engram.build.bundles import require_bundle
from inference.engine import Engine
from inference.loading import open_engine
from memory_store.store import BankReader
from memory_store.views import BankCache, InitialBank
from schemas.settings.detection import MemorySection, WorkerSection


def load_engine(worker: WorkerSection) -> Engine:
    """The bundle's network on its device and backend.

    Raises:
        SettingsError: no bundle is named.
        BundleError: it is incomplete or changed.
        FatalError: the backend cannot be had.
    """
    return open_engine(require_bundle(worker.bundle), worker.device, worker.threads, worker.backend)


def bank_cache(store: BankReader, engine: Engine, memory: MemorySection) -> BankCache:
    """Cached banks that must fit the engine's bundle."""
    initial = InitialBank(engine.bundle.digest, engine.bundle.items_MC)
    return BankCache(store, initial, memory.refresh_interval_s, memory.max_age_s)
