"""Renders every overlay and combination and asks of each whether it would be taken and would work, as far as that can be asked
without a cluster. Called by scripts/check-kubernetes, which brings the tools."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse

import yaml
from kubernetes_validate import validate

import chart
import faults
import flows
import origins
import paper
import practice
import programs
import rules
import wiring
from common import MANIFESTS, NATIVE, ROOT, WHOLE, Fault, expect, name_of, rendered

# The oldest that GKE's stable channel still has, and the newest whose schemas are known well.
KUBERNETES = ["1.33", "1.35"]
PROGRAMS = pathlib.Path(os.environ["PROGRAMS"]).resolve()


def check_native(documents):
    for document in documents:
        if document["apiVersion"] in NATIVE:
            for version in KUBERNETES:
                try:
                    validate(document, version, strict=True)
                except Exception as error:
                    where = "/".join(str(part) for part in getattr(error, "path", []))
                    raise Fault(f"{name_of(document)} ({version}): {where}: {getattr(error, 'message', error)}") from None


def check_custom(documents):
    """All custom resources of all renderings at once: the compiler starts once."""
    unique = {json.dumps(d, sort_keys=True): d for d in documents if d["apiVersion"] not in NATIVE}
    done = subprocess.run(
        ["node", f"{os.environ['MODELS']}/models.mjs"], input=json.dumps(list(unique.values())), capture_output=True, text=True
    )
    expect(done.returncode == 0, (done.stdout + done.stderr).strip())
    return len(unique)


def check_users():
    declared = subprocess.run([PROGRAMS / "belay", "topics", "acls", "--json"], capture_output=True, text=True, check=True).stdout
    written = subprocess.run(
        [sys.executable, ROOT / "scripts/kubernetes/users"], input=declared, capture_output=True, text=True, check=True
    ).stdout
    committed = MANIFESTS / "components/strimzi/users.yaml"
    expect(
        committed.read_text() == written,
        "components/strimzi/users.yaml is not what `belay topics acls --json | scripts/kubernetes/users` writes",
    )


def step(words, since):
    print(f"  {words} ({time.monotonic() - since:.1f} s)", flush=True)
    return time.monotonic()


def main():
    at = time.monotonic()
    found = rendered()
    at = step(f"{len(found)} renderings, {sum(len(documents) for documents in found.values())} resources", at)
    unique = {json.dumps(d, sort_keys=True): d for documents in found.values() for d in documents}
    check_native(unique.values())
    at = step(f"schemas of Kubernetes {' and '.join(KUBERNETES)}, strict", at)
    count = check_custom(unique.values())
    at = step(f"schemas of {count} custom resources", at)
    for name, documents in found.items():
        try:
            wiring.check(documents, origins.provided(documents))
            flows.check(documents, whole=name in WHOLE)
        except Fault as fault:
            raise Fault(f"{name}: {fault}") from None
    at = step("whatever is named is there, and within reach of whoever needs it", at)

    known, seen, drain = {}, set(), programs.drain_seconds(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        authority = pathlib.Path(scratch) / "ca.crt"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        subprocess.run(
            [*words, "-subj", "/CN=check", "-keyout", f"{scratch}/key", "-out", authority], check=True, capture_output=True
        )
        for name, documents in found.items():
            try:
                programs.check_variables(documents, PROGRAMS, known)
                programs.check_config(documents, PROGRAMS, authority, seen)
                programs.check_probe_paths(documents)
                programs.check_drain(documents, drain)
            except Fault as fault:
                raise Fault(f"{name}: {fault}") from None
    check_users()
    at = step(f"{len(seen)} configurations of the real programs", at)
    server = urllib.parse.urlsplit(os.environ["BELAY_TEST_POSTGRES"])
    place = (server.hostname, server.port, server.username, server.password)
    programs.run(found["base"], PROGRAMS, place)
    at = step("provisioned, started, probed, audited and ended on a PostgreSQL", at)

    groups, metrics = rules.groups_of_file(), rules.exported()
    asked = [*rules.expressions(groups), *rules.dashboards(), *rules.adapter()]
    for documents in found.values():
        asked += rules.autoscalers(documents)
        rules.check_groups(documents)
        rules.check_delivered(documents)
    rules.check_metrics(asked, metrics, rules.recorded(groups))
    paper.check_connections(found["gke"])
    rules.check_runbooks(groups)
    rules.check_absent_groups(groups)
    rules.check_table(metrics)
    rules.check_twins(groups)
    alerts = rules.promtool(os.environ["PROMTOOL"], groups)
    at = step(f"{alerts} alerts fire and keep quiet; {len(asked)} expressions ask for what is exported", at)
    print(f"  {practice.check(found)}", flush=True)
    at = step("practice", at)
    if os.environ.get("HELM"):
        chart.check(found, os.environ["HELM"])
        at = step("the chart renders the same", at)
    count = faults.check(found, check_native, check_custom, PROGRAMS, groups, metrics)
    paper.check_faults(count)
    step(f"{count} faults put in are found", at)


try:
    main()
except Fault as fault:
    sys.exit(f"check-kubernetes: {fault}")
