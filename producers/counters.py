"""What became of every frame of one camera. The numbers balance at any moment, whatever threads are at work."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """A snapshot: ``captured + recovered == sent + in_flight + spooled + sampled_out + sum(dropped.values())``.

    Attributes:
        captured: frames the source gave, those overwritten before they were read included.
        sent: acknowledged by the log, late ones included.
        in_flight: being worked on or handed to the publisher, outcome not known yet.
        sampled_out: passed over to keep to the chosen rate; no loss.
        dropped: lost, by cause: ``too_slow`` (overwritten in the source), ``unreadable`` (damaged in the source),
            ``too_large`` (does not fit, or the log refused its size), ``encode_failed``, ``buffer_full`` (the log is
            slow or away), ``broker_away`` (the log took nothing at that moment), ``publish_failed`` (taken, and not
            delivered in time), ``refused`` (by a log that will not have us), ``stale`` (waited for longer than
            ``max_staleness_s``), ``spool_full`` and ``spool_old`` (taken by the caps of the spool), ``spool_failed``
            (the disk did not take it, or gave it back damaged), ``stopped``, ``broken`` (a fault that ended the
            session).
        sent_bytes: JPEG bytes of the frames sent.
        open_bytes: JPEG bytes in memory, waiting or handed to the publisher, outcome not known yet.
        spooled: on disk and not acknowledged; they outlive the process.
        recovered: found on disk at the start, left there by an earlier run.
        late: those of ``sent`` that had been on disk.
    """

    captured: int
    sent: int
    in_flight: int
    sampled_out: int
    dropped: Mapping[str, int]
    sent_bytes: int
    open_bytes: int = 0
    spooled: int = 0
    recovered: int = 0
    late: int = 0

    @property
    def num_dropped(self) -> int:
        """Lost for whatever cause."""
        return sum(self.dropped.values())

    def __str__(self) -> str:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(self.dropped.items()))
        dropped = f"{self.num_dropped} dropped" + (f" ({causes})" if causes else "")
        in_flight = f"{self.in_flight} in flight" + (f" ({self.open_bytes} bytes)" if self.open_bytes else "")
        parts = [f"{self.captured} captured"]
        parts += [f"{self.recovered} found on disk"] if self.recovered else []
        parts += [f"{self.sent} sent" + (f" ({self.late} of them late)" if self.late else ""), in_flight]
        parts += [f"{self.spooled} on disk"] if self.spooled else []
        return ", ".join((*parts, f"{self.sampled_out} sampled out", dropped, f"{self.sent_bytes} bytes"))


class FrameLedger:
    """Keeps the counts. Each frame is taken in once and comes to exactly one end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = self._sent = self._in_flight = self._sampled_out = self._sent_bytes = 0
        self._open_bytes = self._spooled = self._recovered = self._late = 0
        self._dropped: Counter[str] = Counter()

    def take_in(self) -> None:
        """A frame came from the source."""
        with self._lock:
            self._captured += 1
            self._in_flight += 1

    def sample_out(self) -> None:
        """It is passed over on purpose."""
        with self._lock:
            self._in_flight -= 1
            self._sampled_out += 1

    def hand_over(self, num_bytes: int) -> None:
        """It goes to a lane or to the publisher, which may keep so many bytes of it for a while."""
        with self._lock:
            self._open_bytes += num_bytes

    def drop(self, cause: str, num_bytes: int = 0) -> int:
        """It is lost, ``num_bytes`` of it at the publisher; how many have been lost for this cause by now."""
        with self._lock:
            self._in_flight -= 1
            self._open_bytes -= num_bytes
            self._dropped[cause] += 1
            return self._dropped[cause]

    def send(self, num_bytes: int) -> None:
        """The log has it."""
        with self._lock:
            self._in_flight -= 1
            self._sent += 1
            self._sent_bytes += num_bytes
            self._open_bytes -= num_bytes

    def recover(self, num_frames: int) -> None:
        """So many were on disk before anything was captured."""
        with self._lock:
            self._recovered += num_frames
            self._spooled += num_frames

    def spool(self, num_bytes: int = 0) -> None:
        """It is on disk now, ``num_bytes`` of it at the publisher until then."""
        with self._lock:
            self._in_flight -= 1
            self._open_bytes -= num_bytes
            self._spooled += 1

    def send_late(self, num_bytes: int) -> None:
        """The log has one that was on disk."""
        with self._lock:
            self._spooled -= 1
            self._sent += 1
            self._late += 1
            self._sent_bytes += num_bytes

    def drop_spooled(self, cause: str, num_frames: int = 1) -> int:
        """So many that were on disk are lost; how many have been lost for this cause by now."""
        with self._lock:
            self._spooled -= num_frames
            self._dropped[cause] += num_frames
            return self._dropped[cause]

    def snapshot(self, num_overrun: int = 0, num_unreadable: int = 0) -> FrameCounts:
        """The counts now.

        Args:
            num_overrun: frames that were overwritten in the source and never came here.
            num_unreadable: frames that the source could not decode.
        """
        with self._lock:
            dropped = Counter(self._dropped)
            for cause, number in (("too_slow", num_overrun), ("unreadable", num_unreadable)):
                if number:
                    dropped[cause] += number
            return FrameCounts(
                captured=self._captured + num_overrun + num_unreadable,
                sent=self._sent,
                in_flight=self._in_flight,
                sampled_out=self._sampled_out,
                dropped=dict(dropped),
                sent_bytes=self._sent_bytes,
                open_bytes=self._open_bytes,
                spooled=self._spooled,
                recovered=self._recovered,
                late=self._late,
            )
