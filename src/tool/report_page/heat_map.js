// Sizes and lifetimes.
import { byId, choices, element, replace } from "./dom.js";
import { bytes, count, powerRange, roughTime, shortCount, time } from "./format.js";
import { pairs, shadedTable } from "./shaded_table.js";
import { onThemeChange } from "./theme.js";

const range = (values) => {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return Array.from({ length: high - low + 1 }, (_, i) => low + i);
};

export function startHeatMap(data) {
  const numbers = data.size_and_life;
  const every = (offset) => numbers.filter((_, i) => i % 4 === offset);
  if (numbers.length === 0) return replace(byId("heat"), element("p", { class: "empty" }, "There are no blocks in this trace."));
  const at = pairs(numbers);
  const sizes = range(every(0)).reverse(); // Large ones on top.
  const known = every(1).filter((life) => life !== data.never_freed);
  const lives = known.length ? range(known) : [];
  if (every(1).includes(data.never_freed)) lives.push(data.never_freed);
  const lifeText = (life) => (life === data.never_freed ? "live at the end" : powerRange(life, time));
  let metric = "blocks";

  function draw() {
    replace(byId("heat"), ...shadedTable({
      corner: "size \u2193 lifetime \u2192",
      caption: "Blocks by size and lifetime",
      rows: sizes.map((size) => powerRange(size, bytes)),
      columns: lives.map((life) => (life === data.never_freed ? "at the end" : roughTime(life === 0 ? 0 : 2 ** (life - 1)))),
      value: (r, c) => at(sizes[r], lives[c])[metric],
      text: (amount) => (metric === "blocks" ? shortCount(amount) : bytes(amount).replace(/ (.)i?B$/, "$1").replace(" ", "")),
      about: (r, c) => {
        const { blocks, bytes: sum } = at(sizes[r], lives[c]);
        return `${powerRange(sizes[r], bytes)}, ${lives[c] === data.never_freed ? "" : "lived "}${lifeText(lives[c])}: ${count(blocks)} blocks, ${bytes(sum)}`;
      },
    }));
  }

  choices("heat", (chosen) => {
    metric = chosen;
    draw();
  });
  onThemeChange(draw);
  draw();
}
