"""Which cameras of a process run: those of the settings, in their hours; with what may change while they do."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bundles.manifest import Manifest
from engram.build.cameras import CameraPlan, camera_feed
from producers.feed import CameraFeed
from producers.masking import ChangingMask
from producers.producer import Producer
from schemas.errors import FatalError
from schemas.messages import utc_now
from schemas.settings.hours import is_open

log = logging.getLogger(__name__)


class Roster:
    """Keeps a producer's cameras to what the plans say. ``change`` may be called from another thread than the rest.

    Args:
        plans: what each camera is to do.
        now: the clock.
        bundle: what frames are for, if it is known.
    """

    def __init__(
        self, plans: Sequence[CameraPlan], now: Callable[[], datetime] = utc_now, bundle: Manifest | None = None
    ) -> None:
        self._bundle = bundle
        self._plans = {plan.camera_id: plan for plan in plans}
        self._now = now
        self._masks: dict[str, ChangingMask] = {}
        self._begun: set[str] = set()
        self._ever_begun: set[str] = set()

    def first_feeds(self) -> list[CameraFeed]:
        """Feeds of the cameras that run from the start.

        Raises:
            SettingsError: an address that names no source.
            FatalError: a file or folder that cannot be read.
        """
        wanted = [plan for plan in self._plans.values() if self._is_wanted(plan)]
        feeds = [self._feed(plan) for plan in wanted]
        self._begun = {plan.camera_id for plan in wanted}
        return feeds

    @property
    def is_complete(self) -> bool:
        """Whether all cameras have begun, so that nothing is left to do when those that run end."""
        plans = self._plans
        return bool(plans) and plans.keys() <= self._begun

    def keep(self, producer: Producer) -> None:
        """Begin and end what hours and settings say; to be called now and then."""
        plans = self._plans
        for name in sorted(self._begun):
            if name not in plans or not self._is_wanted(plans[name]):
                why = "its hours are over, or it is paused" if name in plans else "it was taken out of the settings"
                log.info("camera %s: %s", name, why)
                self._begun.discard(name)  # before it ends: see ``_begin``
                producer.remove(name)
        for name, plan in plans.items():
            if name not in self._begun and self._is_wanted(plan) and not producer.is_running(name):
                self._begin(plan, producer)

    def change(self, plans: Sequence[CameraPlan]) -> None:
        """Go by other plans from now on: masks at once, hours, cameras come and gone at the next ``keep``.

        What else is different counts from a camera's next session on.

        Raises:
            SettingsError: a mask that is none; all stays as it was.
        """
        for plan in plans:
            if (mask := self._masks.get(plan.camera_id)) is not None:
                mask.change(plan.producer.mask)
        self._plans = {plan.camera_id: plan for plan in plans}

    def _is_wanted(self, plan: CameraPlan) -> bool:
        producer, now = plan.producer, self._now()
        if plan.is_recorded:
            return True
        is_paused = producer.paused_until is not None and now < producer.paused_until
        return not is_paused and is_open(producer.hours, producer.timezone, now)

    def _begin(self, plan: CameraPlan, producer: Producer) -> None:
        """One that cannot begin is told once, and the others go on."""
        try:
            producer.add(self._feed(plan))
        except FatalError as error:
            log.error("camera %s cannot begin: %s", plan.camera_id, error)  # noqa: TRY400 - told in words
        finally:
            self._begun.add(plan.camera_id)  # not before it runs: where all have begun and none runs, all is over

    def _feed(self, plan: CameraPlan) -> CameraFeed:
        mask = self._masks[plan.camera_id] = ChangingMask()
        feed = camera_feed(plan, mask, self._bundle)
        if plan.camera_id in self._ever_begun:
            feed = replace(feed, session_id=None)  # a session's frames are counted from nought once only
        self._ever_begun.add(plan.camera_id)
        return feed
