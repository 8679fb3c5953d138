// Bundles what the console loads in the browser: src/console.js with htmx and uPlot into dist/console.js, and uPlot's
// stylesheet into dist/console.css. Run "npm ci" here first; "make build" does both.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

// The promise of a console that is usable at once: see the budget for script in the design.
const maxScriptBytes = 150_000;

const { metafile } = await build({
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  entryPoints: ["src/console.js"],
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "eof", // licenses stay, at the end of the bundle
  metafile: true,
  logLevel: "warning",
});

for (const [file, { bytes }] of Object.entries(metafile.outputs)) {
  console.log(`dashboards/assets/${file} ${bytes} bytes`);
  if (file.endsWith(".js") && bytes > maxScriptBytes) {
    console.error(`the script has ${bytes} bytes, more than the ${maxScriptBytes} that the console may load`);
    process.exitCode = 1;
  }
}
