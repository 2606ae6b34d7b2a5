"""The long-running processes of a fleet: what ``engram work`` and ``engram coordinate`` do."""

import logging
import threading

from bundles.bundle import load_initial_bank
from engram.build.adapters import open_bus, open_store, open_store_for_worker
from engram.build.bundles import bundle_folder
from engram.build.options import (
    camera_options,
    coordinator_options,
    event_options,
    with_banks_for,
    worker_options,
)
from engram.observe.coordinator import SeenCoordinator
from engram.observe.desk import open_desk
from engram.observe.tracing import open_tracing
from engram.run.process import connected
from engram.run.reload import Reload, reloading
from memory_store.coordinator.coordinator import Coordinator
from memory_store.store import BankReader
from memory_store.views import InitialBank
from messaging.tracing import traced
from schemas.errors import DamagedError, FatalError, TransientError
from schemas.messages import utc_now
from schemas.settings import CoordinatorSettings, Loaded, WorkerSettings
from schemas.settings.connections import KafkaSection

log = logging.getLogger(__name__)


def run_coordinator(settings: CoordinatorSettings, stop: threading.Event) -> None:
    """Coordinate until ``stop`` is set; the loop itself survives a broker or store that is away.

    Raises:
        FatalError: settings, bundle or store are beyond repair, or the bundle has no memory.
    """
    tracing = open_tracing(settings.tracing, "engram-coordinate", settings.coordinator.writer_id)
    with open_desk(settings.http, "coordinate") as desk, tracing as tracer:
        items = load_initial_bank(bundle_folder(settings.worker.bundle))
        settings = with_banks_for(settings, items.calibration)
        initial = InitialBank.of_items(items)
        if initial.is_empty:
            text = f"the network '{items.model}' keeps what it knows in its weights, there is no memory to coordinate"
            raise FatalError(f"{text}; its workers need no coordinator")
        kafka = named(settings.kafka, settings.coordinator.writer_id)
        with open_bus(kafka) as bus, open_store(settings.store, settings.coordinator.history) as store:
            desk.wait_for("the log must answer")
            if connected(bus.existing_topics, stop) is None:
                return
            options = coordinator_options(settings)
            coordinator = Coordinator(bus, store, initial, options, tracer=tracer)
            desk.show(SeenCoordinator(coordinator, initial, options.limits))
            log.info("coordinating as %s", settings.coordinator.writer_id)
            coordinator.run(stop)


def run_worker(settings: WorkerSettings, stop: threading.Event, reload: Reload[WorkerSettings] | None = None) -> None:
    """Score frames until ``stop`` is set, then finish what is in hand and leave the group.

    Args:
        settings: of the worker.
        stop: asks for the end.
        reload: how the settings are read again; None = they are not.

    Raises:
        FatalError: settings, bundle, topics or device are beyond repair.
    """
    # Workers need torch, coordinators do not.
    from engram.build.bundles import bank_cache, load_engine, warn_of_thin_evidence  # noqa: PLC0415
    from engram.observe.worker import SeenWorker  # noqa: PLC0415
    from workers.worker import Worker  # noqa: PLC0415

    tracing = open_tracing(settings.tracing, "engram-work", settings.worker.worker_id)
    with open_desk(settings.http, "work") as desk, tracing as tracer:
        desk.wait_for("the network must load")
        engine = load_engine(settings.worker)
        told, settings = settings, with_banks_for(settings, engine.bundle.calibration)
        kafka = named(settings.kafka, settings.worker.worker_id)
        with open_bus(kafka) as kafka_bus, open_store_for_worker(settings.store) as store:
            options = worker_options(settings)
            bus = traced(kafka_bus, tracer, options.topics.frames)
            desk.wait_for("the log must answer")
            if connected(bus.existing_topics, stop) is None or stop.is_set():
                return  # told to stop while the network was loading: joining the group would only cost the others
            _meet_store(store, settings.memory.bank_id.format(camera_id="any"))
            banks = bank_cache(store, engine, settings.memory)
            # It joins its group here, and a broker that was there a moment ago may be away again.
            worker = connected(lambda: Worker(bus, engine, banks, options, utc_now, tracer=tracer), stop)
            if worker is None:
                return
            desk.show(SeenWorker(worker, engine, banks, settings.worker.worker_id))
            log.info("working as %s on bundle %s", settings.worker.worker_id, engine.bundle.digest[:12])
            warn_of_thin_evidence(settings.events, engine.bundle.calibration)

            def change(anew: Loaded[WorkerSettings]) -> None:
                worker.rules.change(event_options(anew.settings), camera_options(anew.settings))

            with reloading(told, reload, change):
                worker.run(stop)
            log.info("stopped: %s", worker.snapshot().tally)


def named(kafka: KafkaSection, who: str) -> KafkaSection:
    """With ``who`` in the name that the broker knows this process by: its group then says who owns what."""
    return kafka.model_copy(update={"client_id": f"{kafka.client_id}.{who}"})


def _meet_store(store: BankReader, bank_id: str) -> None:
    """Ask once at the start, so that what no waiting heals (a wrong password) ends the process, not the first frame.

    Raises:
        FatalError: the store refuses us.
    """
    try:
        store.read(bank_id)
    except TransientError as error:
        log.warning("the store is away, scores come from the bundle's own bank until it is back: %s", error)
    except DamagedError as error:
        log.warning("scores come from the bundle's own bank until this one is sound again: %s", error)
