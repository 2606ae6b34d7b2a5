"""What a spool lets go of is written down before it is gone, so that no death in between loses it in silence."""

import os
from pathlib import Path

import pytest

from producers.gaps import GapBook
from schemas.errors import TransientError
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.spools import Bench


class Killed(BaseException):
    """SIGKILL, as far as one thread can have it."""


@pytest.mark.parametrize("cause", ["spool_full", "spool_old"])
def test_who_is_killed_once_a_segment_is_gone_has_named_what_was_in_it(
    cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "spool", MemoryPublisher(), max_bytes=64_000, max_age_s=60.0)
    bench.publisher.away = TransientError("no broker")
    bench.capture(40, num_bytes=1000)
    unlink = os.unlink

    def unlink_and_die(path: str) -> None:
        unlink(path)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", unlink_and_die)
        with pytest.raises(Killed):
            if cause == "spool_full":
                bench.capture(40, num_bytes=1000)
            bench.now_s += 100.0
            bench.spool.drop_old()
    bench.die()
    (gap,) = GapBook(bench.folder / "gaps.json").take(is_last=True)
    assert (gap.cause, gap.first_frame) == (cause, 0)
    after = Bench(bench.folder, MemoryPublisher(), max_bytes=64_000, now_s=bench.now_s - 100.0)
    after.turn(100)
    assert after.sent[0] == gap.last_frame + 1 == gap.num_frames
