"""What an operator says of an event becomes a verdict; the event is found, and the answer."""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from consumers.verdicts import (
    Statement,
    awaited_outcome,
    find_event,
    new_verdict_id,
    verdict_on,
    verdict_record,
)
from messaging.ports import Places, Record
from schemas.codec import decode_message, encode_message
from schemas.errors import FatalError, SettingsError
from schemas.messages import EventData, HeatMap, Region
from schemas.verdicts import OperatorVerdict, VerdictOutcome, outcome_event
from tests.unit.consumers.samples import DIGEST, ORIGIN, event

TRACE = HeatMap(rows=2, columns=2, values=(0, 10, 20, 30), scale="common")
PEAK = HeatMap(rows=2, columns=2, values=(0, 0, 0, 30), scale="common")
PLAIN: dict[str, Any] = {"judgement": "normal", "operator": "ann"}
SAID = Statement("normal", "ann@desk2", "camera", "the cargo bike", ORIGIN + timedelta(days=30))


def told(**changes: Any) -> EventData:
    return event(5, 9).data.model_copy(update={"heat_map": PEAK, "trace": TRACE, "extents": (0, 3, 3, 3), **changes})


def test_a_verdict_carries_what_the_event_looked_like() -> None:
    verdict = verdict_on(told(), SAID, ORIGIN, "v1")
    assert (verdict.trace, verdict.extents, verdict.regions) == (TRACE, (0, 3, 3, 3), told().regions)
    assert (verdict.event_id, verdict.camera_id, verdict.bank_id) == ("cam1:s1:5", "cam1", "shared")
    assert (verdict.judgement, verdict.scope, verdict.reason) == ("normal", "camera", "the cargo bike")
    assert (verdict.operator, verdict.given_at, verdict.expires_at) == (SAID.operator, ORIGIN, SAID.expires_at)


def test_an_event_of_an_older_worker_gives_its_peak() -> None:
    verdict = verdict_on(told(trace=None), SAID, ORIGIN, "v1")
    assert (verdict.trace, verdict.extents) == (PEAK, ())


def test_what_takes_back_or_skips_shows_nothing() -> None:
    for judgement in ("undo", "skip"):
        verdict = verdict_on(told(), Statement(judgement, "ann"), ORIGIN, "v1")
        assert (verdict.trace, verdict.extents, verdict.regions) == (None, (), ())


def test_no_more_regions_than_a_verdict_takes() -> None:
    many = tuple(Region(box=(0.1 * n, 0.0, 0.1, 0.1), score=0.5) for n in range(9))
    assert verdict_on(told(regions=many), SAID, ORIGIN, "v1").regions == many[:5]


def test_nothing_is_said_of_an_event_on_an_unknown_scale() -> None:
    unscaled = PEAK.model_copy(update={"scale": "peak"})
    with pytest.raises(SettingsError, match="scale that is known"):
        verdict_on(told(trace=None, heat_map=unscaled), SAID, ORIGIN, "v1")


def test_nothing_is_said_of_a_camera_in_trouble() -> None:
    with pytest.raises(SettingsError, match=r"the camera itself is in trouble \(shift\)"):
        verdict_on(told(trouble="shift"), SAID, ORIGIN, "v1")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"operator": " "}, "must say who speaks"),
        ({"operator": "ann\x1b[31m"}, "one line"),
        ({"reason": "x" * 301}, "at most 300 letters"),
        ({"reason": "two\nlines"}, "one line"),
    ],
)
def test_a_statement_must_be_able_to_stand_in_a_log(changes: dict[str, Any], wanted: str) -> None:
    with pytest.raises(SettingsError, match=wanted):
        Statement(**(PLAIN | changes))


def test_a_verdict_ends_after_it_was_given() -> None:
    said = Statement("normal", "ann", expires_at=ORIGIN)
    with pytest.raises(SettingsError, match="must end after"):
        verdict_on(told(), said, ORIGIN, "v1")
    assert verdict_on(told(), said, ORIGIN - timedelta(microseconds=1), "v1").expires_at == ORIGIN


def test_the_record_goes_by_its_bank() -> None:
    record = verdict_record(verdict_on(told(), SAID, ORIGIN, new_verdict_id()), "operator-verdicts")
    assert record.key == "shared"
    assert decode_message(OperatorVerdict, record.value).event_id == "cam1:s1:5"


def test_the_newest_message_of_the_event_is_found() -> None:
    messages = [
        event(5, 9),
        event(5, 12, "update", 1),
        event(5, 20, "end", 2),
        event(50, 60),
        event(5, 14, "update", 1),
    ]
    assert find_event(Given(map(encode_message, messages)), "cam1:s1:5", 1.0).phase == "end"


def test_what_cannot_be_read_does_not_hide_the_event() -> None:
    named = b'{"not": "ours", "id": "cam1:s1:5"}'
    assert find_event(Given([named, encode_message(event(5, 9)), named]), "cam1:s1:5", 1.0).frames.last == 9


def test_an_event_that_is_not_there_is_said() -> None:
    prefix = encode_message(event(50, 60))  # holds 'cam1:s1:5' as letters, and is another event
    with pytest.raises(FatalError, match="there is no 'cam1:s1:5'"):
        find_event(Given([prefix]), "cam1:s1:5", 1.0)


def test_the_answer_is_told_from_others() -> None:
    answers = [encode_message(outcome_event(answer(name))) for name in ("v0", "v1")]
    found = awaited_outcome(Given([b"noise", *answers]), "v1", 5.0)
    assert found is not None
    assert found.verdict_id == "v1"


def test_silence_ends_the_wait() -> None:
    ticks = iter(range(100))
    assert awaited_outcome(Given([]), "v1", 5.0, lambda: float(next(ticks))) is None


def answer(verdict_id: str) -> VerdictOutcome:
    return VerdictOutcome(
        verdict_id=verdict_id,
        event_id="cam1:s1:5",
        camera_id="cam1",
        bank_id="shared",
        judgement="normal",
        operator="ann",
        outcome="applied",
        bank_version=3,
        bank_digest=DIGEST,
        decided_at=ORIGIN,
    )


class Given:
    """A topic whose records are at hand."""

    def __init__(self, values: Any) -> None:
        self._records = [Record("t", 0, n, b"k", value, (), 0) for n, value in enumerate(values)]

    def read(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        found, self._records = self._records, []
        return found

    def read_to_end(self, timeout_s: float) -> Sequence[Record]:
        return self.read(0, timeout_s)

    def batches_to_end(self, timeout_s: float) -> Iterator[Sequence[Record]]:
        yield self.read(0, timeout_s)

    def lag(self) -> int:
        return len(self._records)

    def partitions(self) -> Collection[tuple[str, int]]:
        return {(record.topic, record.partition) for record in self._records}

    def seek(self, places: Places) -> Places:
        return places

    def seek_time(self, timestamp_ms: int) -> None:
        del timestamp_ms

    def close(self) -> None:
        self._records = []
