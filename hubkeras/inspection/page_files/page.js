"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

/** Makes an element: strings become text, never markup. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

const FORMATS = {
  tf1_hub: ["TF1 Hub format", "A module of the TensorFlow Hub of 2018 to 2020."],
  saved_model: ["TF1 SavedModel", "A SavedModel written by TensorFlow 1."],
  tf2: ["TF2 SavedModel", "A SavedModel written by TensorFlow 2."],
};

function bytes(count) {
  if (count === null) return "missing";
  for (const unit of ["B", "kB", "MB"]) { if (count < 1000) return `${unit === "B" ? count : count.toFixed(count < 10 ? 1 : 0)} ${unit}`; count /= 1000; }
  return `${count.toFixed(1)} GB`;
}
function compact(count) {
  for (const unit of ["", " k", " M", " G"]) { if (count < 1000) return (unit && count < 100 ? count.toFixed(1) : Math.round(count)) + unit; count /= 1000; }
  return `${count.toFixed(1)} T`;
}
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const shape = (sizes) => sizes === null ? "any shape" : `[${sizes.map((size) => size === null ? "?" : size).join(", ")}]`;
const tagsText = (tags) => tags && tags.length ? `{${tags.join(", ")}}` : "no tags";

function table(heads, rows, numbers = []) {
  const cell = (tag, content, column) => h(tag, { class: numbers.includes(column) ? "number" : null, scope: tag === "th" ? "col" : null }, content);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heads.join(", ") },
    h("table", {}, h("thead", {}, h("tr", {}, heads.map((head, i) => cell("th", head, i)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((content, i) => cell("td", content, i)))))));
}
const mono = (text) => h("span", { class: "mono" }, text);

const sections = [];
function section(id, title, lead, ...children) {
  sections.push([id, title]);
  return h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title),
    lead ? h("p", { class: "soft" }, lead) : null, ...children);
}

// --- what it is -------------------------------------------------------------------------------------------------

const shown = data.variants[data.shown_variant];
const shownSignature = shown.signatures.find((s) => s.name === data.default_signature) || shown.signatures[0];

function oneSentence() {
  if (!shownSignature) return "It has no signature that could be called.";
  const side = (tensors) => tensors.map((t) => `${t.dtype} ${t.kind === "dense" ? "" : t.kind + " "}${shape(t.shape)}`);
  const inputs = side(shownSignature.inputs);
  const outputs = side(shownSignature.outputs);
  const gives = outputs.length > 3 ? plural(outputs.length, "output") : outputs.join(", ") || "nothing";
  return `Takes ${inputs.join(", ") || "nothing"} and gives ${gives}.`;
}

function tile(name, value, note, kind) {
  return h("div", { class: "tile" }, h("dt", {}, name), h("dd", { class: kind || null }, value, note ? h("small", {}, note) : null));
}

function header() {
  const gate = data.gate;
  const trained = data.trainable_parameters;
  const flops = shownSignature && shownSignature.flops;
  return [
    h("h1", {}, data.title),
    h("p", { class: "mono soft" }, data.handle),
    h("p", { class: "lead" }, h("span", { class: "pill strong", title: FORMATS[data.format][1] }, FORMATS[data.format][0]), oneSentence()),
    h("dl", { class: "tiles" },
      tile("Parameters", compact(data.parameters), data.parameters ? `${compact(trained)} can be trained` : "nothing to train"),
      tile("Size of its files", bytes(data.size), data.written_by ? `by TensorFlow ${data.written_by}` : "by an unknown TensorFlow"),
      tile("Signatures", String(shown.signatures.length), data.default_signature ? `default: ${data.default_signature}` : "none is the default"),
      tile("Graph variants", String(data.variants.length), data.variants.map((v) => tagsText(v.tags)).join(", ")),
      flops ? tile("One example costs", compact(flops), "floating point operations") : null,
      tile("Safety check", gate.allowed ? "allowed" : "refused", gate.allowed ? "all operations are on the list" : plural(gate.refused.length, "finding"), gate.allowed ? "good" : "bad"),
      tile("Licence", data.license_file ? "see file" : "not told", data.license_file || "no licence file in the module")),
  ];
}

function refusals() {
  if (data.gate.allowed) return null;
  return section("gate", "Why it is refused", "Unless allow_ops= or safe_mode=False says otherwise, hubkeras does not use it.",
    data.gate.problem ? h("p", { class: "bad" }, data.gate.problem) : null,
    data.gate.refused.length ? table(["Operation", "Where", "Why"], data.gate.refused.map((f) => [mono(f.op), mono(f.place), f.reason])) : null);
}

// --- how to use it ----------------------------------------------------------------------------------------------

const PROGRAMS = { eager: "Call it", keras: "In a Keras model", fine_tuning: "Fine-tune it" };

function code() {
  const names = Object.keys(PROGRAMS).filter((name) => data.code[name]);
  if (!names.length) return null;
  const text = h("code", {});
  const panel = h("pre", { tabindex: "0", role: "tabpanel", "aria-label": "Python program" }, text);
  const tabs = names.map((name) => h("button", { type: "button", role: "tab", onclick: () => choose(name) }, PROGRAMS[name]));
  const copy = h("button", { type: "button", class: "copy", onclick: () => copyText(text.textContent, copy) }, "Copy");
  function choose(name) {
    text.textContent = data.code[name];
    tabs.forEach((tab, i) => { tab.setAttribute("aria-selected", names[i] === name); tab.tabIndex = names[i] === name ? 0 : -1; });
  }
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Programs" }, tabs);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
    choose(names[next]); tabs[next].focus();
  });
  choose(names[0]);
  return section("use", "Use it", "These programs run as they stand, on made-up inputs.", list, h("div", { class: "program" }, copy, panel));
}

function copyText(text, button) {
  const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
  if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done, () => {}); return; }
  const area = h("textarea", {}); area.value = text; document.body.append(area); area.select();
  if (document.execCommand("copy")) done();
  area.remove(); button.focus();
}

// --- signatures -------------------------------------------------------------------------------------------------

function tensors(list, none) {
  if (!list.length) return h("p", { class: "soft small" }, none);
  const line = (t) => h("div", {}, h("strong", { class: "mono" }, t.name), " ",
    h("span", { class: "mono soft shape" }, `${t.dtype} ${t.kind === "dense" ? "" : t.kind + " "}${shape(t.shape)}`));
  const first = [...list].sort((a, b) => (b.name === "default") - (a.name === "default"));
  if (first.length <= 6) return h("div", {}, first.map(line));
  return h("div", {}, first.slice(0, 3).map(line), h("details", {}, h("summary", {}, `${first.length - 3} more`), first.slice(3).map(line)));
}

function signatures() {
  const cards = shown.signatures.map((s) => h("div", { class: "card" },
    h("h3", { style: null }, h("span", { class: "mono" }, s.name), " ", s.name === data.default_signature ? h("span", { class: "pill strong" }, "default") : null),
    h("div", { class: "signature" }, tensors(s.inputs, "no inputs"), h("div", { class: "arrow", "aria-label": "gives" }, "→"), tensors(s.outputs, "no outputs")),
    h("p", { class: "small soft" }, [plural(s.ops, "operation"), s.variables.length ? plural(s.variables.length, "variable") : null,
      s.flops ? `${compact(s.flops)} floating point operations for one example` : null].filter(Boolean).join(" · "))));
  const note = data.variants.length > 1 ? ` Those of the variant with ${tagsText(shown.tags)}.` : "";
  return section("signatures", "Signatures", `What can be called, with inputs on the left and outputs on the right; “?” is any size.${note}`, ...cards);
}

// --- variables --------------------------------------------------------------------------------------------------

function bars(rows, largest) {
  return h("ul", { class: "bars" }, rows.map((row) => {
    const bar = h("span", { class: `bar${row.trained ? " trained" : ""}` });
    bar.style.width = `${largest ? 100 * row.size / largest : 0}%`;
    return h("li", {}, h("span", { class: "name mono", title: row.title }, h("bdi", {}, row.name)),
      h("span", { class: "track", "aria-hidden": "true" }, bar), h("span", { class: "value" }, row.value));
  }));
}

function variables() {
  if (!data.variables.length) return section("variables", "Variables", "It has none: everything it knows stands in its graph, tables and assets.");
  const sorted = [...data.variables].sort((a, b) => b.size - a.size);
  const largest = sorted[0].size;
  const row = (v) => ({ name: v.name, title: `${v.name}: ${v.dtype} ${shape(v.shape)}`, size: v.size, trained: v.trainable, value: bytes(v.size) });
  const first = sorted.slice(0, 16);
  const full = table(["Name", "Dtype", "Shape", "Size", "Trained", "Remarks"], data.variables.map((v) => [mono(v.name), v.dtype, h("span", { class: "shape" }, shape(v.shape)),
    bytes(v.size), v.trainable ? "yes" : "no", [v.parts > 1 ? `${v.parts} parts` : null, v.reference ? "reference" : null].filter(Boolean).join(", ")]), [3]);
  return section("variables", "Variables", `${plural(data.variables.length, "variable")} with ${plural(data.parameters, "number")}. The largest ones:`,
    h("div", { class: "legend" }, h("span", {}, h("i", { class: "i-trained" }), "trained by fine-tuning"), h("span", {}, h("i", { class: "i-still" }), "never trained (moving averages, counters ...)")),
    bars(first.map(row), largest),
    h("details", {}, h("summary", {}, `All ${plural(data.variables.length, "variable")} as a table`), full));
}

// --- graph, variants, the rest ----------------------------------------------------------------------------------

function graph() {
  const holder = h("div", {});
  const choices = data.variants.map((variant, i) => h("button", { type: "button", "aria-pressed": "false", onclick: () => choose(i) }, `variant with ${tagsText(variant.tags)}`));
  function choose(number) {
    choices.forEach((choice, i) => choice.setAttribute("aria-pressed", i === number));
    holder.replaceChildren(drawGraph(data.graphs[number]));
  }
  choose(data.shown_variant);
  return section("graph", "Graph", "Boxes are name scopes; open one to see what is in it. Data flows downwards.",
    data.variants.length > 1 ? h("div", { class: "tabs" }, choices) : null, holder);
}

function operations() {
  const ops = Object.entries(shown.ops).map(([name, count]) => ({ name, title: name, size: count, value: count.toLocaleString("en") }));
  ops.sort((a, b) => b.size - a.size);
  const facts = [plural(shown.functions, "function"), shown.control_flow ? `${shown.control_flow} control flow` : "no control flow",
    plural(shown.update_ops.length, "update op"), plural(shown.regularization_losses.length, "regularization loss").replace("losss", "losses")];
  const rest = ops.slice(12);
  return section("operations", "Operations", facts.join(" · "), bars(ops.slice(0, 12), ops.length ? ops[0].size : 0),
    rest.length ? h("details", {}, h("summary", {}, `${rest.length} more`), bars(rest, ops[0].size)) : null);
}

function variantDifferences() {
  if (!data.differences.length) return null;
  return section("variants", "Graph variants", `One module, several graphs over the same variables. Compared with the one that has ${tagsText(shown.tags)}:`,
    ...data.differences.map((other) => h("div", {}, h("h3", {}, `The variant with ${tagsText(other.tags)}`,
      " ", String(other.tags) === String(data.training_tags) ? h("span", { class: "pill strong" }, "used for training") : null),
      other.rows.length ? table(["What", tagsText(shown.tags), tagsText(other.tags)], other.rows.map(([what, a, b]) => [what, mono(a), mono(b)])) : h("p", {}, "No difference in signatures, operations or losses."))));
}

function files() {
  const parts = [];
  if (data.assets.length) parts.push(h("h3", {}, "Assets"), table(["File", "Size"], data.assets.map((a) => [mono(a.filename), a.size === null ? h("span", { class: "bad" }, "missing") : bytes(a.size)]), [1]));
  if (shown.tables.length) parts.push(h("h3", {}, "Tables"), table(["Name", "Kind", "From", "To", "Filled from"], shown.tables.map((t) => [mono(t.name), t.op, t.key_dtype, t.value_dtype, mono(t.filled_from)])));
  if (shown.attachments.length) parts.push(h("h3", {}, "Attached messages"), table(["Key", "Size", "Meaning"], shown.attachments.map((a) => [mono(a.key), bytes(a.size), a.meaning]), [1]));
  return parts.length ? section("files", "Assets, tables and messages", null, ...parts) : null;
}

document.getElementById("top").append(...header().filter(Boolean));
window.addEventListener("DOMContentLoaded", () => {
  const main = document.getElementById("content");
  main.append(...[refusals(), code(), signatures(), variables(), graph(), variantDifferences(), operations(), files()].filter(Boolean));
  document.getElementById("contents").append(h("ul", {}, sections.map(([id, title]) => h("li", {}, h("a", { href: `#${id}` }, title)))));
  document.body.append(h("footer", {}, "Made by hubkeras show from the files of the module. Nothing of the module was run."));
});
