// What to do, on top of the page.
import { byId, element, replace } from "./dom.js";
import { bytes, percent, time } from "./format.js";

const say = (text) => element("p", { class: "empty" }, text);

function parsed(text) {
  try {
    const advice = JSON.parse(text);
    return typeof advice?.headline === "string" && Array.isArray(advice.advices) ? advice : null;
  } catch {
    return null;
  }
}

// What it gains and costs, as far as that was measured.
function measured(one) {
  const gain = one.gain_nanoseconds;
  return [
    Number.isFinite(gain?.median) ? `gains ${time(gain.median)} (quartiles ${time(gain.lower_quartile)} – ${time(gain.upper_quartile)})` : "",
    Number.isFinite(one.part_of_run) ? `${percent(one.part_of_run, 1)} of the run` : "",
    Number.isFinite(one.part_of_calls) ? `${percent(one.part_of_calls, 1)} of the time in calls` : "",
    Number.isFinite(one.peak_resident_bytes) ? `at its peak ${bytes(one.peak_resident_bytes)} resident` : "",
  ].filter(Boolean).join("; ");
}

function item(one) {
  const texts = [one.headline, measured(one), one.costs].filter((each) => typeof each === "string" && each !== "");
  const [headline, ...more] = texts;
  const code = typeof one.code === "string" && one.code !== "" ? element("pre", {}, one.code.trimEnd()) : null;
  return element("li", {}, element("strong", {}, headline ?? ""), ...more.map((each) => element("p", { class: "quiet" }, each)), code);
}

function fromReplays(text) {
  const advice = parsed(text);
  if (!advice) return [say("The file that was given with --advice isn't what cistern-trace advise --json writes.")];
  const listed = advice.advices.filter((each) => each && typeof each === "object");
  return [element("p", { class: "headline" }, advice.headline), listed.length ? element("ol", { class: "advices" }, ...listed.map(item)) : null];
}

function fromTrace(text) {
  const lines = text.trimEnd().split("\n");
  const code = lines.pop();
  return [
    element("p", {}, "Should it be a pool, then this one, with these options:"),
    element("pre", {}, code),
    element("p", { class: "quiet" }, "From the trace alone. What it would gain, replays tell: ", element("code", {}, "cistern-trace advise --json advice.json TRACE"),
      ", then ", element("code", {}, "cistern-trace report --advice advice.json TRACE"), "."),
    element("details", {}, element("summary", {}, "What this is drawn from"), element("pre", {}, lines.join("\n"))),
  ];
}

export function startAdvice(data) {
  const parts = data.advice_json ? fromReplays(data.advice_json) : fromTrace(data.advice_text);
  replace(byId("advice"), ...parts.filter(Boolean));
}
