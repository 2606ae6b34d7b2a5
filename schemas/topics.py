"""The names of the topics, made from one prefix."""

from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Full names, prefix included."""

    frames: str
    frame_scores: str
    anomaly_events: str
    memory_updates: str
    memory_banks: str
    camera_states: str
    dead_letters: str
    camera_status: str
    camera_events: str
    operator_verdicts: str
    memory_events: str
    event_media: str

    @classmethod
    def with_prefix(cls, prefix: str) -> "TopicNames":
        """The names under ``prefix``, for example ``site-a.frames``."""
        return cls(
            frames=f"{prefix}frames",
            frame_scores=f"{prefix}frame-scores",
            anomaly_events=f"{prefix}anomaly-events",
            memory_updates=f"{prefix}memory-updates",
            memory_banks=f"{prefix}memory-banks",
            camera_states=f"{prefix}camera-states",
            dead_letters=f"{prefix}dead-letters",
            camera_status=f"{prefix}camera-status",
            camera_events=f"{prefix}camera-events",
            operator_verdicts=f"{prefix}operator-verdicts",
            memory_events=f"{prefix}memory-events",
            event_media=f"{prefix}event-media",
        )

    def all(self) -> tuple[str, ...]:
        """Every name."""
        return astuple(self)
