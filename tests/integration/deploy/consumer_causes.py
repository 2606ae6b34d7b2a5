"""What brings the alerts about consumers about; as ``alert_causes``."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from engram.observe.consumer import SeenConsumer
from engram.run.notify import follower
from messaging.inprocess.bus import InProcessBus
from messaging.ports import TopicSpec
from tests.http_receiver import Receiver, receiver
from tests.integration.consumers.test_courier import LETTERS, TOPIC, Post, tell
from tests.integration.deploy.alert_causes import Scene, until
from tests.unit.consumers.samples import event

MANY = 1200


class _Notifier:
    """A courier at work, with a target to be harmed and a clock to be moved."""

    def __init__(self, bus: InProcessBus, post: Post, there: Receiver) -> None:
        self.bus, self.there = bus, there
        self.late_s = 0.0
        self._post = post

    def clock(self) -> float:
        return time.monotonic() + self.late_s

    @contextmanager
    def shown(self, scene: Scene) -> Iterator[None]:
        with self._post.courier(self.there, clock=self.clock) as courier:
            self.courier = courier
            reader = self._post.readers["guard"]
            view = SeenConsumer("notify", lambda: [follower("notify-guard", courier, reader)], self.clock)
            until(lambda: not view.unready())
            scene.shows("notify", view)
            yield


@contextmanager
def _notifier(scene: Scene) -> Iterator[_Notifier]:
    bus = InProcessBus()
    bus.create_topics([TopicSpec(TOPIC, 2), TopicSpec(LETTERS, 1)])
    with receiver() as there:
        made = _Notifier(bus, Post(bus), there)
        with made.shown(scene):
            yield made
    bus.close()


def a_target_that_takes_nothing(scene: Scene) -> Iterator[None]:
    with _notifier(scene) as made:
        yield
        tell(made.bus, event(5, 5))
        until(lambda: made.courier.counts.told == 1)
        yield
        made.there.status = 503
        tell(made.bus, event(5, 10, "end", 1))
        until(lambda: made.courier.failing_s() > 0)
        made.late_s = 400.0
        failed = made.courier.counts.failed
        until(lambda: made.courier.counts.failed > failed + 1)
        yield


def a_target_that_refuses(scene: Scene) -> Iterator[None]:
    with _notifier(scene) as made:
        yield
        tell(made.bus, event(5, 5))
        until(lambda: made.courier.counts.told == 1)
        yield
        made.there.status = 422
        tell(made.bus, event(5, 10, "end", 1))
        until(lambda: made.courier.counts.given_up == 1)
        yield


def a_target_that_is_too_slow(scene: Scene) -> Iterator[None]:
    with _notifier(scene) as made:
        yield
        yield
        made.there.mode = "hang"
        tell(made.bus, *[event(5, 5)] * MANY)
        until(lambda: made.courier.counts.failed)
        yield
