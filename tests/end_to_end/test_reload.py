"""Cameras in the file: what is saved takes effect while ``engram watch`` runs, and a broken file changes nothing."""

import signal
import subprocess
from pathlib import Path

from tests.end_to_end.conftest import Engram

DEADLINE_S = 240
ENDLESS = "synthetic://walkway?seed=1&seconds=0"


def hear(child: "subprocess.Popen[str]", words: str) -> str:
    """The next line of the log that has these words."""
    assert child.stderr is not None
    heard: list[str] = []
    for line in child.stderr:
        heard.append(line)
        if words in line:
            return line
    raise AssertionError(f"it must say '{words}', it has said: {''.join(heard)}")


def save(file: Path, text: str) -> None:
    """As editors do: whole, under another name first."""
    new = file.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.rename(file)


def test_what_is_saved_takes_effect_at_once_or_is_said_to_do_so_later(
    engram: Engram, bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "engram.toml"
    gate = f"[producer]\npace = 'live'\nfps = 2\n[events]\nenter = 1.0\n[cameras.gate]\nsource = '{ENDLESS}'\n"
    save(file, gate)
    child = engram("watch", "--config", file, "--bundle", bundle, "--store", f"sqlite:///{tmp_path}/banks.db")
    hear(child, "camera gate: session")
    save(file, f"{gate}masks = [[0, 0, 1, 0.5]]\nzones = {{ door = [0, 0, 0.5, 1] }}\nenter = 0.9\nfps = 1\n")
    line = hear(child, "was saved: now in force")
    assert line.rstrip().endswith("cameras.gate.masks, cameras.gate.zones, cameras.gate.enter")
    assert hear(child, "take effect at the next start only").rstrip().endswith("cameras.gate.fps")
    save(file, "[cameras.gate\n")
    assert "all stays as it was: settings file must be TOML" in hear(child, "was saved, and cannot be used")
    child.send_signal(signal.SIGHUP)
    hear(child, "was read again on SIGHUP, and cannot be used")
    save(file, gate.replace("[cameras.gate]", "[cameras.yard]"))
    hear(child, "camera gate: it was taken out of the settings")
    hear(child, "camera yard: session")
    child.send_signal(signal.SIGTERM)
    _, stderr = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, stderr
    assert "frames sent" in stderr
