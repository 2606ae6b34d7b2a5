"""What of new settings a running process can take over."""

from typing import Any

import pytest

from schemas.settings import AllSettings, ProducerSettings, Settings, WorkerSettings, changes

GATE = {"source": "a.mp4"}


@pytest.mark.parametrize(
    ("before", "now", "hot", "cold"),
    [
        ({}, {}, (), ()),
        ({}, {"producer": {"mask": [[0, 0, 1, 1]]}}, ("producer.mask",), ()),
        ({}, {"producer": {"fps": 3}}, (), ("producer.fps",)),
        ({}, {"events": {"enter": 0.5}, "log": {"level": "debug"}}, ("log.level", "events.enter"), ()),
        ({}, {"kafka": {"password": "a"}}, (), ("kafka.password",)),
        ({}, {"cameras": {"gate": GATE}}, ("cameras.gate",), ()),
        ({"cameras": {"gate": GATE}}, {}, ("cameras.gate",), ()),
        (
            {"cameras": {"gate": GATE}},
            {"cameras": {"gate": {**GATE, "masks": [], "hours": ["Mon"], "zones": {"a": [0, 0, 1, 1]}, "exit": 0.1}}},
            ("cameras.gate.masks", "cameras.gate.zones", "cameras.gate.hours", "cameras.gate.exit"),
            (),
        ),
        (
            {"cameras": {"gate": GATE}},
            {"cameras": {"gate": {"source": "b.mp4", "fps": 2}}},
            (),
            ("cameras.gate.source", "cameras.gate.fps"),
        ),
    ],
)
def test_some_changes_take_effect_at_once(before: Any, now: Any, hot: tuple[str, ...], cold: tuple[str, ...]) -> None:
    found = changes(AllSettings.model_validate(before), AllSettings.model_validate(now))
    assert (found.hot, found.cold) == (hot, cold)


@pytest.mark.parametrize(("kind", "keys"), [(ProducerSettings, ("fps", "masks")), (WorkerSettings, ("zones", "exit"))])
def test_a_process_is_told_only_of_what_it_reads(kind: type[Settings], keys: tuple[str, ...]) -> None:
    other = {"fps": 2, "masks": [[0, 0, 1, 1]], "zones": {"a": [0, 0, 1, 1]}, "exit": 0.1}
    before, now = (kind.model_validate({"cameras": {"gate": {**GATE, **more}}}) for more in ({}, other))
    found = changes(before, now)
    assert {*found.hot, *found.cold} == {f"cameras.gate.{key}" for key in keys}
