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
    bench = killed_while_letting_go(cause, tmp_path, monkeypatch, "unlink", True, 1)
    (gap,) = GapBook(bench.folder / "gaps.json").take(is_last=True)
    assert (gap.cause, gap.first_frame) == (cause, 0)
    after = Bench(bench.folder, MemoryPublisher(), max_bytes=64_000, now_s=bench.now_s - 100.0)
    after.turn(100)
    assert after.sent[0] == gap.last_frame + 1 == gap.num_frames


@pytest.mark.parametrize("cause", ["spool_full", "spool_old"])
@pytest.mark.parametrize("call", ["rename", "replace", "unlink"])
@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("time", [1, 3])
def test_whenever_a_spool_is_killed_while_it_lets_go_each_frame_is_named_once_or_sent(
    cause: str, call: str, is_done: bool, time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = killed_while_letting_go(cause, tmp_path, monkeypatch, call, is_done, time)
    found = GapBook(bench.folder / "gaps.json").take()
    after = Bench(bench.folder, MemoryPublisher(), max_bytes=64_000, now_s=bench.now_s - 100.0)
    after.turn(100)
    told = after.gaps.take(is_last=True)
    named = [index for gap in told for index in range(gap.first_frame, gap.last_frame + 1)]
    assert {gap.cause for gap in told} <= {cause}
    assert sum(gap.num_frames for gap in told) == len(named) == len(set(named))
    assert sorted(named + after.sent) == list(range(len(named) + len(after.sent))), "all that was ever on disk"
    assert after.counts.num_dropped == len(named) - sum(gap.num_frames for gap in found)
    assert not list(bench.folder.rglob("*.spool_*"))


def killed_while_letting_go(
    cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, is_done: bool, time: int
) -> Bench:
    """By its caps, while the log is away; see ``die_at``."""
    bench = Bench(tmp_path / "spool", MemoryPublisher(), max_bytes=64_000, max_age_s=60.0)
    bench.publisher.away = TransientError("no broker")
    bench.capture(40, num_bytes=1000)
    with monkeypatch.context() as patch:
        die_at(patch, call, is_done, time)
        with pytest.raises(Killed):
            if cause == "spool_full":
                bench.capture(40, num_bytes=1000)
            bench.now_s += 100.0
            bench.spool.drop_old()
    bench.die()
    return bench


def die_at(monkeypatch: pytest.MonkeyPatch, call: str, is_done: bool, time: int) -> None:
    """At a call of the system, before or after it is done, the ``time``-th time it is made."""
    real, made = getattr(os, call), []

    def do_or_die(*given: object) -> None:
        made.append(given)
        if len(made) != time:
            real(*given)
        else:
            if is_done:
                real(*given)
            raise Killed

    monkeypatch.setattr(f"os.{call}", do_or_die)
