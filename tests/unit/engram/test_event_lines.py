"""Events as lines for people."""

import pytest

from engram.cli.event_lines import event_line
from engram.cli.events import in_order
from tests.unit.consumers.samples import event


def test_a_start_names_time_camera_and_score() -> None:
    assert event_line(event(5, 5)) == "08:00:00.500Z cam1 start  frames 5-5 score 0.900 peak 0.970  cam1:s1:5"


def test_an_end_says_how_long_and_why() -> None:
    assert event_line(event(5, 25, "end", 3)).endswith("cam1:s1:5  2.0 s, cleared")


@pytest.mark.parametrize(
    ("offset_s", "told"), [(0.0, "0:00.0"), (75.26, "1:15.3"), (119.97, "2:00.0"), (3725.5, "62:05.5")]
)
def test_a_recording_says_where_in_it_the_peak_is(offset_s: float, told: str) -> None:
    one = event(5, 5)
    peak = one.data.peak.model_copy(update={"offset_s": offset_s})
    found = event_line(one.model_copy(update={"data": one.data.model_copy(update={"peak": peak})}))
    assert found == f"08:00:00.500Z cam1 start  frames 5-5 score 0.900 peak 0.970 at {told}  cam1:s1:5"


def test_order_is_by_time_and_within_an_event_by_sequence() -> None:
    start, update, other = event(5, 9), event(5, 9, "update", 1), event(2, 3, camera_id="cam2")
    assert in_order([update, start, other]) == [other, start, update]
