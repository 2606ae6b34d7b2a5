"""Which record may go, and what is committed before, without Kafka."""

from messaging.kafka.attempts import CAUTIOUS_RECORDS, PATIENCE_S, Trial
from messaging.kafka.marks import Mark


def test_where_nobody_died_one_mark_opens_everything() -> None:
    trial = Trial(5, 3, attempts=0)
    assert trial.open_below == 5  # replay goes unmarked
    mark = trial.wanted(5)
    assert mark == Mark(5, 3, 1)
    assert trial.may_open(5, 0.0)
    trial.open(5, mark, 0.0)
    assert trial.open_below > 10**9
    assert trial.attempts_at(5) == 0
    trial.progressed(6, 4)
    assert trial.standing_mark is None
    assert trial.wanted(6) is None


def test_after_a_death_each_record_is_marked_and_goes_alone() -> None:
    trial = Trial(5, 5, attempts=2)
    mark = trial.wanted(5)
    assert mark == Mark(5, 5, 3)
    trial.open(5, mark, 0.0)
    assert trial.open_below == 6
    assert trial.attempts_at(5) == 2
    assert not trial.may_open(6, 0.1)
    trial.progressed(6, 6)
    assert trial.may_open(6, 0.2)
    assert trial.wanted(6) == Mark(6, 6, 1)
    trial.open(6, trial.wanted(6), 0.2)
    assert trial.attempts_at(6) == 0


def test_a_user_that_needs_more_before_it_commits_gets_more() -> None:
    trial = Trial(5, 5, attempts=1)
    trial.open(5, trial.wanted(5), 0.0)
    assert not trial.may_open(6, PATIENCE_S / 2)
    assert trial.may_open(6, PATIENCE_S)
    assert trial.wanted(6) is None  # the mark at 5 still stands
    trial.open(6, None, PATIENCE_S)
    assert trial.attempts_at(6) == 0


def test_caution_ends() -> None:
    trial = Trial(0, 0, attempts=1)
    for offset in range(CAUTIOUS_RECORDS):
        assert trial.open_below == offset
        trial.open(offset, trial.wanted(offset), 0.0)
        trial.progressed(offset + 1, offset + 1)
    assert trial.open_below > 10**9


def test_a_commit_without_progress_keeps_the_mark() -> None:
    trial = Trial(5, 3, attempts=1)
    trial.open(5, trial.wanted(5), 0.0)
    trial.progressed(5, 4)
    assert trial.standing_mark == Mark(5, 4, 2)


def test_our_own_mark_is_not_an_attempt_of_others() -> None:
    trial = Trial(5, 5, attempts=0, is_marked=True)
    assert trial.wanted(5) is None
    assert trial.may_open(5, 0.0)
    trial.open(5, None, 0.0)
    assert trial.open_below > 10**9
    assert trial.standing_mark == Mark(5, 5, 1)


def test_offsets_that_are_no_records_do_not_hide_the_suspect() -> None:
    trial = Trial(5, 5, attempts=1)
    trial.open(7, trial.wanted(7), 0.0)  # 5 and 6 are transaction markers
    assert trial.attempts_at(7) == 1
