// The second half of `postman/run`: fills the environment in memory, so that no token is written anywhere, runs the
// collection, and looks that nothing of it was left out.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { parseArgs } from "node:util";

const newman = createRequire(join(process.env.NEWMAN, "package.json"))("newman");
const COLLECTION = new URL("belay.postman_collection.json", import.meta.url);
// Milliseconds that one request to the edge or the issuer may take.
const REQUEST_MS = 30_000;

const cannot = (sentence) => {
    console.error(`postman/run: ${sentence}`);
    process.exit(2);
};

const separator = process.argv.indexOf("--");
const own = process.argv.slice(2, separator < 0 ? undefined : separator);
const { folder, quiet } = parseArgs({
    args: own,
    options: { folder: { type: "string", multiple: true }, quiet: { type: "boolean" } },
}).values;
// What the caller wants of newman beside: --bail and the like, as options of its library (--bail is bail: true).
const more = {};
if (separator >= 0) {
    for (const argument of process.argv.slice(separator + 1)) {
        const [, name, value] = argument.match(/^--([a-z-]+)(?:=(.*))?$/) ?? cannot(`${argument} is no option of newman's; write --name or --name=value.`);
        more[name.replace(/-(.)/g, (_, letter) => letter.toUpperCase())] = value ?? true;
    }
}

const asked = (url) => fetch(url, { signal: AbortSignal.timeout(REQUEST_MS) });

async function values() {
    const given = { baseUrl: process.env.BASE_URL.replace(/\/$/, "") };
    if (!process.env.ISSUER) {
        for (const token of ["customerToken", "otherCustomerToken", "operatorToken", "adminToken"]) {
            given[token] = process.env[token];
        }
        return given;
    }
    const discovery = `${process.env.ISSUER.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const response = await asked(discovery).catch(() => cannot(`the issuer does not answer at ${discovery}.`));
    const found = await response.json().catch(() => ({}));
    given.tokenUrl = found.token_endpoint ?? cannot(`${discovery} names no token endpoint.`);
    const needed = (name) => process.env[name] || cannot(`set ${name}; see postman/run --help.`);
    given.clientId = needed("BELAY_POSTMAN_CLIENT_ID");
    given.clientSecret = process.env.BELAY_POSTMAN_CLIENT_SECRET ?? "";
    const variables = { customer: "CUSTOMER", otherCustomer: "OTHER_CUSTOMER", operator: "OPERATOR", admin: "ADMIN" };
    for (const [who, suffix] of Object.entries(variables)) {
        const name = `BELAY_POSTMAN_${suffix}`;
        const [, user, password] = needed(name).match(/^([^:]+):(.+)$/s) ?? cannot(`${name} must be USER:PASSWORD.`);
        given[`${who}User`] = user;
        given[`${who}Password`] = password;
    }
    return given;
}

/** The names of all requests below an item. */
const requests = (item) => (item.item ? item.item.flatMap(requests) : [item.name]);

const given = await values();
const edge = `${given.baseUrl}/graphql?query=%7B__typename%7D`;
await asked(edge).catch(() => cannot(`no system answers at ${given.baseUrl}: start one (belay up), or name another with --base-url.`));

const environment = JSON.parse(readFileSync(process.env.ENVIRONMENT, "utf8"));
for (const [key, value] of Object.entries(given)) {
    environment.values = environment.values.filter((known) => known.key !== key);
    environment.values.push({ key, value, enabled: true });
}
const collection = JSON.parse(readFileSync(COLLECTION, "utf8"));
const chosen = folder ? collection.item.filter((part) => folder.includes(part.name)) : collection.item;
if (chosen.length < (folder?.length ?? 1)) {
    cannot(`the collection's folders are: ${collection.item.map((part) => part.name).join("; ")}.`);
}
const names = chosen.flatMap(requests);
if (new Set(names).size < names.length) {
    cannot("two requests of the collection have the same name, by which they are asked again.");
}

newman.run(
    {
        collection,
        environment,
        folder,
        timeoutRequest: REQUEST_MS,
        reporters: ["cli"],
        reporter: { cli: { noSuccessAssertions: quiet, noBanner: true } },
        ...more,
    },
    (error, summary) => {
        if (error) {
            cannot(`newman gave up: ${error.message}`);
        }
        const done = new Set(summary.run.executions.map((execution) => execution.item.name));
        const left = names.filter((name) => !done.has(name));
        if (left.length > 0) {
            console.error(`postman/run: ${left.length} requests were never sent: ${left.join("; ")}`);
        }
        const failures = summary.run.failures.length;
        console.log(`postman/run: ${names.length} requests at ${given.baseUrl}, ${summary.run.stats.assertions.total} assertions, ${failures} failed`);
        process.exitCode = failures > 0 || left.length > 0 ? 1 : 0;
    },
);
