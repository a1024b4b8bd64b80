// How GraphiQL reaches the edge: POST for queries and mutations, graphql-transport-ws for subscriptions.
import { getOperationAST, parse } from "graphql";
import { createClient } from "graphql-ws";

let held = "";

/// The bearer token of this tab.
export const token = {
  set: (value) => {
    held = value;
  },
};

/// What the headers editor says goes before the token field.
function headers(edited) {
  return { ...(held ? { Authorization: `Bearer ${held}` } : {}), ...edited };
}

async function ask(body, edited) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/graphql-response+json, application/json;q=0.9",
      ...headers(edited),
    },
    body: JSON.stringify(body),
  });
  return response.json();
}

/// Each subscription has a socket of its own, because the socket bears the token.
function follow(body, edited) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const client = createClient({
    url: `${scheme}://${location.host}/graphql/ws`,
    lazy: true,
    retryAttempts: 5,
    connectionParams: () => headers(edited),
  });
  return client.iterate(body);
}

/// GraphiQL's way to send a request.
export function fetcher(params, options) {
  const document = parse(params.query);
  const several = document.definitions.filter((one) => one.kind === "OperationDefinition").length > 1;
  // Named only where there is a choice: GraphiQL learns a moment late that the document is another one.
  const operationName = several ? (params.operationName ?? undefined) : undefined;
  const body = { query: params.query, variables: params.variables, operationName };
  const operation = getOperationAST(document, operationName);
  return operation?.operation === "subscription" ? follow(body, options?.headers) : ask(body, options?.headers);
}
