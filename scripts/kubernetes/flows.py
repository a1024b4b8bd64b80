"""Whether everybody reaches whom it has to, and only those: addresses in the settings lead to Services that are there, and the
NetworkPolicies, evaluated as a cluster would, let each such flow through on both sides."""

import ipaddress
import re
import urllib.parse

from common import SERVICES, containers, expect, matches, name_of, of_kind, pods
from wiring import ports_of, selected

# Of the base without an overlay: whoever renders it brings them under these names.
FOREIGN = {("kafka", 9092), ("registry", 8080), ("database", 5432)}
# Somewhere on the internet, in the VPC, and the two addresses of the metadata server.
PUBLIC, PRIVATE = "142.250.1.1", "10.1.2.3"
METADATA = [("169.254.169.254", 80), ("169.254.169.252", 988)]
BALANCERS = ["130.211.0.1", "35.191.0.1"]
MONITORING = {"PodMonitor": ["monitoring"], "PodMonitoring": ["gke-gmp-system", "gmp-system"]}
PROXY = "cloud-sql-proxy"


class Peer:
    """Who is at the other end: a pod by its labels (of this namespace, or of another one), or an address."""

    def __init__(self, words, labels=None, namespace="belay", address=None, ports=None):
        self.words, self.labels, self.namespace, self.address, self.ports = words, labels, namespace, address, ports or {}

    def is_in(self, block):
        network = ipaddress.ip_network
        inside = ipaddress.ip_address(self.address) in network(block["cidr"])
        return inside and not any(ipaddress.ip_address(self.address) in network(part) for part in block.get("except", []))

    def is_meant_by(self, rule):
        if "ipBlock" in rule:
            return self.address is not None and self.is_in(rule["ipBlock"])
        if self.address is not None:
            return False
        if "namespaceSelector" in rule:
            if not matches(rule["namespaceSelector"], {"kubernetes.io/metadata.name": self.namespace}):
                return False
        elif self.namespace != "belay":
            return False
        return "podSelector" not in rule or matches(rule["podSelector"], self.labels or {})


def allowed(documents, direction, labels, peer, port, ports):
    """Whether the policies let the pod with these labels talk to `peer` at `port`; `ports` are those of the pod that answers."""
    side, kind = ("to", "Egress") if direction == "egress" else ("from", "Ingress")
    for policy in of_kind(documents, "NetworkPolicy"):
        spec = policy["spec"]
        if kind not in spec["policyTypes"] or not matches(spec["podSelector"], labels):
            continue
        for rule in spec.get(direction) or []:
            known = [ports.get(p["port"]) if isinstance(p["port"], str) else p["port"] for p in rule.get("ports") or []]
            if known and port not in known:
                continue
            if side not in rule or any(peer.is_meant_by(one) for one in rule[side]):
                return True
    return False


def labels_of(pod):
    return pod["metadata"]["labels"]


def goes_out(documents, name, pod, peer, port):
    expect(
        allowed(documents, "egress", labels_of(pod), peer, port, peer.ports), f"{name}: no policy lets it reach {peer.words} at {port}"
    )


def comes_in(documents, name, pod, peer, port):
    expect(
        allowed(documents, "ingress", labels_of(pod), peer, port, ports_of(pod)),
        f"{name}: no policy lets {peer.words} in at {port}",
    )


def check(documents, whole=True):
    """`whole` is an overlay; the base alone has Kafka, registry and database from elsewhere."""
    for workload, pod in pods(documents):
        name = name_of(workload)
        given = settings(documents, pod)
        if "belay/" in "".join(container["image"] for container in pod["spec"]["containers"]):
            check_addresses(documents, name, pod, needed(workload, pod, given), whole)
            check_needs(name, pod)
            check_kept_away(documents, name, pod)
        check_database(documents, name, pod, given)
    check_kafka(documents)
    check_scrapes(documents)
    check_gateway(documents)
    check_autoscalers(documents)


def settings(documents, pod):
    """What the containers of a pod are told, as far as it stands in the manifests."""
    maps = {document["metadata"]["name"]: document["data"] for document in of_kind(documents, "ConfigMap")}
    found = {}
    for container in pod["spec"]["containers"]:
        for source in container.get("envFrom", []):
            found.update(maps[source["configMapRef"]["name"]])
        found.update({entry["name"]: entry.get("value") for entry in container.get("env", [])})
    return found


def needed(workload, pod, given):
    """The addresses that a program really uses: a Job of `belay` gets all settings, and needs its part alone."""
    words = pod["spec"]["containers"][0].get("args", [])
    if not words:
        return given
    return {"BELAY_KAFKA": given["BELAY_KAFKA"]} if words[0] == "topics" else {}


