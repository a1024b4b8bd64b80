"""Alerts and dashboards: the rules are Prometheus', every alert is tested firing and quiet and has its runbook, and nobody asks for
a metric that nobody exports."""

import json
import re
import shutil
import subprocess
import tempfile
import pathlib

import yaml

from common import MANIFESTS, ROOT, expect, name_of, of_kind

# Exported by others: kube-state-metrics, the blackbox exporter, Strimzi, Prometheus itself.
FOREIGN = re.compile(r"(kube_|probe_|strimzi_)[a-z_]+$|up$")
METRIC = re.compile(r"\b(belay_[a-z_]+|kube_[a-z_]+|probe_[a-z_]+|strimzi_[a-z_]+)\b")


def exported():
    """Names that the services' sources give to metrics. A histogram has three more."""
    found = set()
    for file in ROOT.glob("**/src/**/*.rs"):
        if "target" in file.parts:
            continue
        text = file.read_text()
        for kind, name in re.findall(r"(counter|gauge|histogram)!\(\s*\"([a-z_]+)\"", text):
            found.add(name)
            if kind == "histogram":
                found.update(f"{name}_{part}" for part in ("bucket", "sum", "count"))
        # crates/mailbox/src/backlog.rs sets its gauges by one function.
        found.update(re.findall(r"self\.gauge\(\s*\"([a-z_]+)\"", text))
    return found


def check_metrics(asked, metrics):
    """`asked` is where each expression is from, and the expression."""
    for place, expression in asked:
        for name in METRIC.findall(expression):
            expect(name in metrics or FOREIGN.match(name), f"{place} asks for {name}, which nobody exports")


def dashboards():
    """Each panel's expressions."""
    found = []
    for file in sorted((ROOT / "compose/grafana/dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        panels = dashboard.get("panels", [])
        for panel in [*panels, *(inner for outer in panels for inner in outer.get("panels", []))]:
            for target in panel.get("targets", []):
                found.append((f"{file.name}, panel {panel.get('title')}", target.get("expr", "")))
        for variable in dashboard.get("templating", {}).get("list", []):
            found.append((f"{file.name}, variable {variable.get('name')}", str(variable.get("query", ""))))
    return found


def autoscalers(documents):
    found = []
    for scaler in of_kind(documents, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            found.append((name_of(scaler), trigger["metadata"]["query"]))
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "External":
                found.append((name_of(scaler), metric["external"]["metric"]["name"]))
    for config in of_kind(documents, "ConfigMap"):
        if config["metadata"]["name"] == "prometheus-adapter-rules":
            found.append((name_of(config), config["data"]["config.yaml"]))
    return found


def alerts(groups):
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def expressions(groups):
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    for group in groups:
        for rule in group["rules"]:
            place = rule.get("alert") or rule["record"]
            for name in re.findall(r"\bbelay:[a-z0-9_:]+", rule["expr"]):
                expect(name in recorded, f"{place} asks for {name}, which nobody records")
            yield place, rule["expr"]


def groups_of_file():
    return yaml.safe_load((MANIFESTS / "components/monitoring/rules.yaml").read_text())["spec"]["groups"]


def check_runbooks(groups):
    runbooks = {file.stem for file in (ROOT / "docs/runbooks").glob("Belay*.md")}
    names = {rule["alert"] for rule in alerts(groups)}
    for rule in alerts(groups):
        runbook = rule["annotations"]["runbook"]
        expect(runbook == f"docs/runbooks/{rule['alert']}.md" and (ROOT / runbook).is_file(), f"{rule['alert']} has no {runbook}")
        expect(rule["labels"]["severity"] in {"page", "ticket"}, f"{rule['alert']}: who is to be woken?")
    expect(not runbooks - names, f"runbooks of no alert: {sorted(runbooks - names)}")


def check_tests(groups, tests):
    fires, quiet = set(), set()
    for test in tests["tests"]:
        for case in test["alert_rule_test"]:
            (fires if case["exp_alerts"] else quiet).add(case["alertname"])
    for rule in alerts(groups):
        expect(rule["alert"] in fires, f"no test lets {rule['alert']} fire")
        expect(rule["alert"] in quiet, f"no test keeps {rule['alert']} quiet")
    return len(fires)


def promtool(program, groups):
    tests = MANIFESTS / "tests/rules.yaml"
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        shutil.copy(tests, directory / "tests.yaml")
        for words in (["check", "rules", "rules.yaml"], ["test", "rules", "tests.yaml"]):
            done = subprocess.run([program, *words], cwd=directory, capture_output=True, text=True)
            expect(done.returncode == 0, f"promtool {' '.join(words)}: {done.stdout}{done.stderr}")
    return check_tests(groups, yaml.safe_load(tests.read_text()))
