"""What ``engram produce`` does: feeds to Kafka until they end or are told to."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from engram.build.adapters import open_bus
from engram.build.cameras import camera_feeds, camera_names
from engram.build.edge import open_spool, producer_options
from engram.observe.desk import open_desk
from engram.observe.producer import SeenProducer
from engram.run.awaited import AwaitedPublisher
from engram.run.process import connected
from messaging.ports import Publisher
from producers.naming import default_camera_names
from producers.producer import Producer
from schemas.errors import FatalError
from schemas.settings import ProducerSettings
from schemas.topics import TopicNames

log = logging.getLogger(__name__)

CLOSE_S = 0.5
"""The time to deliver is over by then."""


def run_producer(
    settings: ProducerSettings, sources: Sequence[str], names: Sequence[str], stop: threading.Event
) -> None:
    """Send until all sources end or ``stop`` is set, then drain.

    With a spool the cameras are watched whether the broker is there or not; without one it is waited for first.

    Raises:
        SettingsError: wrong names or addresses, or a spool that cannot be used.
        FatalError: a source cannot be read, or not all could be delivered.
    """
    feeds = camera_feeds(
        sources, camera_names(len(sources), names, default_camera_names(len(sources))), settings.producer
    )
    with ExitStack() as opened:
        desk = opened.enter_context(open_desk(settings.http, "produce"))
        desk.wait_for("the log must answer")
        if (spool := open_spool(settings.producer)) is not None:
            opened.callback(spool.close)
        bus = opened.enter_context(open_bus(settings.kafka, settings.producer.buffer_bytes))
        failures: list[FatalError] = []

        def give_up(error: FatalError) -> None:
            failures.append(error)
            stop.set()

        publisher = connected(bus.publisher, stop) if spool is None else AwaitedPublisher(bus.publisher, give_up)
        if publisher is None:
            return
        options = producer_options(settings)
        statuses = partial(bus.reader, [TopicNames.with_prefix(settings.kafka.topic_prefix).camera_status], True)
        producer = Producer(feeds, publisher, options, spool=spool, open_statuses=statuses)
        desk.show(SeenProducer(producer))
        try:
            _send(producer, publisher, stop)
        finally:
            if failures:
                raise failures[0]  # why all the rest went wrong


def _send(producer: Producer, publisher: Publisher, stop: threading.Event) -> None:
    done = threading.Event()
    watcher = threading.Thread(target=_pass_on, args=(producer, stop, done), name="stop", daemon=True)
    watcher.start()
    try:
        producer.run()
    finally:
        done.set()
        watcher.join()
        _settle(publisher, producer)


def _settle(publisher: Publisher, producer: Producer) -> None:
    """What is still open gets its answer, so that the last line of the log accounts for every frame."""
    num_open = _num_open(producer)
    publisher.close(CLOSE_S)
    if num_open:
        log.warning("given up with %d frames undelivered: %s", num_open, producer.summary())


def _num_open(producer: Producer) -> int:
    return sum(one.counts.in_flight for one in producer.snapshot().values())


def _pass_on(producer: Producer, stop: threading.Event, done: threading.Event) -> None:
    """Pass a signal on; ends soon after ``done`` is set."""
    while not done.is_set():
        if stop.wait(0.2):
            producer.request_stop()
            return