def check_needs(name, pod):
    """The labels say what a pod may reach outside: neither more nor less than its program needs."""
    words = pod["spec"]["containers"][0].get("args", [])
    service = not words
    wanted = {
        "asks-database": service or words[0] in ("provision", "audit"),
        "asks-kafka": service or words[0] == "topics",
        "asks-registry": service,
    }
    for label, needs in wanted.items():
        has = labels_of(pod).get(f"belay/{label}") == "true"
        expect(has == needs, f"{name}: the label belay/{label} is {'there' if has else 'missing'}")


def check_kept_away(documents, name, pod):
    """And the policies go by them: without its label nobody comes to the database, Kafka or the registry."""
    services = {service["metadata"]["name"]: service for service in of_kind(documents, "Service")}
    maps = {key: value for one in of_kind(documents, "ConfigMap") for key, value in one["data"].items()}
    far = [("database", "Cloud SQL", 3307)]
    if "managedkafka" in maps["BELAY_KAFKA"]:
        far.append(("kafka", "Google's Kafka", 9092))
    near = [("database", maps["PGHOST"]), ("kafka", "kafka"), ("registry", "registry")]
    for label, words, port in far:
        if labels_of(pod).get(f"belay/asks-{label}") != "true":
            may = allowed(documents, "egress", labels_of(pod), Peer(words, address=PRIVATE), port, {})
            expect(not may, f"{name} may reach {words} and needs not")
    for label, host in near:
        if host not in services or labels_of(pod).get(f"belay/asks-{label}") == "true":
            continue
        for target in selected(documents, {"matchLabels": services[host]["spec"]["selector"]}):
            ports = ports_of(target)
            for port in ports.values():
                out = allowed(documents, "egress", labels_of(pod), Peer(host, labels=labels_of(target), ports=ports), port, ports)
                let_in = allowed(documents, "ingress", labels_of(target), Peer(name, labels=labels_of(pod)), port, ports)
                expect(not out and not let_in, f"{name} may reach {host} and needs not")


def address_of(name, value):
    """Host and port of a setting that is an address, or None."""
    if name == "BELAY_KAFKA":
        host, _, port = value.partition(",")[0].rpartition(":")
        return host, int(port)
    if "://" in value and name.startswith(("BELAY_", "OTEL_")) and "DATABASE" not in name and "ORIGIN" not in name:
        url = urllib.parse.urlsplit(value)
        standard = {"https": 443, "http": 80, "smtp": 25}
        return url.hostname, url.port or standard.get(url.scheme)
    return None


def check_addresses(documents, name, pod, given, whole):
    for variable, value in given.items():
        address = address_of(variable, value) if value else None
        if not address:
            continue
        host, port = address
        peer = variable.removeprefix("BELAY_").lower().replace("_", "-")
        expect(peer not in SERVICES or host == peer, f"{name}: {variable} leads to {host}")
        inner = re.fullmatch(r"([a-z0-9-]+)(?:\.belay\.svc)?", host)
        if inner:
            check_inner(documents, name, pod, variable, inner.group(1), port, whole)
        elif "managedkafka" in host:
            goes_out(documents, name, pod, Peer("Google's Kafka", address=PRIVATE), port)
            for metadata, at in METADATA:
                goes_out(documents, name, pod, Peer("the metadata server", address=metadata), at)
        elif found := re.fullmatch(r"[a-z0-9-]+\.([a-z0-9-]+)\.svc", host):
            goes_out(documents, name, pod, Peer(host, namespace=found.group(1)), port)
        elif whole:
            goes_out(documents, name, pod, Peer(host, address=PUBLIC), port)


def check_inner(documents, name, pod, variable, host, port, whole):
    services = {service["metadata"]["name"]: service for service in of_kind(documents, "Service")}
    if host not in services:
        clusters = {f"{cluster['metadata']['name']}-kafka-bootstrap" for cluster in of_kind(documents, "Kafka")}
        expect(
            host in clusters or (not whole and (host, port) in FOREIGN), f"{name}: {variable} leads to {host}, which is no Service here"
        )
        return
    there = next((p for p in services[host]["spec"]["ports"] if p["port"] == port), None)
    expect(there, f"{name}: {variable} leads to port {port} of Service/{host}, which has none such")
    for target in selected(documents, {"matchLabels": services[host]["spec"]["selector"]}):
        at = there.get("targetPort", port)
        at = ports_of(target).get(at, at)
        goes_out(documents, name, pod, Peer(host, labels=labels_of(target), ports=ports_of(target)), at)
        caller = Peer(name, labels=labels_of(pod))
        comes_in(documents, f"the pods of Service/{host}", target, caller, at)


