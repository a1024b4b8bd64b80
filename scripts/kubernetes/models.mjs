// Validates custom resources: JSON documents on standard input. Each is checked twice: by its schema's validator (values and
// required fields), and by the TypeScript compiler against its type, which refuses fields that do not exist.
// Run it from a copy beside the packages: they are found by where this file is.
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";

const tools = import.meta.dirname;

const MODELS = {
  "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
  "networking.gke.io/v1": "@kubernetes-models/gke/networking.gke.io/v1",
  "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "kafka.strimzi.io/v1": "@kubernetes-models/strimzi-kafka-operator/kafka.strimzi.io/v1",
  // Version 1 is v1beta1 under its final name; what we use of it is alike in both.
  "external-secrets.io/v1": "@kubernetes-models/external-secrets/external-secrets.io/v1beta1",
};
const AS = { "external-secrets.io/v1": "external-secrets.io/v1beta1" };
// Google's managed Prometheus has no published models: Rules are a PrometheusRule's groups under another name, and the little
// that we use of PodMonitoring is written down here, from its reference.
const GOOGLE = {
  PodMonitoring: `{ apiVersion: "monitoring.googleapis.com/v1"; kind: "PodMonitoring"; metadata: object; spec: {
    selector: { matchLabels: { [name: string]: string } };
    endpoints: { port: string | number; path?: string; interval: string; scheme?: "http" | "https"; timeout?: string }[];
    targetLabels?: { metadata?: ("pod" | "container" | "node" | "top_level_controller_name" | "top_level_controller_type")[];
      fromPod?: { from: string; to?: string }[] };
    limits?: { samples?: number; labels?: number; labelNameLength?: number; labelValueLength?: number } } }`,
};

const documents = JSON.parse(fs.readFileSync(0, "utf8"));
const faults = [];
const lines = [];
const names = [];
for (const [index, document] of documents.entries()) {
  const name = `${document.kind}/${document.metadata.name}`;
  names[index] = name;
  let { apiVersion, kind } = document;
  let checked = document;
  if (apiVersion === "monitoring.googleapis.com/v1" && kind === "Rules") {
    apiVersion = "monitoring.coreos.com/v1";
    kind = "PrometheusRule";
    checked = { ...document, apiVersion, kind };
  } else if (GOOGLE[kind]) {
    lines.push(`export const d${index}: ${GOOGLE[kind]} = ${JSON.stringify(checked)};`);
    continue;
  }
  const model = MODELS[apiVersion];
  const found = model && (await import(model))[kind];
  if (!found) {
    faults.push(`${name}: no schema is known for ${apiVersion} ${kind}`);
    continue;
  }
  if (AS[apiVersion]) checked = { ...checked, apiVersion: AS[apiVersion] };
  try {
    new found(checked).validate();
  } catch (error) {
    faults.push(`${name}: ${error.message}`);
  }
  lines.push(`import type { I${kind} as T${index} } from "${model}/${kind}";`);
  lines.push(`export const d${index}: T${index} = ${JSON.stringify(checked)};`);
}

const file = path.join(tools, `documents-${process.pid}.ts`);
fs.writeFileSync(file, lines.join("\n"));
try {
  const program = ts.createProgram([file], {
    noEmit: true, strict: true, skipLibCheck: true, moduleResolution: ts.ModuleResolutionKind.Bundler,
    module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, types: [],
  });
  for (const found of ts.getPreEmitDiagnostics(program)) {
    const text = ts.flattenDiagnosticMessageText(found.messageText, " ");
    const line = found.file && found.start !== undefined ? found.file.text.slice(0, found.start).split("\n").length - 1 : -1;
    const of = /d(\d+):/.exec(lines[line] || "");
    faults.push(`${of ? names[Number(of[1])] : "?"}: ${text}`);
  }
} finally {
  fs.unlinkSync(file);
}
if (faults.length) {
  console.error(faults.join("\n"));
  process.exit(1);
}
console.log(`${documents.length} custom resources`);
