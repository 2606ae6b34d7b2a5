"""``engram coordinate``: the single writer of the memory."""

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, BundleOption, HttpOption, PrefixOption, StoreOption, kafka_overrides
from engram.run.process import stop_on_signals
from schemas.settings import CoordinatorSettings


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "coordinate", extra="coordinator")(coordinate)


def coordinate(
    run: Invocation,
    bundle: BundleOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    store: StoreOption = None,
    http: HttpOption = None,
) -> None:
    """Merge the workers' proposals into new versions of the memory bank. A second one waits as a standby.

    Example: engram coordinate --bundle models/lobby --store redis://127.0.0.1:6379/0
    """
    own = {"worker.bundle": bundle, "store.url": store, "http.listen": http}
    overrides = kafka_overrides(bootstrap_servers, topic_prefix) | own
    settings = run.settings(CoordinatorSettings, overrides)
    from engram.run.fleet import run_coordinator  # noqa: PLC0415 - needs an extra

    with stop_on_signals() as stop:
        run_coordinator(settings, stop)
