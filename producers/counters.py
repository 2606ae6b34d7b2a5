"""What became of every frame of one camera. The numbers balance at any moment, whatever threads are at work."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """A snapshot: ``captured == sent + in_flight + sampled_out + sum(dropped.values())``.

    Attributes:
        captured: frames the source gave, those overwritten before they were read included.
        sent: acknowledged by the log.
        in_flight: being worked on or handed to the publisher, outcome not known yet.
        sampled_out: passed over to keep to the chosen rate; no loss.
        dropped: lost, by cause: ``too_slow`` (overwritten in the source), ``buffer_full``, ``too_large``,
            ``encode_failed``, ``publish_failed``, ``stopped``, ``broken`` (a fault that ended the session).
        sent_bytes: JPEG bytes of the frames sent.
    """

    captured: int
    sent: int
    in_flight: int
    sampled_out: int
    dropped: Mapping[str, int]
    sent_bytes: int

    @property
    def num_dropped(self) -> int:
        """Lost for whatever cause."""
        return sum(self.dropped.values())

    def __str__(self) -> str:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(self.dropped.items()))
        dropped = f"{self.num_dropped} dropped" + (f" ({causes})" if causes else "")
        parts = (f"{self.captured} captured", f"{self.sent} sent", f"{self.in_flight} in flight")
        return ", ".join((*parts, f"{self.sampled_out} sampled out", dropped, f"{self.sent_bytes} bytes"))


class FrameLedger:
    """Keeps the counts. Each frame is taken in once and comes to exactly one end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = self._sent = self._in_flight = self._sampled_out = self._sent_bytes = 0
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

    def drop(self, cause: str) -> int:
        """It is lost; how many have been lost for this cause by now."""
        with self._lock:
            self._in_flight -= 1
            self._dropped[cause] += 1
            return self._dropped[cause]

    def send(self, num_bytes: int) -> None:
        """The log has it."""
        with self._lock:
            self._in_flight -= 1
            self._sent += 1
            self._sent_bytes += num_bytes

    def snapshot(self, num_overrun: int = 0) -> FrameCounts:
        """The counts now; ``num_overrun`` frames were overwritten in the source and never came here."""
        with self._lock:
            dropped = Counter(self._dropped)
            if num_overrun:
                dropped["too_slow"] += num_overrun
            captured = self._captured + num_overrun
            return FrameCounts(
                captured, self._sent, self._in_flight, self._sampled_out, dict(dropped), self._sent_bytes
            )
