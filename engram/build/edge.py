"""From settings to what keeps frames at the edge while the broker is away."""

from producers.naming import machine_name
from producers.producer import ProducerOptions
from producers.reports import ReportOptions
from producers.rivals import process_name
from producers.spool.spool import Spool, SpoolOptions
from producers.spooled_lane import CatchUpOptions
from schemas.settings import ProducerSettings
from schemas.settings.detection import ProducerSection
from schemas.topics import TopicNames

CATCH_UP = 3.0
"""Times the rate of a camera: an outage of ten minutes is made up for in five."""


def producer_options(settings: ProducerSettings) -> ProducerOptions:
    """Topics, bounds and how late frames are sent."""
    section, topics = settings.producer, TopicNames.with_prefix(settings.kafka.topic_prefix)
    return ProducerOptions(
        topics.frames,
        buffer_bytes=section.buffer_bytes,
        catch_up=CatchUpOptions(section.catch_up, section.catch_up_fps or CATCH_UP * section.fps),
        reports=report_options(section, topics),
    )


def report_options(section: ProducerSection, topics: TopicNames) -> ReportOptions:
    """Where it is told how the cameras fare, and by whom."""
    return ReportOptions(topics.camera_status, topics.camera_events, process_name(machine_name()), section.heartbeat_s)


def open_spool(section: ProducerSection) -> Spool | None:
    """The spool, if one is wanted.

    Raises:
        SettingsError: see ``Spool``.
    """
    if section.spool_dir is None:
        return None
    return Spool(SpoolOptions(section.spool_dir, section.spool_bytes, section.spool_age_s))
