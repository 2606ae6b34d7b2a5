"""The operator's console over a real Kafka: events come in, a verdict goes out, a restart misses nothing."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from deploy.local.wait import wait_until
from engram.build.adapters import open_bus
from engram.cli.app import app
from engram.run.console import run_console
from messaging.ports import Bus, OutRecord
from schemas.codec import decode_message, encode_message
from schemas.messages import utc_now
from schemas.settings import ConsoleSettings, load_settings
from schemas.topics import TopicNames
from schemas.verdicts import OperatorVerdict, outcome_event
from tests.unit.console.worlds import csrf_of, jpeg, outcome, seen, status
from tests.unit.consumers.samples import score

DEADLINE_S = 120.0


@pytest.fixture
def settings(kafka_bootstrap: str, fresh_name: Callable[[str], str], tmp_path: Path) -> ConsoleSettings:
    prefix = f"{fresh_name('p')}."
    made = {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "ENGRAM_KAFKA__TOPIC_PREFIX": prefix}
    assert (
        CliRunner(env={**made, "ENGRAM_KAFKA__FRAMES_PARTITIONS": "2"}).invoke(app, ["topics", "create"]).exit_code == 0
    )
    overrides: dict[str, object] = {
        "kafka.bootstrap_servers": kafka_bootstrap,
        "kafka.topic_prefix": prefix,
        "console.listen": "127.0.0.1:0",
        "console.file": tmp_path / "console.db",
    }
    return load_settings(ConsoleSettings, None, overrides)


@contextmanager
def shown(settings: ConsoleSettings) -> Iterator[httpx.Client]:
    """A console at work, and somebody who has logged in."""
    addresses: list[str] = []
    told, stop = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def tell(address: str) -> None:
        addresses.append(address)
        told.set()

    def run() -> None:
        try:
            run_console(settings, False, stop, tell)
        except BaseException as error:
            errors.append(error)
            told.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert told.wait(DEADLINE_S)
        assert not errors, errors
        with httpx.Client(base_url=addresses[0].split("/login")[0], follow_redirects=True, timeout=60) as client:
            assert client.get(addresses[0]).status_code == 200
            yield client
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert not errors, errors


def publish(bus: Bus, topic: str, key: str, value: bytes) -> None:
    publisher = bus.publisher()
    publisher.publish(OutRecord(topic, key, value))
    assert publisher.flush(DEADLINE_S)


def found(client: httpx.Client, show: str = "unseen") -> int:
    return int(client.get("/api/v1/events", params={"show": show}).json()["num_found"])


def test_from_event_to_verdict_and_over_a_restart(settings: ConsoleSettings) -> None:
    topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
    first, second = seen(10, 20, picture=jpeg()), seen(100, 120)
    with open_bus(settings.kafka) as bus:
        publish(bus, topics.anomaly_events, "cam1", encode_message(first))
        publish(bus, topics.camera_status, "cam1", encode_message(status(reported_at=utc_now())))
        with shown(settings) as client:
            wait_until(lambda: found(client) == 1, DEADLINE_S)  # the event was there before the console
            wait_until(lambda: bool(client.get("/api/v1/cameras").json()), DEADLINE_S)  # and the camera's status
            # Scores are read from now on: some are sent until one is seen.
            wait_until(lambda: _scored(bus, topics, client), DEADLINE_S)  # a score
            event_id = first.data.event_id
            assert client.get(f"/events/{event_id}/picture.jpg").content == jpeg()
            mark = csrf_of(client.get("/").text)
            said = client.post(f"/events/{event_id}/verdicts", data={"judgement": "normal", "csrf": mark})
            assert said.status_code == 200, said.text
            verdict = _verdict(bus, topics)
            assert (verdict.event_id, verdict.judgement, verdict.operator) == (event_id, "normal", "operator")
            answer = encode_message(outcome_event(outcome(verdict, why="written")))
            publish(bus, topics.memory_events, verdict.bank_id, answer)
            page = f"/parts/events/{event_id}/said"
            wait_until(lambda: "Applied" in client.get(page).text, DEADLINE_S)  # what the verdict changed
            pipes = client.get("/api/v1/plumbing").json()
            assert [lag["name"] for lag in pipes["lags"]], pipes
            assert all(account["whole"] == sum(account["parts"].values()) for account in pipes["accounts"])
        publish(bus, topics.anomaly_events, "cam1", encode_message(second))
        with shown(settings) as client:
            assert found(client, "normal") == 1, "what was said stands before the log has answered"
            wait_until(lambda: found(client) == 1, DEADLINE_S)  # what came meanwhile
            assert re.search(r"2 events", client.get("/queue?show=all").text)


def _scored(bus: Bus, topics: TopicNames, client: httpx.Client) -> bool:
    publish(bus, topics.frame_scores, "cam1", encode_message(score(990)))
    return client.get("/api/v1/cameras").json()[0]["score"] is not None


def _verdict(bus: Bus, topics: TopicNames) -> OperatorVerdict:
    reader = bus.reader([topics.operator_verdicts], from_beginning=True)
    (record,) = reader.read_to_end(DEADLINE_S)
    reader.close()
    return decode_message(OperatorVerdict, record.value)
