"""What the example of a verifier thinks of an event."""

import importlib.util
import json
from types import ModuleType
from typing import Any

import pytest

from messaging.ports import Record
from schemas.codec import encode_message
from tests.architecture.repository import ROOT
from tests.unit.consumers.samples import event


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_events", ROOT / "examples" / "verify_events.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["verify_events"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("regions", "verdict"),
    [
        ([{"box": [0.1, 0.1, 0.2, 0.2], "score": 0.9}], "confirmed"),
        ([{"box": [0, 0, 1, 0.7], "score": 0.9}, {"box": [0.1, 0.1, 0.1, 0.1], "score": 0.2}], "rejected"),
        ([], "unsure"),
    ],
)
def test_a_change_of_the_whole_picture_is_rejected(example: ModuleType, regions: list[Any], verdict: str) -> None:
    body = json.loads(encode_message(event(5, 5)))
    body["data"]["regions"] = regions
    record = Record("events", 0, 0, b"cam1", json.dumps(body).encode(), (), 0)
    made = example.verified(record, "verified-events", example.judge)
    assert made.key == "cam1"
    found = json.loads(made.value)
    assert found["verdict"] == verdict
    assert {name: value for name, value in found.items() if not name.startswith("verdict")} == body


@pytest.mark.parametrize("value", [None, b"", b"no json", b"[]", b"3", b'{"data": 1}', b"\xff"])
def test_what_is_no_event_goes_on_as_it_is(example: ModuleType, value: bytes | None) -> None:
    made = example.verified(Record("events", 0, 0, None, value, (), 0), "verified-events", example.judge)
    assert made.value == value
