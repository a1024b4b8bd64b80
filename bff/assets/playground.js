"use strict";

const element = (id) => document.getElementById(id);
const [form, answer, stop] = ["request", "answer", "stop"].map(element);
let socket = null;

const show = (value) => { answer.textContent = typeof value === "string" ? value : JSON.stringify(value, null, 2); };
const add = (value) => { answer.textContent += JSON.stringify(value, null, 2) + "\n"; };

function close() {
  if (socket) socket.close(1000);
  socket = null;
  stop.disabled = true;
}

function request() {
  const variables = element("variables").value.trim();
  return { query: element("query").value, variables: variables ? JSON.parse(variables) : undefined };
}

function authorization() {
  const token = element("token").value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(body) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/graphql-response+json, application/json",
      ...authorization(),
    },
    body: JSON.stringify(body),
  });
  show(await response.json());
}

function follow(body) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const opened = new WebSocket(`${scheme}://${location.host}/graphql/ws`, "graphql-transport-ws");
  socket = opened;
  stop.disabled = false;
  show("");
  const send = (message) => opened.send(JSON.stringify(message));
  opened.onopen = () => send({ type: "connection_init", payload: authorization() });
  opened.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "connection_ack") send({ id: "1", type: "subscribe", payload: body });
    else if (message.type === "ping") send({ type: "pong" });
    else if (message.type === "next" || message.type === "error") add(message.payload);
    else if (message.type === "complete") opened.close(1000);
  };
  opened.onclose = (event) => {
    if (event.code !== 1000) add({ closed: event.code, reason: event.reason });
    if (socket === opened) close();
  };
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  close();
  try {
    const body = request();
    if (/^\s*subscription\b/m.test(body.query)) follow(body);
    else await ask(body);
  } catch (error) {
    show(String(error));
  }
});
stop.addEventListener("click", close);
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
