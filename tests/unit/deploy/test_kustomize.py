"""What kustomize makes of the folders, held against the schemas of Kubernetes; skipped where a tool is missing."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

KUBERNETES = Path(__file__).parents[3] / "deploy" / "kubernetes"
OLDEST, NEWEST = "1.29", "1.34"
"""Versions of Kubernetes whose schemas all of it must fit."""
FOREIGN = {"ScaledObject"}
"""Not of Kubernetes itself, so without a schema there."""
Document = dict[str, Any]


def made(folder: str) -> list[Document]:
    """All that would be applied."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is missing")
    words = [kubectl, "kustomize", str(KUBERNETES / folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.mark.parametrize("folder", ["base", "keda", "own-bundle"])
def test_all_of_it_is_of_one_namespace_and_names_images_that_are_built(folder: str) -> None:
    documents = made(folder)
    spaced = [one for one in documents if one["kind"] != "Namespace"]
    assert {one["metadata"]["namespace"] for one in spaced} == {"engram"}
    pods = [one["spec"]["template"]["spec"] for one in documents if "template" in one.get("spec", {})]
    images = {container["image"] for pod in pods for container in pod["containers"]}
    assert images == {"engram:edge", "engram:coordinator", "engram:console", "engram:worker-cpu"}


def test_settings_reach_every_process() -> None:
    documents = made("base")
    (settings,) = [one["metadata"]["name"] for one in documents if one["kind"] == "ConfigMap"]
    for one in documents:
        if "template" in one.get("spec", {}):
            (container,) = one["spec"]["template"]["spec"]["containers"]
            assert container["envFrom"][0] == {"configMapRef": {"name": settings}}


def test_with_keda_nobody_else_counts_workers() -> None:
    workers = {folder: next(one for one in made(folder) if one["kind"] == "StatefulSet") for folder in ("base", "keda")}
    assert "replicas" in workers["base"]["spec"]
    assert "replicas" not in workers["keda"]["spec"]
    (scaled,) = [one for one in made("keda") if one["kind"] == "ScaledObject"]
    target = scaled["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("StatefulSet", workers["keda"]["metadata"]["name"])


def test_a_bundle_of_ones_own_is_read_by_whoever_needs_it() -> None:
    readers = set()
    for one in made("own-bundle"):
        if "template" in one.get("spec", {}):
            pod = one["spec"]["template"]["spec"]
            claims = [each for each in pod.get("volumes", ()) if "persistentVolumeClaim" in each]
            if {"name": "bundle", "mountPath": "/bundle", "readOnly": True} in pod["containers"][0].get(
                "volumeMounts", ()
            ):
                assert {"claimName": "engram-bundle", "readOnly": True} in [
                    each["persistentVolumeClaim"] for each in claims
                ]
                readers.add(one["metadata"]["name"])
        if one["kind"] == "ConfigMap":
            assert one["data"]["ENGRAM_WORKER__BUNDLE"] == "/bundle"
    assert readers == {"engram-worker", "engram-coordinator"}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("folder", ["base", "keda", "own-bundle"])
def test_it_fits_the_schemas(folder: str, version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    documents = [one for one in made(folder) if one["kind"] not in FOREIGN]
    assert len(documents) > 10
    for one in documents:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_schemas_find_what_is_wrong() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, NEWEST, strict=True)
