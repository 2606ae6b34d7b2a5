"""Couriers over a log in memory and real HTTP servers: at least once, none blocked by another, nothing lost."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tenacity.wait import wait_fixed

from consumers.group import GroupReader
from consumers.letters import letter_of
from consumers.notify.courier import Courier, CourierCounts, DeadLetters, Orders
from consumers.notify.rules import Rule, WebhookTarget
from consumers.notify.webhook import Webhook
from consumers.sieve import EventSieve
from deploy.local.wait import wait_until
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent
from tests.http_receiver import Receiver, receiver
from tests.unit.consumers.notify.facts import rule
from tests.unit.consumers.samples import event

TOPIC, LETTERS = "events", "letters"
DEADLINE_S = 60.0


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 2), TopicSpec(LETTERS, 1)])
    yield made
    made.close()


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def tell(bus: InProcessBus, *messages: AnomalyEvent) -> None:
    for message in messages:
        bus.publisher().publish(OutRecord(TOPIC, message.partitionkey, encode_message(message)))


class Post:
    """Starts couriers and ends them. ``readers``: by the couriers' names."""

    def __init__(self, bus: InProcessBus) -> None:
        self._bus = bus
        self.readers: dict[str, GroupReader[AnomalyEvent]] = {}

    @contextmanager
    def courier(
        self, there: Receiver, *rules: Rule, name: str = "guard", give_up_after_s: float = 3600.0, **more: Any
    ) -> Iterator[Courier]:
        """At work until the end of the block, then told to stop."""
        target = Webhook(WebhookTarget.model_validate({"url": there.url, "timeout": "0.5s"}))
        letters = DeadLetters(self._bus.publisher(), LETTERS, "notify-test")
        orders = Orders(rules or (rule(),), ZoneInfo("UTC"))
        made = Courier(name, target, orders, give_up_after_s, letters, backoff=wait_fixed(0.02), **more)
        stop, errors = threading.Event(), list[BaseException]()
        self.readers[name] = reader = GroupReader(self._bus.subscription([TOPIC], f"notify-{name}"), EventSieve())

        def run() -> None:
            try:
                made.run(reader, stop)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            stop.set()
            thread.join(DEADLINE_S)
            target.close()
        assert not thread.is_alive()
        assert errors == []


@pytest.fixture
def post(bus: InProcessBus) -> Post:
    return Post(bus)


def ids(there: Receiver) -> list[str]:
    return [json.loads(request.body)["id"] for request in there.requests]


def until(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, DEADLINE_S)


START, UPDATE, END = event(5, 5), event(5, 15, "update", 1), event(5, 18, "end", 2)


def test_each_message_in_the_phases_is_told_once_and_in_order(bus: InProcessBus, post: Post, there: Receiver) -> None:
    with post.courier(there) as courier:
        tell(bus, START, START, UPDATE, END)
        until(lambda: courier.counts.told == 2)
    assert ids(there) == [START.id, END.id]
    assert courier.counts == CourierCounts(told=2, passed=1)
    with post.courier(there) as courier:
        tell(bus, event(20, 20))
        until(lambda: courier.counts.told == 1)
    assert ids(there)[2:] == [event(20, 20).id], "what was told before the restart does not come again"


def test_a_target_that_fails_is_told_when_it_is_well(bus: InProcessBus, post: Post, there: Receiver) -> None:
    there.status = 500
    with post.courier(there) as courier:
        tell(bus, START, END)
        there.wait_for(5)
        assert courier.counts.told == 0
        there.status = 200
        until(lambda: courier.counts.told == 2)
    assert set(ids(there)) == {START.id, END.id}
    assert len({request.headers["webhook-id"] for request in there.requests}) == 2, "tries share their id"


def test_one_that_hangs_holds_up_nobody_and_misses_nothing(bus: InProcessBus, post: Post, there: Receiver) -> None:
    messages = [event(number, number) for number in range(200)]
    with receiver() as hanging:
        hanging.mode = "hang"
        with post.courier(hanging, name="slow") as slow:
            with post.courier(there) as courier:
                tell(bus, *messages)
                until(lambda: courier.counts.told == 200)
            hanging.wait_for(1)
            assert slow.counts.told == 0
        hanging.mode = "answer"
        with post.courier(hanging, name="slow") as slow:
            until(lambda: slow.counts.told == 200)
        assert set(ids(hanging)) == {message.id for message in messages}


