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


def varied(factor: int) -> Tally:
    """Every count is another number."""
    tally = Tally(factor, 2 * factor, 3 * factor, 4 * factor, lost=5 * factor)
    for number, counter in enumerate((tally.dead_lettered, tally.skipped, tally.events, tally.proposals), 6):
        counter["x"] = number * factor
        counter[f"only-{factor}"] = 1
    return tally


def test_what_came_on_top_is_what_has_to_be_added_again() -> None:
    total = varied(1)
    total.add(varied(10))
    assert total.since(varied(1)) == varied(10)
    assert (total.received, total.scored, total.warming, total.session_ends, total.lost) == (11, 22, 33, 44, 55)
    assert [c["x"] for c in (total.dead_lettered, total.skipped, total.events, total.proposals)] == [66, 77, 88, 99]


def test_a_sum_goes_on_by_itself() -> None:
    first, second = varied(1), varied(10)
    both = first.plus(second)
    both.add(varied(100))
    assert both.since(varied(100)).since(varied(10)) == first == varied(1)
    assert second == varied(10)


def test_a_line_of_counts_names_reasons_that_happened() -> None:
    tally = Tally(received=5, scored=2, warming=1, session_ends=1, lost=9)
    tally.skipped.update({"stale": 0, "duplicate": 1})
    assert str(tally) == (
        "5 received, 2 scored, 1 warming, 1 session ends, 0 dead-lettered, 1 skipped (duplicate 1), 9 lost, "
        "0 event messages, 0 proposals, 0 untaught"
    )
