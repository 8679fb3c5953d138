// Goes through the console as an SRE does: sign in, find who is hurt, open the tenant, read the alert, sign out.
// In: {site, key, product, tenant: one of the product's, stricken: a tenant that burns, alert: its heading}.
// Out: {problems: [text], and what the pages say}.
import { launch } from "./chromium.mjs";
import { audit, serve, sizes, themes, watch } from "./page.mjs";

await serve(async ({ site, key, product, tenant, stricken, alert }) => {
  const problems = [];
  const out = { problems };
  const browser = await launch();
  try {
    const context = await browser.newContext({ viewport: sizes.desk, colorScheme: "light" });
    const page = await context.newPage();
    watch(page, site, problems);

    await page.goto(`${site}/tenants?product=${product}`);
    if (new URL(page.url()).pathname !== "/sign-in") problems.push(`a stranger is shown ${page.url()}`);
    await audit(page, "sign-in", problems);
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Sign in with the key" }).click();
    await page.waitForURL("**/tenants**");
    if (!page.url().includes(`product=${product}`)) problems.push(`signing in forgot where to go: ${page.url()}`);

    const table = page.getByRole("region", { name: "Tenants" });
    const heads = await table.locator("thead th").allInnerTexts();
    out.heads = heads.map((h) => h.trim());
    const rows = async () => table.locator("tbody tr").evaluateAll((list) => list.map((tr) => ({
      name: tr.querySelector("th a").innerText.trim(),
      cells: [...tr.children].map((c) => c.innerText.trim()),
      titles: [...tr.children].map((c) => c.getAttribute("title") ?? ""),
    })));
    out.rows = await rows();
    await audit(page, "tenants", problems);

    // Sorting: the column says so, and its order turns with the second click.
    const head = table.getByRole("columnheader", { name: "P95", exact: true });
    const order = async () => ({ sort: await head.getAttribute("aria-sort"), names: (await rows()).map((r) => r.name) });
    await head.getByRole("link").click();
    await page.waitForURL(/sort=p95/);
    out.first = await order();
    await head.getByRole("link").click();
    await page.waitForURL((url) => url.href.includes("sort=p95") && url.href.includes("order="));
    out.second = await order();

    await table.getByRole("link", { name: tenant, exact: true }).click();
    await page.waitForURL(`**/tenants/**`);
    out.title = await page.getByRole("heading", { level: 1 }).innerText();
    out.charts = await page.locator('[role="img"][aria-label]').evaluateAll((l) => l.map((e) => e.getAttribute("aria-label")));
    out.slos = await page.getByRole("region", { name: /SLOs of/ }).locator("tbody tr").allInnerTexts();
    await audit(page, "tenant", problems);

    await page.getByRole("link", { name: /^Alerts/ }).click();
    await page.waitForURL("**/alerts");
    out.message = await page.getByRole("article", { name: new RegExp(alert) }).first().innerText();
    await audit(page, "alerts", problems);

    await page.goto(`${site}/slos`);
    await audit(page, "slos", problems);

    // The audit log: what was done to keys, by typing and a press of the button, and by the address without script.
    const entries = (on) => on.getByRole("region", { name: "Entries" }).locator("tbody tr");
    await page.getByRole("link", { name: "Audit log" }).click();
    await page.getByLabel("Action").fill("key.");
    await page.getByRole("button", { name: "Search" }).click();
    await page.waitForURL(/action=key/);
    out.audit = await entries(page).allInnerTexts();
    await audit(page, "audit log", problems);

    const stored = await context.storageState();
    for (const [size, viewport] of Object.entries(sizes)) {
      for (const colorScheme of themes) {
        const other = await browser.newContext({ viewport, colorScheme, storageState: stored });
        const look = await other.newPage();
        watch(look, site, problems);
        for (const path of [`/tenants`, `/tenants/${encodeURIComponent(stricken)}`, `/alerts`, `/audit`]) {
          await look.goto(site + path);
          await audit(look, `${path} (${size}, ${colorScheme})`, problems);
        }
        await other.close();
      }
    }

    const still = await browser.newContext({ javaScriptEnabled: false, storageState: stored });
    const dead = await still.newPage();
    watch(dead, site, problems);
    await dead.goto(`${site}/tenants?product=${product}`);
    out.withoutScript = await dead.locator("tbody tr th a").allInnerTexts();
    await dead.goto(`${site}/audit?action=key.`);
    out.auditWithoutScript = await entries(dead).allInnerTexts();
    await still.close();

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL("**/sign-in**");
    await page.goto(`${site}/tenants`);
    if (new URL(page.url()).pathname !== "/sign-in") problems.push("the console opens after signing out");
  } finally {
    await browser.close();
  }
  return out;
});
