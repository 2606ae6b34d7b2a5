"""Counters that balance, whatever is added to them."""

from hypothesis import given
from hypothesis import strategies as st

from messaging.ports import Claim
from workers.output import Output, Tally

counts = st.integers(0, 1000)


@given(st.lists(st.tuples(counts, counts, counts, counts, counts), max_size=20))
def test_sums_of_balanced_tallies_balance(parts: list[tuple[int, int, int, int, int]]) -> None:
    total = Tally()
    for scored, warming, ends, dead, skipped in parts:
        part = Tally(received=scored + warming + ends + dead + skipped, scored=scored, warming=warming)
        part.session_ends = ends
        part.dead_lettered["foreign"] += dead
        part.skipped["duplicate"] += skipped
        assert part.balances()
        total.add(part)
    assert total.balances()
    assert total.received == sum(map(sum, parts))


def test_a_record_that_is_not_accounted_for_shows() -> None:
    assert not Tally(received=3, scored=2).balances()


def test_reasons_are_kept_apart() -> None:
    total = Tally()
    for reason in ("empty", "foreign", "empty"):
        part = Tally(received=1)
        part.dead_lettered[reason] += 1
        total.add(part)
    assert total.dead_lettered == {"empty": 2, "foreign": 1}


def test_progress_alone_is_worth_a_commit() -> None:
    output = Output()
    assert output.is_empty()
    output.claims.add(Claim("frames", 0, 1))
    assert not output.is_empty()
