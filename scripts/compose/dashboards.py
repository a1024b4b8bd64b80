"""Dashboards and alert rules ask for metrics that the services export, by labels that these have."""

import json
import re

import yaml
from common import ROOT, expect

# Prometheus' own, and the labels that it adds.
OWN = {"up"}
ADDED = {"job", "instance", "le"}
FUNCTIONS = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)"


def expressions():
    found = []
    for path in sorted((ROOT / "kubernetes/components/monitoring/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        expect(board["uid"].startswith("belay-") and board["panels"], f"{path.name} is no dashboard of ours")
        for panel in board["panels"]:
            expect(panel["datasource"]["uid"] == "prometheus", f"{path.name}: {panel['title']} asks somebody else")
            found += [(f"{path.name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    for group in yaml.safe_load((ROOT / "compose/prometheus/rules.yml").read_text())["groups"]:
        found += [(f"rules.yml: {rule['alert']}", rule["expr"]) for rule in group["rules"]]
    return found


def exported(text):
    """What /metrics shows: every series' name with its labels."""
    series = {}
    for line in text.splitlines():
        found = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", line)
        if found and not line.startswith("#"):
            series.setdefault(found.group(1), set()).update(re.findall(r'(\w+)="', found.group(2) or ""))
    return series


def in_source():
    """What the services count: what is rare is not on /metrics before it has happened."""
    names = {}
    sources = [path for crate in ROOT.glob("*/src") for path in crate.rglob("*.rs")]
    sources += [path for path in ROOT.glob("crates/*/src/**/*.rs")]
    for path in sources:
        for kind, name, rest in re.findall(r'(counter|gauge|histogram)!\(\s*"(\w+)"([^;]*?)\)\s*\.', path.read_text()):
            labels = set(re.findall(r'"(\w+)" =>', rest))
            for suffix in ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]:
                names.setdefault(name + suffix, set()).update(labels)
        # crates/mailbox/src/backlog.rs sets its gauges by one function.
        for name in re.findall(r'self\.gauge\(\s*"(\w+)"', path.read_text()):
            names.setdefault(name, set()).update({"service", "group"})
    return names


def check(metrics):
    shown, counted = exported(metrics), in_source()
    expect(shown.keys() & counted.keys(), "/metrics shows nothing of what the source counts")
    asked, rare = set(), set()
    for where, expression in expressions():
        bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", re.sub(FUNCTIONS, " ", expression))
        names = {name for name in re.findall(r"\b[a-z_]+\b", bare) if name.startswith("belay_") or name in OWN}
        expect(names, f"{where} asks for no metric: {expression}")
        for name in names - OWN:
            expect(name in shown or name in counted, f"{where} asks for {name}, which no service exports")
        labels = {label.strip() for group in re.findall(FUNCTIONS, expression) for label in group.split(",")} - {""}
        for name, selector in re.findall(r"\b(\w+)\{([^}]*)\}", expression):
            known = shown.get(name, set()) | counted.get(name, set()) | ADDED
            used = set(re.findall(r"(\w+)\s*[=!]", selector))
            expect(used <= known, f"{where} selects {name} by {sorted(used - known)}, which it does not have")
        for name in names - OWN:
            known = shown.get(name, set()) | counted.get(name, set()) | ADDED
            expect(labels <= known, f"{where} groups {name} by {sorted(labels - known)}, which it does not have")
        asked |= names - OWN
        rare |= {name for name in names - OWN if name not in shown}
    seen = len(asked) - len(rare)
    return f"{len(expressions())} queries for {len(asked)} metrics, {seen} seen running, in the source only: {', '.join(sorted(rare))}"
