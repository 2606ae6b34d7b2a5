"""Boards with something on them, and pages over them, as tests need them."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import cv2
import numpy as np
from fastapi.testclient import TestClient

from console.access import Access, Role, new_token
from console.board import Board, Bounds
from console.media import MediaPlace
from console.memory import MemoryDesk
from console.plumbing import Plumbing
from console.web.app import make_app
from console.web.site import Health, Parts, Place
from schemas.cameras import CameraStatus
from schemas.messages import READING, AnomalyEvent, EventPhase
from schemas.verdicts import OperatorVerdict, VerdictOutcome
from tests.unit.consumers.samples import DIGEST, at, event

NOW = at(1000)


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A picture of a gradient."""
    image = np.tile(np.linspace(0, 255, width, dtype=np.uint8), (height, 1))
    done, data = cv2.imencode(".jpg", image)
    assert done
    return data.tobytes()


def seen(
    first: int = 10,
    last: int = 20,
    phase: EventPhase = "end",
    number: int = 0,
    camera_id: str = "cam1",
    picture: bytes | None = None,
    **data: Any,
) -> AnomalyEvent:
    """A message of an event; ``data`` replaces fields of its data."""
    plain = event(first, last, phase, number, camera_id).model_dump(mode="json")
    plain["data"]["heat_map"]["scale"] = "common"
    if picture is not None:
        text = base64.b64encode(picture).decode()
        plain["data"]["thumbnail"] = {"width": 64, "height": 48, "jpeg_base64": text}
    for name, value in data.items():
        plain["data"][name] = {**(plain["data"][name] or {}), **value} if isinstance(value, dict) else value
    return AnomalyEvent.model_validate(plain, context=READING)


def status(camera_id: str = "cam1", **changes: Any) -> CameraStatus:
    """What a producer says."""
    frames = {"captured": 120, "sent": 100, "late": 0, "in_flight": 2, "spooled": 0, "recovered": 0, "sampled_out": 10}
    values: dict[str, Any] = {
        "camera_id": camera_id,
        "session_id": "s1",
        "state": "online",
        "since": at(0),
        "why": "being read",
        "view": "clear",
        "view_since": at(0),
        "fps": 10.0,
        "wanted_fps": 10.0,
        "frames": {**frames, "dropped": [{"cause": "broker_away", "num_frames": 8}], "sent_bytes": 5},
        "started_at": at(0),
        "rival": None,
        "producer": "edge7/1",
        "software": "engram",
        "reported_at": NOW,
        "heartbeat_s": 15.0,
    }
    return CameraStatus.model_validate(values | changes)


def outcome(verdict: OperatorVerdict, **changes: Any) -> VerdictOutcome:
    """What a coordinator answers."""
    values: dict[str, Any] = {
        "verdict_id": verdict.verdict_id,
        "event_id": verdict.event_id,
        "camera_id": verdict.camera_id,
        "bank_id": verdict.bank_id,
        "judgement": verdict.judgement,
        "operator": verdict.operator,
        "outcome": "applied",
        "bank_version": 4,
        "bank_digest": DIGEST,
        "decided_at": NOW,
    }
    return VerdictOutcome.model_validate(values | changes)


def board_at(now: datetime = NOW, bounds: Bounds | None = None) -> Board:
    """A board whose clock stands still."""
    return Board(bounds, lambda: now)


@dataclass
class World:
    """Pages over a board: who asks, and what was said to the log."""

    board: Board
    said: list[OperatorVerdict]
    tokens: dict[Role, str]
    make_client: Callable[..., TestClient]
    seconds: list[float] = field(default_factory=lambda: [0.0])

    def client(self, role: Role | None = "operate", **given: Any) -> TestClient:
        """A browser, logged in as ``role``; None: not logged in."""
        client = self.make_client(**given)
        if role is not None:
            answer = client.post("/login", data={"token": self.tokens[role]}, follow_redirects=False)
            assert answer.status_code == 303, answer.text
        return client


def world(
    board: Board | None = None,
    place: Place | None = None,
    memory: MemoryDesk | None = None,
    say: Callable[[OperatorVerdict], None] | None = None,
    health: Health | None = None,
    plumbing: Plumbing | None = None,
    media: MediaPlace | None = None,
) -> World:
    """Pages with a token for each role."""
    board = board or board_at()
    made: list[tuple[Role, Any]] = [("view", new_token("vera", "view")), ("operate", new_token("ann", "operate"))]
    said: list[OperatorVerdict] = []
    seconds = [0.0]
    parts = Parts(
        board,
        Access([grant for _, (_, grant) in made], lambda: seconds[0]),
        say or said.append,
        lambda: health or Health(0.1, 0.1, 0),
        lambda: plumbing or Plumbing(),
        memory,
        media,
    )
    app = make_app(parts, place)

    def make_client(**given: Any) -> TestClient:
        return TestClient(app, raise_server_exceptions=True, **given)

    return World(board, said, {role: token for role, (token, _) in made}, make_client, seconds)


def csrf_of(page: str) -> str:
    """What a page's forms carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None, "the page must have a form"
    return found[1]


LATER = timedelta(seconds=1)
