"""``engram bank learn``: what a bank is told of how long to learn, over a real SQLite store."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from engram.build.adapters import open_store
from engram.cli.app import app
from memory_store.bank import Change
from schemas.settings.connections import StoreSection
from tests.unit.memory_store.counted import counting_bank, counts
from tests.unit.memory_store.proposals import a_bank


class Site:
    """A store with three banks: 'gate' has counted 1200 frames, 'yard' none yet, 'plain' counts nothing."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'banks.db'}"
        counted = replace(counting_bank(), normality=counts(1200))
        with open_store(StoreSection(url=self.url)) as store:
            for bank_id, bank in (("gate", counted), ("yard", counting_bank()), ("plain", a_bank())):
                store.create(replace(bank, bank_id=bank_id), Change("create", "c1", "as trained", bank_id))

    def call(self, *words: str, **environment: str) -> Result:
        fixed = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", "ENGRAM_STORE__URL": self.url}
        return CliRunner(env=fixed | environment).invoke(app, ["bank", *words])

    def told(self, *words: str, **environment: str) -> Any:
        done = self.call(*words, "-o", "json", **environment)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def reason(self, bank_id: str) -> str:
        return str(self.told("log", bank_id, "-n", "1")[0]["reason"])

    def versions(self) -> dict[str, int]:
        return {bank["bank_id"]: bank["version"] for bank in self.told("list")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_bank_forgets_and_learns_for_as_long_as_was_said(site: Site) -> None:
    before = site.told("show", "gate")
    assert (before["frames_counted"], before["learn_s"], before["wanted_s"]) == (1200, None, 60)
    after = site.told("learn", "gate", "--for", "10m")
    assert (after["frames_counted"], after["learn_s"]) == (0, 600)
    assert site.reason("gate") == "forgets 1200 frames, learns for 10 min"
    shown = site.told("show", "gate", ENGRAM_MEMORY__LEARN_S="7200")
    assert (shown["version"], shown["learn_s"], shown["wanted_s"]) == (1, 600, 600), "its own number, not the setting's"
    assert site.told("show", "yard", ENGRAM_MEMORY__LEARN_S="7200")["wanted_s"] == 7200
    assert "wanted_s" not in site.told("show", "plain")
    back = site.told("rollback", "gate", "--to", "0")
    assert (back["frames_counted"], back["learn_s"], back["digest"]) == (1200, None, before["digest"])
    assert site.told("show", "gate")["wanted_s"] == 60


def test_without_a_time_the_setting_holds_again(site: Site) -> None:
    site.told("learn", "gate", "--for", "1h30m", "--reason", "the fence was moved")
    assert site.reason("gate") == "forgets 1200 frames, learns for 90 min: the fence was moved"
    assert site.told("learn", "gate", "--reason", "too long")["learn_s"] is None
    assert site.reason("gate") == "learns for as long as memory.learn_s says: too long"


def test_a_new_camera_s_bank_is_only_told_the_time(site: Site) -> None:
    made = site.told("show", "yard")
    told = site.told("learn", "yard", "--for", "90s")
    assert (told["version"], told["digest"], told["learn_s"]) == (1, made["digest"], 90)
    assert site.reason("yard") == "learns for 90 s"
    assert site.told("rollback", "yard", "--to", "0")["learn_s"] is None
    assert site.told("verify", "yard")[0]["ok"]


@pytest.mark.parametrize(
    ("bank_id", "template", "camera"),
    [("yard", None, "yard"), ("yard", "{camera_id}", "yard"), ("yard", "{camera_id}d", "yar")],
)
def test_a_camera_stands_for_the_bank_that_is_its_alone(
    site: Site, bank_id: str, template: str | None, camera: str
) -> None:
    environment = {} if template is None else {"ENGRAM_MEMORY__BANK_ID": template}
    told = site.told("learn", "--camera", camera, "--for", "2h", **environment)
    assert (told["bank_id"], told["learn_s"]) == (bank_id, 7200)


def test_a_camera_without_a_bank_of_its_own_stands_for_none(site: Site) -> None:
    refused = site.call("learn", "--camera", "yard", "--for", "2h", ENGRAM_MEMORY__BANK_ID="gate")
    assert refused.exit_code == 2
    assert "--camera must name a camera with a bank of its own, by memory.bank_id all share 'gate'" in refused.stderr
    assert site.versions() == {"gate": 0, "plain": 0, "yard": 0}


LENGTH = "--for must be a length of time such as 30s, 10m, 2h"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gate", "--for", "0"), LENGTH),
        (("gate", "--for", "0s"), LENGTH),
        (("gate", "--for", "-5m"), LENGTH),
        (("gate", "--for", "nan"), LENGTH),
        (("gate", "--for", "nans"), LENGTH),
        (("gate", "--for", "inf"), LENGTH),
        (("gate", "--for", "600"), LENGTH),
        (("gate", "--for", "ten minutes"), LENGTH),
        (("gate", "--for", ""), LENGTH),
        (("gate", "--for", "10m; rm"), LENGTH),
        (("gate", "--for", "8d"), "must learn for more than nothing and at most 7 d, got 691200 s"),
        (("gate", "--for", "99999999999999999999w"), LENGTH),
        (("dock", "--for", "10m"), "bank 'dock' must exist, the store has ['gate', 'plain', 'yard']"),
        (("plain", "--for", "10m"), "to learn anew a bank must count what is normal, the bundle of 'plain'"),
        (("a:b", "--for", "10m"), "a bank id must match"),
        (("--camera", "dock", "--for", "10m"), "bank 'dock' must exist"),
        (("--camera", "a b", "--for", "10m"), "a bank id must match"),
        (("--for", "10m"), "either a bank or --camera must be given"),
        (("gate", "--camera", "gate", "--for", "10m"), "either a bank or --camera must be given"),
        (("gate",), "--reason must say why"),
        (("gate", "--for", "10m", "--reason", "a\nb"), "--reason must be one line"),
        (("yard", "--reason", "x"), "bank 'yard' has counted nothing yet; is its camera running?"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(
    site: Site, words: tuple[str, ...], says: str
) -> None:
    refused = site.call("learn", *words)
    assert (refused.exit_code, refused.stdout) == (2, ""), refused.output
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert site.versions() == {"gate": 0, "plain": 0, "yard": 0}
