// A flame graph of the span that is looked at, by d3-flame-graph, and a way through it with the keyboard.
import flamegraph from "d3-flame-graph";
import { select } from "d3-selection";
import { byId, choices, element, replace } from "./dom.js";
import { bytes, count, percent, shortName, time } from "./format.js";

const columns = { calls: 1, bytes: 2, temporaries: 3 };
const units = { calls: (n) => `${count(n)} calls`, bytes, temporaries: (n) => `${count(n)} temporaries` };

// The sums over the spans from `first` up to `last`, as a tree of calls.
export function callTree(data, first, last, metric) {
  const sums = new Float64Array(data.stacks.length);
  for (const span of data.spans.slice(first, last)) {
    for (let at = 0; at < span.length; at += 4) sums[span[at]] += span[at + columns[metric]];
  }
  const runtime = new Set(data.runtime_names);
  const root = { name: "all", value: 0, children: [], byName: new Map() };
  data.stacks.forEach((frames, stack) => {
    if (!(sums[stack] > 0)) return;
    root.value += sums[stack];
    let node = root;
    for (const frame of frames) {
      let child = node.byName.get(frame);
      if (!child) {
        child = { name: data.names[frame], isOfRuntime: runtime.has(frame), value: 0, children: [], byName: new Map() };
        node.byName.set(frame, child);
        node.children.push(child);
      }
      child.value += sums[stack];
      node = child;
    }
  });
  return root;
}

// Shades of one hue by the name, so that a function looks the same everywhere; runtime libraries' own are grey.
function colour(frame) {
  if (frame.highlight) return "#0072b2";
  const { name, isOfRuntime } = frame.data;
  let hash = 0;
  for (let i = 0; i < name.length; i += 1) hash = (hash * 31 + name.charCodeAt(i)) % 997;
  if (isOfRuntime) return `hsl(40 8% ${74 + (hash % 10)}%)`;
  return `hsl(${26 + (hash % 20)} 80% ${66 + (hash % 14)}%)`;
}

function explainStacks() {
  replace(byId("flame-box"), element("p", { class: "empty" }, "This trace has no stacks: nothing says from where the calls were made. Record with ",
    element("code", {}, "cistern-trace record --stacks PROGRAM"), " to get a flame graph, and live bytes by call site."));
  for (const each of document.querySelectorAll("[data-flame], [data-live=by_site]")) each.disabled = true;
}

export function startFlameGraph(data, span) {
  if (!data.trace.has_stacks) return explainStacks();
  const about = element("p", { class: "quiet" });
  const search = element("input", { type: "search", id: "flame-search", autocomplete: "off", spellcheck: "false" });
  const found = element("output", { id: "flame-found", "aria-live": "polite" });
  const box = element("div", { id: "flame", class: "chart", role: "group", "aria-label": "Flame graph" });
  const details = element("p", { id: "flame-details", class: "readout", "aria-live": "polite" });
  const unzoom = element("button", { type: "button", click: () => draw() }, "Show all frames");
  replace(byId("flame-box"), about, element("div", { class: "range" }, element("label", { class: "search" }, "Search ", search), found, unzoom), details, box);

  let metric = "bytes";
  let chart = null;
  let total = 0;

  const describe = (frame) => `${frame.data.name}: ${units[metric](frame.data.value)}, ${percent(frame.data.value, total)} of what is shown`;
  const frames = () => select(box).selectAll("g.frame");
  const elementOf = (frame) => frames().nodes().find((each) => each.__data__ === frame);

  function focus(frame) {
    const node = frame && elementOf(frame);
    if (!node) return;
    frames().attr("tabindex", -1);
    node.setAttribute("tabindex", 0);
    node.focus();
  }

  // The shown brother that is so many places to the right.
  function beside(frame, step) {
    const brothers = (frame.parent?.children ?? []).filter(elementOf).sort((a, b) => a.x0 - b.x0);
    return brothers[brothers.indexOf(frame) + step];
  }

  const keys = {
    ArrowUp: (frame) => focus(frame.parent),
    ArrowDown: (frame) => focus((frame.children ?? []).filter(elementOf).sort((a, b) => b.value - a.value)[0]),
    ArrowLeft: (frame) => focus(beside(frame, -1)),
    ArrowRight: (frame) => focus(beside(frame, 1)),
    Enter: (frame) => zoom(frame),
    " ": (frame) => zoom(frame),
    Escape: () => {
      draw();
      focus(frames().datum());
    },
  };

  function zoom(frame) {
    chart.zoomTo(frame);
    prepare();
    focus(frame);
  }

  // What d3-flame-graph has made gets what keyboards and screen readers need.
  function prepare() {
    frames()
      .attr("tabindex", (frame) => (frame.parent ? -1 : 0))
      .attr("role", "img")
      .attr("aria-label", describe)
      .on("focus", (_, frame) => (details.textContent = describe(frame)))
      .on("keydown", (event, frame) => {
        if (!keys[event.key]) return;
        event.preventDefault();
        keys[event.key](frame);
      });
  }

  function find() {
    const term = search.value.trim();
    if (term) chart.search(term);
    else {
      chart.clear();
      found.textContent = "";
    }
    prepare();
  }

  function draw() {
    const { first, last } = spans();
    const tree = callTree(data, first, last, metric);
    total = tree.value;
    const width = data.span_nanoseconds;
    about.textContent = `${{ bytes: "Bytes that were allocated", calls: "Calls that allocated", temporaries: "Blocks that were freed before the next allocation of their thread" }[metric]}, by from where they were called: ` +
      (span.isWhole ? "the whole run. " : `from ${time(first * width)} to ${time(Math.min(last * width, data.totals.nanoseconds))}, the span above in steps of ${time(width)}. `) +
      `Together ${units[metric](total)}. The program's beginning is on top; a click, or Enter, shows a part of it in full width, the arrow keys go from frame to frame, Escape shows all.`;
    details.textContent = "";
    replace(box);
    if (!(total > 0)) return replace(box, element("p", { class: "empty" }, "There is none in this span."));
    chart = flamegraph()
      .width(Math.max(box.clientWidth, 200))
      .cellHeight(20)
      .inverted(true)
      .sort((a, b) => b.data.value - a.data.value)
      .minFrameSize(2)
      .transitionDuration(matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 200)
      .getName((frame) => shortName(frame.data.name))
      .setLabelHandler(describe)
      .setDetailsHandler((text) => text && (details.textContent = text))
      .setColorMapper(colour)
      .setSearchMatch((frame, term) => frame.data.name.toLowerCase().includes(term.toLowerCase()))
      .setSearchHandler((results, sum) => (found.textContent = `${count(results.length)} frames, ${percent(sum, total)}`))
      .onClick(prepare);
    select(box).datum(tree).call(chart);
    find();
  }

  // Those that the span above touches.
  function spans() {
    const bin = data.by_site.bin_nanoseconds;
    const width = data.span_nanoseconds;
    const first = Math.min(Math.floor((span.from * bin) / width), data.spans.length - 1);
    return { first, last: Math.max(first + 1, Math.ceil((span.to * bin) / width)) };
  }

  let waiting = 0;
  const drawSoon = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  };
  let lastWidth = 0;
  new ResizeObserver(() => {
    if (box.clientWidth === lastWidth) return;
    lastWidth = box.clientWidth;
    drawSoon();
  }).observe(box);
  search.addEventListener("input", () => chart && total > 0 && find());
  span.listen(drawSoon);
  choices("flame", (chosen) => {
    metric = chosen;
    draw();
  });
  lastWidth = box.clientWidth;
  draw();
}
