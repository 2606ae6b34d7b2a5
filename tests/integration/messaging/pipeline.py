"""A small worker with state, and the ledger that shows whether each frame was handled exactly once.

Frames carry a number per key. The worker counts the frames of each key, keeps the count as its state, and publishes
``number:count``. Whatever happens to brokers and workers, the scores of a key must read 1:1, 2:2, 3:3, ...

As a program it can stop itself at a point inside a transaction, for the test to kill or pause it there.
"""

import json
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import messaging.kafka.outbox as outbox_module
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.ports import Bus, Delivery, Intake, Outbox, OutRecord, Progress, Subscription
from schemas.errors import OwnershipLostError, TransientError

SESSION_S = 3.0


@dataclass(frozen=True, slots=True)
class Names:
    frames: str
    states: str
    scores: str
    group: str


class Worker:
    """Counts frames per key, exactly once."""

    def __init__(self, bus: Bus, names: Names, writer_id: str, batch: int = 20) -> None:
        self._names = names
        self._batch = batch
        self.subscription: Subscription = bus.subscription([names.frames], names.group, names.states)
        self.outbox: Outbox = bus.outbox(self.subscription, writer_id)
        self.counts: dict[int, dict[str, int]] = {}
        self.num_lost_ownership = 0
        self.num_transient = 0
        self.num_commits = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.step()
        self.close()

    def close(self) -> None:
        self.outbox.close()
        self.subscription.close()

    def step(self) -> None:
        intake = self.subscription.receive(self._batch, 0.2)
        for claim in intake.revoked:
            self.counts.pop(claim.partition, None)
        for assigned in intake.assigned:
            self.counts[assigned.claim.partition] = {key: int(value) for key, value in assigned.states.items()}
        fresh = [delivery for delivery in intake.deliveries if not delivery.is_replay]
        if fresh:
            self._handle(fresh, intake)

    def _handle(self, fresh: Iterable[Delivery], intake: Intake) -> None:
        records, ends = [], {}
        for delivery in fresh:
            key, number = (delivery.record.key or b"").decode(), (delivery.record.value or b"").split(b" ")[0].decode()
            counts = self.counts[delivery.claim.partition]
            ends[delivery.claim] = delivery.record.offset + 1
            if int(number) <= counts.get(key, 0):
                continue  # a publisher may repeat a frame whose acknowledgement was lost
            counts[key] = counts.get(key, 0) + 1
            records.append(OutRecord(self._names.scores, key, f"{number}:{counts[key]}".encode()))
            records.append(OutRecord(self._names.states, key, str(counts[key]).encode()))
        try:
            self.outbox.commit(records, [Progress(claim, end, end) for claim, end in ends.items()])
            self.num_commits += 1
        except OwnershipLostError:
            self.num_lost_ownership += 1
            self.subscription.rewind()
        except TransientError:
            self.num_transient += 1
            self.subscription.rewind()


def publish_frames(bus: Bus, names: Names, num_keys: int, numbers: range) -> None:
    """``numbers`` for each key, waiting for the acknowledgement of all."""
    publisher = bus.publisher()
    errors: list[Exception | None] = []
    for number in numbers:
        for key in range(num_keys):
            publisher.publish(OutRecord(names.frames, f"camera-{key}", f"{number} ".encode()), errors.append)
    publisher.close(30)
    assert errors == [None] * (num_keys * len(numbers))


def scores_by_key(bus: Bus, names: Names, timeout_s: float = 30) -> dict[str, list[str]]:
    reader = bus.reader([names.scores], from_beginning=True)
    found: dict[str, list[str]] = {}
    for record in reader.read_to_end(timeout_s):
        found.setdefault((record.key or b"").decode(), []).append((record.value or b"").decode())
    reader.close()
    return found


def perfect(num_keys: int, num_frames: int) -> dict[str, list[str]]:
    """The only right outcome."""
    return {f"camera-{key}": [f"{n}:{n}" for n in range(1, num_frames + 1)] for key in range(num_keys)}


def departures(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> str:
    """Where each key leaves the right outcome: whether something is wrong, or only not there yet."""
    told = []
    for key, right in wanted.items():
        scores = found.get(key, [])
        alike = next((n for n, (one, other) in enumerate(zip(scores, right, strict=False)) if one != other), None)
        if alike is not None:
            told.append(f"{key} has {scores[alike]} for {right[alike]}")
        elif len(scores) != len(right):
            told.append(f"{key} has {len(scores)} of {len(right)}")
    return "; ".join([*told, *(f"{key} is unknown" for key in found.keys() - wanted.keys())])


def wait_for_scores(bus: Bus, names: Names, num_scores: int, timeout_s: float) -> dict[str, list[str]]:
    """Scores once there are as many; those there are at the deadline, for the assertion to show what is wrong."""
    deadline = time.monotonic() + timeout_s
    reader = bus.reader([names.scores], from_beginning=True)
    seen = 0
    while seen < num_scores and time.monotonic() < deadline:
        seen += len(reader.read(1000, 0.5))
    reader.close()
    return scores_by_key(bus, names)


def stop_at(point: str, at_call: int) -> None:
    """Make this process announce itself at the ``at_call``-th call of ``point`` in the outbox, and wait for a line."""
    real = getattr(outbox_module, point)
    calls = 0

    def paused(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == at_call:
            print("AT THE POINT", flush=True)
            sys.stdin.readline()
        real(*arguments)

    setattr(outbox_module, point, paused)


def main(arguments: dict[str, str]) -> None:
    stop_at(arguments.pop("point"), int(arguments.pop("at_call")))
    bootstrap, writer_id = arguments.pop("bootstrap"), arguments.pop("writer_id")
    options = KafkaOptions(session_timeout_s=SESSION_S, transaction_timeout_s=SESSION_S)
    worker = Worker(KafkaBus(KafkaConnection(bootstrap), options), Names(**arguments), writer_id)
    while True:
        before = (worker.num_lost_ownership, worker.num_transient)
        worker.step()
        after = (worker.num_lost_ownership, worker.num_transient)
        if after != before:
            print("LOST" if after[0] > before[0] else "TRANSIENT", flush=True)


def command(bootstrap: str, names: Names, writer_id: str, point: str, at_call: int) -> list[str]:
    """Command line of a worker that stops at a point."""
    arguments = {"bootstrap": bootstrap, "writer_id": writer_id, "point": point, "at_call": str(at_call)}
    return [sys.executable, "-m", "tests.integration.messaging.pipeline", json.dumps(arguments | asdict(names))]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