def test_what_is_never_taken_becomes_a_dead_letter(bus: InProcessBus, post: Post, there: Receiver) -> None:
    there.status = 422
    with post.courier(there) as courier:
        tell(bus, START)
        until(lambda: courier.counts.given_up == 1)
        there.status = 200
        tell(bus, END)
        there.wait_for(2)
    (record,) = bus.reader([LETTERS], from_beginning=True).read_to_end(1.0)
    letter = letter_of(record)
    assert (letter.reason, letter.author, letter.key) == ("notify_refused", "notify-test", "cam1")
    assert letter.message.startswith("target 'guard': http://127.0.0.1 answered 422")
    assert letter.source == f"{TOPIC}/{record.header('engram-source').decode().split('/')[1]}/0"  # type: ignore[union-attr]
    assert AnomalyEvent.model_validate_json(letter.value) == START


def test_patience_ends_and_the_next_is_tried(bus: InProcessBus, post: Post, there: Receiver) -> None:
    there.status = 503
    with post.courier(there, give_up_after_s=0.3) as courier:
        tell(bus, START, END)
        until(lambda: courier.counts.given_up == 2)
        there.status = 200
        tell(bus, event(20, 20))
        until(lambda: courier.counts.told == 1)
    letters = [letter_of(record) for record in bus.reader([LETTERS], from_beginning=True).read_to_end(1.0)]
    assert [letter.reason for letter in letters] == ["notify_failed"] * 2
    assert set(ids(there)) == {START.id, END.id, event(20, 20).id}, "each was tried"


def test_stopping_while_a_target_fails_leaves_the_message(bus: InProcessBus, post: Post, there: Receiver) -> None:
    there.status = 500
    with post.courier(there):
        tell(bus, START)
        there.wait_for(2)
    there.status = 200
    with post.courier(there) as courier:
        until(lambda: courier.counts.told == 1)
    assert bus.reader([LETTERS], from_beginning=True).read_to_end(1.0) == []


def test_a_quiet_time_is_told_as_one(bus: InProcessBus, post: Post, there: Receiver) -> None:
    now_s = [time.monotonic()]
    with post.courier(there, rule(quiet="10m"), clock=lambda: now_s[0]) as courier:
        tell(bus, *(event(number, number) for number in range(0, 50, 10)))
        until(lambda: courier.counts.withheld == 4)
        assert len(there.requests) == 1
        now_s[0] += 600
        there.wait_for(2)
        tell(bus, event(0, 5, "end", 1), event(40, 45, "end", 1))
        there.wait_for(4)
    summary = json.loads(there.requests[1].body)
    assert summary["type"] == "dev.engram.notification.summary.v1"
    assert (summary["data"]["num_events"], summary["data"]["num_open"]) == (4, 4)
    assert ids(there)[2:] == [event(0, 5, "end", 1).id, event(40, 45, "end", 1).id], "what was told also ends"


def test_at_the_end_what_was_withheld_is_told_and_does_not_come_again(
    bus: InProcessBus, post: Post, there: Receiver
) -> None:
    with post.courier(there, rule(quiet="10m")) as courier:
        tell(bus, START, event(20, 20))
        until(lambda: courier.counts.withheld == 1)
    assert len(there.requests) == 2
    with post.courier(there, rule(quiet="10m")) as courier:
        tell(bus, event(40, 40))
        until(lambda: courier.counts.told == 1)
    assert len(there.requests) == 3


def test_what_was_withheld_comes_again_if_its_summary_was_not_taken(
    bus: InProcessBus, post: Post, there: Receiver
) -> None:
    with post.courier(there, rule(quiet="10m")) as courier:
        tell(bus, START, event(20, 20))
        until(lambda: courier.counts.withheld == 1)
        there.status = 500
    there.status = 200
    with post.courier(there) as courier:
        until(lambda: courier.counts.told == 1)
    assert ids(there)[-1] == event(20, 20).id


def test_new_orders_hold_from_the_next_message_on(bus: InProcessBus, post: Post, there: Receiver) -> None:
    with post.courier(there, rule(cameras=["nowhere"])) as courier:
        tell(bus, START)
        until(lambda: courier.counts.passed == 1)
        courier.orders = Orders((rule(),), ZoneInfo("UTC"))
        tell(bus, END)
        until(lambda: courier.counts.told == 1)
    assert ids(there) == [END.id]
