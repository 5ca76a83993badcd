"use strict";
// Where the server is, seen from this page: /api/docs or /api/docs/, perhaps below a path of a proxy.
const base = location.pathname.replace(/\/api\/docs\/?$/, "");
const schemaUrl = base + "/api/schema/";
let schema = null;
// The token is kept here and nowhere else: it goes with the page.
let access = "";

const byId = (id) => document.getElementById(id);

// An element with attributes and children; texts are always texts and never markup.
function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

// The little Markdown of the schema: `code` and lists.
function prose(text) {
  const inline = (line) => line.split(/(`[^`]*`)/).filter(Boolean).map((part) =>
    part.startsWith("`") ? el("code", null, part.slice(1, -1)) : part);
  const blocks = [];
  for (const line of (text || "").split("\n").filter(Boolean)) {
    if (!line.startsWith("- ")) { blocks.push(el("p", null, inline(line))); continue; }
    if (!blocks.length || blocks.at(-1).tagName !== "UL") blocks.push(el("ul"));
    blocks.at(-1).append(el("li", null, inline(line.slice(2))));
  }
  return blocks;
}

function resolve(node) {
  while (node && node.$ref) node = node.$ref.slice(2).split("/").reduce((at, key) => at[key], schema);
  return node || {};
}

function typeOf(node) {
  node = resolve(node);
  if (node.anyOf) return node.anyOf.map(typeOf).join(" or ");
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.enum) return node.enum.map((value) => JSON.stringify(value)).join(", ");
  const names = [].concat(node.type || "any").map((name) => name === "array" ? "list of " + typeOf(node.items) : name);
  return names.join(" or ") + (node.format ? ` (${node.format})` : "") + (node.maxLength ? `, at most ${node.maxLength}` : "");
}

function fieldRows(entries) {
  return el("table", { class: "fields" }, el("tbody", null, entries.map(([name, node, required, description]) =>
    el("tr", null,
      el("td", null, el("code", null, name), required ? " required" : ""),
      el("td", { class: "dim" }, typeOf(node)),
      el("td", null, prose(description || resolve(node).description))))));
}

function bodyFields(node) {
  node = resolve(node);
  return Object.entries(node.properties || {}).map(([name, field]) => [name, field, (node.required || []).includes(name)]);
}

function responsesOf(operation) {
  return el("div", { class: "responses" }, Object.entries(operation.responses).map(([status, response]) => {
    const contents = Object.entries(response.content || {}).flatMap(([type, media]) => {
      const examples = Object.values(media.examples || {});
      if (!examples.length) return [el("p", { class: "dim" }, type)];
      return examples.flatMap((example) => [
        el("p", { class: "dim" }, example.summary), el("pre", null, JSON.stringify(example.value, null, 2))]);
    });
    const good = Number(status) < 400;
    return el("details", null,
      el("summary", null, el("span", { class: "status " + (good ? "good" : "bad") }, status), el("span", null, prose(response.description))),
      el("div", null, contents));
  }));
}

const needsToken = (operation) => (operation.security || []).length === 1;
const isFile = (node) => resolve(node).format === "binary";

function tryOut(method, path, item, operation) {
  const parameters = [...(item.parameters || []), ...(operation.parameters || [])];
  const content = (operation.requestBody || {}).content || {};
  const types = Object.keys(content);
  const form = el("form", { novalidate: true });
  const inputs = parameters.map((parameter) => {
    const input = el("input", { value: parameter.name === "pk" ? "me" : "", placeholder: typeOf(parameter.schema) });
    form.append(el("label", null, `${parameter.name} (${parameter.in})`, input));
    return [parameter, input];
  });
  const type = el("select", null, types.map((name) => el("option", null, name)));
  const text = el("textarea", { spellcheck: "false" });
  const json = content["application/json"];
  if (json) text.value = JSON.stringify(json.example || {}, null, 2);
  const jsonLabel = el("label", { class: "wide" }, "Body", text);
  const parts = bodyFields((content["multipart/form-data"] || {}).schema).map(([name, node]) => {
    const input = el("input", { type: isFile(node) ? "file" : "text" });
    return [name, input, el("label", null, name, input)];
  });
  const multipart = el("div", { hidden: true }, parts.map(([, , label]) => label));
  if (types.length > 1) {
    form.append(el("label", null, "Content-Type", type));
    type.addEventListener("change", () => {
      jsonLabel.hidden = type.value !== "application/json";
      multipart.hidden = !jsonLabel.hidden;
    });
  }
  if (types.length) form.append(jsonLabel, multipart);
  const send = el("button", null, "Send");
  form.append(send);
  const output = el("div", { role: "status" });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value !== "") query.append(parameter.name, input.value);
    }
    const url = base + target + (query.size ? "?" + query : "");
    const headers = {};
    if (access && (operation.security || []).length) headers.Authorization = "Bearer " + access;
    let body;
    if (types.length && type.value === "multipart/form-data") {
      body = new FormData();
      for (const [name, input] of parts) {
        if (input.type === "file") { if (input.files.length) body.append(name, input.files[0]); }
        else if (input.value !== "") body.append(name, input.value);
      }
    } else if (types.length && text.value.trim()) {
      body = text.value;
      headers["Content-Type"] = "application/json";
    }
    send.disabled = true;
    try {
      output.replaceChildren(...await show(method, url, headers, body));
    } catch (error) {
      output.replaceChildren(el("p", { class: "error" }, `The request failed: ${error.message}.`));
    }
    send.disabled = false;
  });
  return el("div", { class: "try" }, el("h3", null, "Try it"), form, output);
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curlLine(method, url, headers, body) {
  const words = ["curl", ...(method === "GET" ? [] : ["-X", method]), quoted(location.origin + url)];
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (body instanceof FormData) {
    for (const [name, value] of body) words.push("-F", quoted(`${name}=${value instanceof File ? "@" + value.name : value}`));
  } else if (body) words.push("-d", quoted(body.replace(/\s*\n\s*/g, " ")));
  return words.join(" ");
}