def check_database(documents, name, pod, given):
    """The pods with a database come to where PGHOST says; with Cloud SQL's proxy in the pod, the proxy comes to Google."""
    if labels_of(pod).get("belay/asks-database") != "true":
        return
    maps = {key: value for one in of_kind(documents, "ConfigMap") for key, value in one["data"].items()}
    host, port = maps["PGHOST"], int(maps["PGPORT"])
    if host == "127.0.0.1":
        proxies = [c for c in containers(pod) if c["name"] == PROXY and f"--port={port}" in c.get("args", [])]
        expect(proxies, f"{name}: nothing in its pod listens on {host}:{port}")
        google = [("the database", PRIVATE, 3307), ("Google's API", PUBLIC, 443)]
        for words, address, at in [*google, *(("the metadata server", *one) for one in METADATA)]:
            goes_out(documents, name, pod, Peer(words, address=address), at)
    elif any(service["metadata"]["name"] == host for service in of_kind(documents, "Service")):
        check_inner(documents, name, pod, "PGHOST", host, port, True)


def check_kafka(documents):
    """Strimzi's brokers, whose pods Strimzi makes, from both sides: our policies, and those that it makes of its listeners."""
    for cluster in of_kind(documents, "Kafka"):
        broker = {"strimzi.io/cluster": cluster["metadata"]["name"], "strimzi.io/kind": "Kafka"}
        for workload, pod in pods(documents):
            given = settings(documents, pod)
            for listener in cluster["spec"]["kafka"]["listeners"]:
                port = listener["port"]
                let_in = any(matches(peer["podSelector"], labels_of(pod)) for peer in listener["networkPolicyPeers"])
                let_out = allowed(documents, "egress", labels_of(pod), Peer("Kafka", labels=broker), port, {})
                wants = "BELAY_KAFKA_PASSWORD" in given
                way = {True: "cannot reach", False: "may reach"}[wants]
                expect(let_in == wants and let_out == wants, f"{name_of(workload)} {way} Kafka at {port}")
                host = given.get("BELAY_KAFKA") or ""
                expect(
                    not wants or host == f"{cluster['metadata']['name']}-kafka-bootstrap:{port}",
                    f"{name_of(workload)}: BELAY_KAFKA leads to {host}, and the cluster listens at {port}",
                )


def check_scrapes(documents):
    for kind, namespaces in MONITORING.items():
        for monitor in of_kind(documents, kind):
            for endpoint in monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]:
                for workload, pod in pods(documents):
                    if matches(monitor["spec"]["selector"], labels_of(pod)):
                        for namespace in namespaces:
                            scraper = Peer(f"Prometheus of {namespace}", namespace=namespace)
                            comes_in(documents, name_of(workload), pod, scraper, ports_of(pod)[endpoint["port"]])


def check_gateway(documents):
    listeners = {
        (gateway["metadata"]["name"], listener["name"]) for gateway in of_kind(documents, "Gateway") for listener in gateway["spec"]["listeners"]
    }
    services = {service["metadata"]["name"]: service for service in of_kind(documents, "Service")}
    for route in of_kind(documents, "HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            section = parent.get("sectionName")
            expect(
                section is None or (parent["name"], section) in listeners,
                f"{name_of(route)}: Gateway {parent['name']} has no listener {section}",
            )
    for policy in of_kind(documents, "HealthCheckPolicy"):
        port = policy["spec"]["default"]["config"]["httpHealthCheck"]["port"]
        service = services[policy["spec"]["targetRef"]["name"]]
        for pod in selected(documents, {"matchLabels": service["spec"]["selector"]}):
            container = pod["spec"]["containers"][0]
            ready = container["readinessProbe"]["httpGet"]["port"]
            ready = ports_of(pod).get(ready, ready)
            expect(port == ready, f"{name_of(policy)} asks port {port}, and the pods tell whether they are ready at {ready}")
            for address in BALANCERS:
                comes_in(documents, name_of(service), pod, Peer("Google's load balancer", address=address), port)


def check_autoscalers(documents):
    """Whom KEDA asks, where that is in this namespace."""
    services = {service["metadata"]["name"]: service for service in of_kind(documents, "Service")}
    for scaler in of_kind(documents, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            url = urllib.parse.urlsplit(trigger["metadata"]["serverAddress"])
            host, _, namespace = url.hostname.partition(".")
            if namespace.partition(".")[0] != "belay":
                continue
            ports = {port["port"] for port in services[host]["spec"]["ports"]} if host in services else set()
            expect(url.port in ports, f"{name_of(scaler)} asks {url.netloc}, and there is no such Service")
            for pod in selected(documents, {"matchLabels": services[host]["spec"]["selector"]}):
                comes_in(documents, host, pod, Peer("KEDA", namespace="keda"), url.port)
                google = [("Google's API", PUBLIC, 443), *(("the metadata server", *one) for one in METADATA)]
                for words, address, at in google:
                    goes_out(documents, host, pod, Peer(words, address=address), at)
