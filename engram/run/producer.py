"""What ``engram produce`` does: cameras to Kafka until they end or are told to."""

import logging
import threading
from collections.abc import Sequence

from engram.build.adapters import open_bus
from engram.build.cameras import camera_plans
from engram.run.process import connected
from engram.run.reload import Reload, reloading
from engram.run.roster import Roster
from messaging.ports import Publisher
from producers.producer import Producer, ProducerOptions
from schemas.settings import Loaded, ProducerSettings
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
) -> None:
    """Send until all sources end or ``stop`` is set, then drain.

    Args:
        loaded: settings and where they come from.
        sources: addresses; none = the cameras of the settings.
        names: of the cameras, see ``camera_plans``.
        stop: asks for the end.
        reload: how the settings are read again; None = they are not.

    Raises:
        SettingsError: wrong names or addresses.
        FatalError: a source cannot be read, or not all could be delivered.
    """
    settings = loaded.settings
    roster = Roster(camera_plans(loaded, sources, names))
    feeds = roster.first_feeds()
    topic = TopicNames.with_prefix(settings.kafka.topic_prefix).frames
    with (
        reloading(settings, reload, lambda anew: roster.change(camera_plans(anew, sources, names))),
        open_bus(settings.kafka, settings.producer.buffer_bytes) as bus,
    ):
        publisher = connected(bus.publisher, stop)
        if publisher is None:
            return
        producer = Producer(feeds, publisher, ProducerOptions(topic), is_complete=lambda: roster.is_complete)
        done = threading.Event()
        keeper = threading.Thread(target=_keep, args=(producer, roster, stop, done), name="roster", daemon=True)
        try:
            producer.start()
            keeper.start()
            producer.finish()
        finally:
            done.set()
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
