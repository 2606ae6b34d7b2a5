"""What ``deploy/docker/build.sh`` asks of docker, podman and buildah: a stand-in of that name writes down its words."""

import re
import subprocess
from pathlib import Path

DOCKER = Path(__file__).parents[3] / "deploy" / "docker"
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$WRITTEN"
case "$*" in
    *images*) echo "REPOSITORY TAG" && echo "localhost/engram edge" && echo "somebody/else edge" ;;
    *from*) echo a-container ;;
    *--target\\ worker-cpu*) exit 7 ;;
esac
"""


def run(folder: Path, kind: str, *words: str, **environment: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Build with a stand-in; returns what it was asked for, line by line."""
    builder = folder / kind
    builder.write_text(STAND_IN)
    builder.chmod(0o755)
    written = folder / "written"
    written.write_text("")
    asked = {"PATH": "/usr/bin:/bin", "WRITTEN": str(written), "BUILDER": str(builder)} | environment
    command = [str(DOCKER / "build.sh"), *words]
    done = subprocess.run(command, env=asked, capture_output=True, text=True, timeout=60, check=False)
    return written.read_text().splitlines(), done


def test_docker(tmp_path: Path) -> None:
    asked, done = run(tmp_path, "docker", "edge", "console", "--", "--build-arg", "WORKER_CPU_PIP=x")
    assert done.returncode == 0, done.stderr
    build = "docker build --file deploy/docker/Dockerfile --build-arg WORKER_CPU_PIP=x"
    assert asked == [
        f"{build} --target edge --tag engram:edge .",
        "docker run --rm --read-only --cap-drop ALL engram:edge --version",
        f"{build} --target console --tag engram:console .",
        "docker run --rm --read-only --cap-drop ALL engram:console --version",
        "docker images",
    ]
    assert done.stdout.splitlines() == ["REPOSITORY TAG", "localhost/engram edge"]


def test_buildah_needs_neither_an_engine_nor_a_registry(tmp_path: Path) -> None:
    words = f"{tmp_path / 'buildah'} --storage-driver vfs"
    asked, done = run(tmp_path, "buildah", "edge", BUILDER=words, BASE="mine:1", NAME="site")
    assert done.returncode == 0, done.stderr
    before = "buildah --storage-driver vfs"
    assert asked == [
        f"{before} build --file deploy/docker/Dockerfile --isolation chroot --format docker --build-arg BASE=mine:1 "
        "--target edge --tag site:edge .",
        f"{before} from site:edge",
        f"{before} run --isolation chroot a-container -- engram --version",
        f"{before} rm a-container",
        f"{before} images",
    ]


def test_without_a_word_all_that_need_no_gpu_and_a_failure_is_one(tmp_path: Path) -> None:
    asked, done = run(tmp_path, "podman")
    assert done.returncode == 7
    built = [target for line in asked for target in re.findall(r"--target (\S+)", line)]
    assert built == ["edge", "coordinator", "console", "worker-cpu"]
    assert set(built) < set(re.findall(r"^FROM runtime AS (\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    assert "podman images" not in asked


def test_the_first_builder_that_is_there_is_taken(tmp_path: Path) -> None:
    asked, done = run(tmp_path, "docker", "edge", BUILDER="", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in asked} == {"docker"}


def test_without_a_builder_it_says_what_is_missing(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for each in ("bash", "dirname", "env"):
        (tools / each).symlink_to(Path("/usr/bin") / each)
    _, done = run(tmp_path, "docker", "edge", BUILDER="", PATH=str(tools))
    assert done.returncode == 2
    assert "docker, podman or buildah must be installed" in done.stderr
