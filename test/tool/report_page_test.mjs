// Looks at reports of cistern-trace in a headless browser, on traces encoded here by the words of docs/trace-format.md.
//   node report_page_test.mjs PROGRAM NODE_MODULES CHROMIUM
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [program, modules, chromiumPath] = process.argv.slice(2);
const { chromium } = createRequire(path.join(modules, "package.json"))("playwright-core");
const folder = mkdtempSync(path.join(tmpdir(), "report-page-"));
const patience = { timeout: 60000 };

// --- Traces ---

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});
const crc32 = (bytes) => (bytes.reduce((crc, byte) => crcTable[(crc ^ byte) & 255] ^ (crc >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;
const fixed = (number, bytes) => Array.from({ length: bytes }, (_, i) => Number((BigInt(number) >> BigInt(8 * i)) & 255n));
function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    if (rest < 128n) return [...bytes, Number(rest)];
    bytes.push(Number(rest & 127n) | 128);
  }
}
const checked = (bytes) => [...bytes, ...fixed(crc32(bytes), 4)];
function frame(entries, payload, kind) {
  const head = [...fixed(payload.length, 4), ...fixed(entries, 4), ...fixed(kind, 4)];
  return [...head, ...fixed(crc32([...head, ...payload]), 4), ...payload];
}
const modulesFrame = (paths) =>
  frame(paths.length, paths.flatMap((each) => [...varint(0), ...varint(each.length), ...varint(0), ...each]), 2);
const stacksFrame = (stacks) =>
  frame(stacks.length, stacks.flatMap((places) => [...varint(places.length), ...places.flatMap(([module, address]) => [...varint(module), ...varint(address)])]), 3);

// Events: { free, time, thread, bytes, address, stack }. Without stacks if none is named.
function eventsFrame(events, hasStacks) {
  let last = { time: 0n, address: 0n };
  const payload = events.flatMap((each) => {
    const [time, address] = [BigInt(each.time), BigInt(each.address)];
    const difference = BigInt.asIntN(64, address - last.address);
    const code = [each.free ? 3 : 0x40, ...varint(time - last.time), ...varint(each.thread), ...(each.free ? [] : varint(each.bytes)),
      ...varint(difference >= 0n ? 2n * difference : -2n * difference - 1n), ...(hasStacks ? varint(each.stack ?? 0) : [])];
    last = { time, address };
    return code;
  });
  return frame(events.length, payload, hasStacks ? 4 : 1);
}
function traceOf({ events, paths = [], stacks = [], closed = true }) {
  const header = checked([...Buffer.from("cistrace"), ...fixed(2, 4), ...fixed(1700000000000000000n, 8), ...fixed(0, 8), ...fixed(4711, 8)]);
  const parts = [header];
  if (paths.length) parts.push(modulesFrame(paths), stacksFrame(stacks));
  for (let at = 0; at < events.length; at += 500) parts.push(eventsFrame(events.slice(at, at + 500), paths.length > 0));
  if (closed) parts.push(frame(0, [...fixed(events.length, 8), ...fixed(0, 8)], 0));
  return Buffer.concat(parts.map((each) => Buffer.from(each)));
}

const text = (name) => [...Buffer.from(name)];

// Two threads; a phase of large blocks in the middle; temporaries; some blocks are freed by the other thread.
function usualTrace() {
  const events = [];
  let time = 1000;
  for (let i = 0; i < 4000; i += 1) {
    const address = 0x10000 + i * 0x10000;
    events.push({ time: (time += 500), thread: 1, bytes: 20 + (i % 200), address, stack: 1 });
    if (i > 1500 && i < 2500) events.push({ time: (time += 300), thread: 1, bytes: 5000, address: address + 0x8000, stack: 2 });
    if (i > 1600) events.push({ free: true, time: (time += 100), thread: i % 3 ? 1 : 2, address: 0x10000 + (i - 100) * 0x10000 });
    events.push({ time: (time += 10), thread: 2, bytes: 64, address: 0x70, stack: 3 });
    events.push({ free: true, time: (time += 40), thread: 2, address: 0x70 });
  }
  return traceOf({ events, paths: [text("/usr/bin/app"), text("/usr/lib/libstdc++.so.6")], stacks: [[[2, 0x10], [1, 0x1000], [1, 0x1]], [[1, 0x2000], [1, 0x1]], [[1, 0x3000], [1, 0x2]]] });
}

const markup = `</script><script>window.broken=1</script><img src=x onerror="window.broken=1"><!-- & " '`;
function hostileTrace() {
  const most = (1n << 64n) - 1n;
  const latest = (1n << 63n) - 1n;
  const events = [];
  for (let i = 1; i <= 40; i += 1) events.push({ time: i, thread: most - BigInt(i), bytes: most, address: i * 64, stack: 1 + (i % 3) });
  for (let i = 1; i <= 20; i += 1) events.push({ free: true, time: latest, thread: 5, address: i * 64 });
  return traceOf({
    events,
    paths: [text(`/nowhere/${markup}`), [...text("/nowhere/"), 0xff, 0xfe, 0x80, 0xc0, 10, 27, 0], text("/dev/zero")],
    stacks: [[[1, 0x10], [2, most]], [[2, 0x20], [0, most]], [[3, 0x30], [1, 0]]],
  });
}

function report(name, trace, ...options) {
  const [from, to] = [path.join(folder, name), path.join(folder, `${name.replaceAll(/[^a-z]/g, "_")}.html`)];
  writeFileSync(from, trace);
  execFileSync(program, ["report", "-o", to, ...options, from], { stdio: ["ignore", "ignore", "pipe"] });
  return to;
}

function jsonFile(name, content) {
  const file = path.join(folder, name);
  writeFileSync(file, content);
  return file;
}

// --- A browser ---

const browser = await chromium.launch({
  executablePath: chromiumPath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const watchdog = setTimeout(() => {
  console.error("it took too long");
  process.exit(1);
}, 240000);

// Whatever the page says or asks for goes into `complaints`.
async function open(file, width = 1200) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: "light" });
  page.setDefaultTimeout(patience.timeout);
  const complaints = [];
  const address = pathToFileURL(file).href;
  page.on("console", (message) => complaints.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`error: ${error.stack}`));
  page.on("request", (request) => request.url() !== address && !request.url().startsWith("data:") && complaints.push(`request: ${request.url()}`));
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector("#licences h3"));
  return { page, complaints };
}

