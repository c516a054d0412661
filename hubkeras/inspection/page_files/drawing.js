const SVG = "http://www.w3.org/2000/svg";
const BOX_HEIGHT = 46, GAP_X = 26, GAP_Y = 54, ROW_WIDTH = 1100;
const SMALLEST = 0.85;  // times the size of a box, at which its letters are still read with ease
const HINT = matchMedia("(pointer: coarse)").matches ? "Tap it, then drag to move and pinch to zoom. A tap opens a box." : "Arrow keys move, + and − zoom, Enter opens, Backspace goes up.";
const STATE_OPS = /^(VarHandleOp|Variable|VariableV2|AutoReloadVariable|.*HashTable.*)$/;

function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  for (const child of children.flat()) element.append(child);
  return element;
}

function kindOf(node) {
  if (node.children.length) return "scope";
  if (node.op.startsWith("Placeholder")) return "input";
  if (STATE_OPS.test(node.op)) return "state";
  return node.op === "Const" ? "constant" : "op";
}

/** Which layer each child stands in: below all that it takes something from; what closes a circle is passed over. */
function layersOf(count, edges) {
  const next = Array.from({ length: count }, () => []);
  for (const [from, to] of edges) next[from].push(to);
  const state = new Array(count).fill(0), order = [];
  for (let start = 0; start < count; start++) {
    if (state[start]) continue;
    const stack = [[start, 0]];
    state[start] = 1;
    while (stack.length) {
      const top = stack[stack.length - 1];
      if (top[1] < next[top[0]].length) {
        const child = next[top[0]][top[1]++];
        if (!state[child]) { state[child] = 1; stack.push([child, 0]); }
      } else { order.push(top[0]); stack.pop(); }
    }
  }
  order.reverse();
  const rank = new Array(count), layer = new Array(count).fill(0);
  order.forEach((node, position) => { rank[node] = position; });
  for (const node of order) for (const child of next[node]) if (rank[child] > rank[node]) layer[child] = Math.max(layer[child], layer[node] + 1);
  return layer;
}

function layout(children, edges) {
  const boxes = children.map((child, i) => ({ child, i, width: Math.min(Math.max(child.name.length * 7.6 + 28, 92), 230) }));
  const layer = layersOf(children.length, edges);
  const rows = [];
  boxes.forEach((box) => { (rows[layer[box.i]] = rows[layer[box.i]] || []).push(box); });
  const around = boxes.map(() => []);
  for (const [from, to] of edges) { around[from].push(to); around[to].push(from); }
  const center = boxes.map((box) => box.i);
  for (let sweep = 0; sweep < 6; sweep++) {
    for (const row of sweep % 2 ? [...rows].reverse() : rows) {
      for (const box of row) {
        const near = around[box.i].map((other) => center[other]);
        box.pull = near.length ? near.reduce((a, b) => a + b, 0) / near.length : center[box.i];
      }
      row.sort((a, b) => a.pull - b.pull);
      const total = row.reduce((sum, box) => sum + box.width + GAP_X, -GAP_X);
      let x = -total / 2;
      for (const box of row) { center[box.i] = x + box.width / 2; x += box.width + GAP_X; }
    }
  }
  let y = 0, widest = 0;
  for (const row of rows) {
    for (let start = 0; start < row.length;) {
      let width = -GAP_X, end = start;
      while (end < row.length && (end === start || width + row[end].width + GAP_X <= ROW_WIDTH)) width += row[end++].width + GAP_X;
      let x = -width / 2;
      for (; start < end; start++) { row[start].x = x; row[start].y = y; x += row[start].width + GAP_X; }
      widest = Math.max(widest, width);
      y += BOX_HEIGHT + (end < row.length ? 16 : GAP_Y);
    }
  }
  const height = y - GAP_Y + 48, shownWidth = Math.max(widest + 48, 480), shownHeight = Math.max(height, 360);  // a few boxes stay small
  return { boxes, least: { width: widest + 48, height }, view: { x: -shownWidth / 2, y: -24 - (shownHeight - height) / 2, width: shownWidth, height: shownHeight } };
}

