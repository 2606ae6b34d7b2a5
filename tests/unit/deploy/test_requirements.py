"""What is said when the system lacks something: the refusal names the command to type."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local.jars import jars_in
from deploy.local.requirements import find_java, find_maven, find_redis_server
from deploy.local.stack import Stack
from schemas.errors import FatalError, TransientError


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what the test puts there; advice as on Linux."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return folder


def put(folder: Path, command: str, script: str) -> Path:
    path = folder / command
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def says(version: str) -> str:
    return f"""echo 'openjdk version "{version}" 2024-01-01' >&2"""


def test_missing_java_is_refused_with_the_line_to_type(bare_path: Path) -> None:
    with pytest.raises(FatalError, match=r"none found in PATH\. .*apt-get install -y default-jre-headless"):
        find_java()


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_402", "16"])
def test_old_java_is_refused(bare_path: Path, version: str) -> None:
    put(bare_path, "java", says(version))
    with pytest.raises(FatalError, match=r"is Java (11|8|16)\. Install it"):
        find_java()


@pytest.mark.parametrize("version", ["17", "17.0.15", "21-ea", "25.0.1"])
def test_newer_java_is_taken(bare_path: Path, version: str) -> None:
    expected = put(bare_path, "java", says(version))
    assert find_java() == expected


def test_java_home_goes_before_path(bare_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bare_path, "java", says("11"))
    expected = put(tmp_path / "jdk" / "bin", "java", says("21.0.1"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java() == expected
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(FatalError, match=r"none found in JAVA_HOME=.*nowhere"):
        find_java()


def test_java_that_says_nothing_is_refused(bare_path: Path) -> None:
    put(bare_path, "java", "echo no >&2")
    with pytest.raises(FatalError, match="named no version: 'no'"):
        find_java()


def test_missing_maven_and_redis_are_refused_with_the_line_to_type(bare_path: Path) -> None:
    with pytest.raises(FatalError, match="apt-get install -y maven"):
        find_maven()
    with pytest.raises(FatalError, match="apt-get install -y redis-server"):
        find_redis_server()


def test_advice_fits_the_system(bare_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(FatalError, match="brew install redis"):
        find_redis_server()


def test_up_refuses_before_it_touches_anything(bare_path: Path, tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="Kafka needs Java"):
        Stack(tmp_path / "stack").up()
    assert not (tmp_path / "stack").exists()


def test_jars_are_downloaded_once(bare_path: Path, tmp_path: Path) -> None:
    """A stand-in for Maven, because what is tested is how often and where to it is called, of four that want them."""
    log = tmp_path / "calls"
    put(
        bare_path,
        "mvn",
        f"""echo call >> {log}
for argument; do
  case $argument in -DoutputDirectory=*) : > "${{argument#*=}}/kafka_2.13.jar" ;; esac
done""",
    )
    cache = tmp_path / "cache"
    with ThreadPoolExecutor() as pool:
        (folder,) = set(pool.map(jars_in, [cache] * 4))
    assert [jar.name for jar in folder.iterdir()] == ["kafka_2.13.jar"]
    assert jars_in(cache) == folder
    assert log.read_text().count("call") == 1
    assert list(cache.glob("kafka-jars-*")) == [folder]


def test_a_failed_download_leaves_nothing_and_shows_what_maven_said(bare_path: Path, tmp_path: Path) -> None:
    put(bare_path, "mvn", "echo 'ERROR: no route to repository'; exit 1")
    with pytest.raises(TransientError, match="no route to repository"):
        jars_in(tmp_path / "cache")
    assert list((tmp_path / "cache").glob("kafka-jars-*")) == []


def test_a_download_without_jars_is_refused(bare_path: Path, tmp_path: Path) -> None:
    put(bare_path, "mvn", "exit 0")
    with pytest.raises(FatalError, match="left no kafka_"):
        jars_in(tmp_path / "cache")