const textOf = (page, selector) => page.textContent(selector);
const becomes = (page, selector, before) =>
  page.waitForFunction(([selector, before]) => document.querySelector(selector).textContent !== before, [selector, before]);
const focusedLabel = (page) => page.evaluate(() => document.activeElement.getAttribute("aria-label"));

const tests = {
  async "it renders, and asks nothing of a network"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()));
    assert.equal(await page.title(), "Allocations of usual.trace");
    assert.match(await textOf(page, "#figures"), /8,999/);
    assert.equal(await page.locator("#live canvas").count(), 1);
    assert.equal(await page.locator("#live-legend tbody tr").count(), 12);
    assert.match(await textOf(page, "#advice"), /pool_resource pool/);
    assert.match(await textOf(page, "#allocators"), /replay --json/);
    for (const name of ["uplot", "d3-flame-graph", "d3-selection"]) assert.match(await textOf(page, "#licences"), new RegExp(name));
    assert.match(await page.getAttribute('meta[http-equiv="Content-Security-Policy"]', "content"), /^default-src 'none'/);
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "the span is chosen by the mouse, the keyboard and the sliders"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()));
    const whole = await textOf(page, "#span");
    assert.match(whole, /^all of it/);
    const chart = await page.locator("#live .u-over").boundingBox();
    const [y, at] = [chart.y + chart.height / 2, (part) => chart.x + chart.width * part];
    await page.mouse.move(at(0.4), y);
    await page.mouse.down();
    await page.mouse.move(at(0.5), y, { steps: 4 });
    await page.mouse.move(at(0.6), y, { steps: 4 });
    await page.mouse.up();
    await becomes(page, "#span", whole);
    assert.match(await textOf(page, "#span"), / to .*: (19|20|21) % of /);
    await page.waitForFunction(() => /the span above/.test(document.querySelector("#flame-box").textContent));
    await page.click("#reset");
    assert.equal(await textOf(page, "#span"), whole);

    await page.focus("#live");
    await page.keyboard.press("+");
    const narrow = await textOf(page, "#span");
    assert.match(narrow, /50 % of /);
    await page.keyboard.press("ArrowRight");
    const moved = await textOf(page, "#span");
    assert.notEqual(moved, narrow);
    assert.match(moved, /50 % of /);
    await page.keyboard.press("-");
    await page.keyboard.press("0");
    assert.equal(await textOf(page, "#span"), whole);

    await page.focus("#from");
    for (let i = 0; i < 5; i += 1) await page.keyboard.press("ArrowRight");
    assert.notEqual(await textOf(page, "#span"), whole);
    await page.focus("#to");
    await page.keyboard.press("Home"); // Never before the other one.
    assert.match(await textOf(page, "#span"), / to .*: 0.4 % of /);
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "live bytes by call site, and series that are taken out"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()));
    await page.click("[data-live=by_site]");
    const legend = await textOf(page, "#live-legend");
    assert.match(legend, /app\+0x1000/);
    assert.match(legend, /all others/);
    const toggle = page.locator("#live-legend button").first();
    await toggle.click();
    assert.equal(await toggle.getAttribute("aria-pressed"), "false");
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "the flame graph is searched and gone through by keys"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()));
    assert.equal(await page.locator("#flame g.frame").count(), 7);
    await page.fill("#flame-search", "APP+0x3000");
    assert.match(await textOf(page, "#flame-found"), /^1 frames, /);
    await page.fill("#flame-search", "(no regular expression[");
    assert.match(await textOf(page, "#flame-found"), /^0 frames/);
    await page.click("[data-flame=temporaries]");
    await page.fill("#flame-search", "app+0x1000");
    assert.match(await textOf(page, "#flame-found"), /^0 frames/); // It has no temporaries.
    await page.click("[data-flame=bytes]");
    await page.focus("#flame g.frame[tabindex='0']");
    assert.match(await focusedLabel(page), /^all: /);
    await page.keyboard.press("ArrowDown");
    const first = await focusedLabel(page);
    assert.match(first, /^app\+0x1: /);
    await page.keyboard.press("ArrowRight");
    assert.match(await focusedLabel(page), /^app\+0x2: /);
    assert.match(await textOf(page, "#flame-details"), /^app\+0x2: .*% of what is shown/);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll("#flame g.frame").length === 3);
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelectorAll("#flame g.frame").length === 7);
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "call sites are filtered and sorted"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()));
    assert.equal(await page.locator("#sites tbody tr").count(), 3);
    await page.click("[data-sort=temporaries]");
    assert.match(await textOf(page, "#sites tbody tr"), /app\+0x3000.*100 %/);
    await page.fill("#site-filter", "0X2000");
    assert.equal(await page.locator("#sites tbody tr").count(), 1);
    await page.fill("#site-filter", "nothing has this");
    assert.match(await textOf(page, "#sites"), /No call site/);
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "tables tell the values of the cell that is visited"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()));
    for (const table of ["#heat", "#threads"]) {
      await page.focus(`${table} [data-cell][tabindex='0']`);
      const before = await textOf(page, `${table} .readout`);
      assert.match(before, /blocks, /);
      await page.keyboard.press("ArrowRight");
      assert.notEqual(await textOf(page, `${table} .readout`), before);
    }
    assert.match(await textOf(page, "#threads"), /were freed by another thread/);
    await page.click("[data-heat=bytes]");
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "dark and light, by choice and as the system has it"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()));
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.emulateMedia({ colorScheme: "dark" });
    await page.waitForFunction((light) => getComputedStyle(document.body).backgroundColor !== light, light);
    await page.click("#theme");
    assert.match(await textOf(page, "#theme"), /light/);
    assert.equal(await background(), light);
    await page.click("#theme");
    assert.match(await textOf(page, "#theme"), /dark/);
    assert.notEqual(await background(), light);
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "what replays and advice say is shown"() {
    const point = (calls) => ({ calls, nanoseconds: calls, asked_bytes: 100, resident_bytes: 200, upstream_bytes: null });
    const resource = (name, memory) => ({ name, nanoseconds_per_call: { median: 3, lower_quartile: 2, upper_quartile: 4, rounds: [3] }, ratio: 1, memory });
    const memory = { peak_resident_bytes: 4096, peak_asked_bytes: 2048, fragmentation: 2, held_after_trim_bytes: 0, upstream_allocations: null, over_time: [point(1), point(2)] };
    const replay = jsonFile("replay.json", JSON.stringify({ trace: {}, rounds: 1, resources: [resource(markup, memory), resource("b", null)] }));
    const advice = jsonFile("advice.json", JSON.stringify({ headline: `No pool ${markup}`, advices: [{ headline: "first", code: "pool p;", costs: "nothing" }] }));
    const { page, complaints } = await open(report("usual.trace", usualTrace(), "--replay", replay, "--advice", advice));
    assert.equal(await page.locator("#allocators .rows tbody tr").count(), 2);
    assert.equal(await page.locator("#allocators canvas").count(), 1);
    assert.match(await textOf(page, "#allocators"), /2\.00/);
    assert.match(await textOf(page, "#advice"), /No pool .*first.*nothing.*pool p;/s);
    assert.equal(await page.evaluate(() => window.broken), undefined);
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "other files than those are said to be none"() {
    const none = jsonFile("none.json", '{"resources": [], "advices": [], "more": "</script>"}');
    const { page, complaints } = await open(report("usual.trace", usualTrace(), "--replay", none, "--advice", none));
    assert.match(await textOf(page, "#allocators"), /isn't what/);
    assert.match(await textOf(page, "#advice"), /isn't what/);
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "names and numbers of a hostile trace stay names and numbers"() {
    const file = report("<img src=x onerror=window.broken=1>.trace", hostileTrace());
    new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file));
    const { page, complaints } = await open(file);
    assert.equal(await page.evaluate(() => window.broken), undefined);
    assert.equal(await page.locator("img").count(), 0);
    assert.equal(await page.locator("script").count(), 3);
    assert.match(await textOf(page, "#title"), /<img src=x/);
    assert.match(await textOf(page, "#sites"), /onerror="window/);
    assert.match(await textOf(page, "#threads"), /others/);
    for (const each of await page.locator("main *:not(:has(*))").allTextContents()) assert.doesNotMatch(each, /NaN|undefined|Infinity/);
    await page.click("[data-live=by_site]");
    await page.click("[data-flame=calls]");
    assert.deepEqual(complaints, []);
    await page.close();
  },

  async "without stacks, or anything, it says what is missing"() {
    const bare = await open(report("bare.trace", traceOf({ events: [{ time: 1, thread: 1, bytes: 8, address: 64 }], closed: false })));
    assert.match(await textOf(bare.page, "#flame-box"), /record --stacks/);
    assert.match(await textOf(bare.page, "#notices"), /cut off/);
    assert.match(await textOf(bare.page, "#threads"), /One thread/);
    assert.ok(await bare.page.isDisabled("[data-live=by_site]"));
    assert.deepEqual(bare.complaints, []);
    await bare.page.close();
    const empty = await open(report("empty.trace", traceOf({ events: [] })));
    assert.match(await textOf(empty.page, "#heat"), /no blocks/);
    assert.deepEqual(empty.complaints, []);
    await empty.page.close();
  },

  async "a narrow window is enough"() {
    const { page, complaints } = await open(report("usual.trace", usualTrace()), 400);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 400);
    assert.deepEqual(complaints, []);
    await page.close();
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    console.error(`FAILED: ${name}\n${error.stack}`);
  }
}
clearTimeout(watchdog);
await browser.close();
rmSync(folder, { recursive: true });
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
