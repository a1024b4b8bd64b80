"""The Helm chart, written from what Kustomize gives, so that the two cannot drift.

    KUSTOMIZE="kubectl kustomize" python3 scripts/kubernetes/chart.py        writes kubernetes/helm/belay

The check insists that the committed chart is what this writes, and that `helm template` gives what Kustomize gives."""

import json
import re
import subprocess
import tempfile

import yaml

from common import MANIFESTS, Fault, combined, expect, name_of, of_kind, pods

CHART = MANIFESTS / "helm/belay"
# What Helm is to think the cluster is.
VERSION = "1.35.0"
# Words that stand for templates until the text is written.
NAMESPACE, CHECKSUM = "TEMPLATE-NAMESPACE", "TEMPLATE-CHECKSUM"
SETTINGS = {"settings": "settings", "settings-edge": "edge", "settings-mail": "mail"}
KEDA_ADDRESS = "http://prometheus.monitoring.svc:9090"
HASH = re.compile(r"\b(settings(?:-edge|-mail)?)-[a-z0-9]{10}\b")


def text_of(document):
    return yaml.safe_dump(document, sort_keys=True, width=10_000, default_flow_style=False)


def plain(documents):
    """A rendering without what is Kustomize's or Helm's own: the Namespace, hashes in names, checksums."""
    found = {}
    for document in documents:
        if document["kind"] == "Namespace":
            continue
        document = json.loads(HASH.sub(r"\1", json.dumps(document)))
        for _, pod in pods([document]):
            annotations = pod["metadata"].get("annotations", {})
            annotations.pop("checksum/settings", None)
            if not annotations:
                pod["metadata"].pop("annotations", None)
        found[name_of(document)] = document
    return found


def template(document):
    """A document as a template."""
    document = json.loads(HASH.sub(r"\1", json.dumps(document)))
    document["metadata"]["namespace"] = NAMESPACE
    for workload, pod in pods([document]):
        if workload["kind"] == "Deployment":
            pod["metadata"].setdefault("annotations", {})["checksum/settings"] = CHECKSUM
    text = text_of(document)
    expect("{{" not in text, f"{name_of(document)} has braces of its own")
    if document["kind"] == "ConfigMap":
        values = SETTINGS[document["metadata"]["name"]]
        head = {key: value for key, value in document.items() if key != "data"}
        # Whatever was written in values.yaml, a number or a truth, is text to a ConfigMap; and 1000000 is not 1e+06.
        written = '{{ if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ $value | toJson | quote }}{{ end }}'
        text = text_of(head) + f"data:\n{{{{- range $key, $value := .Values.{values} }}}}\n  {{{{ $key }}}}: {written}\n{{{{- end }}}}\n"
    text = text.replace(NAMESPACE, "{{ .Release.Namespace }}")
    text = text.replace(
        CHECKSUM, "{{ list .Values.settings .Values.edge .Values.mail | toJson | sha256sum }}"
    )
    text = re.sub(r"image: belay/([a-z-]+):unreleased", r"image: {{ .Values.images }}/\1:{{ .Values.version }}", text)
    text = text.replace(KEDA_ADDRESS, "{{ .Values.keda.prometheus }}")
    return text


