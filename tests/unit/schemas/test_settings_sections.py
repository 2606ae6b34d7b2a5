"""Every setting is explained, bounded and frozen."""

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.messages import Id
from schemas.settings import AllSettings, ProducerSettings
from schemas.settings.cameras import CameraSection
from schemas.settings.connections import HttpSection, KafkaSection, StoreSection
from schemas.settings.detection import CoordinatorSection, MemorySection, WorkerSection, host_and_pid
from schemas.topics import TopicNames

SECTIONS = [*(f.annotation for name, f in AllSettings.model_fields.items() if name != "cameras"), CameraSection]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_section_and_key_says_what_it_is(section: type[BaseModel]) -> None:
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description, name


def test_settings_cannot_be_changed() -> None:
    settings = ProducerSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.producer.fps = 3


def test_ids_of_this_process_are_valid_ids() -> None:
    assert TypeAdapter(Id).validate_python(host_and_pid()) == host_and_pid()
    assert WorkerSection().worker_id == CoordinatorSection().writer_id == host_and_pid()


@pytest.mark.parametrize("bank_id", ["shared", "{camera_id}", "site-a.{camera_id}", "{camera_id}.night"])
def test_a_bank_template_may_name_the_camera(bank_id: str) -> None:
    assert MemorySection(bank_id=bank_id).bank_id == bank_id


@pytest.mark.parametrize("bank_id", ["", "{camera}", "a b", "{camera_id", "-a", "a:b"])
def test_other_templates_are_refused(bank_id: str) -> None:
    with pytest.raises(ValidationError):
        MemorySection(bank_id=bank_id)


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://h", "sqlite:///a.db"])
def test_store_urls(url: str) -> None:
    assert StoreSection(url=url).url == url


def test_the_default_store_is_a_file_of_the_user() -> None:
    assert StoreSection().url.startswith("sqlite:///")
    assert StoreSection().url.endswith("banks.db")


def test_topic_names_take_the_prefix_and_differ() -> None:
    names = TopicNames.with_prefix("site-a.")
    assert names.frame_scores == "site-a.frame-scores"
    assert len(set(names.all())) == 12
    assert all(name.startswith("site-a.") for name in names.all())
    assert TopicNames.with_prefix("").frames == "frames"
    with pytest.raises(ValidationError):
        KafkaSection(topic_prefix="a/b")


def test_nothing_is_shown_unless_an_address_is_given() -> None:
    assert HttpSection().address is None
    assert HttpSection(listen="9100").address == ("127.0.0.1", 9100)
    assert HttpSection.model_validate({"listen": 9100}).address == ("127.0.0.1", 9100), "as TOML has it"


@pytest.mark.parametrize("listen", ["nowhere", 70_000, True, ""])
def test_an_address_that_is_none_is_refused_with_its_settings(listen: object) -> None:
    with pytest.raises(ValidationError):
        HttpSection.model_validate({"listen": listen})
