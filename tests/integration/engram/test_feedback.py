"""Said of an event on real servers: the same recording alarms no more, until it is undone; and what cannot be said."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from typer.testing import CliRunner, Result

from engram.cli.app import app
from inference.engine import engine_of
from memory_store.bank import Bank, Change, next_epoch
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.options import CoordinatorOptions
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from memory_store.views import BankCache, InitialBank
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from schemas.messages import AnomalyEvent, utc_now
from schemas.topics import TopicNames
from schemas.verdicts import VerdictOutcome
from tests.integration.workers.conftest import DEADLINE_S, Site, at_work, end_record, frame_record, wait_for
from tests.small_bundle import jpeg, small_bundle
from workers.worker import Worker

RECORDING = range(40, 100)
"""Of the scene of ``small_bundle``: calm, two seconds of anomaly, calm."""
CAMERA = "a"
BUNDLE = small_bundle(remembers=True)
INITIAL = InitialBank.of_bundle(BUNDLE)


@dataclass
class Premises:
    """A camera whose recording is played again and again, and an operator at the command line."""

    site: Site
    store: RedisStore
    environment: dict[str, str]
    sent: int = 0

    def play(self, session: str) -> list[AnomalyEvent]:
        """The recording, from beginning to end; the events that it gave."""
        frames, first = self.site.topics.frames, 1000 * int(session[1:])
        records = [
            frame_record(frames, CAMERA, first + n, session, jpeg(CAMERA, content))
            for n, content in enumerate(RECORDING)
        ]
        self.sent += len(records)
        self.site.publish(*records, end_record(frames, CAMERA, first + len(records), session))
        self.site.wait_for_scores(self.sent)
        return [event for event in self.site.events() if event.data.session_id == session]

    def bank(self) -> Bank:
        bank = self.store.read(CAMERA)
        assert bank is not None
        return bank

    def say(self, *words: str) -> Result:
        return CliRunner(env=self.environment).invoke(app, ["feedback", *words])


@pytest.fixture
def premises(kafka_bootstrap: str, redis_url: str, fresh_name: Callable[[str], str]) -> Iterator[Premises]:
    prefix, keys = f"{fresh_name('p')}.", fresh_name("bank")[-60:]
    bus = KafkaBus(KafkaConnection(kafka_bootstrap), KafkaOptions(replication_factor=1))
    store = RedisStore.for_coordinator(RedisAddress(redis_url, keys))
    store.create(INITIAL.as_bank(CAMERA, next_epoch(), utc_now()), Change("create", "c0", "by hand", "create"))
    environment = {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "ENGRAM_KAFKA__TOPIC_PREFIX": prefix,
        "ENGRAM_STORE__URL": redis_url,
        "ENGRAM_STORE__KEY_PREFIX": keys,
        "COLUMNS": "250",
    }
    yield Premises(Site(bus, store, BUNDLE, TopicNames.with_prefix(prefix)), store, environment)
    bus.close()
    store.close()


@pytest.fixture
def coordinating(premises: Premises) -> Iterator[Coordinator]:
    topics, stop = premises.site.topics, threading.Event()
    options = CoordinatorOptions("c1", topics, group=f"{topics.frames}-coordinators", bank_id="{camera_id}")
    coordinator = Coordinator(premises.site.bus, premises.store, INITIAL, options)
    thread = threading.Thread(target=coordinator.run, args=(stop,))
    thread.start()
    yield coordinator
    stop.set()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_what_was_called_normal_alarms_no_more_until_it_is_undone(
    premises: Premises, coordinating: Coordinator
) -> None:
    options = replace(premises.site.options, bank_id="{camera_id}", updates=False)
    engine = engine_of(BUNDLE, device="cpu", threads=1)
    worker = Worker(premises.site.bus, engine, BankCache(premises.store, INITIAL, refresh_s=0.05), options, utc_now)
    untaught = premises.bank()
    with at_work(worker):
        event = premises.play("s1")[-1].data
        assert event.trace is not None and len(event.extents) == len(event.trace.values) > 0
        said = premises.say(event.event_id, "--normal", "--operator", "ann@desk2", "--reason", "the mail van")
        assert (said.exit_code, said.stdout) == (0, f"applied, bank {CAMERA} v1\n"), said.output
        taught = premises.bank()
        assert premises.play("s2") == []
        assert {score.bank_digest for score in premises.site.scores()[-10:]} == {taught.digest}
        undone = premises.say(event.event_id, "--undo", "-o", "json")
        outcome = VerdictOutcome.model_validate_json(undone.stdout)
        assert (undone.exit_code, outcome.outcome, outcome.bank_digest) == (0, "applied", untaught.digest)
        again = premises.play("s3")[-1].data
    assert [again.frames.first - 3000, again.peak.anomaly_score] == [
        event.frames.first - 1000,
        pytest.approx(event.peak.anomaly_score, abs=1e-6),
    ]
    entries = [(entry.change.action, entry.change.author) for entry in premises.store.log(CAMERA)]
    assert entries[1] == ("verdict", "ann@desk2")
    assert [action for action, _ in entries] == ["create", "verdict", "verdict"]

    listed = premises.say("--list", CAMERA, "-o", "json")
    assert (listed.exit_code, listed.stdout) == (0, "[]\n")
    twice = premises.say(event.event_id, "--undo")
    assert (twice.exit_code, "refused (nothing_said)" in twice.stdout) == (1, True)
    unknown = premises.say("a:s1:777777", "--normal")
    assert (unknown.exit_code, "there is no 'a:s1:777777'" in unknown.stderr) == (2, True)
    wait_for(lambda: [coordinating.snapshot().verdicts], lambda seen: seen[0] == {"applied": 2, "refused": 1})
