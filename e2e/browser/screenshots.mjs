// Photographs a running demo. In: {console, status, key, tenant, dir}. Out: {files: {name: bytes}}.
import { statSync } from "node:fs";
import { join } from "node:path";
import { launch } from "./chromium.mjs";
import { serve, sizes } from "./page.mjs";

const most = 300 * 1024; // bytes of a picture

await serve(async (o) => {
  const files = {};
  const browser = await launch();
  try {
    const shoot = async (page, name) => {
      const path = join(o.dir, `${name}.png`);
      await page.screenshot({ path, animations: "disabled" });
      files[name] = statSync(path).size;
      if (files[name] > most) throw new Error(`${path} has ${files[name]} bytes, at most ${most}`);
    };
    const desk = await browser.newContext({ viewport: sizes.desk, colorScheme: "light" });
    const page = await desk.newPage();
    await page.goto(`${o.console}/sign-in`);
    await page.getByLabel("API key").fill(o.key);
    await page.getByRole("button", { name: "Sign in with the key" }).click();
    await page.waitForURL("**/tenants**");
    await shoot(page, "tenants");
    await page.goto(`${o.console}/tenants/${encodeURIComponent(o.tenant)}`);
    await page.locator("canvas").first().waitFor({ timeout: 5_000 }).catch(() => {}); // charts drawn by script, if any
    await shoot(page, "tenant");
    await page.goto(`${o.console}/alerts`);
    await shoot(page, "alerts");
    await page.goto(`${o.status}/`);
    await shoot(page, "status");
    const phone = await browser.newContext({ viewport: sizes.phone, colorScheme: "dark", deviceScaleFactor: 2 });
    const small = await phone.newPage();
    await small.goto(`${o.status}/`);
    await shoot(small, "status-phone-dark");
  } finally {
    await browser.close();
  }
  return { files };
});
