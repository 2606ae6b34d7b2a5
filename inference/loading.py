"""From a bundle's folder to an engine, with the backend that suits it."""

import logging
from pathlib import Path

from bundles.bundle import load_bundle
from inference.backends.choose import choose
from inference.backends.torch import torch_device
from inference.engine import Engine, engine_of
from schemas.settings.detection import BackendSetting

log = logging.getLogger(__name__)


def open_engine(
    path: Path, device: str = "auto", threads: int | None = None, backend: BackendSetting = "auto"
) -> Engine:
    """Load a bundle, choose a backend, and say which and why.

    Args:
        path: folder of the bundle.
        device: "auto" or a torch device name.
        threads: of the inference library; None = its own choice.
        backend: see ``inference.backends.choose``.

    Raises:
        BundleError: the bundle or its export is incomplete, changed, or does not fit.
        FatalError: the backend cannot be had.
    """
    bundle = load_bundle(path)
    choice = choose(backend, torch_device(device), path, bundle.digest)
    if choice.remedy:
        log.warning("backend %s: %s; %s", choice.name, choice.why, choice.remedy)
    else:
        log.info("backend %s: %s", choice.name, choice.why)
    return engine_of(bundle, device, threads, choice)
