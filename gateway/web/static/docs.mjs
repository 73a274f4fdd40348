// Shows the OpenAPI document: every address by API, its fields and answers, and a curl line.
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const code = (text) => make("code", { textContent: text });

function kind(schema) {
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items ?? {})}`;
  const range = schema.minimum !== undefined || schema.maximum !== undefined ? ` ${schema.minimum ?? ""}…${schema.maximum ?? ""}` : "";
  return (schema.format ? `${schema.type} (${schema.format})` : (schema.type ?? "any")) + range;
}

function rows(schema, prefix = "") {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = prefix + name;
    const required = schema.required?.includes(name) ? "required" : field.default === undefined ? "" : `default ${JSON.stringify(field.default)}`;
    const row = make("tr", {}, make("td", {}, code(path)), make("td", { textContent: kind(field) }), make("td", { textContent: required }),
      make("td", { textContent: [field.title, field.description].filter(Boolean).join(". ") }));
    const inner = field.type === "object" ? field : field.items?.type === "object" ? field.items : null;
    return inner ? [row, ...rows(inner, `${path}.`)] : [row];
  });
}

function table(title, body) {
  return body.length ? [make("h4", { textContent: title }), make("table", {}, ...body)] : [];
}

function operation(path, method, data, origin) {
  const content = Object.values(data.requestBody?.content ?? {})[0];
  const parameters = (data.parameters ?? []).map((item) =>
    make("tr", {}, make("td", {}, code(item.name)), make("td", { textContent: item.in }), make("td", { textContent: kind(item.schema) }),
      make("td", { textContent: item.schema.description ?? "" })));
  const answers = Object.entries(data.responses).map(([status, answer]) =>
    make("tr", {}, make("td", { textContent: status }), make("td", { textContent: answer.description })));
  const good = Object.entries(data.responses).find(([status]) => status.startsWith("2"))?.[1];
  const schema = Object.values(good?.content ?? {})[0]?.schema ?? {};
  const header = data.security.length ? ` \\\n  --header "Authorization: Bearer <key>"` : "";
  const summary = make("summary", {}, make("span", { className: "method", textContent: method.toUpperCase() }), code(path), make("span", { textContent: data.summary }));
  return make("details", { className: "operation", id: data.operationId }, summary,
    make("pre", { textContent: `curl --request ${method.toUpperCase()} --url '${origin}${path}'${header}`, tabIndex: 0 }),
    ...table("Parameters", parameters), ...table("Body", rows(content?.schema ?? {})), ...table("Answer", rows(schema)), ...table("Statuses", answers));
}

const spec = await (await fetch("/openapi.json")).json();
function whole(value) { // with what every $ref stands for in its place
  if (value === null || typeof value !== "object") return value;
  if (value.$ref) return whole(value.$ref.split("/").slice(1).reduce((at, part) => at[part], spec));
  return Array.isArray(value) ? value.map(whole) : Object.fromEntries(Object.entries(value).map(([name, item]) => [name, whole(item)]));
}
document.getElementById("about").textContent = spec.info.description;
const groups = new Map();
for (const [path, methods] of Object.entries(whole(spec.paths))) {
  for (const [method, data] of Object.entries(methods)) {
    const tag = data.tags[0];
    groups.set(tag, [...(groups.get(tag) ?? []), operation(path, method, data, spec.servers[0].url)]);
  }
}
document.getElementById("operations").replaceChildren(
  ...[...groups].flatMap(([tag, items]) => [make("h2", { textContent: tag }), ...items]));
