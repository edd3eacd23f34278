// Builds what is in dist/, which is committed: the host embeds it, and cargo needs no node.
//   node build.mjs            builds
//   node build.mjs --check    fails where dist/ is not what src/ gives
//   node build.mjs --tests    bundles the tests into build/
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const banner = { js: "/*! Callbox, Apache-2.0. Source: web/sdk of the Callbox repository. */" };
const common = { bundle: true, minify: true, target: "es2022", charset: "utf8", legalComments: "none", banner, write: false };

/** Everything in dist/ by its path. */
async function made() {
  const files = new Map();
  const script = async (name, options) => {
    const result = await build({ ...common, absWorkingDir: here, ...options });
    files.set(name, result.outputFiles[0].text);
  };
  await script("callbox.js", { entryPoints: ["src/index.ts"], format: "esm" });
  await script("callbox.global.js", { entryPoints: ["src/global.ts"], format: "iife" });
  const types = mkdtempSync(join(tmpdir(), "callbox-types-"));
  try {
    execFileSync(join(here, "node_modules/.bin/tsc"), ["-p", here, "--outDir", types], { stdio: "inherit" });
    for (const file of readdirSync(types, { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const path = join(file.parentPath ?? file.path, file.name);
      files.set(join("types", relative(types, path)), readFileSync(path, "utf8"));
    }
  } finally {
    rmSync(types, { recursive: true });
  }
  return files;
}

function present(folder) {
  try {
    const all = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    return all.map((file) => relative(folder, join(file.parentPath ?? file.path, file.name)));
  } catch {
    return [];
  }
}

const dist = join(here, "dist");
if (process.argv.includes("--tests")) {
  const tests = readdirSync(join(here, "test")).filter((name) => name.endsWith(".test.ts"));
  rmSync(join(here, "build"), { recursive: true, force: true });
  await build({
    absWorkingDir: here,
    entryPoints: tests.map((name) => `test/${name}`),
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "inline",
    outdir: "build/test",
    outExtension: { ".js": ".mjs" },
  });
} else if (process.argv.includes("--check")) {
  const files = await made();
  const old = present(dist).filter((path) => !files.has(path));
  const other = [...files].filter(([path, text]) => {
    try {
      return readFileSync(join(dist, path), "utf8") !== text;
    } catch {
      return true;
    }
  });
  if (old.length + other.length > 0) {
    console.error("web/sdk/dist is not what web/sdk/src gives; run `npm run build` in web/sdk and commit it:");
    for (const path of [...other.map(([path]) => path), ...old]) console.error(`  ${path}`);
    process.exit(1);
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  for (const [path, text] of await made()) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    writeFileSync(join(dist, path), text);
    if (path.endsWith(".js")) console.log(`${path}: ${text.length} bytes, ${gzipSync(text, { level: 9 }).length} gzipped`);
  }
}
