"""``python -m benchmarks.soak MINUTES``: a small fleet over a Kafka and a Redis of its own, and what of it grows.

Memory, open files and threads of every process, the bytes of Redis and of each topic, looked at every few seconds.
What has grown since the first third of the run, for that is when everything fills, is told by the hour and by the day.
Topics are kept for minutes, so that within the run they come to the size that they keep.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from redis import Redis

from deploy.local.kafka import KafkaSettings
from deploy.local.stack import Stack
from engram.build.adapters import open_bus
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.build.topics import topic_specs
from engram.demo.fleet import Fleet
from schemas.settings import AllSettings, load_settings
from schemas.settings.layers import as_environment

MINUTES, EVERY_S = 20.0, 10.0
WARM_UP = 1 / 3
CAMERAS = {"gate": 301, "west": 302, "north": 303}
FPS = 2.0
WORKERS = ("worker-1", "worker-2")
PROCESSES = ("cameras", *WORKERS, "coordinator")
KIB = 1024
SETTINGS: Mapping[str, object] = {
    "kafka.frames_partitions": 4,
    "kafka.frames_retention_s": 120.0,
    "kafka.scores_retention_s": 180.0,
    "kafka.events_retention_s": 180.0,
    "producer.fps": FPS,
    "producer.pace": "live",
    "worker.threads": 1,
    "coordinator.round_s": 5.0,
    "coordinator.quarantine_s": 2.0,
    "coordinator.history": 50,
    "events.target_false_alarms_per_day": 1440.0,
}
CLEANING = {"log.cleaner.backoff.ms": "5000", "log.retention.check.interval.ms": "5000"}

Sample = Mapping[str, float]
"""By what was looked at: KiB, or a number of things."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How something went after the warm-up.

    Attributes:
        first: at its beginning.
        last: at the end.
        per_hour: slope of the line through all that was seen.
        error_per_hour: twice the standard error of that slope.
    """

    first: float
    last: float
    per_hour: float
    error_per_hour: float

    @property
    def grows(self) -> bool:
        """Whether it surely goes up, and by more than a tenth of itself in a day."""
        return self.per_hour - self.error_per_hour > 0 and 24 * self.per_hour > 0.1 * max(self.last, 1.0)


def trend_of(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """The line through what was seen after the warm-up, by least squares."""
    begin = times_s[0] + WARM_UP * (times_s[-1] - times_s[0])
    kept = [(at, value) for at, value in zip(times_s, values, strict=True) if at >= begin]
    hours, seen = np.array([at for at, _ in kept]) / 3600, np.array([value for _, value in kept])
    spread = float(((hours - hours.mean()) ** 2).sum())
    if spread == 0 or len(kept) < 3:
        return Trend(seen[0], seen[-1], 0.0, float("inf"))
    slope = float(((hours - hours.mean()) * (seen - seen.mean())).sum() / spread)
    rest = seen - seen.mean() - slope * (hours - hours.mean())
    error = float(np.sqrt((rest**2).sum() / (len(kept) - 2) / spread))
    return Trend(float(seen[0]), float(seen[-1]), slope, 2 * error)


def look(pids: Mapping[str, int], stack: Stack) -> Sample:
    """Everything once."""
    found: dict[str, float] = {}
    for name, pid in pids.items():
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        found[f"{name}: memory, KiB"] = float(status["VmRSS"].split()[0])
        found[f"{name}: threads"] = float(status["Threads"])
        found[f"{name}: open files"] = float(len(list(Path(f"/proc/{pid}/fd").iterdir())))
    with closing(Redis.from_url(stack.environment()["ENGRAM_STORE__URL"])) as redis:
        found["redis: used, KiB"] = redis.info("memory")["used_memory"] / KIB
        found["redis: keys"] = float(redis.dbsize())
    return found | dict(_topics(stack.folder / "kafka-data"))


def _topics(data: Path) -> Iterator[tuple[str, float]]:
    """Bytes on disk, without the indexes, which are made larger than they need be."""
    sizes: dict[str, float] = {}
    for path in data.glob("*-[0-9]*/*.log"):
        topic = path.parent.name.rpartition("-")[0]
        try:
            sizes[topic] = sizes.get(topic, 0.0) + path.stat().st_size / KIB
        except FileNotFoundError:  # just deleted
            continue
    for topic in sorted(sizes):
        yield f"topic {topic}: KiB", sizes[topic]


def run(minutes: float = MINUTES) -> dict[str, Trend]:
    """Run the fleet and print the table."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ended:
        stack = Stack(Path(folder) / "stack", KafkaSettings(more=CLEANING))
        ended.callback(stack.down)
        stack.up()
        overrides = {as_environment(path): str(value) for path, value in SETTINGS.items()}
        environment = stack.environment() | overrides | {"ENGRAM_WORKER__BUNDLE": str(shipped_bundle(WALKWAY))}
        fleet = ended.enter_context(Fleet(Path(folder) / "logs", environment))
        named = {"kafka.bootstrap_servers": stack.kafka.bootstrap_servers, **SETTINGS}
        with open_bus(load_settings(AllSettings, None, named).kafka) as bus:
            bus.create_topics(topic_specs(load_settings(AllSettings, None, named).kafka, 256 * KIB))
        pids = {name: _pid(server.pid) for name, server in (("kafka", stack.kafka), ("redis", stack.redis))}
        pids |= _started(fleet)
        return _watched(minutes, lambda: look(pids, stack), lambda: fleet.require_running(PROCESSES))


def _pid(pid: int | None) -> int:
    assert pid is not None
    return pid


def _started(fleet: Fleet) -> dict[str, int]:
    fleet.start("coordinator", ["coordinate"])
    for worker in WORKERS:
        fleet.start(worker, ["work", "--worker-id", worker])
    fleet.wait_until_logged(WORKERS, "is ours", 180.0)
    sources = [f"synthetic://walkway?seed={seed}&seconds=0&fps={FPS:g}" for seed in CAMERAS.values()]
    fleet.start("cameras", ["produce", *sources, *(part for name in CAMERAS for part in ("--camera", name))])
    return {name: fleet.pid(name) for name in PROCESSES}


def _watched(minutes: float, look_once: Callable[[], Sample], check: Callable[[], None]) -> dict[str, Trend]:
    end, pause = time.monotonic() + 60 * minutes, threading.Event()
    times: list[float] = []
    samples: list[Sample] = []
    while time.monotonic() < end:
        check()
        times.append(time.monotonic())
        samples.append(look_once())
        pause.wait(EVERY_S)
    trends = {
        name: trend_of(times, [sample.get(name, 0.0) for sample in samples])
        for name in sorted({name for sample in samples for name in sample})
    }
    print_trends(trends, minutes)
    return trends


def print_trends(trends: Mapping[str, Trend], minutes: float) -> None:
    """One line each; what grows is marked."""
    print(f"{minutes:g} minutes, {len(CAMERAS)} cameras at {FPS:g} frames a second, {len(WORKERS)} workers")
    print(f"{'':<38}{'then':>10}{'now':>10}{'an hour':>12}{'a day':>12}")
    for name, trend in trends.items():
        mark = "  grows" if trend.grows else ""
        day = 24 * trend.per_hour
        print(f"{name:<38}{trend.first:>10.0f}{trend.last:>10.0f}{trend.per_hour:>+12.1f}{day:>+12.0f}{mark}")


if __name__ == "__main__":
    run(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES)
