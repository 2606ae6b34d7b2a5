"""Event rules for a frame rate: bounds as set, or from the calibration and the false alarms one will put up with."""

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache

from bundles.calibration import Calibration
from inference.scoring import evidence, supported_false_alarms_per_day
from inference.standard import Standard
from workers.options import EventOptions
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
