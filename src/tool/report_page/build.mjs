// Bundles the page of `cistern-trace report` into one file, and that into a C++ source.
//   node build.mjs NODE_MODULES PAGE.cpp
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const [modules, output] = process.argv.slice(2).map((each) => path.resolve(each));
const here = path.dirname(fileURLToPath(import.meta.url));
const esbuild = createRequire(path.join(modules, "package.json"))("esbuild");

const bundle = async (entry) => {
  const result = await esbuild.build({
    entryPoints: [path.join(here, entry)],
    nodePaths: [modules],
    bundle: true,
    minify: true,
    keepNames: true, // d3-flame-graph asks for a class by its name.
    charset: "ascii",
    target: "es2020",
    format: "iife",
    legalComments: "none", // The page shows the licences whole.
    loader: { ".css": entry.endsWith(".css") ? "css" : "empty" },
    write: false,
    metafile: true,
    logLevel: "error",
  });
  return { text: result.outputFiles[0].text, inputs: Object.keys(result.metafile.inputs) };
};

// Every package that is in the bundle, with the licence that it came with.
const licencesOf = async (inputs) => {
  const names = new Set();
  for (const input of inputs) {
    const found = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
    if (found) names.add(found[1]);
  }
  const licences = [];
  for (const name of [...names].sort()) {
    const about = JSON.parse(await readFile(path.join(modules, name, "package.json"), "utf8"));
    const text = await readFile(path.join(modules, name, "LICENSE"), "utf8");
    licences.push({ name, version: about.version, licence: about.license, text: text.trim() });
  }
  return licences;
};

const asData = (value) => JSON.stringify(value).replaceAll("<", "\\u003c");
const script = await bundle("main.js");
const style = await bundle("style.css");
const licences = await licencesOf([...script.inputs, ...style.inputs]);
const code = script.text.trim();
if (/<\/script|<!--/i.test(code)) throw new Error("the script would end its own element");
const hash = createHash("sha256").update(code).digest("base64");
const parts = { STYLE: style.text.trim(), SCRIPT: code, SCRIPT_HASH: hash, LICENCES: asData(licences) };
const page = (await readFile(path.join(here, "index.html"), "utf8")).replace(
  /@([A-Z_]+)@/g,
  (_, name) => parts[name],
);

const bytes = Buffer.from(page, "utf8");
const lines = [];
for (let at = 0; at < bytes.length; at += 32) lines.push([...bytes.subarray(at, at + 32)].join(","));
await writeFile(
  output,
  `// Made by build.mjs.
#include "report_page.hpp"

namespace cistern::tool {
namespace {

constexpr unsigned char page[] = {
${lines.join(",\n")}};

}  // namespace

std::string_view report_template() noexcept { return {reinterpret_cast<const char*>(page), sizeof page}; }

}  // namespace cistern::tool
`,
);
