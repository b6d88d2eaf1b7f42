// A table whose cells are shaded by their values, and can be visited with the arrow keys.
import { element, navigable } from "./dom.js";
import { cellColours } from "./palettes.js";

// `rows` and `columns`: labels; `value(row, column)`; `text` in a cell; `about(row, column)` in the readout.
export function shadedTable({ corner, rows, columns, value, text, about, caption }) {
  const readout = element("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  let most = 1;
  rows.forEach((_, r) => columns.forEach((_, c) => (most = Math.max(most, value(r, c)))));
  const cell = (r, c) => {
    const amount = value(r, c);
    const made = element("td", { "data-cell": "", "aria-label": about(r, c), "data-about": about(r, c) }, amount > 0 ? text(amount) : "");
    if (amount > 0) {
      const { background, text: colour } = cellColours(Math.log(1 + amount) / Math.log(1 + most));
      made.style.background = background;
      made.style.color = colour;
    }
    return made;
  };
  const table = element("table", { class: "shaded" },
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, element("td", { class: "corner" }, corner), ...columns.map((each) => element("th", { scope: "col" }, element("span", {}, each))))),
    element("tbody", {}, ...rows.map((each, r) => element("tr", {}, element("th", { scope: "row" }, each), ...columns.map((_, c) => cell(r, c))))));
  navigable(table, (visited) => (readout.textContent = visited.dataset.about));
  return [readout, element("div", { class: "scroll" }, table)];
}

// Numbers by fours (row, column, blocks, bytes) as a look-up.
export function pairs(numbers) {
  const found = new Map();
  for (let at = 0; at < numbers.length; at += 4) {
    found.set(`${numbers[at]} ${numbers[at + 1]}`, { blocks: numbers[at + 2], bytes: numbers[at + 3] });
  }
  return (row, column) => found.get(`${row} ${column}`) ?? { blocks: 0, bytes: 0 };
}
