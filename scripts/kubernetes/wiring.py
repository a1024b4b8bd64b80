"""Whether everything that a manifest names is there: pods behind selectors, ports, keys, Secrets, accounts, targets."""

import re

from common import containers, expect, matches, name_of, of_kind, pods

# What the NetworkPolicies of an overlay may select that no workload of ours has: Strimzi makes those pods.
FOREIGN_PODS = {"strimzi.io/cluster"}


def check(documents, secrets):
    check_twins(documents)
    check_services(documents)
    check_policies(documents)
    check_targets(documents)
    check_strimzi(documents)
    for workload, pod in pods(documents):
        for container in containers(pod):
            check_restricted(f"{name_of(workload)}, container {container['name']}", pod["spec"].get("securityContext"), container)
        check_pod(documents, name_of(workload), pod, secrets)
        selector = workload["spec"].get("selector")
        if selector:
            labels = pod["metadata"]["labels"]
            expect(matches(selector, labels), f"{name_of(workload)} does not select its own pods")


def check_twins(documents):
    seen = set()
    for document in documents:
        key = (document["apiVersion"].split("/")[0], name_of(document))
        expect(key not in seen, f"{name_of(document)} is there twice")
        seen.add(key)
        if document["kind"] != "Namespace":
            expect(document["metadata"].get("namespace") == "belay", f"{name_of(document)} is in no namespace")


def check_restricted(name, of_pod, container):
    """What the API server asks of a pod in a namespace that enforces `restricted`."""
    of_pod, own = of_pod or {}, container.get("securityContext") or {}
    both = {**of_pod, **own}
    expect(both.get("runAsNonRoot") is True and both.get("runAsUser") != 0, f"{name} is not restricted: it may run as root")
    profile = (both.get("seccompProfile") or {}).get("type")
    expect(profile in ("RuntimeDefault", "Localhost"), f"{name} is not restricted: it has no seccomp profile")
    expect(own.get("allowPrivilegeEscalation") is False, f"{name} is not restricted: it may gain privileges")
    expect("ALL" in (own.get("capabilities") or {}).get("drop", []), f"{name} is not restricted: it keeps capabilities")
    expect(not own.get("privileged"), f"{name} is not restricted: it is privileged")


def check_strimzi(documents):
    """The pods that Strimzi makes, by its templates."""
    for pool in of_kind(documents, "KafkaNodePool"):
        template = pool["spec"].get("template", {})
        check_restricted(f"{name_of(pool)}, Kafka", template.get("pod", {}).get("securityContext"), template.get("kafkaContainer", {}))
    for cluster in of_kind(documents, "Kafka"):
        operators = cluster["spec"].get("entityOperator", {})
        template = operators.get("template", {})
        for operator in ("userOperator", "topicOperator"):
            if operator in operators:
                context = template.get("pod", {}).get("securityContext")
                check_restricted(f"{name_of(cluster)}, {operator}", context, template.get(f"{operator}Container", {}))


def ports_of(pod):
    return {
        port["name"]: port["containerPort"] for container in containers(pod) for port in container.get("ports", []) if "name" in port
    }


def selected(documents, selector):
    return [pod for _, pod in pods(documents) if matches(selector, pod["metadata"]["labels"])]


def check_services(documents):
    for service in of_kind(documents, "Service"):
        found = selected(documents, {"matchLabels": service["spec"]["selector"]})
        expect(found, f"{name_of(service)} selects no pod")
        own = service["metadata"].get("labels", {}).get("app.kubernetes.io/name")
        name = service["metadata"]["name"]
        expect(own and (name == own or name.startswith(f"{own}-")), f"{name_of(service)} does not say whose it is")
        for pod in found:
            whose = pod["metadata"]["labels"].get("app.kubernetes.io/name")
            expect(whose == own, f"{name_of(service)} selects the pods of {whose}")
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in found:
                known = ports_of(pod)
                there = target in known if isinstance(target, str) else target in known.values()
                expect(there, f"{name_of(service)}: its pods have no port {target}")
    for budget in of_kind(documents, "PodDisruptionBudget"):
        expect(selected(documents, budget["spec"]["selector"]), f"{name_of(budget)} selects no pod")
    for deployment in of_kind(documents, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        budgets = [b for b in of_kind(documents, "PodDisruptionBudget") if matches(b["spec"]["selector"], labels)]
        expect(len(budgets) == 1, f"{name_of(deployment)} has {len(budgets)} disruption budgets")
    for monitor in of_kind(documents, "PodMonitor", "PodMonitoring"):
        found = selected(documents, monitor["spec"]["selector"])
        expect(found, f"{name_of(monitor)} selects no pod")
        for endpoint in monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]:
            expect(
                all(endpoint["port"] in ports_of(pod) for pod in found), f"{name_of(monitor)}: no port {endpoint['port']}"
            )
            expect(endpoint["path"] == "/metrics", f"{name_of(monitor)} asks for {endpoint['path']}")


