// The call sites, sorted and filtered.
import { byId, element, replace } from "./dom.js";
import { bytes, count, percent, shortName } from "./format.js";

const few = 12;
const columns = [
  { key: "name", title: "function", text: (site) => shortName(site.name) },
  { key: "calls", title: "calls", text: (site) => count(site.calls) },
  { key: "bytes", title: "allocated", text: (site) => bytes(site.bytes) },
  { key: "temporaries", title: "temporaries", text: (site) => percent(site.temporaries, site.calls) },
  { key: "peak_bytes", title: "most live", text: (site) => bytes(site.peak_bytes) },
  { key: "left_bytes", title: "live at the end", text: (site) => bytes(site.left_bytes) },
];

export function startSiteTable(data) {
  if (!data.trace.has_stacks) {
    byId("site-filter").disabled = true;
    return replace(byId("sites"), element("p", { class: "empty" }, "This trace has no stacks; ", element("code", {}, "cistern-trace record --stacks"), " records them."));
  }
  let sortedBy = "peak_bytes";
  let showsAll = false;

  const value = (site) => (sortedBy === "temporaries" ? site.temporaries / Math.max(1, site.calls) : site[sortedBy]);
  const order = (a, b) => (sortedBy === "name" ? a.name.localeCompare(b.name) : value(b) - value(a));

  function heading({ key, title }, i) {
    const sorts = () => {
      sortedBy = key;
      draw();
      byId("sites").querySelector(`[data-sort=${key}]`).focus();
    };
    return element("th", { scope: "col", class: i ? "number" : null, "aria-sort": key === sortedBy ? (i ? "descending" : "ascending") : null },
      element("button", { type: "button", class: "plain", "data-sort": key, click: sorts }, title));
  }

  function draw() {
    const term = byId("site-filter").value.trim().toLowerCase();
    const fitting = data.sites.filter((site) => site.name.toLowerCase().includes(term)).sort(order);
    const shown = showsAll ? fitting : fitting.slice(0, few);
    const row = (site) => element("tr", {}, ...columns.map((each, i) => element(i ? "td" : "th", i ? { class: "number" } : { scope: "row", title: site.name }, each.text(site))));
    const table = element("table", { class: "rows" },
      element("thead", {}, element("tr", {}, ...columns.map(heading))),
      element("tbody", {}, ...shown.map(row)));
    const more = fitting.length > shown.length
      ? element("button", { type: "button", click: () => { showsAll = true; draw(); } }, `Show all ${count(fitting.length)}`)
      : null;
    replace(byId("sites"), element("div", { class: "scroll" }, table), ...(more ? [more] : []),
      ...(fitting.length ? [] : [element("p", { class: "empty" }, "No call site's name has this.")]));
  }

  byId("site-filter").addEventListener("input", draw);
  draw();
}
