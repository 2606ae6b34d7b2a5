"""``engram stack demo``: cameras, workers and a coordinator as processes on a real Kafka and Redis, one worker killed.

Whether all went well is read from the topics and the store alone, with committed records only.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bundles.bundle import load_bundle
from deploy.local import Stack
from engram.build.adapters import open_bus, open_store
from engram.build.bundles import load_engine
from engram.build.options import worker_options
from engram.build.topics import topic_specs
from engram.demo.checks import Check, check_bank, check_calm, check_events, check_scores, frame_keys
from engram.demo.fleet import Fleet
from engram.demo.progress import READ_TIMEOUT_S, Progress, wait_for_ends
from engram.demo.recompute import Recomputed, recompute
from memory_store.bank import AuditEntry
from messaging.ports import Bus, Record
from schemas.codec import HEADER, decode_message
from schemas.errors import EngramError
from schemas.messages import AnomalyEvent, FrameHeader, FrameScore
from schemas.settings import AllSettings, load_settings
from schemas.settings.layers import as_environment
from schemas.topics import TopicNames

WORKERS = ("worker-1", "worker-2")
CAMERAS = {"gate": 301, "west": 302, "north": 303, "south": 304}
"""Camera and seed of its scene. By their keys each has one of the four partitions, so each worker has two cameras."""
SESSION = "demo"


@dataclass(frozen=True, slots=True)
class StackDemoRequest:
    """What is run.

    Attributes:
        bundle: folder of the bundle of the walkway.
        out: folder for the processes' logs.
        seconds: scene time of each camera.
        deadline_s: longest wait for all frames to be scored, and for the bank to grow.
        tell: called with each step, in words.
        victim: the worker that is killed half way, if any.
        settings: more settings of all processes, by path.
        harm: called half way, with the processes, to do whatever else may happen to them.
        cameras: name and seed of the scene of each; as many partitions there are.
    """

    bundle: Path
    out: Path
    seconds: float
    deadline_s: float
    tell: Callable[[str], None]
    victim: str | None = WORKERS[0]
    settings: Mapping[str, object] = field(default_factory=dict)
    harm: Callable[[Fleet], None] | None = None
    cameras: Mapping[str, int] = field(default_factory=lambda: CAMERAS)


@dataclass(frozen=True, slots=True)
class FleetRun:
    """What a run has left behind: in the topics, in the store, and what a calm run over the same gives."""

    frames: tuple[FrameHeader, ...]
    scores: tuple[FrameScore, ...]
    events: tuple[AnomalyEvent, ...]
    num_dead_letters: int
    entries: tuple[AuditEntry, ...]
    calm: Recomputed

    def checks(self) -> tuple[Check, ...]:
        """Whether every promise was kept, but for what concerns the bank."""
        scored = check_scores(frame_keys(self.frames), frame_keys(self.scores), self.num_dead_letters)
        return (*scored, *check_events(self.events), *check_calm(self.calm, self.scores, self.events))


def run_stack_demo(request: StackDemoRequest, stop: threading.Event) -> tuple[Check, ...]:
    """Start the local stack if it is not up, run a fleet on it, and check.

    Raises:
        EngramError: a process ended by itself, or a deadline passed.
    """
    stack = Stack()
    if not stack.status().is_ready:
        request.tell("starting Kafka and Redis")
        stack.up()
    run = run_fleet(stack.environment(), request, stop)
    return (*run.checks(), *check_bank(run.entries))


def run_fleet(addresses: Mapping[str, str], request: StackDemoRequest, stop: threading.Event) -> FleetRun:
    """Run it all on topics, group and keys of its own.

    Raises:
        EngramError: a process ended by itself, or a deadline passed.
    """
    prefix = f"demo-{secrets.token_hex(4)}."
    overrides = {**_overrides(addresses, prefix, request), **request.settings}
    settings = load_settings(AllSettings, None, overrides)
    with ExitStack() as opened:
        bus = opened.enter_context(open_bus(settings.kafka))
        bus.create_topics(topic_specs(settings.kafka, settings.worker.max_frame_bytes))
        request.tell(f"topics created under '{prefix}'")
        fleet = opened.enter_context(Fleet(request.out, _as_environment(overrides)))
        _run_processes(fleet, bus, settings, request, stop)
        return _left_behind(bus, settings)


def _overrides(addresses: Mapping[str, str], prefix: str, request: StackDemoRequest) -> dict[str, object]:
    """Settings of all processes: the local stack, names nothing else has, and times that fit a demo."""
    return {
        "kafka.bootstrap_servers": addresses["ENGRAM_KAFKA__BOOTSTRAP_SERVERS"],
        "store.url": addresses["ENGRAM_STORE__URL"],
        "kafka.topic_prefix": prefix,
        "kafka.group": f"{prefix}workers",
        "kafka.frames_partitions": len(request.cameras),
        "kafka.session_timeout_s": 6.0,
        "store.key_prefix": f"{prefix}bank",
        "producer.fps": load_bundle(request.bundle).manifest.fps,
        "producer.session": SESSION,
        "producer.pace": "backfill",
        "worker.bundle": str(request.bundle.absolute()),
        "worker.threads": 1,
        # One false alarm a day would be strict for half a minute of a tiny network.
        "events.target_false_alarms_per_day": 1440.0,
        "coordinator.round_s": 5.0,
        "coordinator.quarantine_s": 2.0,
    }


def _as_environment(overrides: Mapping[str, object]) -> dict[str, str]:
    return {as_environment(path): str(value) for path, value in overrides.items()}


def _run_processes(
    fleet: Fleet, bus: Bus, settings: AllSettings, request: StackDemoRequest, stop: threading.Event
) -> None:
    topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
    fps = settings.producer.fps
    total = len(request.cameras) * round(request.seconds * fps)
    progress = Progress(bus, topics.frame_scores, request.deadline_s, stop)
    fleet.start("coordinator", ["coordinate"])
    for name in WORKERS:
        fleet.start(name, ["work", "--worker-id", name])
    # Were the cameras first, one worker could be through with their films before the other has joined.
    fleet.wait_until_logged(WORKERS, "is ours", request.deadline_s)
    fleet.start("cameras", ["produce", *_sources(request, fps), *_names(request)])
    request.tell(f"{len(request.cameras)} cameras, {len(WORKERS)} workers, 1 coordinator; logs in {request.out}")
    running = ["coordinator", *WORKERS]
    progress.wait_scored(total // 2, lambda: fleet.require_running(running))
    if request.victim is not None:
        fleet.kill(request.victim)
        request.tell(f"{progress.num_scored} of {total} frames scored; {request.victim} killed (SIGKILL)")
        running.remove(request.victim)
    if request.harm is not None:
        request.harm(fleet)
    progress.wait_scored(total, lambda: fleet.require_running(running))
    request.tell(f"all {progress.num_scored} frames scored")
    if settings.memory.updates:
        _wait_for_growth(settings, request.deadline_s, stop)
    codes = {"cameras": fleet.wait("cameras", request.deadline_s)}
    wait_for_ends(bus, topics.anomaly_events, request.deadline_s, stop)
    codes |= fleet.end(running)
    if any(codes.values()):
        failed = [fleet.told(name) for name, code in codes.items() if code]
        raise EngramError(f"every process must end with 0, got {dict(codes)}; " + "\n".join(failed))


def _sources(request: StackDemoRequest, fps: float) -> list[str]:
    fields = f"seconds={request.seconds:g}&fps={fps:g}"
    return [f"synthetic://walkway?seed={seed}&{fields}" for seed in request.cameras.values()]


def _names(request: StackDemoRequest) -> list[str]:
    return [part for camera in request.cameras for part in ("--camera", camera)]


def _wait_for_growth(settings: AllSettings, deadline_s: float, stop: threading.Event) -> None:
    """Until the bank has a version of its own, or the deadline; whether it has is for the checks to say."""
    until_s = time.monotonic() + deadline_s
    with open_store(settings.store) as store:
        while time.monotonic() < until_s and not stop.is_set():
            bank = store.read(settings.memory.bank_id)
            if bank is not None and bank.version > 0:
                return
            stop.wait(0.5)


def _left_behind(bus: Bus, settings: AllSettings) -> FleetRun:
    """Every record counts as it is: no reader that would drop repeats stands between."""
    names = TopicNames.with_prefix(settings.kafka.topic_prefix)
    frames = _all(bus, names.frames)
    headers = [decode_message(FrameHeader, record.header(HEADER)) for record in frames]
    scores = tuple(decode_message(FrameScore, record.value) for record in _all(bus, names.frame_scores))
    with open_store(settings.store) as store:
        return FleetRun(
            frames=tuple(header for header in headers if header.kind == "frame"),
            scores=scores,
            events=tuple(decode_message(AnomalyEvent, record.value) for record in _all(bus, names.anomaly_events)),
            num_dead_letters=len(_all(bus, names.dead_letters)),
            entries=tuple(store.log(settings.memory.bank_id)),
            calm=recompute(frames, scores, load_engine(settings.worker), store, worker_options(settings)),
        )


def _all(bus: Bus, topic: str) -> Sequence[Record]:
    reader = bus.reader([topic], from_beginning=True)
    try:
        return reader.read_to_end(READ_TIMEOUT_S)
    finally:
        reader.close()
