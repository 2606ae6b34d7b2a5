"""JSON Schemas of every message and of settings, and an AsyncAPI document, for other languages and for editors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas.asyncapi import asyncapi_document
from schemas.cameras import CameraGapEvent, CameraStatus, CameraViewEvent
from schemas.media import EventMediaEvent
from schemas.messages import (
    AnomalyEvent,
    BankHeader,
    EventData,
    FrameHeader,
    FrameScore,
    Message,
    ProposalHeader,
    versioned,
)
from schemas.settings import (
    AllSettings,
    ConsoleSettings,
    ConsumerSettings,
    CoordinatorSettings,
    ProducerSettings,
    WorkerSettings,
)
from schemas.verdicts import OperatorVerdict, VerdictOutcomeEvent

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID_PREFIX = "urn:engram:schema:"
ASYNCAPI_NAME = "asyncapi"

MODELS: Mapping[str, type[BaseModel]] = {
    "frame-header": FrameHeader,
    "frame-score": FrameScore,
    "anomaly-event": AnomalyEvent,
    "anomaly-event-data": EventData,
    "proposal-header": ProposalHeader,
    "bank-header": BankHeader,
    "camera-status": CameraStatus,
    "camera-gap": CameraGapEvent,
    "camera-view": CameraViewEvent,
    "operator-verdict": OperatorVerdict,
    "verdict-outcome": VerdictOutcomeEvent,
    "event-media": EventMediaEvent,
    "settings": AllSettings,
    "settings-producer": ProducerSettings,
    "settings-worker": WorkerSettings,
    "settings-coordinator": CoordinatorSettings,
    "settings-consumer": ConsumerSettings,
    "settings-console": ConsoleSettings,
}
"""File name without ``.json``, and what it describes."""


def json_schema(name: str) -> dict[str, Any]:
    """The schema of ``MODELS[name]``: of a message as it is written, as a reader should hold it; of settings as read.

    A message's schema names its version, asks for all that this version writes, and lets more pass.
    """
    model = MODELS[name]
    if issubclass(model, Message):
        written = _open(model.model_json_schema(mode="serialization"))
        return {"$schema": DIALECT, "$id": f"{ID_PREFIX}{name}:{version_of(model)}", **written}
    return {"$schema": DIALECT, **model.model_json_schema()}


def version_of(kind: type[Message]) -> str:
    """``major.minor``; that of an envelope is of what it envelops."""
    versions = versioned(kind)
    return f"{versions.model_fields['schema_version'].default}.{versions.minor}"


def _open(schema: Any) -> Any:
    """``schema`` without its bans on what a newer minor version adds."""
    if isinstance(schema, list):
        return [_open(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _open(part) for key, part in schema.items() if (key, part) != ("additionalProperties", False)}


def schema_text(name: str) -> str:
    """The schema as it is written to its file; the same on every machine."""
    return _text(asyncapi_document() if name == ASYNCAPI_NAME else json_schema(name))


def export_schemas(folder: Path) -> tuple[Path, ...]:
    """Write one file per model, and the AsyncAPI document, into ``folder``, which is made when absent; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.json" for name in (*MODELS, ASYNCAPI_NAME)}
    for name, path in paths.items():
        path.write_text(schema_text(name), "utf-8")
    return tuple(paths.values())


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
