"""A producer as it is seen: what became of every frame of each camera, and whether the log takes frames."""

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import Metric

from engram.observe.families import Family
from engram.observe.observed import stuck_for
from producers.producer import FeedSnapshot, Producer

CAMERA = ("camera",)
CAPTURED = Family("counter", "engram_producer_frames_captured_total", "frames that the source gave", CAMERA)
SENT = Family("counter", "engram_producer_frames_sent_total", "frames that the log has", CAMERA)
SAMPLED_OUT = Family(
    "counter", "engram_producer_frames_sampled_out_total", "frames passed over to keep to the chosen rate", CAMERA
)
DROPPED = Family("counter", "engram_producer_frames_dropped_total", "frames lost, by cause", ("camera", "cause"))
IN_FLIGHT = Family("gauge", "engram_producer_frames_in_flight", "frames whose outcome is not known yet", CAMERA)
SENT_BYTES = Family("counter", "engram_producer_sent_bytes_total", "JPEG bytes of the frames sent", CAMERA)
OPEN_BYTES = Family("gauge", "engram_producer_open_bytes", "JPEG bytes handed over and not confirmed", CAMERA)
UP = Family("gauge", "engram_producer_camera_up", "1 while frames come from the source", CAMERA)
LOG_UP = Family("gauge", "engram_producer_log_up", "1 while the log takes frames, as far as is known")
CAUSES = (
    *("too_slow", "unreadable", "too_large", "encode_failed", "buffer_full", "broker_away", "publish_failed"),
    *("refused", "stopped", "broken"),
)
"""Shown with 0 before they happen: a series that begins at 1 has not grown, as Prometheus sees it."""
FAMILIES = (CAPTURED, SENT, SAMPLED_OUT, DROPPED, IN_FLIGHT, SENT_BYTES, OPEN_BYTES, UP, LOG_UP)
"""captured = sent + in flight + sampled out + dropped, at any moment."""


class SeenProducer:
    """See ``observed.Observed``."""

    name = "producer"

    def __init__(self, producer: Producer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._producer = producer
        self._monotonic = monotonic

    def metrics(self) -> Iterator[Metric]:
        """See ``Observed``."""
        feeds = self._producer.snapshot()
        counts = {name: feed.counts for name, feed in feeds.items()}
        yield CAPTURED.each({name: each.captured for name, each in counts.items()})
        yield SENT.each({name: each.sent for name, each in counts.items()})
        yield SAMPLED_OUT.each({name: each.sampled_out for name, each in counts.items()})
        yield DROPPED.each(
            {
                (name, cause): number
                for name, each in counts.items()
                for cause, number in (dict.fromkeys(CAUSES, 0) | dict(each.dropped)).items()
            }
        )
        yield IN_FLIGHT.each({name: each.in_flight for name, each in counts.items()})
        yield SENT_BYTES.each({name: each.sent_bytes for name, each in counts.items()})
        yield OPEN_BYTES.each({name: each.open_bytes for name, each in counts.items()})
        yield UP.each({name: feed.status.state == "online" for name, feed in feeds.items()})
        yield LOG_UP.one(not self._producer.is_log_away)

    def status(self) -> Mapping[str, object]:
        """See ``Observed``."""
        feeds = self._producer.snapshot()
        return {
            "log": "away" if self._producer.is_log_away else "ok",
            "cameras": {name: _told(feed) for name, feed in feeds.items()},
        }

    def stuck(self) -> tuple[str, ...]:
        """See ``Observed``."""
        return stuck_for("the producer's watch over its log", self._producer.turned_at_s, self._monotonic())

    def unready(self) -> tuple[str, ...]:
        """See ``Observed``. A camera that is away keeps no one else's from being sent, so it does not count."""
        return ("the log takes no frames",) if self._producer.is_log_away else ()

    def totals(self) -> Mapping[str, int]:
        """See ``Observed``."""
        feeds = self._producer.snapshot()
        return {
            f"{name}.{what}": number
            for name, feed in feeds.items()
            for what, number in (
                ("captured", feed.counts.captured),
                ("sent", feed.counts.sent),
                ("dropped", feed.counts.num_dropped),
            )
        }


def _told(feed: FeedSnapshot) -> dict[str, object]:
    counts = feed.counts
    return {
        "state": feed.status.state,
        "reason": feed.status.reason,
        "session": feed.session_id,
        "captured": counts.captured,
        "sent": counts.sent,
        "in_flight": counts.in_flight,
        "sampled_out": counts.sampled_out,
        "dropped": dict(counts.dropped),
        "sent_bytes": counts.sent_bytes,
        "error": feed.error,
    }
