// The page of cistern-trace report: takes the data that the tool wrote into it, and starts each part.
import { startAdvice } from "./advice.js";
import { startAllocators } from "./allocators.js";
import { byId, element, replace } from "./dom.js";
import { startFlameGraph } from "./flame.js";
import { bytes, count, percent, time } from "./format.js";
import { startHeatMap } from "./heat_map.js";
import { startLiveChart } from "./live_chart.js";
import { startSiteTable } from "./site_table.js";
import { Span } from "./span.js";
import { startTheme } from "./theme.js";
import { startThreadMatrix } from "./thread_matrix.js";

function startHead({ trace, totals }) {
  document.title = `Allocations of ${trace.file}`;
  byId("title").textContent = document.title;
  const started = new Date(trace.started_seconds * 1000);
  byId("subtitle").textContent = [
    Number.isNaN(started.getTime()) ? "" : `recorded ${started.toISOString().slice(0, 16).replace("T", " ")} UTC`,
    trace.process ? `process ${trace.process}` : "",
    `${time(totals.nanoseconds)}`,
  ].filter(Boolean).join(" · ");
}

function startNotices({ trace, totals }) {
  const notices = [];
  if (trace.ending === "cut off") notices.push("The trace was cut off: what happened last is missing.");
  if (trace.ending === "size limit") notices.push("The trace had grown to the size that it was allowed: what came later is missing.");
  if (trace.ending === "write error") notices.push("The trace could not be written any further: what came later is missing.");
  if (trace.sample_bytes > 0) notices.push(`These are samples: of every ${bytes(trace.sample_bytes)} allocated, one call was recorded, on average. All figures are about the samples alone.`);
  if (totals.failures > 0) notices.push(`${count(totals.failures)} allocations failed.`);
  replace(byId("notices"), ...notices.map((each) => element("p", { class: "notice" }, each)));
}

function startFigures({ totals }) {
  const made = totals.allocations + totals.reallocations;
  const figures = [
    ["allocations", count(made), totals.reallocations ? `${count(totals.reallocations)} of them by realloc` : `${count(totals.deallocations)} frees`],
    ["allocated", bytes(totals.bytes), made ? `${bytes(totals.bytes / made)} a call` : ""],
    ["most live", bytes(totals.peak_bytes), `at ${time(totals.peak_nanoseconds)}`],
    ["temporaries", percent(totals.temporaries, made), "freed before the next one"],
    ["live at the end", bytes(totals.left_bytes), `${count(totals.left_blocks)} blocks`],
    ["threads", count(totals.threads), "that made calls"],
  ];
  replace(byId("figures"), ...figures.map(([name, value, more]) => element("div", {}, element("dt", {}, name), element("dd", {}, element("strong", {}, value), element("span", { class: "quiet" }, more)))));
}

function startLicences() {
  const licences = JSON.parse(byId("licence-data").textContent);
  replace(byId("licences"), ...licences.flatMap(({ name, version, licence, text }) => [element("h3", {}, `${name} ${version} (${licence})`), element("pre", {}, text)]));
}

const data = JSON.parse(byId("data").textContent);
const span = new Span(data.by_size.series[0].length);
startTheme();
startHead(data);
startNotices(data);
startAdvice(data);
startFigures(data);
startLiveChart(data, span);
startFlameGraph(data, span);
startSiteTable(data);
startHeatMap(data);
startThreadMatrix(data);
startAllocators(data);
startLicences();
