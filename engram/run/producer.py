"""What ``engram produce`` does: cameras to Kafka until they end or are told to."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import cv2

from bundles.manifest import Manifest
from engram.build.adapters import open_bus
from engram.build.cameras import camera_plans
from engram.build.edge import open_spool, producer_options
from engram.observe.desk import open_desk
from engram.observe.producer import SeenProducer
from engram.observe.tracing import open_tracing
from engram.run.awaited import AwaitedPublisher
from engram.run.process import connected
from engram.run.reload import Reload, reloading
from engram.run.roster import Roster
from messaging.ports import Publisher
from messaging.tracing import traced
from producers.producer import Producer
from schemas.errors import FatalError
from schemas.settings import Loaded, ProducerSettings
from schemas.settings.detection import host_and_pid
from schemas.topics import TopicNames

log = logging.getLogger(__name__)

CLOSE_S = 0.5
"""The time to deliver is over by then."""
LOOK_S = 0.2


def run_producer(
    loaded: Loaded[ProducerSettings],
    sources: Sequence[str],
    names: Sequence[str],
    stop: threading.Event,
    reload: Reload[ProducerSettings] | None = None,
    bundle: Manifest | None = None,
) -> None:
    """Send until all sources end or ``stop`` is set, then drain.

    With a spool the cameras are watched whether the broker is there or not; without one it is waited for first.

    Args:
        loaded: settings and where they come from.
        sources: addresses; none = the cameras of the settings.
        names: of the cameras, see ``camera_plans``.
        stop: asks for the end.
        reload: how the settings are read again; None = they are not.
        bundle: what the frames are for; what does not fit is told.

    Raises:
        SettingsError: wrong names or addresses, or a spool that cannot be used.
        FatalError: a source cannot be read, or not all could be delivered.
    """
    settings = loaded.settings
    roster = Roster(camera_plans(loaded, sources, names), bundle=bundle)
    feeds = roster.first_feeds()
    # Each camera has a thread of its own, and no picture is so large that handing out parts of it would pay.
    cv2.setNumThreads(1)
    with ExitStack() as opened:
        change = reloading(settings, reload, lambda anew: roster.change(camera_plans(anew, sources, names)))
        opened.enter_context(change)
        desk = opened.enter_context(open_desk(settings.http, "produce"))
        desk.wait_for("the log must answer")
        if (spool := open_spool(settings.producer)) is not None:
            opened.callback(spool.close)
        tracer = opened.enter_context(open_tracing(settings.tracing, "engram-produce", host_and_pid()))
        kafka_bus = opened.enter_context(open_bus(settings.kafka, settings.producer.buffer_bytes))
        topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
        bus = traced(kafka_bus, tracer, topics.frames)
        failures: list[FatalError] = []

        def give_up(error: FatalError) -> None:
            failures.append(error)
            stop.set()

        publisher = connected(bus.publisher, stop) if spool is None else AwaitedPublisher(bus.publisher, give_up)
        if publisher is None:
            return
        options = producer_options(settings)
        statuses = partial(bus.reader, [topics.camera_status], True)
        producer = Producer(
            feeds,
            publisher,
            options,
            spool=spool,
            open_statuses=statuses,
            is_complete=lambda: roster.is_complete,
        )
        desk.show(SeenProducer(producer))
        try:
            _send(producer, roster, publisher, stop)
        finally:
            if failures:
                raise failures[0]  # why all the rest went wrong


def _send(producer: Producer, roster: Roster, publisher: Publisher, stop: threading.Event) -> None:
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(producer, roster, stop, done), name="roster", daemon=True)
    try:
        producer.start()
        keeper.start()
        producer.finish()
    finally:
        done.set()
        if keeper.is_alive():
            keeper.join()
        _settle(publisher, producer)


def _settle(publisher: Publisher, producer: Producer) -> None:
    """What is still open gets its answer, so that the last line of the log accounts for every frame."""
    num_open = _num_open(producer)
    publisher.close(CLOSE_S)
    if num_open:
        log.warning("given up with %d frames undelivered: %s", num_open, producer.summary())


def _num_open(producer: Producer) -> int:
    return sum(one.counts.in_flight for one in producer.snapshot().values())


def _keep(producer: Producer, roster: Roster, stop: threading.Event, done: threading.Event) -> None:
    """Pass a signal on, and keep the cameras to the settings; ends soon after ``done`` is set."""
    while not done.is_set():
        if stop.wait(LOOK_S):
            producer.request_stop()
            return
        roster.keep(producer)
