"""JSON Schemas of every message and every process's settings, for readers in other languages and for editors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas.messages import AnomalyEvent, BankHeader, FrameHeader, FrameScore, ProposalHeader
from schemas.settings import (
    AllSettings,
    ConsumerSettings,
    CoordinatorSettings,
    ProducerSettings,
    WorkerSettings,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MODELS: Mapping[str, type[BaseModel]] = {
    "frame-header": FrameHeader,
    "frame-score": FrameScore,
    "anomaly-event": AnomalyEvent,
    "proposal-header": ProposalHeader,
    "bank-header": BankHeader,
    "settings": AllSettings,
    "settings-producer": ProducerSettings,
    "settings-worker": WorkerSettings,
    "settings-coordinator": CoordinatorSettings,
    "settings-consumer": ConsumerSettings,
}
"""File name without ``.json``, and what it describes."""


def json_schema(name: str) -> dict[str, Any]:
    """The schema of ``MODELS[name]``, as a reader of that message should hold it."""
    return {"$schema": DIALECT, **MODELS[name].model_json_schema()}


def schema_text(name: str) -> str:
    """The schema as it is written to its file; the same on every machine."""
    return json.dumps(json_schema(name), indent=2, sort_keys=True) + "\n"


def export_schemas(folder: Path) -> tuple[Path, ...]:
    """Write one file per model into ``folder``, which is made when absent; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{name}.json" for name in MODELS)
    for name, path in zip(MODELS, paths, strict=True):
        path.write_text(schema_text(name), "utf-8")
    return paths