function drawGraph(root) {
  const path = [root];
  const svg = s("svg", { role: "group", "aria-label": "Drawing of the graph", tabindex: "0" });
  const crumbs = h("div", { class: "path", role: "navigation", "aria-label": "Name scope" });
  const told = h("div", { class: "told soft", "aria-live": "polite" });
  const button = (text, label, action) => h("button", { type: "button", "aria-label": label, title: label, onclick: action }, text);
  const frame = h("div", { class: "drawing" },
    h("div", { class: "bar-top" }, crumbs, h("div", { class: "tools" },
      button("↑", "Up to the scope around", up), button("−", "Zoom out", () => zoom(1.3)), button("+", "Zoom in", () => zoom(1 / 1.3)), button("Fit", "Show all", () => show(whole)))),
    svg, told);
  let whole, view, current;

  function show(box) { view = { ...box }; svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`); }
  /** Shows as much as can be read, from the top; "Fit" shows all. */
  function begin() {
    const room = { width: svg.clientWidth || Math.min(innerWidth - 42, 1046), height: svg.clientHeight || Math.min(innerHeight * 0.66, 608) };
    const width = Math.min(whole.width, room.width / SMALLEST), height = Math.min(whole.height, room.height / SMALLEST);
    show({ x: whole.x + (whole.width - width) / 2, y: whole.y, width, height });
  }
  /** What lies at a place of the window, in the drawing's own numbers. */
  function at(x, y) { return new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse()); }
  function zoom(factor, point = { x: view.x + view.width / 2, y: view.y + view.height / 2 }) {
    const width = Math.min(Math.max(view.width * factor, 60), whole.width * 6), scale = width / view.width;
    show({ x: point.x + (view.x - point.x) * scale, y: point.y + (view.y - point.y) * scale, width, height: view.height * scale });
  }
  function pan(dx, dy) { show({ ...view, x: view.x + dx, y: view.y + dy }); }
  function open(child) { if (child.children.length) { path.push(child); render(true); } }
  function up() { if (path.length > 1) { path.pop(); render(true); } }

  function tell(box) {
    for (const edge of svg.querySelectorAll(".edge")) edge.classList.toggle("lit", box !== null && (edge.dataset.from === String(box.i) || edge.dataset.to === String(box.i)));
    if (box === null) return;
    const names = [...path.slice(1).map((scope) => scope.name), box.child.name].join("/");
    const taken = current.edges.filter((e) => e[1] === box.i).length, given = current.edges.filter((e) => e[0] === box.i).length;
    const what = box.child.children.length ? `scope with ${plural(box.child.nodes, "node")}` : box.child.op || plural(box.child.nodes, "node");
    told.textContent = `${names}: ${what}; takes from ${taken} and gives to ${given} of these boxes`;
  }

  function render(focus) {
    current = path[path.length - 1];
    const { boxes, least, view: box } = layout(current.children, current.edges);
    const lines = current.edges.map(([from, to, count]) => {
      const a = boxes[from], b = boxes[to];
      const x1 = a.x + a.width / 2, y1 = a.y + BOX_HEIGHT, x2 = b.x + b.width / 2, y2 = b.y, bend = Math.max(Math.abs(y2 - y1) * 0.45, 24);
      const edge = s("path", { class: "edge", d: `M${x1},${y1} C${x1},${y1 + bend} ${x2},${y2 - bend} ${x2},${y2}`, "stroke-width": 1 + Math.min(Math.log2(count), 5) });
      edge.dataset.from = from; edge.dataset.to = to;
      return edge;
    });
    const groups = boxes.map((b) => {
      const isScope = b.child.children.length > 0;
      const letters = Math.floor((b.width - 20) / 7.3);
      const name = b.child.name.length > letters ? `…${b.child.name.slice(1 - letters)}` : b.child.name;
      const under = isScope ? plural(b.child.nodes, "node") : b.child.op || plural(b.child.nodes, "node");
      const group = s("g", { class: `box ${kindOf(b.child)}`, tabindex: "0", role: isScope ? "button" : "img", transform: `translate(${b.x},${b.y})`,
        "aria-label": `${b.child.name}, ${under}${isScope ? ", open" : ""}` },
        s("rect", { width: b.width, height: BOX_HEIGHT, rx: isScope ? 10 : 22 }),
        s("text", { x: b.width / 2, y: 20 }, name), s("text", { x: b.width / 2, y: 36, class: "under" }, under.length > letters + 4 ? under.slice(0, letters + 3) + "…" : under));
      group.addEventListener("click", () => { if (!moved) open(b.child); });
      group.addEventListener("focus", () => tell(b));
      group.addEventListener("mouseenter", () => tell(b));
      group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(b.child); } });
      return group;
    });
    svg.replaceChildren(...lines, ...groups);
    crumbs.replaceChildren(...path.map((scope, i) => h("button", { type: "button", "aria-current": i === path.length - 1 ? "location" : null, onclick: () => { path.length = i + 1; render(true); } }, i ? scope.name : "graph")));
    whole = box;
    begin();
    const isPart = view.width < least.width || view.height < least.height;
    told.textContent = `${plural(current.children.length, "box").replace("boxs", "boxes")}, ${plural(current.nodes, "node")}. ${isPart ? "Not all of them are in sight: “Fit” shows them. " : ""}${HINT}`;
    if (focus) svg.focus({ preventScroll: true });
  }

  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = view.width / 12;
    const actions = { "+": () => zoom(1 / 1.3), "=": () => zoom(1 / 1.3), "-": () => zoom(1.3), 0: () => show(whole), Backspace: up, Escape: up,
      ArrowLeft: () => pan(-step, 0), ArrowRight: () => pan(step, 0), ArrowUp: () => pan(0, -step), ArrowDown: () => pan(0, step) };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== svg && !svg.contains(document.activeElement)) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, at(event.clientX, event.clientY));
  }, { passive: false });

  const pointers = new Map();
  let moved = false;
  svg.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, event); moved = false; });
  svg.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const rect = svg.getBoundingClientRect(), scale = Math.max(view.width / rect.width, view.height / rect.height);
    const dx = event.clientX - before.clientX, scrolls = event.pointerType === "touch" && !svg.matches(":focus, :focus-within");
    const dy = scrolls ? 0 : event.clientY - before.clientY;  // up and down move the page until the drawing was tapped
    if (Math.abs(dx) + Math.abs(dy) > 3) moved = true;
    if (pointers.size === 2) {
      const other = [...pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
      const distance = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
      zoom(distance(before) / Math.max(distance(event), 1), at(other.clientX, other.clientY));
    } else if (moved || event.pointerType === "mouse") pan(-dx * scale, -dy * scale);
    if (moved || pointers.size === 2) pointers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) svg.addEventListener(name, (event) => pointers.delete(event.pointerId));

  frame.append(h("div", { class: "told legend" }, ...[["scope", "name scope"], ["input", "input"], ["state", "variable or table"], ["still", "constant"], ["op", "operation"]]
    .map(([kind, text]) => h("span", {}, h("i", { class: `i-${kind}` }), text))));
  render(false);
  return frame;
}
