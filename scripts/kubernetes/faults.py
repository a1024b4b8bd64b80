"""The check is checked: each fault that it promises to find is put into a rendering and must be found, in the words that tell of
that fault and not of another one."""

import copy
import json
import pathlib
import re
import shutil
import tempfile

import common
import flows
import origins
import paper
import programs
import rules
import wiring
from common import Fault, changed, expect, of_kind


def named(documents, kind, name):
    return next(d for d in of_kind(documents, kind) if d["metadata"]["name"] == name)


def pod(documents, name):
    return named(documents, "Deployment", name)["spec"]["template"]


def container(documents, name):
    return pod(documents, name)["spec"]["containers"][0]


def variable(documents, name, wanted):
    return next(entry for entry in container(documents, name)["env"] if entry["name"] == wanted)


def labels(documents, name):
    return pod(documents, name)["metadata"]["labels"]


def without(kind, name):
    """Takes a document away."""

    def change(documents):
        documents.remove(named(documents, kind, name))

    return change


def scaled_by(query):
    """Has orders' autoscaler ask something else."""

    def change(documents):
        named(documents, "ScaledObject", "orders")["spec"]["triggers"][0]["metadata"].update(query=query)

    return change


def settings(**values):
    """Changes what all services are told."""

    def change(documents):
        for config in of_kind(documents, "ConfigMap"):
            if "PGHOST" in config["data"]:
                config["data"].update(values)

    return change


def of(documents, kind):
    return of_kind(documents, kind)[0]


def wired(documents):
    wiring.check(documents, origins.provided(documents))


