// What every script of this directory does with a page: watch what goes wrong in it, ask axe-core about it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** watch collects what a page complains of: errors in its console, which hold what the Content-Security-Policy refused,
 * exceptions, requests that fail or leave the site. */
export function watch(page, site, problems) {
  const where = () => new URL(page.url()).pathname;
  const allowed = new URL(site).origin;
  page.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") problems.push(`${where()}: console ${m.type()}: ${m.text()}`);
  });
  page.on("pageerror", (e) => problems.push(`${where()}: exception: ${e.message}`));
  page.on("requestfailed", (r) => {
    // A page that is left takes its requests with it.
    const why = r.failure()?.errorText ?? "";
    if (why !== "net::ERR_ABORTED") problems.push(`${where()}: ${r.url()} failed: ${why}`);
  });
  page.on("request", (r) => {
    if (!r.url().startsWith("data:") && new URL(r.url()).origin !== allowed) problems.push(`${where()}: asks another site: ${r.url()}`);
  });
  page.on("response", (r) => {
    if (r.status() >= 400) problems.push(`${where()}: ${r.url()} answered ${r.status()}`);
  });
}

/** audit lets axe-core look at the page as it is now, and checks that nothing makes it scroll sideways. */
export async function audit(page, name, problems) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.map((v) => ({ id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => `${n.html.slice(0, 200)} ${n.failureSummary ?? ""}`) }));
  });
  for (const v of found) problems.push(`${name}: axe ${v.id}: ${v.help}: ${v.nodes.join(" | ")}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) problems.push(`${name}: is ${wide} px wider than the screen`);
}

/** serve runs main with the JSON of standard input and prints its result as JSON: how the Go tests call a script. */
export async function serve(main) {
  const result = await main(JSON.parse(readFileSync(0, "utf8")));
  process.stdout.write(JSON.stringify(result));
}

export const sizes = { phone: { width: 390, height: 844 }, desk: { width: 1440, height: 900 } };
export const themes = ["light", "dark"];
