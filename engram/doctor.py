"""Whether everything that Engram needs is there: one line each, with what to do when it is not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Literal

from engram.build.adapters import open_bus, open_store
from engram.build.topics import topic_specs, topic_state
from engram.cli.errors import one_line
from producers.sources import open_source
from schemas.settings import AllSettings
from schemas.settings.detection import WorkerSection

FIRST_FRAME_TIMEOUT_S = 15.0
Process = Literal["all", "producer", "worker", "coordinator"]
NEEDS: Mapping[str, tuple[str, ...]] = {
    "producer": ("broker", "topics", "source"),
    "worker": ("broker", "topics", "store", "bundle", "backend"),
    "coordinator": ("broker", "topics", "store", "bundle"),
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at, whether it is well, what was seen, and what to do if it is not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class _UnwellError(Exception):
    """What was looked at answers, but not as it should."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to look at. ``ask`` says what it saw, or raises."""

    name: str
    ask: Callable[[], str]
    remedy: str


def diagnoses(settings: AllSettings, process: Process, source: str | None) -> Iterator[Diagnosis]:
    """Look at one thing after the other; nothing raises, a fault is a diagnosis.

    Args:
        settings: of all processes.
        process: only what this one needs; "all" = everything.
        source: camera or file to take a frame from; none = no camera.
    """
    for question in _questions(settings, source):
        if process == "all" or question.name in NEEDS[process]:
            yield _asked(question)


def _questions(settings: AllSettings, source: str | None) -> Iterator[Question]:
    servers = settings.kafka.bootstrap_servers
    broker = f"start Kafka ('engram stack up' for a local one), or set kafka.bootstrap_servers (now {servers})"
    yield Question("broker", lambda: _broker(settings), broker)
    yield Question("topics", lambda: _topics(settings), "engram topics create")
    store = "start Redis ('engram stack up'), or set store.url, store.username, store.password"
    yield Question("store", lambda: _store(settings), store)
    bundle = "set worker.bundle to a folder made by 'engram train'"
    yield Question("bundle", lambda: _bundle(settings.worker.bundle), bundle)
    yield Question("backend", lambda: _backend(settings.worker), "set worker.backend, or run 'engram export'")
    if source is not None:
        yield Question("source", lambda: _source(source), "check address, network, user and password of the camera")


def _asked(question: Question) -> Diagnosis:
    try:
        return Diagnosis(question.name, True, question.ask())
    except Exception as error:  # a doctor reports whatever goes wrong, and looks at the rest
        return Diagnosis(question.name, False, one_line(error), question.remedy)


def _broker(settings: AllSettings) -> str:
    with open_bus(settings.kafka) as bus:
        return f"{settings.kafka.bootstrap_servers} answers, {len(bus.existing_topics())} topics"


def _topics(settings: AllSettings) -> str:
    specs = topic_specs(settings.kafka, settings.worker.max_frame_bytes)
    with open_bus(settings.kafka) as bus:
        existing = bus.existing_topics()
    states = {spec.name: topic_state(spec, existing) for spec in specs}
    wrong = [f"{name} {state}" for name, state in states.items() if state != "ok"]
    if wrong:
        raise _UnwellError(", ".join(wrong))
    return f"all {len(specs)} are there"


def _store(settings: AllSettings) -> str:
    with open_store(settings.store) as store:
        return f"answers, banks: {', '.join(store.list_banks()) or 'none yet'}"


def _bundle(path: Path | None) -> str:
    if path is None:
        raise _UnwellError("none is named")
    from bundles.bundle import load_bundle  # noqa: PLC0415 - needs an extra, which a producer has not

    bundle = load_bundle(path)
    return f"{path} is whole: {bundle.model}, digest {bundle.digest[:12]}"


def _backend(worker: WorkerSection) -> str:
    if worker.bundle is None:
        raise _UnwellError("no bundle is named")
    from bundles.bundle import load_bundle  # noqa: PLC0415 - needs an extra, which a producer has not
    from inference.backends.choose import choose  # noqa: PLC0415
    from inference.backends.torch import torch_device  # noqa: PLC0415

    choice = choose(worker.backend, torch_device(worker.device), worker.bundle, load_bundle(worker.bundle).digest)
    return f"{choice.name}: {choice.why}"


def _source(text: str) -> str:
    """Take one frame, with a deadline: a camera that never answers must not hang the doctor."""
    source = open_source(text)
    deadline = Timer(FIRST_FRAME_TIMEOUT_S, source.close)
    deadline.start()
    try:
        frame = next(iter(source), None)
    finally:
        deadline.cancel()
        source.close()
    if frame is None:
        raise _UnwellError(
            f"{source.describe()} gave no frame within {FIRST_FRAME_TIMEOUT_S:.0f} s: {source.status.reason}"
        )
    height, width = frame.image.shape[:2]
    return f"{source.describe()} gives frames of {width} x {height} pixels"
