// Live bytes over time, stacked, with a span that is chosen by dragging, by sliders or by keys.
import uPlot from "uplot";
import { byId, choices, element, replace } from "./dom.js";
import { bytes, percent, shortName, time } from "./format.js";
import { ordered, unordered } from "./palettes.js";
import { onThemeChange } from "./theme.js";

const height = 300;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function axis(format, size) {
  return {
    stroke: css("--quiet"),
    grid: { stroke: css("--line"), width: 1 },
    ticks: { stroke: css("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
    size,
    values: (_, splits) => splits.map((each) => (each === null ? "" : format(each))),
  };
}

// Powers of two between the marks of an axis of bytes.
export const byteSteps = [...Array(60).keys()].flatMap((power) => [2 ** power]);

export function startLiveChart(data, span) {
  const box = byId("live");
  const hidden = { by_size: new Set(), by_site: new Set() };
  let kind = "by_size";
  let plot = null;
  let cells = [];

  const curve = () => data[kind];
  const isShown = (i) => !hidden[kind].has(i);
  const colours = () => (kind === "by_size" ? ordered : unordered)(curve().labels.length);
  const binTime = (bin) => bin * curve().bin_nanoseconds;

  // What each series reaches with those below it; one more bin ends the last step.
  function stacked() {
    const { series } = curve();
    const sums = new Float64Array(span.bins + 1);
    return series.map((values, i) => {
      if (isShown(i)) for (let bin = 0; bin <= span.bins; bin += 1) sums[bin] += values[Math.min(bin, span.bins - 1)];
      return Array.from(sums);
    });
  }

  function draw() {
    plot?.destroy();
    const times = Array.from({ length: span.bins + 1 }, (_, bin) => binTime(bin));
    const paths = uPlot.paths.stepped({ align: 1 });
    const fills = colours();
    const options = {
      width: Math.max(box.clientWidth, 200),
      height,
      scales: { x: { time: false, range: () => [binTime(span.from), binTime(span.to)] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false, dist: 6 }, points: { show: false }, y: false },
      // The highest sums come first: what is drawn later lies in front.
      series: [{}, ...fills.map((fill, i) => ({ fill, stroke: css("--card"), width: 0.5, paths, show: isShown(i) })).reverse()],
      axes: [axis(time, 36), { ...axis(bytes, 74), incrs: byteSteps }],
      hooks: { setSelect: [brushed], setCursor: [({ cursor }) => showValues(cursor.idx)] },
    };
    plot = new uPlot(options, [times, ...stacked().reverse()], box);
    box.querySelector("canvas").setAttribute("aria-hidden", "true");
  }

  function brushed(chart) {
    const { left, width } = chart.select;
    if (width < 2) return;
    const bin = (x) => chart.posToVal(x, "x") / curve().bin_nanoseconds;
    chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    span.set(bin(left), bin(left + width));
  }

  function legend() {
    const fills = colours();
    const rows = curve().labels.map((label, i) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = fills[i];
      const toggle = element("button", { type: "button", class: "plain", title: label, "aria-pressed": String(isShown(i)), click: () => show(i, toggle) },
        swatch, kind === "by_site" ? shortName(label) : label);
      const now = element("td", { class: "number" });
      const most = element("td", { class: "number" });
      return { row: element("tr", {}, element("th", { scope: "row" }, toggle), now, most), now, most };
    });
    cells = rows;
    const headings = ["", "at the pointer", "highest"];
    // The highest in the chart stands on top.
    replace(byId("live-legend"),
      element("caption", { class: "hidden" }, "Series of the chart; a button takes one out of it"),
      element("thead", {}, element("tr", {}, ...headings.map((each, i) => element(i ? "th" : "td", i ? { scope: "col", class: "number" } : {}, each)))),
      element("tbody", {}, ...rows.map(({ row }) => row).reverse()));
  }

  function show(i, toggle) {
    if (isShown(i)) hidden[kind].add(i);
    else hidden[kind].delete(i);
    toggle.setAttribute("aria-pressed", String(isShown(i)));
    draw();
  }

  function showValues(bin) {
    const known = Number.isInteger(bin);
    cells.forEach(({ now }, i) => {
      now.textContent = known ? bytes(curve().series[i][Math.min(bin, span.bins - 1)]) : "";
    });
  }

  function showSpan() {
    byId("from").value = span.from;
    byId("to").value = span.to;
    for (const [id, bin] of [["from", span.from], ["to", span.to]]) byId(id).setAttribute("aria-valuetext", time(binTime(bin)));
    const whole = binTime(span.bins);
    byId("span").textContent = span.isWhole
      ? `all of it: ${time(data.totals.nanoseconds)}`
      : `${time(binTime(span.from))} to ${time(binTime(span.to))}: ${percent(span.to - span.from, span.bins)} of ${time(whole)}`;
    byId("reset").disabled = span.isWhole;
    cells.forEach(({ most }, i) => {
      most.textContent = bytes(Math.max(...curve().series[i].slice(span.from, span.to)));
    });
  }

  function all() {
    legend();
    draw();
    showSpan();
  }

  for (const id of ["from", "to"]) byId(id).max = span.bins;
  byId("from").addEventListener("input", (event) => span.set(Math.min(Number(event.target.value), span.to - 4), span.to));
  byId("to").addEventListener("input", (event) => span.set(span.from, Math.max(Number(event.target.value), span.from + 4)));
  byId("reset").addEventListener("click", () => {
    span.reset();
    box.focus();
  });
  box.addEventListener("dblclick", () => span.reset());
  const keys = {
    ArrowLeft: () => span.move(-0.25),
    ArrowRight: () => span.move(0.25),
    "+": () => span.scale(0.5),
    "=": () => span.scale(0.5),
    "-": () => span.scale(2),
    0: () => span.reset(),
    Escape: () => span.reset(),
  };
  box.addEventListener("keydown", (event) => {
    const act = !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  span.listen(() => {
    plot.setData(plot.data, true);
    showSpan();
  });
  choices("live", (chosen) => {
    kind = chosen;
    all();
  });
  new ResizeObserver(() => plot && plot.setSize({ width: Math.max(box.clientWidth, 200), height })).observe(box);
  onThemeChange(all);
  all();
}
