"""The page that says what may be relied on names what there is."""

import re
from pathlib import Path
from typing import get_args

from memory_store.exemplar import HALF_AT
from schemas.export import json_schema, version_of
from schemas.messages import AnomalyEvent, Clock, EndReason, EventData, EvidenceValue, HeatMap, Rarity, Severity

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "events.md").read_text("utf-8")
IDS = {"schema_version", "event_id", "phase", "camera_id", "session_id", "current_score"}
"""Fields that explain themselves."""


def words_of(growing: object) -> tuple[str, ...]:
    literal, *_ = get_args(growing)
    return get_args(literal)


def test_every_field_of_an_event_is_explained() -> None:
    for field in {*EventData.model_fields, *Rarity.model_fields} - IDS:
        assert re.search(rf"[`.]{field}[`.]", PAGE), field


def test_every_word_is_explained() -> None:
    words = {*words_of(EndReason), *words_of(Severity), *words_of(Clock)}
    names = words_of(EvidenceValue.model_fields["name"].annotation) or get_args(
        EvidenceValue.model_fields["name"].annotation
    )
    for word in {*words, *names}:
        assert f"`{word}`" in PAGE, word


def test_its_newest_version_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+\.\d+) \|", PAGE, flags=re.MULTILINE)
    assert rows[-1] == version_of(AnomalyEvent) == version_of(EventData)
    assert json_schema("anomaly-event-data")["$id"] in PAGE
    assert AnomalyEvent.model_fields["dataschema"].default == json_schema("anomaly-event-data")["$id"]


def test_the_scale_is_told_as_it_is() -> None:
    assert f"z = {HALF_AT:g} v / (255 - v)" in PAGE
    assert f"{HALF_AT:g} v / (255 - v)" in (HeatMap.__doc__ or "")


def test_every_file_it_points_to_is_there() -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)", PAGE):
        assert (DOCS / target).exists(), target
