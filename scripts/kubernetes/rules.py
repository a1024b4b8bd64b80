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

DASHBOARDS = ROOT / "kubernetes/components/monitoring/dashboards"
# Exported by others, who are asked for by their names (docs/gke.md says how each comes to the Prometheus).
FOREIGN = {
    # kube-state-metrics
    "kube_deployment_status_replicas_available",
    "kube_job_status_failed",
    "kube_cronjob_status_last_successful_time",
    "kube_cronjob_created",
    # the blackbox exporter, and Strimzi's operator
    "probe_ssl_earliest_cert_expiry",
    "strimzi_certificate_expiration_timestamp_ms",
}
# Words of PromQL that stand without a bracket behind them.
KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "inf", "nan"}


def exported():
    """Names that the services' sources give to metrics. A histogram has three more."""
    found = set()
    for file in ROOT.glob("**/src/**/*.rs"):
        if "target" in file.parts:
            continue
        text = file.read_text()
        for kind, name in re.findall(r"(counter|gauge|histogram)!\(\s*\"([a-z_]+)\"", text):
            found.update([name] if kind != "histogram" else [f"{name}_{part}" for part in ("bucket", "sum", "count")])
        # crates/mailbox/src/backlog.rs sets its gauges by one function.
        found.update(re.findall(r"self\.gauge\(\s*\"([a-z_]+)\"", text))
    return found


def names_of(expression):
    """The metrics that an expression of PromQL asks for: every name in it that is no function, no word of the language, no label
    and no variable of Grafana's."""
    # label_values(metric, label) is Grafana's.
    bare = re.sub(r"\blabel_values\(([^,()]+),[^)]*\)", r"\1", expression)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\$\w+|\$\{[^}]*\}|\b\d[\w.]*", " ", bare)
    found = re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])", bare)
    return {name for name in found if name.lower() not in KEYWORDS}


def check_metrics(asked, metrics, recorded=()):
    """`asked` is where each expression is from, and the expression."""
    for place, expression in asked:
        names = names_of(expression)
        expect(names, f"{place} asks for nothing: {expression}")
        for name in names:
            expect(name in metrics or name in FOREIGN or name in recorded, f"{place} asks for {name}, which nobody exports")


def dashboards(directory=DASHBOARDS):
    """Each panel's expressions."""
    found = []
    files = sorted(pathlib.Path(directory).glob("*.json"))
    expect(files, f"no dashboards are in {directory}")
    for file in files:
        dashboard = json.loads(file.read_text())
        panels = dashboard.get("panels", [])
        panels = [*panels, *(inner for outer in panels for inner in outer.get("panels", []))]
        expect(any(panel.get("targets") for panel in panels), f"{file.name} has no panels")
        for panel in panels:
            expect(panel.get("targets") or panel.get("type") in ("row", "text"), f"{file.name}, panel {panel.get('title')} asks nobody")
            for target in panel.get("targets", []):
                found.append((f"{file.name}, panel {panel.get('title')}", target.get("expr", "")))
        for variable in dashboard.get("templating", {}).get("list", []):
            if variable.get("type") == "query":
                query = variable["query"]
                query = query["query"] if isinstance(query, dict) else query
                found.append((f"{file.name}, variable {variable.get('name')}", query))
    return found


def check_delivered(documents):
    """Where metrics are scraped, Grafana gets every dashboard."""
    if not of_kind(documents, "PodMonitor", "PodMonitoring"):
        return
    given = {}
    for config in of_kind(documents, "ConfigMap"):
        if config["metadata"].get("labels", {}).get("grafana_dashboard") == "1":
            given.update(config["data"])
    for file in DASHBOARDS.glob("*.json"):
        expect(given.get(file.name) == file.read_text(), f"Grafana does not get {file.name}")


def groups_declared():
    """The consumer groups of crates/contracts/src/traffic.rs."""
    text = (ROOT / "crates/contracts/src/traffic.rs").read_text()
    found = set(re.findall(r"\bgroup\(\s*\"([a-z.-]+)\"", text))
    expect(len(found) >= 7, "crates/contracts/src/traffic.rs declares no consumer groups that could be read")
    return found


def check_absent_groups(groups):
    """The alert on a group without members asks for each group by name."""
    rule = next(rule for rule in alerts(groups) if rule["alert"] == "BelayGroupWithoutMembers")
    asked = set(re.findall(r'absent\(belay_consumer_partitions\{group="([^"]+)"\}\)', rule["expr"]))
    expect(asked == groups_declared(), f"BelayGroupWithoutMembers and crates/contracts/src/traffic.rs differ in {asked ^ groups_declared()}")


