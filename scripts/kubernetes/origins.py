"""Where each Secret comes from: an ExternalSecret, or Strimzi."""

import yaml

from common import MANIFESTS, of_kind


def provided(documents):
    """The Secrets of a rendering and their keys. What is rendered without a source of Secrets has those of component
    secret-manager: somebody else makes them under the same names."""
    external = of_kind(documents, "ExternalSecret")
    if not external:
        text = (MANIFESTS / "components/secret-manager/secrets.yaml").read_text()
        external = of_kind(list(yaml.safe_load_all(text)), "ExternalSecret")
    found = {e["spec"]["target"]["name"]: {datum["secretKey"] for datum in e["spec"]["data"]} for e in external}
    for secret in of_kind(documents, "Secret"):
        found[secret["metadata"]["name"]] = set(secret.get("data", {})) | set(secret.get("stringData", {}))
    for user in of_kind(documents, "KafkaUser"):
        found[user["metadata"]["name"]] = {"password", "sasl.jaas.config"}
    for cluster in of_kind(documents, "Kafka"):
        found[f"{cluster['metadata']['name']}-cluster-ca-cert"] = {"ca.crt", "ca.p12", "ca.password"}
    return found
