"""The published schemas are those of the code."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from schemas.export import ASYNCAPI_NAME, MODELS, export_schemas, json_schema, schema_text
from schemas.messages import Message

MESSAGES = [name for name, model in MODELS.items() if issubclass(model, Message)]
SETTINGS = [name for name in MODELS if name not in MESSAGES]
PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.mark.parametrize("name", [*MODELS, ASYNCAPI_NAME])
def test_the_published_schema_is_that_of_the_code(name: str) -> None:
    published = (PUBLISHED / f"{name}.json").read_text("utf-8")
    assert published == schema_text(name), "run 'engram schemas export'"


def test_nothing_else_is_published() -> None:
    assert {path.stem for path in PUBLISHED.glob("*.json")} == {*MODELS, ASYNCAPI_NAME}


def test_export_writes_every_model(tmp_path: Path) -> None:
    paths = export_schemas(tmp_path / "made")
    assert [path.stem for path in paths] == [*MODELS, ASYNCAPI_NAME]
    assert json.loads(paths[0].read_text("utf-8")) == json_schema("frame-header")


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_forbid_unknown_keys(name: str) -> None:
    assert json_schema(name)["additionalProperties"] is False


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_may_grow_and_what_is_written_is_required(name: str) -> None:
    schema = json_schema(name)
    assert '"additionalProperties": false' not in schema_text(name)
    always = {key for key, field in MODELS[name].model_fields.items() if field.exclude_if is None}
    assert set(schema["required"]) == always
    assert schema["$id"].startswith(f"urn:engram:schema:{name}:1.")


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_is_one_by_the_rules_of_its_dialect(name: str) -> None:
    Draft202012Validator.check_schema(json_schema(name))


def test_nothing_of_this_machine_is_published() -> None:
    text = schema_text("settings")
    assert str(Path.home()) not in text
    assert '"description": "frames a second to send' in text
