"""Every setting reaches the part it is for."""

from dataclasses import MISSING, fields

import pytest

from engram.build.options import coordinator_options, with_banks_for, worker_options
from schemas.settings import CoordinatorSettings, WatchSettings, WorkerSettings
from schemas.settings.detection import EventsSection
from tests.looks import remembered
from tests.small_bundle import small_bundle
from workers.options import EventOptions
from workers.tracker import EventRules


def test_defaults_of_settings_are_those_of_the_parts() -> None:
    options = worker_options(WorkerSettings())
    plain = type(options)(worker_id=options.worker_id)
    assert options == plain
    made = coordinator_options(CoordinatorSettings())
    assert made == type(made)(coordinator_id=made.coordinator_id, topics=made.topics)


def test_every_worker_and_event_setting_is_used() -> None:
    settings = WorkerSettings.model_validate(
        {
            "kafka": {"topic_prefix": "p.", "group": "g"},
            "memory": {"bank_id": "{camera_id}", "updates": False, "learn_s": 7},
            "worker": {
                "worker_id": "w9",
                "max_batch": 3,
                "max_wait_ms": 40,
                "decode_threads": 1,
                "commit_interval_ms": 250,
                "proposal_interval_s": 2,
                "max_frame_bytes": 2048,
                "max_pixels": 4096,
                "max_staleness_s": 5,
                "camera_timeout_s": 6,
                "camera_forget_s": 60,
                "max_attempts": 9,
                "max_cameras": 77,
                "warn_late_s": 3,
            },
            "events": {
                "enter": 0.9,
                "exit": 0.8,
                "target_false_alarms_per_day": 2,
                "min_duration_s": 1,
                "merge_gap_s": 3,
                "update_interval_s": 4,
                "max_duration_s": 50,
            },
            "cameras": {"gate": {"enter": 0.5, "zones": {"door": [0, 0, 0.5, 1]}, "severity": "critical"}},
        }
    )
    options, plain = worker_options(settings), worker_options(WorkerSettings())
    same = {field.name for field in fields(options) if getattr(options, field.name) == getattr(plain, field.name)}
    assert same == {"on_stop"}
    assert (options.max_wait_s, options.commit_interval_s, options.topics.frames) == (0.04, 0.25, "p.frames")
    assert options.events == EventOptions(0.9, 0.8, 2, 1, 3, 4, 50)
    gate = options.cameras["gate"]
    assert gate.events == EventOptions(0.5, None, 2, 1, 3, 4, 50)
    assert (gate.zones["door"][2], gate.severity) == ((0.5, 1), "critical")
    assert (options.limits.max_bytes, options.limits.max_pixels) == (2048, 4096)


@pytest.mark.parametrize(
    ("kafka", "group"),
    [
        ({}, "engram-workers"),
        ({"topic_prefix": "site-a."}, "site-a.engram-workers"),
        ({"topic_prefix": "site-a.", "group": "own"}, "own"),
    ],
)
def test_sites_on_one_broker_have_groups_of_their_own(kafka: dict[str, str], group: str) -> None:
    assert worker_options(WorkerSettings.model_validate({"kafka": kafka})).group == group


def test_coordinator_settings_are_used_by_both_kinds_of_process() -> None:
    values = {
        "kafka": {"topic_prefix": "p."},
        "memory": {"bank_id": "of-{camera_id}", "learn_s": 7, "half_life_h": 2},
        "coordinator": {
            "writer_id": "c9",
            "lease_s": 3,
            "round_s": 5,
            "quarantine_s": 2,
            "max_anchor_distance": 0.5,
            "change_budget_per_hour": 4,
            "change_budget_per_round": 0.25,
            "max_banks": 9,
            "guard_frames": 7,
        },
    }
    options = coordinator_options(CoordinatorSettings.model_validate(values))
    assert options == coordinator_options(WatchSettings.model_validate(values))
    assert (options.coordinator_id, options.lease_s, options.group) == ("c9", 3, "p.engram-coordinators")
    assert (options.rules.round_s, options.rules.quarantine_s, options.rules.guard_frames) == (5, 2, 7)
    assert (options.bank_id, options.max_banks, options.limits.moved_per_round) == ("of-{camera_id}", 9, 0.25)
    assert (options.limits.moved_per_hour, options.limits.anchor_distance) == (4, 0.5)
    assert (options.learn_s, options.half_life_s) == (7, 7200)


@pytest.mark.parametrize(
    ("given", "remembers", "bank_id"),
    [({}, True, "{camera_id}"), ({}, False, "shared"), ({"bank_id": "shared"}, True, "shared")],
)
def test_each_camera_has_a_bank_of_its_own_where_places_are_remembered(
    given: dict[str, str], remembers: bool, bank_id: str
) -> None:
    settings = WorkerSettings.model_validate({"memory": given})
    calibration = remembered() if remembers else small_bundle().calibration
    assert with_banks_for(settings, calibration).memory.bank_id == bank_id


def test_the_default_group_of_workers_bears_the_prefix_and_a_group_that_was_set_is_kept() -> None:
    prefixed = WorkerSettings.model_validate({"kafka": {"topic_prefix": "site-a."}})
    named = WorkerSettings.model_validate({"kafka": {"topic_prefix": "site-a.", "group": "mine"}})
    assert worker_options(prefixed).group == "site-a.engram-workers"
    assert worker_options(named).group == "mine"


def test_the_defaults_of_events_are_those_of_the_settings_everywhere() -> None:
    assert EventOptions(**EventsSection().model_dump()) == EventOptions()
    lengths = {"min_duration_s", "merge_gap_s", "update_interval_s", "max_duration_s"}
    assert all(field.default is MISSING for field in fields(EventRules) if field.name in lengths)
