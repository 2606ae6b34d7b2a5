"""What an edge costs: the share of a core and the memory of ``engram produce``, and the size of what is installed.

A film as cameras send it (H.264, 1920 x 1080, 25 frames a second, 4 Mbit/s) is played at its own pace by a real process
to a real broker, ten frames a second as small as a network takes them. CPU time is that of the process alone, over the
seconds of *video* that it sent meanwhile, so that who else uses the machine matters little.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import av
import cv2
import numpy as np
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from deploy.local.kafka import LocalKafka
from engram.build.topics import topic_specs
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import Reader
from producers.synthetic import SyntheticScene
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FPS, SENT_FPS = 25, 10
SIZE = (1920, 1080)
SECONDS = 60.0
CAMERAS = (1, 4)
BIT_RATE = 4_000_000
WARM_S = 5.0
"""Of video, before anything is measured: a process that starts is no process that runs."""
DEADLINE_S = 600.0
ROOT = Path(__file__).parents[1]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process.

    Attributes:
        cameras: that it sends.
        core: seconds of CPU for a second of video of all cameras; 1 = a whole core.
        peak_mb: most memory that it ever held.
    """

    cameras: int
    core: float
    peak_mb: float


def run() -> None:
    """Start a broker, make the film, run one camera and four."""
    with tempfile.TemporaryDirectory() as folder:
        server = LocalKafka(Path(folder) / "kafka")
        server.start()
        try:
            server.wait_ready(60)
            compare(server.bootstrap_servers, "bench.", Path(folder), SECONDS, SIZE, CAMERAS)
        finally:
            server.stop()


def compare(
    bootstrap_servers: str,
    prefix: str,
    folder: Path,
    seconds: float,
    size: tuple[int, int],
    cameras: Sequence[int],
    warm_s: float = WARM_S,
) -> None:
    """Print the table."""
    film = folder / "film.mp4"
    write_film(film, seconds, size)
    title = f"{size[0]} x {size[1]} H.264 at {FPS} frames/s, {SENT_FPS} sent, 192 x 128 grey; "
    title += f"base install {install_bytes() / 1e6:.0f} MB"
    table = Table("engram produce", "% of a core", "peak MB", "of one camera", title=title, title_justify="left")
    costs = [cost(bootstrap_servers, f"{prefix}{count}.", film, count, warm_s) for count in cameras]
    for each in costs:
        ratio = each.core / costs[0].core
        name = f"{each.cameras} camera" + "s" * (each.cameras > 1)
        table.add_row(name, f"{100 * each.core:.1f}", f"{each.peak_mb:.0f}", f"{ratio:.2f}")
    Console().print(table)


def write_film(path: Path, seconds: float, size: tuple[int, int]) -> None:
    """A walkway as a camera encodes it: no B-frames, a whole picture every two seconds, a bit of noise."""
    noise = np.random.default_rng(0).integers(0, 7, (8, size[1], size[0], 1), np.uint8)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate, stream.gop_size = "yuv420p", BIT_RATE, 2 * FPS
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        for index, image in enumerate(SyntheticScene(seed=1, fps=FPS).frames(round(seconds * FPS))):
            picture = cv2.add(cv2.resize(image, size), np.repeat(noise[index % 8], 3, axis=2))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture, np.uint8), format="bgr24")))
        film.mux(stream.encode(None))


def cost(bootstrap_servers: str, prefix: str, film: Path, cameras: int, warm_s: float) -> Cost:
    """Of a process that plays the film once for each of so many cameras."""
    kafka = KafkaSection(bootstrap_servers=bootstrap_servers, topic_prefix=prefix, frames_partitions=cameras)
    bus = KafkaBus(KafkaConnection(bootstrap_servers))
    bus.create_topics(topic_specs(kafka, 256 * 1024))
    reader = bus.reader([TopicNames.with_prefix(prefix).frames], from_beginning=True)
    words = [word for number in range(cameras) for word in (str(film), "--camera", f"cam{number}")]
    words += ["--fps", str(SENT_FPS), "--pace", "live", "--width", "192", "--height", "128", "--colours", "grey"]
    words += ["--bootstrap-servers", bootstrap_servers, "--topic-prefix", prefix, "--log-level", "warning"]
    child = subprocess.Popen([sys.executable, "-m", "engram", "produce", *words], cwd=ROOT)
    try:
        marks = list(_marks(child, reader, cameras, warm_s))
    finally:
        child.kill()
        child.wait()
        bus.close()
    first, last = marks[0], marks[-1]
    assert last.video_s > first.video_s, "the film must be longer than the warm-up"
    return Cost(cameras, (last.cpu_s - first.cpu_s) / (last.video_s - first.video_s), last.peak_mb)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a process has used, all threads together, when so much video had come."""

    video_s: float
    cpu_s: float
    peak_mb: float


def _marks(child: "subprocess.Popen[bytes]", reader: Reader, cameras: int, warm_s: float) -> Iterator[_Mark]:
    """After the warm-up, at each look."""
    num_frames, deadline = 0, time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = reader.read(1000, 0.5)
        num_frames += sum(bool(record.value) for record in found)
        used = _used(child.pid)
        if used is None or any(not record.value for record in found):  # the end of the first film
            return
        video_s = num_frames / cameras / SENT_FPS
        if video_s >= warm_s:
            yield _Mark(video_s, *used)
    raise TimeoutError(f"{cameras} cameras must send their film within {DEADLINE_S:.0f} s, {num_frames} frames came")


def _used(pid: int) -> tuple[float, float] | None:
    """Seconds of CPU and the most memory so far, MB; None once the process has ended.

    Not what ``wait4`` says of memory: that begins with what we had when we started the process.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    highest = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return None if highest is None else ((int(fields[11]) + int(fields[12])) * TICK_S, int(highest[1]) * 1.024e-3)


def install_bytes() -> int:
    """Of the files of the base install: this project's packages and all that they need, without any extra."""
    ours = sum(
        path.stat().st_size
        for package in _packages()
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    return ours + sum(map(_dist_bytes, base_install()))


def base_install() -> set[str]:
    """Names of the packages that the project needs without any extra, and of those that they need."""
    seen: set[str] = set()
    # Of an install that is edited in place the metadata are as old as the install; the file is not.
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]:
        _need(text, seen)
    return seen


def _packages() -> Iterator[str]:
    return (path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in {"benchmarks", "tests"})


def _need(text: str, seen: set[str]) -> None:
    """Add what a requirement asks for, and what that needs, without extras."""
    wanted = Requirement(text)
    name = wanted.name.lower().replace("_", "-")
    if name in seen or not (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
        return
    seen.add(name)
    for other in metadata.requires(name) or ():
        _need(other, seen)


def _dist_bytes(name: str) -> int:
    files = (Path(str(file.locate())) for file in metadata.files(name) or ())
    return sum(path.stat().st_size for path in files if path.is_file())
