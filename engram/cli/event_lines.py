"""One event message as one line for people."""

from schemas.messages import AnomalyEvent


def event_line(event: AnomalyEvent) -> str:
    """Time, camera, phase, frames, score, how rare; for the end also how long it was and why it ended.

    The peak of a recording says where in it it is.

    >>> # 08:00:10.500Z cam1 start  frames 105-105 score 0.970 peak 0.970  cam1:s1:105  info, as unusual as ...
    """
    data = event.data
    time = event.time.strftime("%H:%M:%S.%f")[:-3] + "Z"
    about = "" if data.trouble is None else f"trouble ({data.trouble}) "
    text = (
        f"{time} {data.camera_id} {data.phase:<6} {about}frames {data.frames.first}-{data.frames.last} "
        f"score {data.current_score:.3f} peak {data.peak.anomaly_score:.3f}{_place(data.peak.offset_s)}"
        f"  {data.event_id}"
    )
    if data.severity is not None and data.peak.rarity is not None and data.phase != "update":
        text += f"  {data.severity}, {data.peak.rarity.words}"
    if data.phase == "end":
        duration_s = (data.last_at - data.started_at).total_seconds()
        text += f"  {duration_s:.1f} s, {data.end_reason}"
    return text


def _place(offset_s: float | None) -> str:
    """Where a player finds it, in a recording: minutes and seconds."""
    if offset_s is None:
        return ""
    minutes, tenths = divmod(round(10 * offset_s), 600)
    return f" at {minutes}:{tenths / 10:04.1f}"
