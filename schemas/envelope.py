"""The CloudEvents 1.0 envelope that what happened once travels in, structured JSON.

``AnomalyEvent`` has one of its own: it is ordered by ``sequence`` as well.
"""

from typing import Literal

from pydantic import Field

from schemas.messages import DerivedId, Id, Message, UtcTime


class Envelope(Message):
    """CloudEvents 1.0, structured JSON. Drop repeats by ``source`` + ``id``. A subclass adds type, schema and data."""

    specversion: Literal["1.0"] = "1.0"
    id: DerivedId
    source: str = Field(description="/engram/<camera_id>")
    subject: str
    time: UtcTime
    datacontenttype: Literal["application/json"] = "application/json"
    partitionkey: Id