def in_manifests(found, check_native, check_custom, binaries, metrics):
    """Each fault: what it is put into, the check, the change, and the words by which it must be found."""
    base, gke, strimzi, keda = found["base"], found["gke"], found["base with strimzi"], found["base with keda"]
    kafka, monitored, local = found["gke-managed-kafka"], found["base with monitoring"], found["local"]

    def variables(documents):
        programs.check_variables(documents, binaries, {})

    def drained(documents):
        programs.check_drain(documents, programs.drain_seconds(common.ROOT))

    def reached(documents):
        flows.check(documents, whole=True)

    def reached_in_base(documents):
        flows.check(documents, whole=False)

    def known_metrics(documents):
        rules.check_metrics(rules.autoscalers(documents), metrics)

    return {
        "a broken selector": (
            base,
            wired,
            lambda d: named(d, "Service", "orders")["spec"]["selector"].update({"app.kubernetes.io/name": "order"}),
            r"Service/orders selects no pod",
        ),
        "a Service with another one's pods": (
            base,
            wired,
            lambda d: named(d, "Service", "orders")["spec"]["selector"].update({"app.kubernetes.io/name": "payments"}),
            r"Service/orders selects the pods of payments",
        ),
        "a port that is not there": (
            base,
            wired,
            lambda d: named(d, "Service", "orders")["spec"]["ports"][0].update(targetPort="htp"),
            r"Service/orders: its pods have no port htp",
        ),
        "a key that is not in the ConfigMap": (
            monitored,
            wired,
            lambda d: [m["data"].pop("PGHOST") for m in of_kind(d, "ConfigMap") if "PGHOST" in m["data"]],
            r"no key PGHOST in ConfigMap settings",
        ),
        "a Secret from nowhere": (
            base,
            wired,
            lambda d: variable(d, "orders", "PGPASSWORD")["valueFrom"]["secretKeyRef"].update(name="database-order"),
            r"Secret database-order comes from nowhere",
        ),
        "an account that is not there": (
            base,
            wired,
            lambda d: pod(d, "orders")["spec"].update(serviceAccountName="order"),
            r"Deployment/orders: no ServiceAccount order",
        ),
        "a password in the manifest": (
            base,
            wired,
            lambda d: variable(d, "orders", "PGPASSWORD").update(value="x", valueFrom={}),
            r"PGPASSWORD is not from a Secret",
        ),
        "a policy of nobody": (
            base,
            wired,
            lambda d: named(d, "NetworkPolicy", "services-answer-bff")["spec"].update(
                podSelector={"matchLabels": {"app.kubernetes.io/name": "x"}}
            ),
            r"NetworkPolicy/services-answer-bff selects no pod",
        ),
        "nothing denied": (base, wired, without("NetworkPolicy", "deny-all"), r"no policy denies everything"),
        "two autoscalers of one": (
            keda,
            wired,
            lambda d: of(d, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="orders"),
            r"orders is scaled twice",
        ),
        "a pod that is not restricted": (
            base,
            wired,
            lambda d: container(d, "orders")["securityContext"].pop("capabilities"),
            r"Deployment/orders, container service is not restricted: it keeps capabilities",
        ),
        "brokers that are not restricted": (
            gke,
            wired,
            lambda d: of(d, "KafkaNodePool")["spec"]["template"].pop("kafkaContainer"),
            r"KafkaNodePool/dual, Kafka is not restricted",
        ),
        "an operator that is not restricted": (
            gke,
            wired,
            lambda d: of(d, "Kafka")["spec"]["entityOperator"].pop("template"),
            r"Kafka/belay, userOperator is not restricted",
        ),
        "a route to nowhere": (
            gke,
            wired,
            lambda d: of(d, "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0].update(port=80),
            r"HTTPRoute/edge: no Service bff with port 80",
        ),
        "a route to no listener": (
            gke,
            reached,
            lambda d: of(d, "HTTPRoute")["spec"]["parentRefs"][0].update(sectionName="http"),
            r"Gateway edge has no listener http",
        ),
        "a health check of another port": (
            gke,
            reached,
            lambda d: of(d, "HealthCheckPolicy")["spec"]["default"]["config"]["httpHealthCheck"].update(port=8081),
            r"HealthCheckPolicy/bff asks port 8081, and the pods tell whether they are ready at 8080",
        ),
        "an address of no Service": (
            base,
            reached_in_base,
            lambda d: variable(d, "notifications", "BELAY_CONTACTS").update(value="http://bff-intern:8081"),
            r"BELAY_CONTACTS leads to bff-intern, which is no Service here",
        ),
        "an address of another Service": (
            base,
            reached_in_base,
            lambda d: variable(d, "bff", "BELAY_ORDERS").update(value="http://payments:8080"),
            r"BELAY_ORDERS leads to payments",
        ),
        "an address with another port": (
            base,
            reached_in_base,
            lambda d: variable(d, "bff", "BELAY_ORDERS").update(value="http://orders:8081"),
            r"BELAY_ORDERS leads to port 8081 of Service/orders",
        ),
        "a registry at another port": (
            gke,
            reached,
            settings(BELAY_REGISTRY="http://registry:8081/apis/ccompat/v7"),
            r"BELAY_REGISTRY leads to port 8081 of Service/registry",
        ),
        "Kafka at another address": (gke, reached, settings(BELAY_KAFKA="kafka:9092"), r"BELAY_KAFKA leads to kafka, which is no"),
        "Kafka at another port": (gke, reached, settings(BELAY_KAFKA="belay-kafka-bootstrap:9092"), r"and the cluster listens at 9093"),
        "a database that nobody is": (gke, reached, settings(PGPORT="5433"), r"nothing in its pod listens on 127.0.0.1:5433"),
        "services that do not answer the edge": (
            base,
            reached_in_base,
            without("NetworkPolicy", "services-answer-bff"),
            r"no policy lets Deployment/bff in at 8080",
        ),
        "an edge that does not ask": (
            base,
            reached_in_base,
            without("NetworkPolicy", "bff-asks-services"),
            r"Deployment/bff: no policy lets it reach purchase-manager at 8080",
        ),
        "an edge that does not answer notifications": (
            base,
            reached_in_base,
            without("NetworkPolicy", "bff-answers-notifications"),
            r"Service/bff-internal: no policy lets Deployment/notifications in at 8081",
        ),
        "a database out of reach": (
            gke,
            reached,
            without("NetworkPolicy", "proxy-asks-cloud-sql"),
            r"no policy lets it reach the database at 3307",
        ),
        "Google's API out of reach of the proxy": (
            gke,
            reached,
            lambda d: named(d, "NetworkPolicy", "proxy-asks-cloud-sql")["spec"]["egress"][1]["to"][0]["ipBlock"].update(
                cidr="199.36.153.0/24", **{"except": []}
            ),
            r"no policy lets it reach Google's API at 443",
        ),
        "Google's Kafka out of reach": (
            kafka,
            reached,
            without("NetworkPolicy", "services-talk-to-managed-kafka"),
            r"no policy lets it reach Google's Kafka at 9092",
        ),
        "Strimzi's Kafka out of reach": (
            strimzi,
            reached_in_base,
            without("NetworkPolicy", "services-talk-to-kafka"),
            r"cannot reach Kafka at 9093",
        ),
        "an audit that may talk to Kafka": (
            gke,
            reached,
            lambda d: labels(d, "audit-watch").update({"belay/asks-kafka": "true"}),
            r"Deployment/audit-watch: the label belay/asks-kafka is there",
        ),
        "Kafka open to whoever has a database": (
            gke,
            reached,
            lambda d: [
                named(d, "NetworkPolicy", "services-talk-to-kafka")["spec"].update(podSelector={}),
            ],
            r"may reach Kafka at 9093",
        ),
        "a database open to everybody": (
            gke,
            reached,
            lambda d: named(d, "NetworkPolicy", "proxy-asks-cloud-sql")["spec"].update(podSelector={}),
            r"Job/topics may reach Cloud SQL and needs not",
        ),
        "a registry open to everybody": (
            gke,
            reached,
            lambda d: named(d, "NetworkPolicy", "registry-answers-services")["spec"]["ingress"][0].update({"from": [{"podSelector": {}}]}),
            r"may reach registry and needs not",
        ),
        "Google's Kafka open to everybody": (
            kafka,
            reached,
            lambda d: named(d, "NetworkPolicy", "services-talk-to-managed-kafka")["spec"].update(podSelector={}),
            r"may reach Google's Kafka and needs not",
        ),
        "a registry out of reach": (
            gke,
            reached,
            without("NetworkPolicy", "registry-answers-services"),
            r"Service/registry: no policy lets Deployment/\w[\w-]* in at 8080",
        ),
        "a local database out of reach": (
            local,
            reached,
            without("NetworkPolicy", "database-answers"),
            r"Service/database: no policy lets",
        ),
        # Not the issuer: whoever has a database may go to port 443 on GKE, for the proxy's sake.
        "a mail server out of reach": (gke, reached, without("NetworkPolicy", "notifications-mails"), r"reach mail.example at 587"),
        "services that nobody may scrape": (
            monitored,
            reached_in_base,
            without("NetworkPolicy", "prometheus-scrapes"),
            r"no policy lets Prometheus of monitoring in at 8080",
        ),
        "collectors of Autopilot shut out": (
            gke,
            reached,
            lambda d: named(d, "NetworkPolicy", "prometheus-scrapes")["spec"]["ingress"][0]["from"][0].update(
                namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "gmp-system"}}
            ),
            r"no policy lets Prometheus of gke-gmp-system in at 8080",
        ),
        "balancers shut out": (
            gke,
            reached,
            without("NetworkPolicy", "gateway-reaches-bff"),
            r"no policy lets Google's load balancer in at 8080",
        ),
        "a collector of traces out of reach": (
            found["base with tracing"],
            reached_in_base,
            without("NetworkPolicy", "services-send-traces"),
            r"no policy lets it reach collector.tracing.svc at 4318",
        ),
        "an autoscaler that asks nobody": (
            gke,
            reached,
            without("Service", "managed-prometheus"),
            r"asks managed-prometheus.belay.svc:9090, and there is no such Service",
        ),
        "a Prometheus that KEDA cannot reach": (
            gke,
            reached,
            without("NetworkPolicy", "managed-prometheus-answers"),
            r"no policy lets KEDA in at 9090",
        ),
        "an unknown field": (
            base,
            check_native,
            lambda d: named(d, "Deployment", "orders")["spec"].update(replica=2),
            r"Deployment/orders .*replica",
        ),
        "an unknown field of a custom resource": (
            gke,
            check_custom,
            lambda d: of(d, "ScaledObject")["spec"].update(minReplicas=1),
            r"ScaledObject/.*minReplicas",
        ),
        "a wrong value in a custom resource": (
            gke,
            check_custom,
            lambda d: of(d, "GCPBackendPolicy")["spec"]["default"].update(timeoutSec="long"),
            r"GCPBackendPolicy/bff: .*timeoutSec",
        ),
        "a misspelled probe path": (
            base,
            programs.check_probe_paths,
            lambda d: container(d, "orders")["readinessProbe"]["httpGet"].update(path="/ready"),
            r"Deployment/orders: readinessProbe asks for /ready",
        ),
        "a variable that nobody reads": (
            base,
            variables,
            lambda d: container(d, "orders")["env"].append({"name": "BELAY_KAFKAA", "value": "x"}),
            r"orders does not read BELAY_KAFKAA",
        ),
        "a grace that is too short": (
            base,
            drained,
            lambda d: pod(d, "orders")["spec"].update(terminationGracePeriodSeconds=10),
            r"Deployment/orders: 10 s of grace are short",
        ),
        "an autoscaler on an unknown metric": (
            keda,
            known_metrics,
            scaled_by("sum(belay_consumer_lags)"),
            r"asks for belay_consumer_lags, which nobody exports",
        ),
        "an autoscaler on an unknown group": (
            keda,
            rules.check_groups,
            scaled_by('sum(belay_consumer_lag{group="belay.order"})'),
            r"ScaledObject/orders goes by the backlog of belay.order, which is no consumer group",
        ),
        "an autoscaler on another one's group": (
            keda,
            rules.check_groups,
            scaled_by('sum(belay_consumer_lag{group="belay.payments"})'),
            r"ScaledObject/orders goes by the backlog of belay.payments$",
        ),
        "a dashboard that Grafana does not get": (
            monitored,
            rules.check_delivered,
            lambda d: named(d, "ConfigMap", "dashboards")["data"].pop("kafka.json"),
            r"Grafana does not get kafka.json",
        ),
    }


