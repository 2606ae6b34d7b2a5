"""What becomes of the frames of one camera, told to its counts, to the watch over the log, and to people."""

import logging
from collections.abc import Callable

from producers.counters import FrameLedger
from producers.outlet import Outlet
from schemas.errors import BadMessageError, FatalError
from schemas.messages import FrameHeader

logger = logging.getLogger(__name__)

_TOLD_BY_THE_WATCH = ("broker_away", "buffer_full", "refused")
"""While the log is known to be away, it is known why frames are dropped."""
_NO_GAP = ("twin",)
"""Frames of a producer that stands back are sent by another."""


class CameraAccount:
    """Where every loss and every delivery of one camera is written down. From any thread.

    Attributes:
        ledger: its counts.
        refusal: what ends the session: the log will not have us, and never took a frame.
    """

    def __init__(self, camera_id: str, outlet: Outlet, on_too_large: Callable[[int, str], None]) -> None:
        """Begin with nothing.

        Args:
            camera_id: whose.
            outlet: its watch and its book of gaps are told of losses.
            on_too_large: told of the bytes of a JPEG that the log does not take, and why.
        """
        self.camera_id = camera_id
        self.ledger = FrameLedger()
        self.refusal: FatalError | None = None
        self._log = outlet.log
        self._gaps = outlet.gaps
        self._on_too_large = on_too_large
        self._has_sent = False

    def may_pass(self, error: Exception) -> bool:
        """Whether a refusal is no mistake in the settings, but something that an operator does and undoes."""
        return isinstance(error, FatalError) and self._has_sent

    def answer(self, header: FrameHeader, num_bytes: int, error: Exception | None) -> None:
        """The log has a frame that was handed over; or, with ``error``, not, and it is lost."""
        if error is None:
            self._has_sent = True
            self.ledger.send(num_bytes)
        elif isinstance(error, BadMessageError):
            self.drop(header, error.reason, error, num_bytes)
            self.adapt(error, num_bytes)
        elif isinstance(error, FatalError):
            self.refuse(error)
            self.drop(header, "refused", error, num_bytes)
        else:
            self.drop(header, "publish_failed", error, num_bytes)

    def answer_late(self, header: FrameHeader, num_bytes: int, error: BadMessageError | None) -> None:
        """As ``answer``, for a frame that is on disk: any other error leaves it there."""
        if error is None:
            self._has_sent = True
            self.ledger.send_late(num_bytes)
        else:
            self.drop_spooled(header, error.reason, str(error))
            self.adapt(error, num_bytes)

    def refuse(self, error: FatalError) -> None:
        """The log will not have us."""
        if not self.may_pass(error):
            self.refusal = error

    def adapt(self, error: BadMessageError, num_bytes: int) -> None:
        """Where it was the size that the log did not take, the next ones are to be smaller."""
        if error.reason == "too_large":
            self._on_too_large(num_bytes, str(error))

    def drop(self, header: FrameHeader, cause: str, error: Exception, num_bytes: int = 0) -> None:
        """A frame is lost, ``num_bytes`` of it at the publisher."""
        self._tell_loss(header, cause, self.ledger.drop(cause, num_bytes), str(error))

    def drop_spooled(self, header: FrameHeader, cause: str, reason: str) -> None:
        """A frame that was on disk is lost."""
        self._tell_loss(header, cause, self.ledger.drop_spooled(cause), reason)

    def give_up_spooled(self) -> None:
        """Nothing is on disk any more; what was counted there and never came back was damaged beyond its name."""
        num_frames = self.ledger.snapshot().spooled
        if num_frames:
            count = self.ledger.drop_spooled("spool_failed", num_frames)
            logger.warning("camera %s: %d frames dropped as spool_failed: unreadable on disk", self.camera_id, count)

    def spool(self, num_bytes: int = 0) -> None:
        """A frame is on disk now, ``num_bytes`` of it at the publisher until then."""
        self.ledger.spool(num_bytes)
        self._log.keep()

    def _tell_loss(self, header: FrameHeader, cause: str, count: int, reason: str) -> None:
        self._log.drop()
        if cause not in _NO_GAP:
            self._gaps.add(header, cause)
        if self._log.is_away and cause in _TOLD_BY_THE_WATCH:
            return
        # The 1st, 2nd, 4th, 8th ...: a broker that is away must not fill the disk with log lines.
        if count & (count - 1) == 0:
            logger.warning("camera %s: %d frames dropped as %s: %s", self.camera_id, count, cause, reason)
