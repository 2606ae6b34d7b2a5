"""What an event tells of its peak, which evidence spoke, how rare and where that is; and of all its frames."""

from dataclasses import replace

from inference.error_map import Irregularity
from inference.explaining import Explainer
from inference.scoring import LiveScore
from inference.taught import extents_of, things_of
from schemas.messages import EvidenceValue, FrameHeader
from workers.heatmap import heat_map, regions
from workers.severity import rarity_of
from workers.thumbnail import thumbnail
from workers.tracker import Observation, Sight, Trace


def traced(seen: Observation, irregularity: Irregularity, explainer: Explainer) -> Observation:
    """``seen`` with what an anomalous frame adds to the trace of its event."""
    spreads_RS = explainer.spreads_of(irregularity.map_RS)
    rows, columns = spreads_RS.shape
    extents_RS = extents_of(things_of(spreads_RS, explainer.usual.half), (rows, columns))
    return replace(seen, trace=Trace(heat_map(spreads_RS), tuple(extents_RS.ravel().tolist())))


def sighted(
    seen: Observation,
    irregularity: Irregularity,
    live: LiveScore,
    explainer: Explainer,
    frame: tuple[FrameHeader, bytes],
    longest_px: int,
) -> Observation:
    """``seen`` with all that is to be told of it.

    Args:
        seen: the frame as the tracker sees it.
        irregularity: of the frame.
        live: its score.
        explainer: of what it was scored by.
        frame: header and JPEG as they came.
        longest_px: longest side of the picture; 0 = none.
    """
    header, jpeg = frame
    spoken = explainer.evidence(irregularity.measures).items()
    evidence = tuple(EvidenceValue.model_validate({"name": name, "spreads": spreads}) for name, spreads in spoken)
    place = "here" if explainer.knows(header.camera_id) else "at the cameras it was calibrated on"
    rarity = rarity_of(explainer.rate(live, header.fps), explainer.supported_per_day, place)
    spreads_RS = explainer.spreads_of(irregularity.map_RS)
    found = regions(irregularity.map_RS, spreads_RS)
    picture = thumbnail(jpeg, (header.width, header.height), found, longest_px) if longest_px else None
    peak = seen.peak.model_copy(update={"evidence": evidence, "rarity": rarity})
    return replace(seen, peak=peak, sight=Sight(heat_map(spreads_RS), found, picture))
