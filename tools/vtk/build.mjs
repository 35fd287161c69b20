// Builds wedge/pages/vendor/vtk.min.js, the licences of what is in it, and their checksums; with --check only says whether the same bytes come out.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const vendor = join(here, "../../wedge/pages/vendor");
const check = process.argv.includes("--check");
process.chdir(here);

const result = await build({
  entryPoints: ["entry.js"],
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "vtk",
  target: "es2020",
  legalComments: "none",
  alias: { "spark-md5": "./hash.js", seedrandom: "./random.js" },
  metafile: true,
  write: false,
});

// Every package with a byte in the result, with its version and licence.
const [{ inputs }] = Object.values(result.metafile.outputs);
const names = Object.entries(inputs)
  .filter(([path, { bytesInOutput }]) => bytesInOutput > 0 && path.startsWith("node_modules/"))
  .map(([path]) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/)[1]);
const packages = [...new Set(names)].sort().map((name) => {
  const folder = join("node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  if (!file) throw new Error(`${name} has no licence file`);
  return { name, version, license, text: readFileSync(join(folder, file), "utf8") };
});

const banner = `/*! ${packages.map(({ name, version }) => `${name} ${version}`).join(", ")}; licences beside this file */\n`;
const files = { "vtk.min.js": banner + result.outputFiles[0].text };
for (const { name, text } of packages) files[`LICENSE-${name.split("/").pop()}`] = text;
const digest = (text) => createHash("sha256").update(text).digest("hex");
const sums = Object.keys(files).sort().map((name) => `${digest(files[name])}  ${name}\n`);
files["SHA256SUMS"] = sums.join("");

console.log(packages.map(({ name, version, license }) => `${name} ${version} ${license}`).join("\n"));
for (const [name, text] of Object.entries(files)) {
  const path = join(vendor, name);
  const same = existsSync(path) && readFileSync(path, "utf8") === text;
  console.log(`${same ? "as it was" : check ? "DIFFERENT" : "written  "}  ${name}  ${Buffer.byteLength(text)} bytes`);
  if (check && !same) process.exitCode = 1;
  if (!check) writeFileSync(path, text);
}
