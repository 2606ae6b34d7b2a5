"""A worker's start: what it looks at before it joins its group."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from bundles.bundle import save_bundle
from engram.build import bundles
from engram.build.topics import topic_specs
from engram.run import fleet
from memory_store.stores.sqlite import SqliteStore
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Subscription
from schemas.errors import FatalError, TransientError
from schemas.settings import WorkerSettings
from tests.small_bundle import small_bundle


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    save_bundle(tmp_path / "bundle", small_bundle())
    return WorkerSettings.model_validate(
        {
            "store": {"url": f"sqlite:///{tmp_path / 'banks.db'}"},
            "worker": {"bundle": str(tmp_path / "bundle"), "device": "cpu"},
        }
    )


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> InProcessBus:
    made = InProcessBus()
    monkeypatch.setattr(fleet, "open_bus", lambda _: made)
    monkeypatch.setattr(InProcessBus, "__enter__", lambda self: self, raising=False)
    monkeypatch.setattr(InProcessBus, "__exit__", lambda *_: None, raising=False)
    return made


def test_a_worker_told_to_stop_while_loading_does_not_join_the_group(
    settings: WorkerSettings, bus: InProcessBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, load = threading.Event(), bundles.load_engine

    def load_slowly(section: object) -> object:
        stop.set()
        return load(section)  # type: ignore[arg-type]

    monkeypatch.setattr(bundles, "load_engine", load_slowly)
    fleet.run_worker(settings, stop)  # without topics, subscribing would be an error
    assert not bus._shared.groups


@pytest.mark.usefixtures("bus")
def test_a_store_that_refuses_us_ends_the_start(settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FatalError("the password is wrong")

    monkeypatch.setattr(SqliteStore, "read", refuse)
    with pytest.raises(FatalError, match="the password is wrong"):
        fleet.run_worker(settings, threading.Event())


def test_a_store_that_is_away_is_told_and_no_end(caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        def read(self, bank_id: str) -> None:
            raise TransientError(f"nobody is there for {bank_id}")

    fleet._meet_store(Away(), "shared")  # type: ignore[arg-type]
    assert "the store is away" in caplog.text


def test_a_broker_that_goes_away_before_the_group_is_joined_is_waited_for(
    settings: WorkerSettings, bus: InProcessBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bus.create_topics(topic_specs(settings.kafka, 1 << 20))
    stop, join, asked = threading.Event(), bus.subscription, list[str]()

    def joined_late(topics: Sequence[str], group: str, state_topic: str) -> Subscription:
        asked.append(group)
        if len(asked) == 1:
            raise TransientError("the broker is away again")
        stop.set()
        return join(topics, group, state_topic)

    monkeypatch.setattr(bus, "subscription", joined_late)
    fleet.run_worker(settings, stop)
    assert len(asked) == 2
    assert "the broker is away again" in caplog.text