def in_dashboards(metrics):
    """Faults in a copy of the dashboards, read as the dashboards are."""

    def metric(board):
        board["panels"][1]["targets"][0]["expr"] = "rate(belay_no_such_total[5m])"

    def other(board):
        board["panels"][1]["targets"][0]["expr"] = "sum by (service) (go_goroutines{service=\"orders\"})"

    def asks_nobody(board):
        board["panels"][1]["targets"] = []

    def empty(board):
        board["panels"] = []

    def elsewhere(board):
        board["dashboard"] = {"panels": board.pop("panels")}

    return {
        "a panel on an unknown metric": (metric, r"panel .* asks for belay_no_such_total, which nobody exports"),
        "a panel on a metric of somebody else's": (other, r"panel .* asks for go_goroutines, which nobody exports"),
        "a panel without an expression": (asks_nobody, r"panel .* asks nobody"),
        "a dashboard without panels": (empty, r"kafka.json has no panels"),
        "panels where nobody looks": (elsewhere, r"kafka.json has no panels"),
    }


def check(found, check_native, check_custom, binaries, groups, metrics):
    put_in = in_manifests(found, check_native, check_custom, binaries, metrics)
    for words, (documents, check_it, change, message) in put_in.items():
        must_find(words, check_it, changed(documents, change), message)
    boards = in_dashboards(metrics)
    for words, (change, message) in boards.items():
        with tempfile.TemporaryDirectory() as scratch:
            copy = pathlib.Path(scratch) / "dashboards"
            shutil.copytree(rules.DASHBOARDS, copy)
            board = json.loads((copy / "kafka.json").read_text())
            change(board)
            (copy / "kafka.json").write_text(json.dumps(board))
            must_find(words, lambda place: rules.check_metrics(rules.dashboards(place), metrics), copy, message)
    must_find("no dashboards", rules.dashboards, "/nonexistent", r"no dashboards are in")
    must_find("an alert without tests", lambda tests: rules.check_tests(groups, tests), {"tests": []}, r"no test lets \w+ fire")
    must_find("a metric that is not documented", rules.check_table, {*metrics, "belay_new_total"}, r"differ in belay_new_total$")
    unnoticed = edited(groups, "BelayGroupWithoutMembers", "belay.orders", "belay.order")
    must_find("a group that may go unnoticed", rules.check_absent_groups, unnoticed, r"differ in .*belay.orders")
    other = edited(groups, "BelayOutboxOld", "> 60", "> 90")
    must_find("an alert that is another one on Docker", rules.check_twins, other, r"BelayOutboxOld has another `expr`")
    more = changed(found["gke"], lambda d: of(d, "HorizontalPodAutoscaler")["spec"].update(maxReplicas=8))
    must_find("connections that the page does not know", paper.check_connections, more, r"docs/gke.md: connections are 465, and it says 447")
    return len(put_in) + len(boards) + 6


def edited(groups, alert, old, new):
    """The rules with a word changed in one of them."""
    copied = copy.deepcopy(groups)
    for rule in rules.alerts(copied):
        if rule["alert"] == alert:
            rule["expr"] = rule["expr"].replace(old, new)
    return copied


def must_find(words, check_it, subject, message):
    try:
        check_it(subject)
    except Fault as fault:
        expect(re.search(message, str(fault), re.DOTALL), f"{words} is found as another fault: {fault}")
        return
    raise Fault(f"{words} is not found")
