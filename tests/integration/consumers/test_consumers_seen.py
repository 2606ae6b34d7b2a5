"""What is seen of consumers agrees with what they did: couriers, an archive, a printer, on a log in memory."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pytest

from consumers.group import GroupReader
from consumers.sieve import EventSieve
from engram.cli.events import follow_group
from engram.observe.consumer import Follower, SeenConsumer, Tries, member
from engram.observe.desk import Desk
from engram.observe.observed import STUCK_S
from engram.observe.server import Request
from engram.run.archive import ArchiveRequest, run_archive
from engram.run.notify import follower
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from schemas.errors import TransientError
from tests.http_receiver import receiver
from tests.integration.consumers.test_courier import LETTERS, TOPIC, Post, tell, until
from tests.unit.consumers.notify.facts import rule
from tests.unit.consumers.samples import event

DEADLINE_S = 60.0


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 2), TopicSpec(LETTERS, 1)])
    yield made
    made.close()


def values(view: SeenConsumer) -> dict[tuple[str, ...], float]:
    samples = [sample for metric in view.metrics() for sample in metric.samples]
    return {(one.name.removeprefix("engram_consumer_"), *one.labels.values()): one.value for one in samples}


def test_a_courier_accounts_for_every_message(bus: InProcessBus) -> None:
    post = Post(bus)
    with receiver() as there, post.courier(there, rule(cameras=["cam1"])) as courier:
        view = SeenConsumer("notify", lambda: [follower("g", courier, post.readers["guard"])])
        until(lambda: not view.unready())
        tell(bus, event(5, 5), event(5, 5), event(7, 7, camera_id="yard"))
        bus.publisher().publish(OutRecord(TOPIC, "cam1", b"not json"))
        until(lambda: courier.counts.told == 1 and courier.counts.passed == 1)
        there.status = 422
        tell(bus, event(20, 20))
        until(lambda: courier.counts.given_up == 1)
        until(lambda: values(view)["messages_open", "g"] == 0)
        found = values(view)
    assert found["records_received_total", "g"] == 5
    skipped = {key[2]: value for key, value in found.items() if key[0] == "records_skipped_total" and value}
    assert skipped == {"repeated": 1, "foreign": 1}
    outcomes = {key[2]: value for key, value in found.items() if key[0] == "messages_total"}
    assert outcomes == {"told": 1, "withheld": 0, "summaries": 0, "passed": 1, "given_up": 1}
    assert (found["lag_records", "g"], found["partitions", "g"], found["waiting_seconds", "g"]) == (0, 2, 0)


def test_a_target_that_comes_back_was_waited_for(bus: InProcessBus) -> None:
    post = Post(bus)
    with receiver() as there, post.courier(there) as courier:
        view = SeenConsumer("notify", lambda: [follower("g", courier, post.readers["guard"])])
        there.status = 503
        tell(bus, event(5, 5))
        until(lambda: courier.counts.failed >= 2)
        found = values(view)
        assert found["waiting_seconds", "g"] > 0
        assert found["tries_failed_total", "g"] >= 2
        assert view.stuck() == () == view.unready(), "it does what it can"
        there.status = 204
        until(lambda: courier.counts.told == 1)
        assert values(view)["waiting_seconds", "g"] == 0


@contextmanager
def archived(bus: InProcessBus, file: Path) -> Iterator[Desk]:
    seconds = count(0.0, 1.0)
    desk, stop, errors = Desk("archive", lambda: next(seconds)), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            run_archive(bus, ArchiveRequest(TOPIC, file, None, False), stop, desk)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield desk
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert errors == []


def test_an_archive_whose_file_is_locked_at_the_start_is_waited_for(
    bus: InProcessBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.archive.LOCKED_S", 0.05)
    file = tmp_path / "events.db"
    tell(bus, event(5, 5))
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match="locked"):
            run_archive(bus, ArchiveRequest(TOPIC, file, None, True), threading.Event(), Desk("archive"))
        with archived(bus, file) as desk:
            until(lambda: b"the archive must open" in desk.answer(Request("/readyz")).body)
            other.execute("ROLLBACK")
            wanted = b'engram_consumer_messages_total{group="archive",outcome="archived"} 1.0'
            until(lambda: wanted in desk.answer(Request("/metrics")).body)


def test_an_archive_shows_what_it_took_and_that_its_file_is_locked(bus: InProcessBus, tmp_path: Path) -> None:
    with archived(bus, tmp_path / "events.db") as desk:
        until(lambda: desk.answer(Request("/readyz")).body == b"ok\n")
        tell(bus, event(5, 5), event(5, 10, "end", 1))
        wanted = b'engram_consumer_messages_total{group="archive",outcome="archived"} 2.0'
        until(lambda: wanted in desk.answer(Request("/metrics")).body)
        page = desk.answer(Request("/metrics")).body.decode()
        assert 'engram_consumer_lag_records{group="archive"} 0.0' in page
        assert "engram_consumer_partitions{" not in page
        with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            tell(bus, event(20, 20))
            until(lambda: b"archive: " in desk.answer(Request("/readyz")).body)
            other.execute("ROLLBACK")
        until(lambda: desk.answer(Request("/readyz")).body == b"ok\n")
        assert b'engram_consumer_tries_failed_total{group="archive"} 0.0' not in desk.answer(Request("/metrics")).body


def test_a_printer_shows_what_it_printed(bus: InProcessBus, capsys: pytest.CaptureFixture[str]) -> None:
    reader, stop, tries = GroupReader(bus.subscription([TOPIC], "siren"), EventSieve()), threading.Event(), Tries()
    view = SeenConsumer("events", lambda: [member("siren", reader, {"printed": tries.done}, tries.turned_at_s)])
    thread = threading.Thread(target=lambda: follow_group(reader, stop, "json", None, tries), daemon=True)
    tell(bus, event(5, 5), event(5, 10, "end", 1))
    thread.start()
    until(lambda: values(view)["messages_total", "siren", "printed"] == 2)
    until(lambda: values(view)["messages_open", "siren"] == 0)
    stop.set()
    thread.join(DEADLINE_S)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_member_without_partitions_is_not_ready_and_one_that_hangs_is_told() -> None:
    now_s = [0.0]
    alone = Follower("g", 0, {}, {}, 0.0, num_partitions=0)
    view = SeenConsumer("notify", lambda: [alone], lambda: now_s[0])
    assert view.unready()[0].startswith("g: no partition is assigned")
    assert view.stuck() == ()
    now_s[0] = STUCK_S + 1
    assert view.stuck() == ("g has not come round for 121 s",)
    status = view.status()["groups"]
    assert isinstance(status, dict)
    assert status["g"]["partitions"] == 0
