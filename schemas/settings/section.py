"""The base of all settings sections, and the value types they share."""

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from schemas.messages import in_utc

MIB = 1024 * 1024


class Section(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Seconds = Annotated[float, Field(gt=0)]


def _countable(value: datetime) -> datetime:
    in_utc(value)
    return value


Moment = Annotated[AwareDatetime, AfterValidator(_countable)]
"""A time that messages can have, in whatever zone it was written."""


def from_json_text(value: Any) -> Any:
    """A list as text (environment, flag) is read as JSON; all else is taken as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('must be a list in brackets, as in [1, 2] or ["a", "b"]') from None
