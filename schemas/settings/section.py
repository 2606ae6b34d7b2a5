"""The base of all settings sections, and the value types they share."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MIB = 1024 * 1024


class Section(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _from_json_text(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Polygon = tuple[tuple[Fraction, Fraction], ...]
"""Corners (x, y) in fractions of the image, at least three."""
Polygons = Annotated[tuple[Annotated[Polygon, Field(min_length=3)], ...], BeforeValidator(_from_json_text)]
"""Polygons; text (environment, flag) is read as JSON, for example ``[[[0,0],[0.5,0],[0,0.5]]]``."""