def check_policies(documents):
    policies = of_kind(documents, "NetworkPolicy")
    closed = [p for p in policies if p["spec"]["podSelector"] == {} and not p["spec"].get("ingress") and not p["spec"].get("egress")]
    expect(closed and set(closed[0]["spec"]["policyTypes"]) == {"Ingress", "Egress"}, "no policy denies everything")
    for policy in policies:
        spec, name = policy["spec"], name_of(policy)
        here = selected(documents, spec["podSelector"])
        foreign = FOREIGN_PODS & set(spec["podSelector"].get("matchLabels") or {})
        expect(here or foreign, f"{name} selects no pod")
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction) or []:
                peers = rule.get("from" if direction == "ingress" else "to") or []
                local = [peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer]
                there = [pod for selector in local for pod in selected(documents, selector)]
                for selector in local:
                    known = selected(documents, selector) or FOREIGN_PODS & set(selector.get("matchLabels") or {})
                    expect(known, f"{name}: a peer selects no pod")
                answering = here if direction == "ingress" else there
                for port in rule.get("ports") or []:
                    if isinstance(port.get("port"), str):
                        expect(
                            any(port["port"] in ports_of(pod) for pod in answering), f"{name}: no pod has the port {port['port']}"
                        )


def check_targets(documents):
    deployments = {document["metadata"]["name"] for document in of_kind(documents, "Deployment")}
    scaled = []
    for scaler in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        expect(target in deployments, f"{name_of(scaler)} scales {target}, which is not there")
        expect(target not in scaled, f"{target} is scaled twice")
        scaled.append(target)
    services = {
        (document["metadata"]["name"], port["port"]) for document in of_kind(documents, "Service") for port in document["spec"]["ports"]
    }
    for route in of_kind(documents, "HTTPRoute"):
        gateways = {gateway["metadata"]["name"] for gateway in of_kind(documents, "Gateway")}
        for parent in route["spec"]["parentRefs"]:
            expect(parent["name"] in gateways, f"{name_of(route)}: no Gateway {parent['name']}")
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                key = (backend["name"], backend["port"])
                expect(key in services, f"{name_of(route)}: no Service {key[0]} with port {key[1]}")
    for policy in of_kind(documents, "HealthCheckPolicy", "GCPBackendPolicy"):
        target = policy["spec"]["targetRef"]["name"]
        expect(target in {name for name, _ in services}, f"{name_of(policy)}: no Service {target}")
    for policy in of_kind(documents, "HealthCheckPolicy"):
        check = policy["spec"]["default"]["config"]["httpHealthCheck"]
        expect(check["requestPath"] == "/readyz", f"{name_of(policy)} asks for {check['requestPath']}")


def check_pod(documents, name, pod, secrets):
    accounts = {document["metadata"]["name"] for document in of_kind(documents, "ServiceAccount")}
    spec = pod["spec"]
    expect(spec.get("serviceAccountName") in accounts, f"{name}: no ServiceAccount {spec.get('serviceAccountName')}")
    maps = {document["metadata"]["name"]: set(document["data"]) for document in of_kind(documents, "ConfigMap")}
    volumes = {volume["name"] for volume in spec.get("volumes", [])}

    def needs_map(map_name, key=None):
        expect(map_name in maps, f"{name}: no ConfigMap {map_name}")
        expect(key is None or key in maps[map_name], f"{name}: no key {key} in ConfigMap {map_name}")

    def needs_secret(secret, key):
        expect(secret in secrets, f"{name}: Secret {secret} comes from nowhere")
        expect(key in secrets[secret], f"{name}: no key {key} in Secret {secret}")

    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            needs_map(volume["configMap"]["name"])
        if "secret" in volume:
            for item in volume["secret"]["items"]:
                needs_secret(volume["secret"]["secretName"], item["key"])
    mounted = set()
    for container in containers(pod):
        for source in container.get("envFrom", []):
            needs_map(source["configMapRef"]["name"])
        names = [entry["name"] for entry in container.get("env", [])]
        expect(len(names) == len(set(names)), f"{name}: a variable is set twice")
        for entry in container.get("env", []):
            origin = entry.get("valueFrom", {})
            if "configMapKeyRef" in origin:
                needs_map(origin["configMapKeyRef"]["name"], origin["configMapKeyRef"]["key"])
            if "secretKeyRef" in origin:
                needs_secret(origin["secretKeyRef"]["name"], origin["secretKeyRef"]["key"])
            secretive = re.search(r"PASSWORD$|SECRET$|TOKEN$|_KEY$", entry["name"])
            expect(not secretive or origin.get("secretKeyRef"), f"{name}: {entry['name']} is not from a Secret")
        for mount in container.get("volumeMounts", []):
            expect(mount["name"] in volumes, f"{name}: no volume {mount['name']}")
            mounted.add(mount["name"])
        ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container and "httpGet" in container[probe]:
                port = container[probe]["httpGet"]["port"]
                expect(port in ports or port in ports.values(), f"{name}: {probe} asks port {port}, which is not there")
        image = container["image"]
        expect(":" in image.rpartition("/")[2] and not image.endswith(":latest"), f"{name}: the image {image} has no fixed tag")
    expect(mounted == volumes, f"{name}: volumes {sorted(volumes - mounted)} are mounted nowhere")
