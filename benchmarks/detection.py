"""How many of the injected anomalies the shipped bundle finds, and how often it is wrong, over five scenes.

The scenes are other people, other anomalies, other light than it was trained on; settings are those of ``engram demo``.
"""

import threading

from rich.console import Console
from rich.table import Table

from engram.build.shipped import WALKWAY, shipped_bundle
from engram.cli.demo import DEMO_SETTINGS
from engram.demo.comparison import Comparison, false_alarms
from engram.demo.show import DemoRequest, play
from schemas.settings import AllSettings, load_settings

SEEDS = (11, 22, 33, 44, 55)
SECONDS = 90.0


def run() -> None:
    """The figures of the README."""
    compare(SEEDS, SECONDS)


def compare(seeds: tuple[int, ...], seconds: float) -> None:
    """Watch all scenes at once and print what was found, by kind, and what was reported besides."""
    found = detect(seeds, seconds)
    title = f"Synthetic walkway, {len(seeds)} scenes of {seconds:g} s"
    table = Table("kind", "injected", "found", title=title, title_justify="left")
    for kind in sorted({finding.anomaly.kind for finding in found.findings}):
        these = [finding for finding in found.findings if finding.anomaly.kind == kind]
        table.add_row(kind, str(len(these)), str(sum(finding.event is not None for finding in these)))
    table.add_row("all", str(len(found.findings)), str(found.num_found))
    Console().print(table)
    print(f"{false_alarms(found)}; in {len(seeds) * seconds / 60:.1f} minutes of video")


def detect(seeds: tuple[int, ...], seconds: float) -> Comparison:
    """Watch one scene per seed with the shipped bundle, and hold the events against the truth."""
    settings = load_settings(AllSettings, None, DEMO_SETTINGS)
    cameras = {f"scene-{seed}": seed for seed in seeds}
    return play(settings, DemoRequest(shipped_bundle(WALKWAY), seconds, cameras=cameras), threading.Event()).comparison
