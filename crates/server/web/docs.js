// Shows the server's OpenAPI description.

const api = await (await fetch("openapi.json")).json();
const make = (name, text, ...children) => {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
};

/** A schema in a word. */
function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  const several = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (several) return several.map(kind).join(" or ");
  if (schema.items) return `array of ${kind(schema.items)}`;
  const range = schema.minimum !== undefined && schema.maximum !== undefined ? ` from ${schema.minimum} to ${schema.maximum}` : "";
  return [schema.type].flat().join(" or ") + range;
}

function table(head, rows) {
  const row = (cells, name) => make("tr", "", ...cells.map((cell) => make(name, cell)));
  const headers = row(head, "th");
  for (const header of headers.children) header.scope = "col";
  return make("table", "", make("thead", "", headers), make("tbody", "", ...rows.map((cells) => row(cells, "td"))));
}

document.getElementById("about").textContent = api.info.description;
for (const node of document.querySelectorAll(".server")) node.textContent = location.origin;
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, route] of Object.entries(methods)) {
    const section = make("section", "", make("h2", `${method.toUpperCase()} ${path}`));
    for (const text of [route.summary, ...(route.description ?? "").split("\n\n")]) {
      if (text) section.append(make("p", text));
    }
    if (route.parameters) {
      const rows = route.parameters.map(({ name, description, schema }) => [name, description ?? "", kind(schema)]);
      section.append(make("h3", "Query"), table(["Name", "Meaning", "Values"], rows));
    }
    if (route.requestBody) {
      const rows = Object.entries(route.requestBody.content).map(([type, { schema }]) => [type, kind(schema)]);
      section.append(make("h3", "Body"), table(["Type", "Content"], rows));
    }
    const rows = Object.entries(route.responses).map(([status, { description, content }]) => [
      status, description ?? "", Object.entries(content ?? {}).map(([type, { schema }]) => `${type}: ${kind(schema)}`).join("; "),
    ]);
    section.append(make("h3", "Answers"), table(["Status", "Meaning", "Content"], rows));
    document.getElementById("routes").append(section);
  }
}
for (const [name, schema] of Object.entries(api.components.schemas)) {
  const rows = Object.entries(schema.properties ?? {}).map(([field, value]) => [field, value.description ?? "", kind(value)]);
  const content = rows.length > 0 ? table(["Field", "Meaning", "Type"], rows) : make("p", kind(schema));
  document.getElementById("schemas").append(make("h3", name), make("p", schema.description ?? ""), content);
}
