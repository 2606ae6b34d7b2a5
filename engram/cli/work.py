"""``engram work``: score frames."""

from typing import Annotated

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import (
    BackendOption,
    BootstrapOption,
    BundleOption,
    DeviceOption,
    HttpOption,
    PrefixOption,
    StoreOption,
    kafka_overrides,
)
from engram.logs import configure_logging
from engram.run.process import stop_on_signals
from schemas.settings import WorkerSettings

WorkerIdOption = Annotated[str | None, typer.Option("--worker-id", help="Stable name; a restart fences its old self.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Threads of the inference library.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "work", extra="worker")(work)


def work(
    run: Invocation,
    bundle: BundleOption = None,
    worker_id: WorkerIdOption = None,
    device: DeviceOption = None,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    store: StoreOption = None,
    http: HttpOption = None,
) -> None:
    """Score frames from Kafka and publish scores and events. Start as many as you like, up to one per partition.

    SIGTERM finishes what is in hand and hands the cameras over; a crash loses nothing either. With --config,
    thresholds and zones ([events], [cameras.NAME]) are taken over as the file is saved, and on SIGHUP.

    Example: engram work --bundle models/lobby --store redis://127.0.0.1:6379/0
    """
    own = {
        "worker.bundle": bundle,
        "worker.worker_id": worker_id,
        "worker.device": device,
        "worker.backend": backend,
        "worker.threads": threads,
        "http.listen": http,
    }
    overrides = {**kafka_overrides(bootstrap_servers, topic_prefix), **own, "store.url": store}
    settings = run.settings(WorkerSettings, overrides)
    configure_logging(settings.log, {"worker": settings.worker.worker_id})
    from engram.run.fleet import run_worker  # noqa: PLC0415 - needs an extra
    from engram.run.reload import Reload  # noqa: PLC0415

    reload = Reload(run.config, lambda: run.load(WorkerSettings, overrides))
    with stop_on_signals() as stop:
        run_worker(settings, stop, reload)
