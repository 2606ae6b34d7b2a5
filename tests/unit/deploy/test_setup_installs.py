"""What set-up installs and in which order, over stand-ins for apt-get, sudo and Python that note what they are told.

The script stands in a folder of the test's own: it works from there, and what it makes lies there.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT

TOOLS = ("sh", "dirname", "uname", "sed", "head", "cat", "cksum", "env", "mkdir", "chmod", "cp", "true")
JAVA_21 = "echo 'openjdk version \"21.0.1\"' >&2"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with nothing but the script, and ``bin``, its whole PATH; whoever runs it is not root."""
    folder = tmp_path / "clone"
    (folder / "deploy" / "local").mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "local" / "setup.sh", folder / "deploy" / "local")
    (folder / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    put(folder, "id", "echo 1000")
    return folder


def put(clone: Path, command: str, script: str) -> None:
    path = clone.parent / "bin" / command
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def noted(clone: Path) -> list[str]:
    path = clone.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


def setup(clone: Path, what: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """From another folder: the script finds its clone itself."""
    return subprocess.run(
        ["sh", str(clone / "deploy" / "local" / "setup.sh"), what],
        env={
            "PATH": str(clone.parent / "bin"),
            "BIN": str(clone.parent / "bin"),
            "SHELF": str(clone.parent / "shelf"),
            "CALLS": str(clone.parent / "calls"),
            "SETUP_SBIN": "/nowhere",
            **environment,
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


APT_GET = """echo "apt-get $*" >>"$CALLS"
case "$*" in *{refuses}*) exit 100 ;; esac
for package in "$@"; do
  if [ -d "$SHELF/$package" ]; then cp -p "$SHELF/$package"/* "$BIN"; fi
done"""
COMMANDS = {"default-jre-headless": "java", "openjdk-21-jre-headless": "java", "maven": "mvn"}
"""What a package brings, where it is not called like its package."""


def apt(clone: Path, *has: str, refuses: str = "what nobody wants") -> None:
    """An apt-get that has stand-ins for ``has``, and fails where its arguments hold ``refuses``."""
    put(clone, "apt-get", APT_GET.format(refuses=refuses.replace(" ", "?")))
    for package in has:
        put(clone, f"../shelf/{package}/{COMMANDS.get(package, package)}", JAVA_21 if "jre" in package else "exit 0")


def packages(clone: Path) -> list[str]:
    return [line.split()[-1] for line in noted(clone) if line.startswith("apt-get install")]


ALL = ("default-jre-headless", "maven", "redis-server", "mosquitto")


def test_root_installs_what_is_missing_and_nothing_else(clone: Path) -> None:
    put(clone, "id", "echo 0")
    put(clone, "mvn", "exit 0")
    apt(clone, *ALL)
    done = setup(clone, "services", REQUIRE_SERVICES="1")
    assert done.returncode == 0, done.stderr
    assert packages(clone) == ["default-jre-headless", "redis-server", "mosquitto"]
    assert setup(clone, "services", REQUIRE_SERVICES="1").stderr == "", "a second run has nothing to do"
    assert len(packages(clone)) == 3


def test_others_install_through_sudo_if_it_asks_for_no_password(clone: Path) -> None:
    put(clone, "sudo", 'echo "sudo $*" >>"$CALLS"; [ "$1" = -n ] && shift; exec "$@"')
    apt(clone, *ALL)
    assert setup(clone, "services", REQUIRE_SERVICES="1").returncode == 0
    assert packages(clone) == [*ALL]
    assert sum(line.startswith("sudo -n env DEBIAN_FRONTEND=noninteractive") for line in noted(clone)) == 4


def test_where_sudo_asks_for_a_password_nothing_is_tried(clone: Path) -> None:
    put(clone, "sudo", "exit 1")
    apt(clone, *ALL)
    done = setup(clone, "services")
    assert (done.returncode, noted(clone)) == (0, [])
    assert "sudo apt-get install -y default-jre-headless maven redis-server mosquitto" in done.stderr


def test_old_package_lists_are_refreshed_only_when_needed(clone: Path) -> None:
    put(clone, "id", "echo 0")
    put(clone, "java", JAVA_21)
    put(clone, "mvn", "exit 0")
    put(clone, "mosquitto", "exit 0")
    apt(clone, "redis-server")
    setup(clone, "services")
    assert not [line for line in noted(clone) if "update" in line]
    (clone.parent / "bin" / "redis-server").unlink()
    apt(clone, "redis-server", refuses="install")
    done = setup(clone, "services", REQUIRE_SERVICES="1")
    assert done.returncode == 1
    tried = [line.split()[1] for line in noted(clone)[1:]]
    assert tried == ["install", "update", "install"]
    assert "redis-server could not be installed" in done.stderr


def test_another_java_is_tried_where_the_default_one_cannot_be_had(clone: Path) -> None:
    put(clone, "id", "echo 0")
    put(clone, "mvn", "exit 0")
    put(clone, "redis-server", "exit 0")
    put(clone, "mosquitto", "exit 0")
    apt(clone, "openjdk-21-jre-headless", refuses="default-jre")
    assert setup(clone, "services", REQUIRE_SERVICES="1").returncode == 0
    assert packages(clone)[-1] == "openjdk-21-jre-headless"


def test_an_old_java_that_gets_installed_does_not_count(clone: Path) -> None:
    put(clone, "id", "echo 0")
    put(clone, "mvn", "exit 0")
    put(clone, "redis-server", "exit 0")
    put(clone, "mosquitto", "exit 0")
    put(clone, "java", "echo 'version \"11.0.2\"' >&2")
    put(clone, "apt-get", 'echo "apt-get $*" >>"$CALLS"')
    done = setup(clone, "services", REQUIRE_SERVICES="1")
    assert done.returncode == 1
    assert packages(clone) == ["default-jre-headless", "openjdk-21-jre-headless", "openjdk-17-jre-headless"]
    assert "no Java 17 or later could be installed" in done.stderr


PYTHON = """echo "{name} $*" >>"$CALLS"
case "$*" in
  --version) echo Python 3.12.1 ;;
  *version_info*'(3, 10)'*) exit {is_old} ;;
  *python%d*) echo python3.12-venv ;;
  *ensurepip*) exit {lacks_venv} ;;
  '-m venv '*) mkdir -p "$3/bin"
    for each in python uv; do
      printf '#!/bin/sh\\necho "venv %s $*" >>"$CALLS"\\n' "$each" >"$3/bin/$each"
      chmod +x "$3/bin/$each"
    done ;;
esac"""


def python(clone: Path, name: str = "python3", is_old: bool = False, lacks_venv: bool = False) -> None:
    put(clone, name, PYTHON.format(name=name, is_old=int(is_old), lacks_venv=int(lacks_venv)))


def made_by(clone: Path) -> list[str]:
    return [line.split()[0] for line in noted(clone) if " -m venv " in line]


def installs(clone: Path) -> list[str]:
    return [line for line in noted(clone) if line.startswith("venv uv pip install")]


def test_packages_are_installed_once(clone: Path) -> None:
    python(clone)
    first = setup(clone, "python")
    assert first.returncode == 0, first.stderr
    assert (clone / ".venv" / "bin" / "python").exists()
    (line,) = installs(clone)
    assert line.endswith("--torch-backend=auto --editable .[dev]")
    assert setup(clone, "python").stderr == ""
    assert len(installs(clone)) == 1


@pytest.mark.parametrize("change", ["pyproject", "torch", "moved"])
def test_what_changes_the_packages_installs_them_again(clone: Path, change: str) -> None:
    python(clone)
    setup(clone, "python")
    if change == "pyproject":
        (clone / "pyproject.toml").write_text("[project]\nversion = '2'\n")
    if change == "moved":
        clone = clone.rename(clone.parent / "elsewhere")
    assert setup(clone, "python", SETUP_TORCH="plain" if change == "torch" else "auto").returncode == 0
    assert len(installs(clone)) == 2
    assert len(made_by(clone)) == 1, "the environment itself is kept"


def test_the_plain_build_of_torch_asks_for_no_other(clone: Path) -> None:
    python(clone)
    setup(clone, "python", SETUP_TORCH="plain")
    (line,) = installs(clone)
    assert "--torch-backend" not in line


def test_a_python_that_is_too_old_is_passed_over(clone: Path) -> None:
    python(clone, "python3", is_old=True)
    python(clone, "python3.11")
    assert setup(clone, "python").returncode == 0
    assert made_by(clone) == ["python3.11"]


def test_the_python_that_is_asked_for_is_taken(clone: Path) -> None:
    python(clone, "python3")
    python(clone, "python3.13")
    assert setup(clone, "python", SETUP_PYTHON="python3.13").returncode == 0
    assert made_by(clone) == ["python3.13"]


@pytest.mark.parametrize("is_old", [True, None])
def test_without_a_python_that_is_new_enough_it_says_what_to_type(clone: Path, is_old: bool | None) -> None:
    if is_old:
        python(clone, "python3", is_old=True)
    done = setup(clone, "python")
    assert done.returncode == 1
    assert "Python 3.10 or later is needed. Install it: sudo apt-get install -y python3 python3-venv" in done.stderr
    assert not (clone / ".venv").exists()


def test_without_the_module_venv_it_names_its_package(clone: Path) -> None:
    python(clone, lacks_venv=True)
    done = setup(clone, "python")
    assert done.returncode == 1
    assert "sudo apt-get install -y python3.12-venv" in done.stderr


def test_packages_that_cannot_be_had_are_a_failure_and_are_tried_again(clone: Path) -> None:
    python(clone)
    setup(clone, "python")
    for name in ("uv", "python"):
        path = clone / ".venv" / "bin" / name
        path.write_text(f'#!/bin/sh\necho "venv {name} $*" >>"$CALLS"\ncase "$*" in *--editable*) exit 1 ;; esac\n')
    (clone / "pyproject.toml").write_text("changed\n")
    done = setup(clone, "python")
    assert done.returncode == 1
    assert "the packages could not be installed; the reason stands above" in done.stderr
    tried = [line for line in noted(clone) if "--editable" in line][1:]
    assert ["--torch-backend" in line for line in tried] == [True, False, False]
    assert tried[-1].startswith("venv python -m pip install"), "pip itself is the last try"
    assert setup(clone, "python").returncode == 1
