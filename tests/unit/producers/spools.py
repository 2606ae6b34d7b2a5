"""Spools and lanes of a test, with clocks that the test turns."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from producers.account import CameraAccount
from producers.counters import FrameCounts
from producers.gaps import GapBook
from producers.outlet import LogWatch, Outlet
from producers.spool.spool import MIB, Spool, SpoolOptions
from producers.spooled_lane import CatchUpOptions, SpooledLane
from schemas.messages import FrameHeader
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START


def header(index: int, session: str = "s1", camera: str = "gate") -> FrameHeader:
    """Of a frame, ten a second."""
    return FrameHeader(
        camera_id=camera,
        session_id=session,
        frame_index=index,
        captured_at=START + timedelta(seconds=index / 10),
        clock="arrival",
        width=64,
        height=48,
        fps=10.0,
    )


def jpeg(index: int, num_bytes: int = 100) -> bytes:
    """Bytes that say which frame they are of."""
    return index.to_bytes(4, "big") * (num_bytes // 4)


def balances(counts: FrameCounts) -> bool:
    """What every snapshot must hold."""
    ends = counts.sent + counts.in_flight + counts.spooled + counts.sampled_out + counts.num_dropped
    return counts.captured + counts.recovered == ends


@dataclass
class Bench:
    """One camera's lane with a spool in ``folder`` and a publisher in memory; one clock for all."""

    folder: Path
    publisher: MemoryPublisher
    max_bytes: int = 64 * MIB
    max_age_s: float = 3600.0
    catch_up: CatchUpOptions = field(default_factory=lambda: CatchUpOptions(fps=100.0))
    now_s: float = 1000.0

    def __post_init__(self) -> None:
        self.spool = Spool(SpoolOptions(self.folder, self.max_bytes, self.max_age_s), lambda: self.now_s)
        watch = LogWatch(lambda: self.now_s, str(self.folder))
        self.gaps = GapBook(self.folder / "gaps.json", lambda: self.now_s)
        self.outlet = Outlet(self.publisher, "frames", lambda: START, watch, self.gaps)
        self.account = CameraAccount("gate", self.outlet, lambda _bytes, _reason: None)
        self.lane = SpooledLane(self.outlet, self.account, self.spool, self.catch_up, lambda: self.now_s)
        self.next_index = 0

    @property
    def counts(self) -> FrameCounts:
        """Now; they balance at any time."""
        counts = self.account.ledger.snapshot()
        assert balances(counts), counts
        return counts

    @property
    def sent(self) -> list[int]:
        """Indices in the order in which the log got them."""
        return [one.frame_index for one in self.publisher.frames]

    def capture(self, num_frames: int, session: str = "s1", num_bytes: int = 100) -> None:
        """Frames come, one at a time, and the forwarder has its turn after each."""
        for index in range(self.next_index, self.next_index + num_frames):
            self.account.ledger.take_in()
            self.account.ledger.hand_over(num_bytes)
            self.lane.put(header(index, session), jpeg(index, num_bytes))
            self.turn()
        self.next_index += num_frames

    def turn(self, num: int = 1) -> None:
        """Pump until there is nothing more to do now, ``num`` times a tenth of a second apart."""
        for _ in range(num):
            for _ in range(1000):
                if self.lane.pump() > 0:
                    break
            self.now_s += 0.1

    def close(self) -> None:
        """As the producer does it."""
        self.lane.close()
        self.publisher.close(0)
        self.spool.close()

    def die(self) -> None:
        """As SIGKILL leaves it: what the system closes, and nothing more."""
        self.spool.close()
