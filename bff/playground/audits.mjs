// Runs the audits of graphql-http against a server and prints what each found, as JSON: node audits.mjs MODULES URL
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [modules, url] = process.argv.slice(2);
const { auditServer } = createRequire(join(resolve(modules), "package.json"))("graphql-http");
const results = await auditServer({ url });
process.stdout.write(JSON.stringify(results.map(({ id, name, status, reason }) => ({ id, name, status, reason }))));
