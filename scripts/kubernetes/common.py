"""What every part of the check knows: where things are, how they are rendered, how a fault is told."""

import copy
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "kubernetes"
SERVICES = ["bff", "consolidator", "notifications", "orders", "payments", "product-admin", "purchase-manager"]
OVERLAYS = ["local", "gke", "gke-managed-kafka"]
# What stands for itself beside the overlays. With neither registry nor Kafka, those are somebody else's.
COMBINATIONS = {
    "base": [],
    "base with keda": ["keda"],
    "base with prometheus-adapter": ["prometheus-adapter"],
    "base with monitoring": ["registry", "keda", "monitoring"],
    "base with strimzi": ["registry", "strimzi", "prometheus-adapter", "monitoring"],
    "base with tracing": ["tracing"],
}
# Overlays as somebody changes them: without some components, with others, with settings of their own.
VARIANTS = {
    "gke without registry": ("gke", ["registry"], [], ["BELAY_REGISTRY=https://registry.example/apis/ccompat/v7"]),
    "gke with prometheus-adapter": ("gke-managed-kafka", ["keda"], ["prometheus-adapter"], []),
}
# What is complete: every address in it leads somewhere.
WHOLE = {*OVERLAYS, *VARIANTS}
# The kinds that Kubernetes has itself; everything else is a custom resource.
NATIVE = {"v1", "apps/v1", "batch/v1", "policy/v1", "networking.k8s.io/v1", "autoscaling/v2"}
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob"}


class Fault(Exception):
    """What is wrong, in words for whoever wrote the manifest."""


def expect(condition, message):
    if not condition:
        raise Fault(message)


def kustomize(directory):
    done = subprocess.run([*os.environ["KUSTOMIZE"].split(), str(directory)], capture_output=True, text=True)
    expect(done.returncode == 0, f"{directory} cannot be rendered: {done.stderr.strip()}")
    return [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document]


def rendered():
    """Every overlay and combination by name. No component is left out."""
    found = {name: kustomize(MANIFESTS / "overlays" / name) for name in OVERLAYS}
    found.update(combined(COMBINATIONS))
    found.update({name: varied(*words) for name, words in VARIANTS.items()})
    used = {path.parent.name for path in (MANIFESTS / "components").glob("*/kustomization.yaml")}
    text = "".join((MANIFESTS / f"overlays/{name}/kustomization.yaml").read_text() for name in OVERLAYS)
    for component in used:
        here = any(component in components for components in COMBINATIONS.values())
        expect(here or f"components/{component}\n" in text, f"component {component} is rendered nowhere")
    return found


def combined(combinations):
    """The base with components, by name."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, components in combinations.items():
            file = pathlib.Path(scratch) / "kustomization.yaml"

            def beside(path):
                return os.path.relpath(MANIFESTS / path, pathlib.Path(scratch).resolve())

            file.write_text(
                yaml.safe_dump(
                    {
                        "apiVersion": "kustomize.config.k8s.io/v1beta1",
                        "kind": "Kustomization",
                        "namespace": "belay",
                        "resources": [beside("base")],
                        "components": [beside(f"components/{component}") for component in components],
                    }
                )
            )
            found[name] = kustomize(scratch)
    return found


def varied(overlay, without, added, settings):
    """An overlay with other components; what is added takes the place of what is left out."""
    place = MANIFESTS / "overlays" / overlay
    description = yaml.safe_load((place / "kustomization.yaml").read_text())
    names = [pathlib.Path(path).name for path in description["components"]]
    for name in without:
        at = names.index(name)
        names[at : at + 1] = added if name == without[-1] else []
    if settings:
        description["configMapGenerator"].append({"name": "settings", "behavior": "merge", "literals": settings})
    with tempfile.TemporaryDirectory() as scratch:
        here = pathlib.Path(scratch).resolve()
        shutil.copy(place / "parameters.yaml", here)
        description["resources"] = [os.path.relpath(MANIFESTS / "base", here), "parameters.yaml"]
        description["components"] = [os.path.relpath(MANIFESTS / "components" / name, here) for name in names]
        (here / "kustomization.yaml").write_text(yaml.safe_dump(description))
        return kustomize(here)


def name_of(document):
    return f"{document['kind']}/{document['metadata']['name']}"


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]


def pod_of(document):
    """The pod template of a workload."""
    spec = document["spec"]
    return (spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec)["template"]


def pods(documents):
    """Each workload with its pod template."""
    return [(document, pod_of(document)) for document in of_kind(documents, *WORKLOADS)]


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def matches(selector, labels):
    """Whether a label selector takes these labels. An empty one takes everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        value, operator = labels.get(rule["key"]), rule["operator"]
        if operator == "In" and value not in rule["values"]:
            return False
        if operator == "NotIn" and value in rule["values"]:
            return False
        if operator == "Exists" and value is None:
            return False
        if operator == "DoesNotExist" and value is not None:
            return False
    return True


def program_of(container):
    """The program of ours that a container runs, or None."""
    found = re.search(r"(?:^|/)belay/([a-z-]+):", container["image"])
    return found and found.group(1)


def changed(documents, change):
    """A copy with a change, for the tests of the check."""
    copied = copy.deepcopy(documents)
    change(copied)
    return copied
