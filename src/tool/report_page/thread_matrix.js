// Which thread frees what which thread allocated.
import { byId, element, replace } from "./dom.js";
import { bytes, count, percent, shortCount } from "./format.js";
import { pairs, shadedTable } from "./shaded_table.js";
import { onThemeChange } from "./theme.js";

export function startThreadMatrix(data) {
  const { threads } = data;
  const at = pairs(data.handed_over);
  let all = 0;
  let handed = 0;
  for (let i = 0; i < data.handed_over.length; i += 4) {
    all += data.handed_over[i + 2];
    if (data.handed_over[i] !== data.handed_over[i + 1]) handed += data.handed_over[i + 2];
  }
  if (threads.length < 2) {
    return replace(byId("threads"), element("p", { class: "empty" }, threads.length === 0 ? "There are no calls in this trace." : `One thread (${threads[0]}) made all calls: nothing was handed over.`));
  }
  const draw = () =>
    replace(byId("threads"), element("p", {}, `${count(handed)} of ${count(all)} freed blocks, ${percent(handed, all)}, were freed by another thread than the one that had allocated them.`), ...shadedTable({
      corner: "allocated by \u2193 freed by \u2192",
      caption: "Blocks by the thread that allocated and the one that freed",
      rows: threads,
      columns: threads,
      value: (r, c) => at(r, c).blocks,
      text: shortCount,
      about: (r, c) => `allocated by ${threads[r]}, freed by ${threads[c]}: ${count(at(r, c).blocks)} blocks, ${bytes(at(r, c).bytes)}`,
    }));
  onThemeChange(draw);
  draw();
}
