"""What must hold after the stack demo, computed from what the topics and the store hold, and from nothing else."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engram.demo.recompute import Recomputed, key_of
from memory_store.bank import AuditEntry, first_broken_link
from schemas.messages import AnomalyEvent, FrameHeader, FrameScore

SHOWN = 3
NUMBERS = ("psnr_db", "feature_distance", "regular_score", "patch_error", "anomaly_score")


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, whether it held, and what was seen."""

    name: str
    ok: bool
    detail: str


FrameKey = tuple[str, str, int]
"""Camera, session, frame index."""


def frame_keys(messages: Iterable[FrameHeader | FrameScore]) -> Counter[FrameKey]:
    """How often each frame occurs."""
    return Counter((message.camera_id, message.session_id, message.frame_index) for message in messages)


def check_scores(sent: Counter[FrameKey], scored: Counter[FrameKey], dead_letters: int) -> tuple[Check, ...]:
    """Every frame sent has exactly one score."""
    missing = sorted(sent.keys() - scored.keys())
    twice = sorted(key for key, count in scored.items() if count > 1)
    unknown = sorted(scored.keys() - sent.keys())
    return (
        Check("no frame is missing", bool(sent) and not missing, _told(f"of {len(sent)} frames", missing)),
        Check("no frame is scored twice", not twice, _told(f"of {scored.total()} scores", twice)),
        Check("no score without a frame", not unknown, _told(f"of {len(scored)} scored frames", unknown)),
        Check("no dead letters", dead_letters == 0, f"{dead_letters} dead letters"),
    )


def check_events(messages: Sequence[AnomalyEvent]) -> tuple[Check, ...]:
    """Message ids are unique, each event's messages are numbered without a gap, and each event has ended once."""
    ids = Counter((message.source, message.id) for message in messages)
    repeated = sorted(key for key, count in ids.items() if count > 1)
    by_event: dict[str, list[AnomalyEvent]] = {}
    for message in messages:
        by_event.setdefault(message.data.event_id, []).append(message)
    gaps = sorted(event_id for event_id, parts in by_event.items() if not _is_whole(parts))
    return (
        Check("no event message twice", not repeated, _told(f"of {len(messages)} messages", repeated)),
        Check("every event runs from start to end", not gaps, _told(f"of {len(by_event)} events", gaps)),
    )


def check_calm(calm: Recomputed, scores: Sequence[FrameScore], events: Sequence[AnomalyEvent]) -> tuple[Check, ...]:
    """Scores and event ids are those of a calm run over the same frames and bank versions."""
    far = [key_of(score) for score in scores if not _is_same(score, calm.scores.get(key_of(score)))]
    ids, calm_ids = {event.id for event in events}, {event.id for event in calm.events}
    versions = sorted({score.bank_version for score in scores})
    return (
        Check(
            "scores are those of a calm run", not far, _told(f"differ, of {len(scores)}, bank versions {versions}", far)
        ),
        Check(
            "event ids are those of a calm run", ids == calm_ids, _told(f"of {len(ids)} differ", sorted(ids ^ calm_ids))
        ),
    )


def _is_same(score: FrameScore, calm: FrameScore | None) -> bool:
    if calm is None:
        return False
    pairs = [(getattr(score, name), getattr(calm, name)) for name in NUMBERS]
    return all(a == b if a is None or b is None else math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5) for a, b in pairs)


def check_bank(entries: Sequence[AuditEntry]) -> tuple[Check, ...]:
    """The bank has learned, and its log is one unbroken chain."""
    version = entries[-1].version if entries else None
    broken = first_broken_link(entries)
    detail = f"{len(entries)} entries" if broken is None else f"broken before entry {broken} of {len(entries)}"
    return (
        Check("the bank has grown", bool(version), f"version {version}"),
        Check("the audit log is unbroken", bool(entries) and broken is None, detail),
    )


def _is_whole(messages: Sequence[AnomalyEvent]) -> bool:
    ordered = sorted(messages, key=lambda message: message.sequence)
    numbered = [int(message.sequence) for message in ordered] == list(range(len(ordered)))
    phases = [message.data.phase for message in ordered]
    return numbered and phases[0] == "start" and phases[-1] == "end" and phases.count("end") == 1


def _told(scope: str, wrong: Sequence[object]) -> str:
    if not wrong:
        return f"0 {scope}"
    return f"{len(wrong)} {scope}, first {list(wrong[:SHOWN])}"
