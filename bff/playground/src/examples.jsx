// A list of requests to begin with. Each opens in a tab of its own.
import { useEditorContext } from "@graphiql/react";
import { flushSync } from "react-dom";

/// Stands in an example's variables where each use needs a key of its own.
const ANY_KEY = /00000000-0000-4000-8000-000000000000/g;

/// A random UUID. `crypto.randomUUID` is only there where the page came over TLS or from this machine.
function key() {
  const [...bytes] = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function Icon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" aria-hidden="true">
      <path d="M4 6h16M4 12h16M4 18h10" />
    </svg>
  );
}

function Examples() {
  const { addTab, queryEditor, variableEditor } = useEditorContext({ nonNull: true });
  const open = (example) => {
    flushSync(addTab);
    variableEditor?.setValue(example.variables.replace(ANY_KEY, key));
    queryEditor?.setValue(example.query);
  };
  return (
    <section aria-label="Examples">
      <div className="graphiql-doc-explorer-title">Examples</div>
      <p>
        Most need a token: paste what <code>belay token --role customer --subject alice</code> prints into the field at
        the top; <code>--role operator</code> or <code>--role admin</code> where it says so. Each opens in a new tab.
      </p>
      <ul className="belay-examples">
        {BELAY_EXAMPLES.map((example) => (
          <li key={example.title}>
            <button type="button" className="graphiql-un-styled" onClick={() => open(example)}>
              {example.title}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

export const EXAMPLES = { title: "Examples", icon: Icon, content: Examples };
