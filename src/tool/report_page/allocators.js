// What the replays say: time, memory and fragmentation of each allocator.
import uPlot from "uplot";
import { byId, element, replace } from "./dom.js";
import { bytes, count, shortCount } from "./format.js";
import { axis, byteSteps } from "./live_chart.js";
import { unordered } from "./palettes.js";
import { onThemeChange } from "./theme.js";

const height = 240;
const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
const orDash = (value, format) => (Number.isFinite(value) ? format(value) : "–");

const columns = [
  ["", (each) => String(each.name)],
  ["ns a call", (each) => number(each.nanoseconds_per_call?.median, 1)],
  ["quartiles", (each) => `${number(each.nanoseconds_per_call?.lower_quartile, 1)} – ${number(each.nanoseconds_per_call?.upper_quartile, 1)}`],
  ["ratio", (each) => number(each.ratio, 2)],
  ["peak resident", (each) => orDash(each.memory?.peak_resident_bytes, bytes)],
  ["/ asked", (each) => number(each.memory?.fragmentation, 2)],
  ["after trim", (each) => orDash(each.memory?.held_after_trim_bytes, bytes)],
];

function explain() {
  replace(byId("allocators"), element("p", { class: "empty" }, "What other allocators would make of this trace is known after a replay: ",
    element("code", {}, "cistern-trace replay --json replay.json TRACE"), ", then ", element("code", {}, "cistern-trace report --replay replay.json TRACE"), "."));
}

function parsed(text) {
  try {
    const replay = JSON.parse(text);
    return Array.isArray(replay.resources) ? replay.resources.filter((each) => each && typeof each === "object") : null;
  } catch {
    return null;
  }
}

function table(resources) {
  const worst = Math.max(1, ...resources.map((each) => each.memory?.fragmentation ?? 0));
  const bar = (each) => {
    const made = element("span", { class: "bar", "aria-hidden": "true" });
    made.style.width = `${(100 * (each.memory?.fragmentation ?? 0)) / worst}%`;
    return made;
  };
  return element("div", { class: "scroll" }, element("table", { class: "rows" },
    element("thead", {}, element("tr", {}, ...columns.map(([title], i) => element(i ? "th" : "td", i ? { scope: "col", class: "number" } : {}, title)), element("td", { class: "bars" }, "fragmentation"))),
    element("tbody", {}, ...resources.map((each) => element("tr", {},
      ...columns.map(([, text], i) => element(i ? "td" : "th", i ? { class: "number" } : { scope: "row" }, text(each))), element("td", { class: "bars" }, bar(each)))))));
}

// Resident memory of each resource over the calls of the replay, and what was asked for.
function chart(box, resources) {
  const points = resources[0].memory.over_time;
  const fills = unordered(resources.length + 1);
  const own = resources.map((each, i) => ({ label: each.name, stroke: fills[i], width: 2, dash: i % 2 ? [6, 3] : undefined, points: { show: false } }));
  return new uPlot({
    width: Math.max(box.clientWidth, 200),
    height,
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
    cursor: { drag: { x: false, y: false }, y: false },
    series: [{ label: "calls", value: (_, value) => (value === null ? "–" : count(value)) }, ...own.map((each) => ({ ...each, value: (_, value) => (value === null ? "–" : bytes(value)) })),
      { label: "asked for", stroke: fills[resources.length], fill: `${fills[resources.length]}40`, width: 1, points: { show: false }, value: (_, value) => (value === null ? "–" : bytes(value)) }],
    axes: [axis(shortCount, 36), { ...axis(bytes, 74), incrs: byteSteps }],
  }, [points.map((each) => each.calls), ...resources.map((each) => each.memory.over_time.map((point) => point.resident_bytes)), points.map((each) => each.asked_bytes)], box);
}

export function startAllocators(data) {
  if (!data.replay_json) return explain();
  const resources = parsed(data.replay_json);
  if (!resources?.length) return replace(byId("allocators"), element("p", { class: "empty" }, "The file that was given with --replay isn't what cistern-trace replay --json writes."));
  const measured = resources.filter((each) => Array.isArray(each.memory?.over_time) && each.memory.over_time.length > 1 && each.memory.over_time.length === resources.find((one) => one.memory?.over_time)?.memory.over_time.length);
  const box = element("div", { class: "chart", role: "group", "aria-label": "Chart of resident memory; its figures are in the table above" });
  replace(byId("allocators"), element("p", { class: "quiet" }, "The trace's calls replayed on each: time of a call (median and quartiles of the rounds, and the ratio to the first), the most memory that was resident, that divided by what was asked for, and what stayed when all was freed."),
    table(resources), ...(measured.length ? [element("p", { class: "quiet" }, "Resident memory over the calls of the replay:"), box] : []));
  if (!measured.length) return;
  let plot = null;
  const draw = () => {
    plot?.destroy();
    plot = chart(box, measured);
  };
  new ResizeObserver(() => plot?.setSize({ width: Math.max(box.clientWidth, 200), height })).observe(box);
  onThemeChange(draw);
  draw();
}
