"""The lanes of a process, the one thread that empties them, and the spool behind them."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from producers.account import CameraAccount
from producers.lanes import DropPolicy, Lane, MemoryLane
from producers.outlet import Outlet
from producers.spool.spool import Spool
from producers.spooled_lane import CatchUpOptions, SpooledLane

logger = logging.getLogger(__name__)

_TIDY_S = 2.0
"""So often the spool is looked after: what a power cut may cost."""
_AFTER_FAILURE_S = 1.0


class Forwarder:
    """Pumps lanes in turn, so that none starves another. ``start`` once, ``stop`` once."""

    def __init__(self, outlet: Outlet, spool: Spool | None, catch_up: CatchUpOptions) -> None:
        """``spool`` and ``catch_up`` say how frames are kept that the log does not take, if they are."""
        self._outlet = outlet
        self._spool = spool
        self._catch_up = catch_up
        self._lanes: list[Lane] = []
        self._left: list[CameraAccount] = []
        self._over = threading.Event()
        self._after: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)
        self._tidy_at_s = 0.0
        self._num_failures = 0

    @property
    def left(self) -> Sequence[CameraAccount]:
        """Of cameras of whom frames were kept, and that this process has not."""
        return self._left

    def spooled_lane(self, account: CameraAccount) -> Lane | None:
        """A lane that keeps on disk what the log does not take; None without a spool."""
        if self._spool is None:
            return None
        return self._added(SpooledLane(self._outlet, account, self._spool, self._catch_up))

    def memory_lane(self, account: CameraAccount, max_bytes: int, max_staleness_s: float | None) -> Lane:
        """See ``MemoryLane``."""
        return self._added(MemoryLane(self._outlet, account, max_bytes, max_staleness_s))

    def take_over(self, own: Sequence[str]) -> None:
        """Send what an earlier run has kept of cameras that are not among ``own``."""
        for camera_id in self._spool.cameras if self._spool is not None else ():
            if camera_id not in own:
                account = CameraAccount(camera_id, self._outlet, lambda _bytes, _reason: None)
                self._left.append(account)
                self.spooled_lane(account)

    def start(self, after: Callable[[], object] = lambda: None) -> None:
        """Begin, in a thread of its own, ``after`` something that takes a while."""
        self._after = after
        self._thread.start()

    def wait_empty(self, timeout_s: float, gives_up: Callable[[], bool]) -> bool:
        """Wait until all was sent and answered for; False if the deadline came, or ``gives_up`` became true, first."""
        deadline_s, num_told = time.monotonic() + timeout_s, 0
        while not all(lane.is_empty() for lane in self._lanes):
            if (left_s := deadline_s - time.monotonic()) <= 0 or gives_up():
                return False
            num_told = self._outlet.wait_told(num_told, min(left_s, 0.1))
        return True

    def stop(self, timeout_s: float) -> None:
        """End, and close the lanes: no more is handed over. A call of the log that hangs is not waited for."""
        self._over.set()
        self._outlet.tell_room()
        self._thread.join(timeout_s)
        for lane in self._lanes:
            lane.close()
        if self._spool is not None:
            self._spool.sync()

    def _added(self, lane: Lane) -> Lane:
        self._lanes.append(lane)
        return lane

    def _run(self) -> None:
        self._after()
        num_told, wait_s = 0, 0.0
        while not self._over.is_set():
            num_told = self._outlet.wait_told(num_told, min(wait_s, _TIDY_S))
            wait_s = min((self._pump(lane) for lane in self._lanes), default=math.inf)
            self._tidy()

    def _pump(self, lane: Lane) -> float:
        try:
            return lane.pump()
        except Exception:
            # One lane's fault must not stop the others; the 1st, 2nd, 4th ... are told.
            self._num_failures += 1
            if self._num_failures & (self._num_failures - 1) == 0:
                logger.exception("a frame could not be forwarded, for the %dth time", self._num_failures)
            return _AFTER_FAILURE_S

    def _tidy(self) -> None:
        if self._spool is not None and time.monotonic() >= self._tidy_at_s:
            self._tidy_at_s = time.monotonic() + _TIDY_S
            self._spool.drop_old()
            self._spool.sync()


def holds_back(drops: DropPolicy) -> bool:
    """Whether a policy needs a lane: what is at the publisher cannot be taken back."""
    return drops in ("oldest", "max_staleness")