def written(found):
    """The chart's files by name."""
    base = [document for document in found["base"] if document["kind"] != "Namespace"]
    keda = of_kind(found["base with keda"], "ScaledObject")
    values = {"images": "belay", "version": "unreleased"}
    for document in of_kind(base, "ConfigMap"):
        values[SETTINGS[HASH.sub(r"\1", document["metadata"]["name"])]] = document["data"]
    values["keda"] = {"enabled": False, "prometheus": KEDA_ADDRESS}
    head = "# Written by scripts/kubernetes/chart.py from kubernetes/base. Do not edit.\n"
    files = {
        "Chart.yaml": head
        + text_of(
            {
                "apiVersion": "v2",
                "name": "belay",
                "description": "A purchase backend that never loses an order and never sells the last unit twice.",
                "type": "application",
                "version": "0.1.0",
                "kubeVersion": ">=1.30.0-0",
            }
        ),
        "values.yaml": head
        + "# images: the registry and its path; version: the tag of all images. settings, edge and mail are the services' own variables\n"
        + "# (kubernetes/base/settings*.env). keda.enabled scales consumers by their backlog.\n"
        + text_of(values),
    }
    for document in base:
        if document["kind"] == "ConfigMap":
            file = "settings.yaml"
        elif document["kind"] == "NetworkPolicy":
            file = "network-policies.yaml"
        else:
            file = document["metadata"]["name"] + ".yaml"
        files[f"templates/{file}"] = files.get(f"templates/{file}", head) + "---\n" + template(document)
    files["templates/keda.yaml"] = (
        "{{- if .Values.keda.enabled }}\n" + head + "".join("---\n" + template(document) for document in keda) + "{{- end }}\n"
    )
    return files


def check(found, helm):
    for name, text in written(found).items():
        file = CHART / name
        expect(file.is_file() and file.read_text() == text, f"kubernetes/helm/belay/{name} is not what scripts/kubernetes/chart.py writes")
    for file in CHART.glob("**/*"):
        expect(file.is_dir() or str(file.relative_to(CHART)) in written(found), f"{file} is nobody's")
    with tempfile.TemporaryDirectory() as home:
        for words, wanted in (([], "base"), (["--set", "keda.enabled=true"], "base with keda")):
            done = subprocess.run(
                [helm, "template", "belay", CHART, "--namespace", "belay", "--kube-version", VERSION, *words],
                capture_output=True,
                text=True,
                env={"HOME": home, "PATH": "/usr/bin:/bin"},
            )
            expect(done.returncode == 0, f"helm template: {done.stderr.strip()}")
            given = plain(document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document)
            differ(given, plain(found[wanted]), wanted)
        check_settings(helm, home)
        done = subprocess.run([helm, "lint", "--strict", "--kube-version", VERSION, CHART], capture_output=True, text=True, env={"HOME": home, "PATH": "/usr/bin:/bin"})
        expect(done.returncode == 0, f"helm lint: {done.stdout}{done.stderr}")


def check_settings(helm, home):
    """A ConfigMap holds text alone, whatever somebody writes into the values."""
    values = {"settings": {"BELAY_NUMBER": 1000000, "BELAY_TRUTH": True, "BELAY_TEXT": "0755"}}
    done = subprocess.run(
        [helm, "template", "belay", CHART, "--kube-version", VERSION, "--values", "-", "--set", "edge.BELAY_NUMBER=5"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        env={"HOME": home, "PATH": "/usr/bin:/bin"},
    )
    expect(done.returncode == 0, f"helm template: {done.stderr.strip()}")
    found = {}
    for config in of_kind([d for d in yaml.load_all(done.stdout, yaml.CSafeLoader) if d], "ConfigMap"):
        for key, value in config["data"].items():
            expect(isinstance(value, str), f"the chart's ConfigMap {config['metadata']['name']} has {key} as {value!r}")
        found[config["metadata"]["name"]] = config["data"]
    wanted = {"BELAY_NUMBER": "1000000", "BELAY_TRUTH": "true", "BELAY_TEXT": "0755"}
    got = {key: found["settings"].get(key) for key in wanted}
    expect(got == wanted and found["settings-edge"]["BELAY_NUMBER"] == "5", f"the chart writes {got} for {wanted}")


def differ(given, wanted, name):
    expect(given.keys() == wanted.keys(), f"{name}: only one of chart and Kustomize has {sorted(given.keys() ^ wanted.keys())}")
    for key, document in wanted.items():
        if given[key] != document:
            raise Fault(f"{name}: {key} differs between chart and Kustomize")


def write(found):
    for name, text in written(found).items():
        file = CHART / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for file in CHART.glob("templates/*"):
        if str(file.relative_to(CHART)) not in written(found):
            file.unlink()


if __name__ == "__main__":
    write(combined({"base": [], "base with keda": ["keda"]}))
