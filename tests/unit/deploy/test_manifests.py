"""What is shipped to deploy with can be read, fits the code, keeps its promises: no root, probes, stable names."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from engram.cli.app import app
from engram.observe.supervisor import TELL_S
from engram.observe.worker import RECEIVED
from schemas.settings.layers import environment_layer, known_paths
from tests.architecture.repository import packages

yaml = pytest.importorskip("yaml")

DEPLOY = Path(__file__).parents[3] / "deploy"
FILES = sorted(path for kind in ("*.yaml", "*.json") for path in DEPLOY.rglob(kind))
BASE = DEPLOY / "kubernetes" / "base"
HTTP_PORT = 9100
Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one is not None]


def of_kubernetes() -> list[Document]:
    found = [one for path in sorted(DEPLOY.glob("kubernetes/*/*.yaml")) for one in documents(path)]
    return [one for one in found if one["kind"] != "Kustomization"]


WORKLOADS = {one["metadata"]["name"]: one for one in of_kubernetes() if "template" in one.get("spec", {})}
SERVICES: dict[str, Document] = documents(DEPLOY / "compose" / "compose.yaml")[0]["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("engram:")}


def check_command(words: list[str]) -> None:
    """Every word can be typed after ``engram``."""
    command: Any = typer.main.get_command(app)
    path = []
    while isinstance(command, TyperGroup):
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    command.make_context(" ".join(path), list(words))


def check_settings(environment: dict[str, str]) -> None:
    """Every variable of ours is a setting; raises a SettingsError for what is none."""
    environment_layer(environment)
    assert any(name.startswith("ENGRAM_") for name in environment)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_can_be_read(path: Path) -> None:
    assert documents(path)


# --- images -----------------------------------------------------------------------------------------------------------

DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()
TARGETS = ["edge", "coordinator", "worker-cpu", "worker-gpu", "console"]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_nobody_and_says_how_it_fares(target: str) -> None:
    stages = {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)}
    assert stages[target] == "runtime"
    runtime = DOCKERFILE.partition("AS runtime")[2].partition("\nFROM ")[0]
    for line in ("USER 10001:10001", "STOPSIGNAL SIGTERM", f"EXPOSE {HTTP_PORT}", "/healthz"):
        assert line in runtime
    section = DOCKERFILE.partition(f"AS {target}\n")[2].partition("\nFROM ")[0]
    check_command(json.loads(re.findall(r"^CMD (\[.*\])$", section, re.MULTILINE)[0])[:1])


def test_the_settings_of_the_images_exist() -> None:
    named = re.findall(r"\b(ENGRAM_[A-Z_]+)=", DOCKERFILE)
    assert {"ENGRAM_HTTP__LISTEN", "ENGRAM_HOME"} <= set(named)
    listening = {"ENGRAM_HTTP__LISTEN": f"0.0.0.0:{HTTP_PORT}", "ENGRAM_CONSOLE__LISTEN": "0.0.0.0:8765"}
    check_settings(dict.fromkeys(named, "") | listening)


def test_the_base_can_be_chosen_and_nothing_else_is_fetched() -> None:
    assert re.findall(r"^FROM (\$\{BASE\}|[a-z-]+) AS", DOCKERFILE, re.MULTILINE) == re.findall(
        r"^FROM (\S+) AS", DOCKERFILE, re.MULTILINE
    )
    assert "http://" not in DOCKERFILE.replace("http://127.0.0.1", "")
    assert "https://" not in DOCKERFILE


def test_all_packages_get_into_the_build() -> None:
    lines = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    taken = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert taken == {"pyproject.toml", "README.md", "LICENSE", *packages()}


# --- compose ----------------------------------------------------------------------------------------------------------


def command_of(service: Document) -> list[str]:
    """What it runs behind the word ``engram``, also where a shell looks first whether that is needed."""
    if "entrypoint" not in service:
        words: list[str] = service["command"]
        return words
    *_, script = service["entrypoint"]
    return shlex.split(script.partition("exec engram ")[2])


@pytest.mark.parametrize("name", OURS)
def test_a_service_can_be_started_as_it_is_written(name: str) -> None:
    service = OURS[name]
    check_command([re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in command_of(service)])
    check_settings(service["environment"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_services_wait_for_services_that_exist() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_mounted_is_there() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ()) if mount.startswith(".")]
    assert mounts
    for mount in mounts:
        assert (DEPLOY / "compose" / mount.split(":")[0]).exists()


def test_prometheus_asks_every_process_of_ours_that_stays() -> None:
    (config,) = documents(DEPLOY / "compose" / "prometheus.yaml")
    (job,) = config["scrape_configs"]
    (asked,) = job["dns_sd_configs"]
    assert asked["port"] == HTTP_PORT
    assert set(asked["names"]) == set(OURS) - {"topics", "console-token", "console"}


def test_nobody_gets_into_the_console_without_a_token_of_this_machine() -> None:
    maker, console = OURS["console-token"], OURS["console"]
    path = console["environment"]["ENGRAM_CONSOLE__TOKEN_FILE"]
    assert command_of(maker) == ["console", "--make-token", "operator", "--token-file", path]
    assert f"test -s {path} ||" in maker["entrypoint"][-1], "a second start makes no other"
    assert console["depends_on"]["console-token"] == {"condition": "service_completed_successfully"}
    assert maker["volumes"] == console["volumes"]
    folder = console["volumes"][0].partition(":")[2]
    assert path.startswith(folder)


def test_the_dashboard_finds_its_source() -> None:
    (config,) = documents(DEPLOY / "compose" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")
    assert config["datasources"][0]["url"] == "http://prometheus:9090"
    assert SERVICES["grafana"]["environment"]["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"


# --- kubernetes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_runs_as_nobody_and_writes_nothing(name: str) -> None:
    pod = WORKLOADS[name]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    assert "memory" in container["resources"]["limits"]
    check_command(container["args"])


def of_kind(kind: str) -> dict[str, Document]:
    return {one["metadata"]["name"]: one for one in of_kubernetes() if one["kind"] == kind}


def probes(container: Document) -> dict[str, tuple[str, str]]:
    """Path and port of each."""
    asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    return {probe: (get["path"], get["port"]) for probe, get in asked.items()}


def test_the_console_is_one_with_a_file_and_tokens_and_no_way_in_but_the_proxy() -> None:
    spec = WORKLOADS["engram-console"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    settings = {one["name"]: one["value"] for one in container["env"]}
    check_settings(settings)
    assert Path(settings["ENGRAM_CONSOLE__TOKEN_FILE"]).parent == Path(mounted["tokens"])
    assert volumes["tokens"]["secret"] == {"secretName": "engram-console", "defaultMode": 0o440}
    assert volumes["kept"]["persistentVolumeClaim"]["claimName"] in of_kind("PersistentVolumeClaim")
    home = re.findall(r"ENGRAM_HOME=(\S+)", DOCKERFILE)
    assert home == [mounted["kept"]], "console.db lies there"
    assert set(probes(container).values()) == {("/healthz", "pages")}
    (port,) = container["ports"]
    assert settings["ENGRAM_CONSOLE__LISTEN"] == f"0.0.0.0:{port['containerPort']}"
    (served,) = of_kind("Service")["engram-console"]["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (port["containerPort"], port["name"])
    (way_in,) = of_kind("NetworkPolicy")["engram-console-by-proxy"]["spec"]["ingress"]
    assert [one["port"] for one in way_in["ports"]] == [port["containerPort"]]
    assert "Ingress" not in {one["kind"] for one in of_kubernetes()}, "whose names and certificates are the site's"


def test_only_cameras_may_speak_to_anybody() -> None:
    (rule,) = of_kind("NetworkPolicy")["engram-inner-egress"]["spec"]["podSelector"]["matchExpressions"]
    labels = {one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for one in WORKLOADS.values()}
    assert set(rule["values"]) == labels - {"engram-camera"}


@pytest.mark.parametrize(
    "name", [name for name, one in WORKLOADS.items() if one["kind"] != "Job" and name != "engram-console"]
)
def test_a_process_is_asked_how_it_fares(name: str) -> None:
    (container,) = WORKLOADS[name]["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": HTTP_PORT}]
    assert probes(container) == {
        "startup": ("/healthz", "http"),
        "liveness": ("/healthz", "http"),
        "readiness": ("/readyz", "http"),
    }


def test_labels_and_selectors_meet() -> None:
    for one in WORKLOADS.values():
        if one["kind"] != "Job":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
    budgets = [one for one in of_kubernetes() if one["kind"] == "PodDisruptionBudget"]
    named = [one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for one in WORKLOADS.values()]
    assert {one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] for one in budgets} <= set(named)
    assert len(budgets) == 2


def test_a_worker_keeps_its_name() -> None:
    worker = WORKLOADS["engram-worker"]
    assert worker["kind"] == "StatefulSet"
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    (named,) = container["env"]
    assert named["name"] == "ENGRAM_WORKER__WORKER_ID"
    assert named["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert "worker.worker_id" in known_paths()


def settings_env() -> dict[str, str]:
    lines = (BASE / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_settings_of_the_site_exist() -> None:
    check_settings(settings_env())
    assert settings_env()["ENGRAM_HTTP__LISTEN"].endswith(f":{HTTP_PORT}")


def test_workers_follow_the_lag_of_their_own_group_and_no_farther_than_there_are_partitions() -> None:
    (scaled,) = documents(DEPLOY / "kubernetes" / "keda" / "scaledobject.yaml")
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] == "engram-worker"
    assert str(spec["maxReplicaCount"]) == settings_env()["ENGRAM_KAFKA__FRAMES_PARTITIONS"]
    lag, received = (trigger["metadata"] for trigger in spec["triggers"])
    assert lag["bootstrapServers"] == settings_env()["ENGRAM_KAFKA__BOOTSTRAP_SERVERS"]
    assert (lag["consumerGroup"], lag["topic"]) == ("engram-workers", "frames")
    assert lag["allowIdleConsumers"] == "false"
    assert float(lag["lagThreshold"]) == 10 * float(received["threshold"]), "5 s of work, and half of what a worker can"
    assert received["ignoreNullValues"] == "false", "a question without an answer must not take workers away"
    assert re.findall(r"engram_\w+", received["query"]) == [RECEIVED.name]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    down, up = (behavior[way]["stabilizationWindowSeconds"] for way in ("scaleDown", "scaleUp"))
    assert 3600 >= down == spec["cooldownPeriod"] > 10 * up, "an autoscaler takes an hour at most"


def test_every_resource_is_listed() -> None:
    for folder in ("base", "keda"):
        (kustomization,) = documents(DEPLOY / "kubernetes" / folder / "kustomization.yaml")
        there = {path.name for path in (DEPLOY / "kubernetes" / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert set(kustomization["resources"]) - {"../base"} == there


# --- systemd ----------------------------------------------------------------------------------------------------------

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_again_runs_as_nobody_and_can_be_typed(path: Path) -> None:
    lines = dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))
    assert (lines["Restart"], lines["DynamicUser"], lines["KillSignal"]) == ("always", "yes", "SIGTERM")
    assert (lines["ProtectSystem"], lines["NoNewPrivileges"]) == ("strict", "yes")
    assert (lines["Type"], lines["NotifyAccess"]) == ("notify", "main")
    assert float(lines["WatchdogSec"]) > 3 * TELL_S, "three words may be lost"
    program, *words = shlex.split(lines["ExecStart"].replace("%i", "gate").replace("%H", "box"))
    assert program == "/opt/engram/bin/engram"
    check_command([word.replace("${CREDENTIALS_DIRECTORY}", "/run/credentials") for word in words])
