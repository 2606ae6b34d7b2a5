"""The published schemas are those of the code."""

import json
from pathlib import Path

import pytest

from schemas.export import MODELS, export_schemas, json_schema, schema_text

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.mark.parametrize("name", MODELS)
def test_the_published_schema_is_that_of_the_code(name: str) -> None:
    published = (PUBLISHED / f"{name}.json").read_text("utf-8")
    assert published == schema_text(name), "run 'engram schemas export'"


def test_nothing_else_is_published() -> None:
    assert {path.stem for path in PUBLISHED.glob("*.json")} == set(MODELS)


def test_export_writes_every_model(tmp_path: Path) -> None:
    paths = export_schemas(tmp_path / "made")
    assert [path.stem for path in paths] == list(MODELS)
    assert json.loads(paths[0].read_text("utf-8")) == json_schema("frame-header")


@pytest.mark.parametrize("name", MODELS)
def test_schemas_forbid_unknown_fields(name: str) -> None:
    assert json_schema(name)["additionalProperties"] is False


def test_nothing_of_this_machine_is_published() -> None:
    text = schema_text("settings")
    assert str(Path.home()) not in text
    assert '"description": "frames a second to send' in text
