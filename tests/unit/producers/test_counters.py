"""The counts balance after any history."""

from hypothesis import given
from hypothesis import strategies as st

from producers.counters import FrameCounts, FrameLedger

ENDS = st.sampled_from(["sampled", "sent", "buffer_full", "too_large", "open"])


def balances(counts: FrameCounts) -> bool:
    return counts.captured == counts.sent + counts.in_flight + counts.sampled_out + counts.num_dropped


@given(st.lists(ENDS), st.integers(0, 5))
def test_balance(ends: list[str], num_overrun: int) -> None:
    ledger = FrameLedger()
    for end in ends:
        ledger.take_in()
        assert balances(ledger.snapshot(num_overrun))
        if end == "sampled":
            ledger.sample_out()
        elif end == "sent":
            ledger.send(7)
        elif end != "open":
            ledger.drop(end)
        assert balances(ledger.snapshot(num_overrun))
    counts = ledger.snapshot(num_overrun)
    assert counts.captured == len(ends) + num_overrun
    assert counts.in_flight == ends.count("open")
    assert counts.sampled_out == ends.count("sampled")
    assert counts.sent_bytes == 7 * ends.count("sent")
    assert counts.dropped.get("too_slow", 0) == num_overrun
    assert counts.dropped.get("too_large", 0) == ends.count("too_large")


def test_a_snapshot_does_not_change_later() -> None:
    ledger = FrameLedger()
    ledger.take_in()
    before = ledger.snapshot()
    assert ledger.drop("buffer_full") == 1
    assert before.dropped == {}


def test_drops_are_counted_by_cause() -> None:
    ledger = FrameLedger()
    for _ in range(3):
        ledger.take_in()
    assert [ledger.drop("a"), ledger.drop("a"), ledger.drop("b")] == [1, 2, 1]


def test_as_text() -> None:
    counts = FrameCounts(10, 4, 1, 2, {"too_large": 1, "buffer_full": 2}, 400)
    assert str(counts) == (
        "10 captured, 4 sent, 1 in flight, 2 sampled out, 3 dropped (buffer_full 2, too_large 1), 400 bytes"
    )
    assert "0 dropped, 0 bytes" in str(FrameCounts(0, 0, 0, 0, {}, 0))