def check_groups(documents):
    """Whoever is scaled by a backlog is scaled by that of a group there is, and of its own."""
    declared = groups_declared()
    for scaler in of_kind(documents, "ScaledObject", "HorizontalPodAutoscaler"):
        service = scaler["spec"]["scaleTargetRef"]["name"]
        asked = []
        for trigger in scaler["spec"].get("triggers", []):
            asked += re.findall(r'group="([^"]*)"', trigger["metadata"]["query"]) or [None]
        for metric in scaler["spec"].get("metrics", []):
            if metric["type"] == "External":
                asked.append(metric["external"]["metric"]["selector"]["matchLabels"].get("group"))
        for group in asked:
            expect(group in declared, f"{name_of(scaler)} goes by the backlog of {group}, which is no consumer group")
            own = group == f"belay.{service}" or group.startswith(f"belay.{service}.")
            expect(own, f"{name_of(scaler)} goes by the backlog of {group}")


def autoscalers(documents):
    found = []
    for scaler in of_kind(documents, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            found.append((name_of(scaler), trigger["metadata"]["query"]))
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "External":
                found.append((name_of(scaler), metric["external"]["metric"]["name"]))
    return found


def adapter():
    """What prometheus-adapter's chart is told to ask for."""
    file = MANIFESTS / "components/prometheus-adapter/values.yaml"
    found = []
    for rule in yaml.safe_load(file.read_text())["rules"]["external"]:
        found += [(file.name, rule["seriesQuery"]), (file.name, rule["metricsQuery"].replace("<<.LabelMatchers>>", ""))]
    expect(found, f"{file} tells nothing")
    return found


def alerts(groups):
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def recorded(groups):
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def expressions(groups):
    return [(rule.get("alert") or rule["record"], rule["expr"]) for group in groups for rule in group["rules"]]


def groups_of_file():
    return yaml.safe_load((MANIFESTS / "components/monitoring/rules.yaml").read_text())["spec"]["groups"]


def check_table(metrics):
    """docs/observability.md tells of every metric, and of no other."""
    text = (ROOT / "docs/observability.md").read_text().partition("## Metrics")[2]
    told = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(belay_[a-z_]+)`", line)}
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metrics}
    expect(told == known, f"docs/observability.md and the sources differ in {', '.join(sorted(told ^ known))}")


def check_runbooks(groups):
    runbooks = {file.stem for file in (ROOT / "docs/runbooks").glob("Belay*.md")}
    names = {rule["alert"] for rule in alerts(groups)}
    listed = set(re.findall(r"^- \[(\w+)\]", (ROOT / "docs/runbooks/README.md").read_text(), re.MULTILINE))
    expect(listed == names, f"docs/runbooks/README.md and the alerts differ in {sorted(listed ^ names)}")
    for rule in alerts(groups):
        runbook = rule["annotations"]["runbook"]
        expect(runbook == f"docs/runbooks/{rule['alert']}.md" and (ROOT / runbook).is_file(), f"{rule['alert']} has no {runbook}")
        expect(rule["labels"]["severity"] in {"page", "ticket"}, f"{rule['alert']}: who is to be woken?")
    expect(not runbooks - names, f"runbooks of no alert: {sorted(runbooks - names)}")


def check_twins(groups, file=ROOT / "compose/prometheus/rules.yml"):
    """An alert on Docker that has the name of one in the cluster is the same."""
    ours = {rule["alert"]: rule for rule in alerts(groups)}
    there = {rule["alert"]: rule for rule in alerts(yaml.safe_load(file.read_text())["groups"])}
    shared = ours.keys() & there.keys()
    expect(len(shared) >= 5, f"{file.name} shares no alerts with the cluster's")
    for name in shared:
        expect(there[name]["annotations"].get("runbook") == ours[name]["annotations"]["runbook"], f"{file.name}: {name} has no runbook")
        for part in ("expr", "for", "labels"):
            same = there[name].get(part) == ours[name].get(part)
            expect(same or name == "BelayServiceAway", f"{file.name}: {name} has another `{part}` than in the cluster")


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
    tests = sorted((MANIFESTS / "tests").glob("*.yaml"))
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        for file in tests:
            shutil.copy(file, directory / f"tests-{file.name}")
        named = [f"tests-{file.name}" for file in tests]
        for words in (["check", "rules", "rules.yaml"], ["test", "rules", *named]):
            done = subprocess.run([program, *words], cwd=directory, capture_output=True, text=True)
            expect(done.returncode == 0, f"promtool {' '.join(words)}: {done.stdout}{done.stderr}")
    return check_tests(groups, {"tests": [test for file in tests for test in yaml.safe_load(file.read_text())["tests"]]})
