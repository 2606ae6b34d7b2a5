"""``engram config init`` and the examples: each place's file is whole, explained, and held against the schema."""

import json
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from bundles.bundle import save_bundle
from engram.cli.app import app
from engram.cli.config import Place, template
from engram.cli.produce import produce
from schemas.export import schema_text
from schemas.settings import AllSettings, load_with_origins
from tests.small_bundle import small_bundle

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = Path(__file__).parents[3] / "examples"
PLACES = get_args(Place)


def call(*words: object, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("place", PLACES)
def test_an_example_is_what_init_writes_and_can_be_used(place: Place) -> None:
    path = EXAMPLES / f"{place}.toml"
    assert path.read_text("utf-8") == template(place, "../docs/schemas/settings.json"), "copy it from engram/data"
    assert (EXAMPLES / "../docs/schemas/settings.json").is_file()
    loaded = load_with_origins(AllSettings, path, {}, {})
    cameras = loaded.settings.cameras
    assert len(cameras) >= 2
    assert all(camera.has_source for camera in cameras.values())
    assert any(camera.masks for camera in cameras.values())
    assert any(camera.zones for camera in cameras.values())
    assert any(camera.hours for camera in cameras.values()) or loaded.settings.producer.hours


@pytest.mark.parametrize("place", PLACES)
def test_init_writes_a_file_that_check_takes_and_its_schema(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "engram.toml"
    done = call("config", "init", "--for", place, "--out", out)
    assert done.exit_code == 0, done.output
    assert out.read_text("utf-8").startswith("#:schema engram.schema.json\n#")
    assert (tmp_path / "engram.schema.json").read_text("utf-8") == schema_text("settings")
    checked = call("config", "check", "--config", out)
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.startswith("ok: ")
    assert checked.stdout.count("camera ") >= 2


def test_init_leaves_a_file_alone_that_is_there(tmp_path: Path) -> None:
    out = tmp_path / "engram.toml"
    out.write_text("[log]\n")
    done = call("config", "init", "--out", out)
    assert done.exit_code == 2
    assert "must not be there yet" in done.stderr
    assert out.read_text() == "[log]\n"
    assert not (tmp_path / "engram.schema.json").exists()


def test_init_says_where_it_cannot_write(tmp_path: Path) -> None:
    done = call("config", "init", "--out", tmp_path / "nowhere" / "engram.toml")
    assert done.exit_code == 2
    assert "engram.toml' must be a new file that we may write: No such file or directory" in done.stderr


def test_check_says_where_each_source_is_and_never_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "yard").write_text("rtsp://bob:s3cr3t@cam/1\n")
    file = tmp_path / "engram.toml"
    file.write_text(
        f"""
        [cameras]
        a = {{ source_env = "GATE" }}
        b = {{ source_env = "NO_SUCH_CAMERA" }}
        c = {{ source_file = "{tmp_path}/yard" }}
        d = {{ source_file = "{tmp_path}/nowhere" }}
        e = {{ source = "rtsp://bob:s3cr3t@cam/2" }}
        f = {{ enter = 0.5 }}
        """
    )
    done = call("config", "check", "--config", file, GATE="rtsp://bob:s3cr3t@cam/3")
    assert done.exit_code == 0, done.output
    assert "s3cr3t" not in done.output
    assert done.stdout.splitlines()[1:] == [
        "camera a: source in the environment variable GATE",
        "camera b: source in the environment variable NO_SUCH_CAMERA, which is not set here",
        f"camera c: source in the file {tmp_path}/yard",
        f"camera d: source in the file {tmp_path}/nowhere, which is not there on this machine",
        "camera e: source in this file",
        "camera f: no source, so judged here and sent by others",
    ]
    shown = call("config", "show", "--config", file, "-o", "json")
    assert "s3cr3t" not in shown.output
    assert json.loads(shown.stdout)["cameras.e.source"] == {
        "value": "rtsp://bob:**********@cam/2",
        "origin": f"file {file}",
    }


def test_the_schema_describes_cameras_for_editors() -> None:
    schema: dict[str, Any] = json.loads(schema_text("settings"))
    camera = schema["$defs"]["CameraSection"]["properties"]
    assert all(about.get("description") for about in camera.values())
    shape = camera["zones"]["patternProperties"].popitem()[1]
    assert len(shape["anyOf"]) == 2, "a polygon or a box"


def test_a_bundle_says_how_frames_must_be_sent_in_flags_and_in_a_table(tmp_path: Path) -> None:
    manifest = save_bundle(tmp_path / "small", small_bundle()).manifest
    shown = call("bundle", "show", tmp_path / "small")
    assert shown.exit_code == 0, shown.output
    flags, _, table = shown.stdout.partition("\n\n")
    assert f"--width {manifest.width} --height {manifest.height}" in flags
    pasted = flags.split()
    known = {f"--{name.replace('_', '-')}" for name in produce.__annotations__}
    assert set(pasted[::2]) <= known
    section = tomllib.loads(table)["producer"]
    assert section == {
        path.removeprefix("producer."): value
        for path, value in json.loads(call("bundle", "show", tmp_path / "small", "-o", "json").stdout).items()
    }
    assert (section["fps"], section["width"]) == (manifest.fps, manifest.width)
