"""One event for a camera that is not as its memory knows it, in place of a storm of events about what it shows.

The tracker that follows anomalies follows this as well, with rules of its own: its score is how far the camera is out
of bounds (``inference.recognition``), 0.5 = at the bound, and the event lasts for as long as that does.
"""

import logging
from dataclasses import replace

from inference.recognition import LEAVE, Recognition, why
from schemas.messages import HeatMap
from workers.tracker import EventRules, Observation, Sight

log = logging.getLogger(__name__)

ENTER = 0.5
NEVER_S = 3e9
RULES = EventRules(
    enter=ENTER,
    exit=LEAVE * ENTER,
    min_duration_s=10.0,
    merge_gap_s=10.0,
    update_interval_s=NEVER_S,
    max_duration_s=NEVER_S,
    method="fixed",
)
"""A lamp that is switched, or somebody who walks by the lens, is over before it is worth a message; and however long a
camera shows something else, it is said once."""
NOTHING_SEEN = Sight(HeatMap(rows=0, columns=0, values=()))


def observation(seen: Observation, recognition: Recognition) -> Observation:
    """What the tracker of troubles sees of a frame; there is no place to point at."""
    score = recognition.strangeness if recognition.is_trouble else 0.0
    return replace(seen, peak=seen.peak.model_copy(update={"anomaly_score": score}), sight=NOTHING_SEEN)


def tell_change(camera_id: str, before: Recognition | None, after: Recognition) -> None:
    """Say in the log that a camera's state has changed, once for each change."""
    was = before.state if before is not None else "known"
    if after.state != was:
        level = logging.WARNING if after.is_trouble else logging.INFO
        log.log(level, "camera %s: %s, %s", camera_id, after.state, why(after))