async function show(method, url, headers, body) {
  const started = performance.now();
  const response = await fetch(url, { method, headers, body, credentials: "omit", cache: "no-store" });
  const type = response.headers.get("content-type") || "";
  let answer = null;
  if (type.startsWith("image/")) answer = `${(await response.blob()).size} bytes of ${type}`;
  else {
    answer = await response.text();
    if (type.startsWith("application/json")) {
      const value = JSON.parse(answer);
      answer = JSON.stringify(value, null, 2);
      if (value && typeof value.access === "string") useToken(value.access);
    }
  }
  const milliseconds = Math.round(performance.now() - started);
  return [
    el("p", null, el("span", { class: "status " + (response.ok ? "good" : "bad") }, `${response.status} ${response.statusText}`),
      el("span", { class: "dim" }, ` in ${milliseconds} ms`)),
    el("pre", null, answer || "(no body)"),
    el("details", null, el("summary", null, "Headers and curl"), el("div", null,
      el("pre", null, [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n")),
      el("pre", null, curlLine(method, url, headers, body)))),
  ];
}

// The claims of a token, to show whose it is. The server checks it, not this page.
function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (c) => c.charCodeAt(0))));
  } catch { return null; }
}

function useToken(token) {
  access = token.trim();
  byId("token").access.value = access;
  const claims = claimsOf(access);
  byId("who").textContent = !access ? "No token: only operations that need none will work."
    : claims ? `Requests carry the token of ${claims.email || claims.sub}${claims.is_staff ? " (staff)" : ""}, good until ${new Date(claims.exp * 1000).toLocaleTimeString()}.`
    : "Requests carry this token.";
}

function render() {
  byId("title").textContent = `${schema.info.title} ${schema.info.version}`;
  document.title = `API of ${schema.info.title}`;
  byId("summary").textContent = schema.info.summary || "";
  byId("description").replaceChildren(...prose(schema.info.description));
  const sections = schema.tags.map((tag) => {
    const operations = [];
    for (const [path, item] of Object.entries(schema.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if (method === "parameters" || !operation.tags.includes(tag.name)) continue;
        operations.push(operationOf(method.toUpperCase(), path, item, operation));
      }
    }
    return el("section", null, el("h2", null, tag.name), prose(tag.description), operations);
  });
  byId("operations").replaceChildren(...sections);
}

function operationOf(method, path, item, operation) {
  const details = el("details", { id: operation.operationId, "data-text": `${method} ${path} ${operation.summary} ${operation.operationId}`.toLowerCase() },
    el("summary", null, el("span", { class: "method " + method.toLowerCase() }, method), el("span", { class: "path" }, path),
      el("span", { class: "summary dim" }, operation.summary), needsToken(operation) ? el("span", { class: "lock" }, "token") : null));
  // Filled in when it is first opened: a page of all of it at once is slow on a phone.
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    const parameters = [...(item.parameters || []), ...(operation.parameters || [])];
    const inside = el("div", null, prose(operation.description));
    if (parameters.length) {
      inside.append(el("h3", null, "Parameters"),
        fieldRows(parameters.map((p) => [p.name, p.schema, p.required, p.description])));
    }
    for (const [type, media] of Object.entries((operation.requestBody || {}).content || {})) {
      inside.append(el("h3", null, `Body, ${type}`), fieldRows(bodyFields(media.schema)));
    }
    inside.append(el("h3", null, "Answers"), responsesOf(operation), tryOut(method, path, item, operation));
    details.append(inside);
  });
  return details;
}

byId("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const details of document.querySelectorAll("main details[data-text]")) {
    details.hidden = !words.every((word) => details.dataset.text.includes(word));
  }
  for (const section of document.querySelectorAll("main section")) {
    section.hidden = ![...section.querySelectorAll("details[data-text]")].some((details) => !details.hidden);
  }
});
byId("token").addEventListener("submit", (event) => { event.preventDefault(); useToken(event.target.access.value); });
byId("forget").addEventListener("click", () => useToken(""));
byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { email, password } = event.target;
  try {
    const response = await fetch(base + "/api/v1/accounts/token/", {
      method: "POST", headers: { "Content-Type": "application/json" }, credentials: "omit",
      body: JSON.stringify({ email: email.value, password: password.value }),
    });
    const answer = await response.json();
    if (response.ok) { useToken(answer.access); password.value = ""; }
    else byId("who").textContent = answer.detail || Object.values(answer).flat().join(" ");
  } catch (error) { byId("who").textContent = `The request failed: ${error.message}.`; }
});
byId("download").href = schemaUrl;

fetch(schemaUrl).then((response) => response.json()).then((document_) => {
  schema = document_;
  render();
  const target = location.hash && byId(location.hash.slice(1));
  if (target) { target.open = true; target.scrollIntoView(); }
}).catch((error) => { byId("waiting").textContent = `The schema could not be read: ${error.message}.`; });
