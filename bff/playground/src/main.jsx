// The playground: GraphiQL, a field for the token, and examples. It talks to its own origin alone.
import { GraphiQL } from "graphiql";
import "graphiql/style.css";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { EXAMPLES } from "./examples.jsx";
import { fetcher, token } from "./fetcher.js";
import "./playground.css";

/// The token stays in this tab: it is neither stored nor shown.
function Token() {
  const [value, set] = useState("");
  const change = (event) => {
    set(event.target.value);
    token.set(event.target.value.trim());
  };
  return (
    <label className="belay-token" title="From: belay token --role customer --subject NAME. Kept in this tab only.">
      Token
      <input
        id="token"
        type="password"
        autoComplete="off"
        spellCheck={false}
        placeholder="belay token --role customer"
        value={value}
        onChange={change}
      />
    </label>
  );
}

const [first] = BELAY_EXAMPLES;

createRoot(document.getElementById("playground")).render(
  <GraphiQL
    fetcher={fetcher}
    defaultTabs={[{ query: first.query, variables: first.variables }]}
    plugins={[EXAMPLES]}
    visiblePlugin={EXAMPLES}
    shouldPersistHeaders={false}
    defaultEditorToolsVisibility="variables"
    inputValueDeprecation
    schemaDescription
  >
    <GraphiQL.Logo>
      <Token />
    </GraphiQL.Logo>
  </GraphiQL>,
);
