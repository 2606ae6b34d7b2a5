"""Few alarms, each ending, none lost."""

from consumers.notify.facts import EventFacts
from consumers.notify.notification import of_event, of_withheld
from consumers.notify.quiet import MAX_WITHHELD, QuietTimes
from tests.unit.consumers.notify.facts import facts, rule

QUIET = rule(quiet="10m")
LOUD = rule()


def place(number: int) -> tuple[str, int, int]:
    return ("events", 0, number)


def start(first: int, camera: str = "gate") -> EventFacts:
    return facts(first, first, "start", 0, camera)


def update(first: int) -> EventFacts:
    return facts(first, first + 5, "update", 1)


def end(first: int) -> EventFacts:
    return facts(first, first + 9, "end", 2)


def test_without_a_quiet_time_all_in_the_phases_is_told() -> None:
    quiet = QuietTimes()
    messages = [start(1), update(1), end(1), start(20), end(20)]
    assert [quiet.decide(LOUD, one, place(n), 0.0) for n, one in enumerate(messages)] == [
        "tell", "pass", "tell", "tell", "tell",
    ]  # fmt: skip
    assert quiet.due(1e9) == []


def test_another_event_in_the_quiet_time_is_withheld_and_told_after_it() -> None:
    quiet = QuietTimes()
    assert quiet.decide(QUIET, start(1), place(0), 0.0) == "tell"
    assert quiet.decide(QUIET, end(1), place(1), 5.0) == "tell", "what was told also ends"
    assert quiet.decide(QUIET, start(20), place(2), 100.0) == "withhold"
    assert quiet.decide(QUIET, end(20), place(3), 120.0) == "withhold"
    assert quiet.decide(QUIET, start(40), place(4), 200.0) == "withhold"
    assert quiet.due(599.0) == []
    ((name, withheld),) = quiet.due(600.0)
    assert (name, withheld.places) == ("all", [place(2), place(3), place(4)])
    assert withheld.events == {start(20).event_id: "end", start(40).event_id: "start"}
    assert quiet.due(600.0) == []
    assert quiet.decide(QUIET, end(40), place(5), 700.0) == "tell", "it was open in the summary"
    assert quiet.decide(QUIET, start(60), place(6), 700.0) == "withhold", "the quiet time begins anew"
    assert len(quiet.due(1200.0)) == 1


def test_after_a_quiet_time_without_events_one_is_told_at_once() -> None:
    quiet = QuietTimes()
    quiet.decide(QUIET, start(1), place(0), 0.0)
    assert quiet.due(600.0) == []
    assert quiet.decide(QUIET, start(20), place(1), 601.0) == "tell"


def test_what_waits_for_its_summary_is_not_overtaken() -> None:
    quiet = QuietTimes()
    quiet.decide(QUIET, start(1), place(0), 0.0)
    quiet.decide(QUIET, start(20), place(1), 10.0)
    assert quiet.decide(QUIET, start(40), place(2), 700.0) == "withhold"
    ((_, withheld),) = quiet.due(700.0)
    assert len(withheld.events) == 2


def test_each_camera_and_rule_has_its_own_quiet_time() -> None:
    quiet = QuietTimes()
    assert quiet.decide(QUIET, start(1), place(0), 0.0) == "tell"
    assert quiet.decide(QUIET, start(1, "yard"), place(1), 0.0) == "tell"
    assert quiet.decide(rule(name="other", quiet="10m"), start(20), place(2), 0.0) == "tell"


def test_an_event_that_grows_to_fit_is_told_when_it_does() -> None:
    quiet = QuietTimes()
    assert quiet.decide(LOUD, update(1), place(0), 0.0) == "tell"
    assert quiet.decide(LOUD, update(1), place(1), 1.0) == "pass"
    assert quiet.decide(LOUD, end(1), place(2), 2.0) == "tell"
    only_ends = rule(phases=["end"])
    assert quiet.decide(only_ends, update(20), place(3), 2.0) == "pass"
    assert quiet.decide(only_ends, end(20), place(4), 2.0) == "tell"


def test_what_is_withheld_is_bounded() -> None:
    quiet = QuietTimes()
    quiet.decide(QUIET, start(0), place(0), 0.0)
    for number in range(1, MAX_WITHHELD + 1):
        assert quiet.due(1.0) == []
        assert quiet.decide(QUIET, start(20 * number), place(number), 1.0) == "withhold"
    ((_, withheld),) = quiet.due(1.0)
    assert len(withheld.places) == MAX_WITHHELD


def test_at_the_end_of_the_process_all_that_is_withheld_is_handed_out() -> None:
    quiet = QuietTimes()
    quiet.decide(QUIET, start(1), place(0), 0.0)
    quiet.decide(QUIET, start(20), place(1), 1.0)
    ((_, withheld),) = quiet.all_withheld()
    assert withheld.places == [place(1)]
    assert quiet.all_withheld() == []


def test_a_summary_says_how_many_and_which() -> None:
    quiet = QuietTimes()
    for number, one in enumerate([start(1), start(20), end(20), start(40)]):
        quiet.decide(QUIET, one, place(number), 1.0)
    ((name, withheld),) = quiet.all_withheld()
    told = of_withheld(name, withheld)
    assert told.text == "gate: 2 more events since 2026-03-01T08:00:02Z, 1 still going on (score 0.97)"
    assert told.id == of_withheld(name, withheld).id
    assert told.id != of_event(start(20), "event").id
    assert b'"type":"dev.engram.notification.summary.v1"' in told.body
    assert b'"event_ids":["gate:s1:20","gate:s1:40"]' in told.body
