"""The rules file: what is read, and how each fault is told with its line."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from consumers.notify.rules import NotifyRules, WebhookTarget, read_rules
from engram.cli.notify import rules_schema
from schemas.errors import SettingsError
from tests.architecture.repository import ROOT

EXAMPLE = ROOT / "examples" / "notify.toml"
TARGET = '[webhooks.guard]\nurl = "http://127.0.0.1/"\n'
RULE = '[[rules]]\nname = "all"\nto = ["guard"]\n'


def rules(tmp_path: Path, text: str) -> NotifyRules:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return read_rules(path)


def fault(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        rules(tmp_path, text)
    return str(caught.value)


def test_the_example_is_right_and_its_schema_is_that_of_the_code() -> None:
    read = read_rules(EXAMPLE)
    assert sorted(read.targets) == ["chat", "guard", "home"]
    assert [rule.name for rule in read.rules_for("guard")] == ["at night", "urgent at any time"]
    assert read.rules[0].quiet == timedelta(minutes=10)
    assert EXAMPLE.read_text().startswith("#:schema notify.schema.json\n")
    published = (ROOT / "examples" / "notify.schema.json").read_text()
    assert published == rules_schema(), "run 'engram notify x --schema > examples/notify.schema.json'"
    assert json.loads(published)["additionalProperties"] is False


def test_what_is_not_given_is_the_default(tmp_path: Path) -> None:
    read = rules(tmp_path, TARGET + RULE)
    (rule,) = read.rules
    assert (rule.cameras, rule.phases, rule.quiet, rule.min_score) == (("*",), ("start", "end"), None, 0.0)
    target = read.targets["guard"]
    assert isinstance(target, WebhookTarget)
    assert (target.timeout, target.give_up_after) == (timedelta(seconds=10), timedelta(hours=1))


def test_secrets_are_read_from_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("Bearer abc\n")
    monkeypatch.setenv("GUARD_URL", "https://example.test/hook?token=xyz")
    text = f'[webhooks.guard]\nurl = "env:GUARD_URL"\nheaders = {{ Authorization = "file:{tmp_path}/token" }}\n{RULE}'
    target = rules(tmp_path, text).targets["guard"]
    assert isinstance(target, WebhookTarget)
    assert target.url.get_secret_value() == "https://example.test/hook?token=xyz"
    assert target.headers["Authorization"].get_secret_value() == "Bearer abc"
    assert "xyz" not in repr(target)
    assert "abc" not in repr(target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[rules]\n", "the rules must be TOML: Expected"),
        (TARGET, "line 1: rules: Field required"),
        (TARGET + RULE + 'camera = ["gate"]\n', "line 6: rules[0].camera: no such key"),
        (TARGET + RULE + 'hours = ["22:00-06:00", "8-9"]\n', "line 6: rules[0].hours[1]: must be two times of day"),
        (
            TARGET + RULE + 'phases = ["begin"]\n',
            "line 6: rules[0].phases[0]: Input should be 'start', 'update' or 'end'",
        ),
        (TARGET + RULE + 'quiet = "10"\n', "line 6: rules[0].quiet: must be a length of time"),
        (TARGET + RULE + RULE, "rules must have a name of their own"),
        (TARGET + RULE.replace("guard", "guards"), "rule 'all' tells ['guards'], there are ['guard']"),
        (TARGET + 'timeout = "soon"\n' + RULE, "line 3: webhooks.guard.timeout: must be a length of time"),
        (RULE + TARGET.replace("http:", "ftp:"), "line 5: webhooks.guard.url: must be http://… or https://…"),
        (TARGET.replace("//", "//user:hunter2@") + RULE, "line 2: webhooks.guard.url: must be http://"),
        ('[webhooks.guard]\nurl = "env:NOWHERE"\n' + RULE, "env:NOWHERE must be set and readable, it is not"),
        ('[webhooks.guard]\nurl = "file:/nowhere"\n' + RULE, "file:/nowhere must be set and readable, it is not"),
        (TARGET + 'secret = "a\\nb"\n' + RULE, "line 3: webhooks.guard.secret: must be one line"),
        ('timezone = "Mars"\n' + TARGET + RULE, "line 1: timezone: must be a time zone"),
        (TARGET + "timeout = -5\n" + RULE, "line 3: webhooks.guard.timeout: must be a length of time above 0"),
        (TARGET + RULE + "quiet = 0\n", "line 6: rules[0].quiet: must be a length of time above 0"),
        (TARGET + 'secret = ""\n' + RULE, "line 3: webhooks.guard.secret: must not be empty"),
        (TARGET + 'secret = "whsec_"\n' + RULE, "line 3: webhooks.guard.secret: must not be empty"),
        (TARGET + 'secret = "whsec_hunter2"\n' + RULE, "line 3: webhooks.guard.secret: must be base64 behind whsec_"),
        (TARGET + 'headers = { X-Key = "clé" }\n' + RULE, "line 3: webhooks.guard.headers.X-Key: must be ASCII"),
        (TARGET + 'headers = { Content-Length = "5" }\n' + RULE, "this header is written by us, or by HTTP itself"),
        (TARGET.replace(".1/", ".1/hunter2 x") + RULE, "line 2: webhooks.guard.url: must be http://"),
        (f"a = {'[' * 5000}{']' * 5000}", "the rules must be TOML: its lists or tables lie too deep in one another"),
        ("# " + "x" * (1 << 20) + "\n" + TARGET + RULE, "the rules must be a file of at most 1048576 letters"),
        (TARGET + "[mqtt.home]\nport = 1\n" + RULE, "line 3: mqtt.home.host: Field required"),
        (TARGET + '[mqtt.guard]\nhost = "h"\n' + RULE, "['guard'] are named twice"),
        (TARGET + '[mqtt.home]\nhost = "h"\nbase_topic = "a/#"\n' + RULE, "line 5: mqtt.home.base_topic"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    told = fault(tmp_path, text)
    assert expected in told
    assert "hunter2" not in told
    assert told.count("\n") == 0


def test_a_mark_that_some_editors_put_before_the_text_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n", "utf-8-sig")
    path = tmp_path / "rules.toml"
    path.write_text(TARGET + f'secret = "file:{tmp_path}/token"\n' + RULE, "utf-8-sig")
    target = read_rules(path).targets["guard"]
    assert isinstance(target, WebhookTarget) and target.secret is not None
    assert target.secret.get_secret_value() == "abc"


def test_certificates_that_are_none_are_a_fault_of_the_file(tmp_path: Path) -> None:
    """Not of the target that is made of it: on SIGHUP a broken file must change nothing."""
    wrong = tmp_path / "ca.pem"
    for content in (None, "no certificate"):
        if content is not None:
            wrong.write_text(content)
        text = f"[mqtt.home]\nhost = 'x'\ntls = true\nca_file = '{wrong}'\n[[rules]]\nname = 'a'\nto = ['home']\n"
        (tmp_path / "rules.toml").write_text(text)
        with pytest.raises(SettingsError, match=r"line 4: mqtt\.home\.ca_file: must be a file of certificates"):
            read_rules(tmp_path / "rules.toml")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    told = fault(
        tmp_path, TARGET + RULE + 'quiet = "x"\nphases = []\n[[rules]]\nname = "other"\nto = ["guard"]\ndays = ["x"]\n'
    )
    assert [line.split(": ")[0].rpartition("line ")[2] for line in told.splitlines()] == ["6", "11"]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'.*nowhere\.toml' is not: No such file"):
        read_rules(tmp_path / "nowhere.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is no UTF-8 text"):
        read_rules(tmp_path / "binary")
