// Reads public pages on the phone and at the desk, by day and by night, with and without script.
// In: {site, pages: [{path, says: [text]}]}. Out: {problems: [text], looked: number}.
import { launch } from "./chromium.mjs";
import { audit, serve, sizes, themes, watch } from "./page.mjs";

await serve(async ({ site, pages }) => {
  const problems = [];
  let looked = 0;
  const browser = await launch();
  try {
    for (const [size, viewport] of Object.entries(sizes)) {
      for (const colorScheme of themes) {
        const context = await browser.newContext({ viewport, colorScheme, reducedMotion: "reduce" });
        for (const { path, says } of pages) {
          const page = await context.newPage();
          watch(page, site, problems);
          await page.goto(site + path, { waitUntil: "load" });
          const name = `${path} (${size}, ${colorScheme})`;
          await audit(page, name, problems);
          const text = await page.locator("body").innerText();
          for (const s of says) if (!text.includes(s)) problems.push(`${name}: does not say ${JSON.stringify(s)}`);
          looked++;
          await page.close();
        }
        await context.close();
      }
    }
    const still = await browser.newContext({ viewport: sizes.phone, javaScriptEnabled: false });
    for (const { path, says } of pages) {
      const page = await still.newPage();
      watch(page, site, problems);
      await page.goto(site + path, { waitUntil: "load" });
      const text = await page.locator("body").innerText();
      for (const s of says) if (!text.includes(s)) problems.push(`${path} (no script): does not say ${JSON.stringify(s)}`);
      looked++;
      await page.close();
    }
  } finally {
    await browser.close();
  }
  return { problems, looked };
});
