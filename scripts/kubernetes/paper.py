"""Figures of docs/gke.md that come from the manifests or from this check: they are as the page says."""

import re

from common import ROOT, expect, matches, of_kind, pods, program_of

PAGE = ROOT / "docs/gke.md"
# What PostgreSQL and Cloud SQL keep for themselves.
RESERVED = 15


def said(pattern):
    """The number that the page has there."""
    found = re.findall(pattern, re.sub(r"\s+", " ", PAGE.read_text()))
    expect(len(found) == 1, f"docs/gke.md says {len(found)} times {pattern}")
    return int(found[0].replace(",", ""))


def compare(words, pattern, number):
    there = said(pattern)
    expect(there == number, f"docs/gke.md: {words} are {number:,}, and it says {there:,}")


def most(documents, workload):
    """Pods of a workload at most, while it is rolled."""
    if workload["kind"] != "Deployment":
        return 1
    name, count = workload["metadata"]["name"], workload["spec"].get("replicas", 1)
    for scaler in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject"):
        spec = scaler["spec"]
        if spec["scaleTargetRef"]["name"] == name:
            count = spec.get("maxReplicas") or spec["maxReplicaCount"]
    return count + 1


def connections(documents):
    """Connections to the database at most: pools, a relay each, audits that run at once, in the middle of a release."""
    settings = next(m["data"] for m in of_kind(documents, "ConfigMap") if "BELAY_DATABASE_CONNECTIONS" in m["data"])
    total = 0
    for workload, pod in pods(documents):
        if not matches({"matchLabels": {"belay/asks-database": "true"}}, pod["metadata"]["labels"]):
            continue
        container = pod["spec"]["containers"][0]
        words = container.get("args", [])
        given = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
        if "APICURIO_DATASOURCE_JDBC_MAX_SIZE" in given:
            each = int(given["APICURIO_DATASOURCE_JDBC_MAX_SIZE"])
        elif program_of(container) == "belay":
            # The audit has one for each service; provision one, and another in a database.
            each = sum(word.startswith("--database-url=") for word in words) or 2
        else:
            each = int(settings["BELAY_DATABASE_CONNECTIONS"]) + 1
        total += each * most(documents, workload)
    return total


def check_connections(documents):
    total = connections(documents)
    compare("connections", r"at most ([\d,]+) connections", total)
    limit = said(r"--database-flags=max_connections=(\d+)")
    expect(total + RESERVED <= limit, f"docs/gke.md: {total} connections and {RESERVED} reserved are more than {limit}")


def check_practice(passed, failed):
    compare("checks of practice that pass", r"checkov: ([\d,]+) checks passed", passed)
    compare("checks of practice that are excused", r"checkov: [\d,]+ checks passed, ([\d,]+) failed", failed)


def check_faults(count):
    compare("faults that are put in", r"([\d,]+) faults are put in", count)
