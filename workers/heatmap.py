"""Where in the image a frame stood out: a coarse map for people, and boxes for programs.

Both on one scale for all events, ``memory_store.exemplar.shares_of``, of the spreads that a patch lies above the worst
patch of a usual frame (``inference.explaining``). It never saturates, so that of two places the worse is always seen.
"""

from inference.places import box_of, unusual_places
from memory_store.exemplar import levels_of, shares_of
from schemas.arrays import Float32, Float64
from schemas.messages import HeatMap, Region

MAX_REGIONS = 5


def heat_map(spreads_RS: Float64) -> HeatMap:
    """Quantise a map of spreads to 0..255."""
    rows, columns = spreads_RS.shape
    return HeatMap(rows=rows, columns=columns, values=tuple(levels_of(spreads_RS).ravel().tolist()), scale="common")


def regions(map_RS: Float32, spreads_RS: Float64) -> tuple[Region, ...]:
    """Boxes around connected groups of high patches, worst first; box = x, y, width, height in [0, 1].

    Behind the first, only what is worse than usual is a region.

    Args:
        map_RS: irregularity of patches, >= 0.
        spreads_RS: the same in spreads.
    """
    shares_RS = shares_of(spreads_RS)
    found = [
        Region(box=box_of(place_RS), score=float(shares_RS[place_RS].max())) for place_RS in unusual_places(map_RS)
    ]
    return tuple(region for n, region in enumerate(found[:MAX_REGIONS]) if n == 0 or region.score > 0)
