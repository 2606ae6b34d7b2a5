"""How soon an operator's word takes effect: answered by the coordinator, and in the bank that a worker scores with.

All settings are the defaults, on a real Kafka and a real Redis: the coordinator receives, judges and commits, the
worker asks the store for a newer version once a second.
"""

import random
import secrets
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bundles.bundle import load_bundle
from consumers.verdicts import awaited_outcome, verdict_record
from deploy.local.stack import Stack
from engram.build.shipped import ANYWHERE, shipped_bundle
from engram.build.topics import topic_specs
from inference.taught import extents_of, things_of
from memory_store.bank import Change, next_epoch
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.options import CoordinatorOptions
from memory_store.exemplar import levels_of, trace_shape
from memory_store.store import BankStore
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from memory_store.views import BankCache, InitialBank
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.ports import Bus, Publisher, Reader
from schemas.messages import HeatMap, Region, utc_now
from schemas.settings.connections import KafkaSection
from schemas.settings.detection import MemorySection
from schemas.topics import TopicNames
from schemas.verdicts import OperatorVerdict

VERDICTS = 20
CAMERA = "gate"
REFRESH_S = MemorySection().refresh_interval_s
LOOK_S = 0.01
"""A worker looks at its bank with each batch."""
DEADLINE_S = 60.0
MAX_FRAME_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Effect:
    """Seconds from when a verdict is sent until it is answered, and until a worker scores by it."""

    answered_s: float
    in_force_s: float


def run() -> None:
    """Start a Kafka and a Redis, and say something of events again and again."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.up()
            compare(stack.kafka.bootstrap_servers, stack.redis.url, "bench", VERDICTS)
        finally:
            stack.down()


def compare(bootstrap_servers: str, redis_url: str, prefix: str, num_verdicts: int) -> None:
    """Print the table; topics and keys begin with ``prefix``."""
    kafka = KafkaSection(topic_prefix=f"{prefix}.", frames_partitions=1, replication_factor=1)
    names = TopicNames.with_prefix(kafka.topic_prefix)
    initial = InitialBank.of_bundle(load_bundle(shipped_bundle(ANYWHERE)))
    with (
        closing(KafkaBus(KafkaConnection(bootstrap_servers), KafkaOptions(replication_factor=1))) as bus,
        closing(RedisStore.for_coordinator(RedisAddress(redis_url, prefix))) as store,
    ):
        bus.create_topics(topic_specs(kafka, MAX_FRAME_BYTES))
        store.create(
            initial.as_bank(CAMERA, next_epoch(), utc_now()), Change("create", "bench", "by the benchmark", "create")
        )
        options = CoordinatorOptions(
            "bench", names, group=f"{prefix}-coordinators", bank_id="{camera_id}", clock_slack=None
        )
        _print(_effects(bus, store, initial, options, num_verdicts))


def _effects(
    bus: Bus, store: BankStore, initial: InitialBank, options: CoordinatorOptions, num_verdicts: int
) -> list[Effect]:
    stop = threading.Event()
    coordinating = threading.Thread(target=Coordinator(bus, store, initial, options).run, args=(stop,))
    coordinating.start()
    cache, publisher = BankCache(store, initial, REFRESH_S), bus.publisher()
    try:
        # The first waits for the coordinator to take the lead, and is not counted.
        said = (_verdict(initial) for _ in range(num_verdicts + 1))
        return [_effect(bus, publisher, options.topics, cache, verdict) for verdict in said][1:]
    finally:
        publisher.close(DEADLINE_S)
        stop.set()
        coordinating.join(DEADLINE_S)


def _effect(bus: Bus, publisher: Publisher, names: TopicNames, cache: BankCache, verdict: OperatorVerdict) -> Effect:
    before = cache.view(CAMERA).bank.digest
    with (
        closing(bus.reader([names.memory_events], from_beginning=False)) as reader,
        ThreadPoolExecutor(1) as asking,
    ):
        answer = asking.submit(_answered_at, reader, verdict.verdict_id)
        begin = time.monotonic() + random.uniform(0.0, REFRESH_S)  # at no particular moment between two looks
        while time.monotonic() < begin:
            cache.view(CAMERA)
            time.sleep(LOOK_S)
        sent = time.monotonic()
        publisher.publish(verdict_record(verdict, names.operator_verdicts))
        while cache.view(CAMERA).bank.digest == before:
            if time.monotonic() > sent + DEADLINE_S:
                raise TimeoutError(f"no worker would have scored by the verdict in {DEADLINE_S:g} s")
            time.sleep(LOOK_S)
        in_force = time.monotonic()
        return Effect(answer.result() - sent, in_force - sent)


def _answered_at(reader: Reader, verdict_id: str) -> float:
    outcome = awaited_outcome(reader, verdict_id, DEADLINE_S)
    assert outcome is not None and outcome.outcome == "applied", outcome
    return time.monotonic()


def _verdict(initial: InitialBank) -> OperatorVerdict:
    """On an event of its own: a small thing in the middle of the picture."""
    assert initial.grid is not None, "the bundle for any camera judges by its memory"
    rows, columns = trace_shape(initial.grid)
    spreads_RS = np.full((rows, columns), -1.0)
    spreads_RS[rows // 2 : rows // 2 + 2, columns // 2 : columns // 2 + 2] = 5.0
    extents_RS = extents_of(things_of(spreads_RS, 3.0), (rows, columns))
    return OperatorVerdict(
        verdict_id=secrets.token_hex(16),
        event_id=f"{CAMERA}:{secrets.token_hex(4)}:5",
        camera_id=CAMERA,
        bank_id=CAMERA,
        bundle_digest=initial.bundle_digest,
        judgement="normal",
        operator="bench",
        given_at=utc_now(),
        trace=HeatMap(rows=rows, columns=columns, values=tuple(levels_of(spreads_RS).ravel().tolist()), scale="common"),
        extents=tuple(extents_RS.ravel().tolist()),
        regions=(Region(box=(0.4, 0.4, 0.6, 0.6), score=0.9),),
    )


def _print(effects: Sequence[Effect]) -> None:
    table = Table("verdict", "p50 s", "longest s", title=f"{len(effects)} verdicts", title_justify="left")
    for name, seconds in (
        ("answered", [one.answered_s for one in effects]),
        ("in force at a worker", [one.in_force_s for one in effects]),
    ):
        table.add_row(name, f"{np.median(seconds):.2f}", f"{max(seconds):.2f}")
    Console().print(table)
