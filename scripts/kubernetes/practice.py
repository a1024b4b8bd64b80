"""checkov, with every exception and its reason in kubernetes/practice.yaml."""

import json
import os
import pathlib
import subprocess
import tempfile

import yaml

import paper
from common import MANIFESTS, expect

# The local overlay's parts are third-party images on somebody's own machine.
ASKED = ["gke", "gke-managed-kafka", "base with prometheus-adapter", "base with monitoring"]


def check(found):
    exceptions = yaml.safe_load((MANIFESTS / "practice.yaml").read_text())["exceptions"]
    for exception in exceptions:
        expect(exception.get("check") and len(exception.get("reason", "")) > 20, f"an exception without a reason: {exception}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in ASKED:
            file = pathlib.Path(scratch) / f"{name.replace(' ', '-')}.yaml"
            file.write_text(yaml.safe_dump_all(found[name]))
        done = subprocess.run(
            [os.environ["CHECKOV"], "-d", scratch, "--framework", "kubernetes", "--skip-download", "--compact", "--quiet", "-o", "json"],
            capture_output=True,
            text=True,
            env={**os.environ, "LOG_LEVEL": "ERROR"},
        )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        expect(False, f"checkov says no JSON: {done.stdout[-500:]}{done.stderr[-500:]}")
    used, faults = set(), []
    for failed in report["results"]["failed_checks"]:
        resource = failed["resource"]
        excused = [
            index
            for index, exception in enumerate(exceptions)
            if exception["check"] == failed["check_id"] and any(part in resource for part in exception.get("resources", [""]))
        ]
        used.update(excused)
        if not excused:
            faults.append(f"{failed['check_id']} {failed['check_name']}: {resource}")
    expect(not faults, "\n".join(sorted(set(faults))))
    for index, exception in enumerate(exceptions):
        expect(index in used, f"kubernetes/practice.yaml: {exception['check']} is excused and fails nowhere")
    summary = report["summary"]
    paper.check_practice(summary["passed"], summary["failed"])
    return f"checkov: {summary['passed']} passed, {summary['failed']} excused by {len(exceptions)} exceptions"
