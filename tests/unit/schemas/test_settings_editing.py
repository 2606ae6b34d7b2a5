"""A key changed in a file of people: nothing else in it changes, or nothing at all."""

from datetime import datetime, timezone
from pathlib import Path

import pytest

from schemas.errors import SettingsError
from schemas.settings import AllSettings, load_with_origins
from schemas.settings.editing import with_camera_key

UNTIL = datetime(2026, 1, 31, 10, 30, tzinfo=timezone.utc)
LINE = "paused_until = 2026-01-31T10:30:00+00:00\n"
FILE = """# ours
[cameras.gate]   # the gate
source = "a.mp4" # [cameras.press]
masks = [
  [0.0, 0.0, 0.5, 0.5],
]

[cameras.gate.zones]
path = [0, 0, 1, 1]

[ cameras . "press" ]
source = "b.mp4"
"""


def test_it_is_written_below_the_head_and_taken_out_again() -> None:
    paused = with_camera_key(FILE, "gate", "paused_until", UNTIL)
    assert paused == FILE.replace("# the gate\n", f"# the gate\n{LINE}")
    assert with_camera_key(paused, "gate", "paused_until", None) == FILE
    later = with_camera_key(paused, "gate", "paused_until", UNTIL.replace(hour=11))
    assert later == paused.replace("T10:30", "T11:30")


def test_a_table_with_a_quoted_name_at_the_end_of_the_file() -> None:
    assert with_camera_key(FILE, "press", "paused_until", UNTIL) == FILE.replace('"press" ]\n', f'"press" ]\n{LINE}')
    assert with_camera_key("[cameras.a]", "a", "paused_until", UNTIL) == f"[cameras.a]\n{LINE}"


def test_what_is_not_paused_stays_as_it_is() -> None:
    assert with_camera_key(FILE, "gate", "paused_until", None) == FILE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[cameras", "the file must be TOML"),
        ("[cameras.yard]\nfps = 1", "must have a table .cameras.gate., it has none"),
        ("cameras = 3", "must have a table .cameras.gate., it has none"),
        ('cameras.gate.source = "a.mp4"', "not understood here; write 'paused_until = 2026-01-31T10:30:00.00:00' by"),
        ('[cameras]\ngate = { source = "a.mp4" }', "not understood here; write"),
        ('x = """\n[cameras.gate]\n"""\n[cameras]\ngate = { source = "a.mp4" }', "not understood here; write"),
    ],
)
def test_what_cannot_be_changed_is_said(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        with_camera_key(text, "gate", "paused_until", UNTIL)


def test_it_is_what_the_camera_goes_by(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(with_camera_key(FILE, "press", "paused_until", UNTIL))
    assert load_with_origins(AllSettings, path, {}, {}).settings.cameras["press"].paused_until == UNTIL
