"""The check is checked: each fault that it promises to find is put into a rendering and must be found."""

import common
import origins
import programs
import rules
import wiring
from common import Fault, changed, expect, of_kind


def deployment(documents, name):
    return next(d for d in of_kind(documents, "Deployment") if d["metadata"]["name"] == name)


def container(documents, name):
    return deployment(documents, name)["spec"]["template"]["spec"]["containers"][0]


def variable(documents, name, wanted):
    return next(entry for entry in container(documents, name)["env"] if entry["name"] == wanted)


def check(found, check_native, check_custom, binaries, groups, metrics):
    base, gke = found["base"], found["gke"]

    def wired(documents):
        wiring.check(documents, origins.provided(documents))

    def variables(documents):
        programs.check_variables(documents, binaries, {})

    def service(documents, name):
        return next(d for d in of_kind(documents, "Service") if d["metadata"]["name"] == name)

    def of(documents, kind):
        return of_kind(documents, kind)[0]

    def known_metrics(documents):
        rules.check_metrics(rules.autoscalers(documents), metrics)

    put_in = {
        "a broken selector": (base, wired, lambda d: service(d, "orders")["spec"]["selector"].update({"app.kubernetes.io/name": "order"})),
        "a port that is not there": (base, wired, lambda d: service(d, "orders")["spec"]["ports"][0].update(targetPort="htp")),
        "a key that is not in the ConfigMap": (
            found["base with monitoring"],
            wired,
            lambda d: [m["data"].pop("PGHOST") for m in of_kind(d, "ConfigMap") if m["metadata"]["name"].startswith("settings-") and "PGHOST" in m["data"]],
        ),
        "a Secret from nowhere": (
            base,
            wired,
            lambda d: variable(d, "orders", "PGPASSWORD")["valueFrom"]["secretKeyRef"].update(name="database-order"),
        ),
        "an account that is not there": (
            base,
            wired,
            lambda d: deployment(d, "orders")["spec"]["template"]["spec"].update(serviceAccountName="order"),
        ),
        "a password in the manifest": (base, wired, lambda d: container(d, "orders")["env"].append({"name": "PGPASSWORD", "value": "x"})),
        "a policy of nobody": (
            base,
            wired,
            lambda d: [p["spec"].update(podSelector={"matchLabels": {"app.kubernetes.io/name": "x"}}) for p in of_kind(d, "NetworkPolicy")],
        ),
        "two autoscalers of one": (
            found["base with keda"],
            wired,
            lambda d: of(d, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="orders"),
        ),
        "a route to nowhere": (gke, wired, lambda d: of(d, "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0].update(port=80)),
        "an unknown field": (base, check_native, lambda d: deployment(d, "orders")["spec"].update(replica=2)),
        "an unknown field of a custom resource": (gke, check_custom, lambda d: of(d, "ScaledObject")["spec"].update(minReplicas=1)),
        "a wrong value in a custom resource": (
            gke,
            check_custom,
            lambda d: of(d, "GCPBackendPolicy")["spec"]["default"].update(timeoutSec="long"),
        ),
        "a misspelled probe path": (
            base,
            programs.check_probe_paths,
            lambda d: container(d, "orders")["readinessProbe"]["httpGet"].update(path="/ready"),
        ),
        "a variable that nobody reads": (
            base,
            variables,
            lambda d: container(d, "orders")["env"].append({"name": "BELAY_KAFKAA", "value": "x"}),
        ),
        "a grace that is too short": (
            base,
            lambda d: programs.check_drain(d, programs.drain_seconds(common.ROOT)),
            lambda d: deployment(d, "orders")["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=10),
        ),
        "an autoscaler on an unknown metric": (
            found["base with keda"],
            known_metrics,
            lambda d: of(d, "ScaledObject")["spec"]["triggers"][0]["metadata"].update(query="sum(belay_consumer_lags)"),
        ),
    }
    for words, (documents, check_it, change) in put_in.items():
        expect(found_by(check_it, changed(documents, change)), f"{words} is not found")
    expect(found_by(lambda asked: rules.check_metrics(asked, metrics), [("a panel", "rate(belay_no_such_total[5m])")]), "a panel on an unknown metric is not found")
    untested = {"tests": []}
    expect(found_by(lambda tests: rules.check_tests(groups, tests), untested), "an alert without tests is not found")
    return len(put_in) + 2


def found_by(check_it, subject):
    try:
        check_it(subject)
    except Fault:
        return True
    return False
