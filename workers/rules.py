"""Event rules for a frame rate: bounds as set, or from the calibration and the false alarms one will put up with."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache

from bundles.calibration import Calibration
from inference.scoring import evidence, supported_false_alarms_per_day
from inference.standard import Standard
from workers.options import CameraOptions, EventOptions
from workers.tracker import EventRules


def beyond_evidence(options: EventOptions, calibration: Calibration) -> str | None:
    """In words, that fewer false alarms are asked for than the calibration's footage supports; None if they are not.

    A bound that is set promises nothing.
    """
    asked = options.target_false_alarms_per_day
    if options.enter is not None or asked >= supported_false_alarms_per_day(calibration):
        return None
    text = f"{asked:g} false alarms a day are asked for (events.target_false_alarms_per_day), the calibration rests on"
    return f"{text} {evidence(calibration)}; the threshold for fewer is extrapolated: see how often it opens in truth"


def event_rules(options: EventOptions) -> Callable[[float, Standard], EventRules]:
    """From frames a second, and what they are judged by, to rules.

    ``enter`` alone may be set; ``exit`` then keeps its calibrated ratio to it.
    """

    @lru_cache(maxsize=1024)
    def cached(fps: float, standard: Standard) -> EventRules:
        enter, leave = standard.thresholds(options.target_false_alarms_per_day, fps)
        fixed = options.enter is not None or options.exit is not None
        chosen = enter if options.enter is None else options.enter
        told = asdict(options) | {
            "enter": chosen,
            "exit": min(chosen, leave * chosen / enter if options.exit is None else options.exit),
            "method": "fixed" if fixed else "calibrated",
            "target_false_alarms_per_day": None if fixed else options.target_false_alarms_per_day,
        }
        del told["thumbnail_px"]  # what an event shows has no say in when it is one
        return EventRules(**told)

    def rules(fps: float, standard: Standard) -> EventRules:
        return cached(fps, standard)

    return rules


class CameraRules:
    """Event rules of each camera at its frame rate. What they rest on may change while in use, from any thread."""

    def __init__(self, events: EventOptions, cameras: Mapping[str, CameraOptions]) -> None:
        self.change(events, cameras)

    def change(self, events: EventOptions, cameras: Mapping[str, CameraOptions]) -> None:
        """Go by ``cameras``, and for those not named there by ``events``, from the next frame on."""
        default = CameraOptions(events)
        every = {default.events, *(each.events for each in cameras.values())}
        rules = {each: event_rules(each) for each in every}
        self._now = (default, dict(cameras), rules)  # one step, so that a reader sees all or nothing of it

    def __call__(self, camera_id: str, fps: float, standard: Standard) -> EventRules:
        """The rules for one camera's frames at their rate, by what they are judged by."""
        default, cameras, rules = self._now
        return rules[cameras.get(camera_id, default).events](fps, standard)

    def camera(self, camera_id: str) -> CameraOptions:
        """What else is said of a camera: its zones and how much its events matter."""
        default, cameras, _ = self._now
        return cameras.get(camera_id, default)
