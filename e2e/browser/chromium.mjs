// Finds a Chromium and starts it: $CHROMIUM, else the machine's own, else the one packed in @sparticuz/chromium, so that
// the tests run on a machine without any.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium as playwright } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome"];
const packages = join(dirname(fileURLToPath(import.meta.url)), "..", "node_modules");

// Nothing that talks to a network of its own, nothing that needs a display or a GPU.
const flags = [
  "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--disable-dev-shm-usage",
];

/** launch starts a browser; the caller closes it. */
export async function launch() {
  const own = process.env.CHROMIUM || onPath();
  const { executablePath, env } = own ? { executablePath: own, env: process.env } : await unpacked();
  try {
    return await playwright.launch({
      executablePath, env, headless: true, timeout: 60_000,
      // Chromium refuses its sandbox to root, and many systems refuse it to programs that they did not install.
      chromiumSandbox: Boolean(own) && process.getuid() !== 0,
      args: flags,
    });
  } catch (error) {
    throw new Error(`cannot start Chromium ${JSON.stringify(executablePath)}: ${error.message}\n` +
      "install one (Debian and Ubuntu: apt-get install chromium) or set CHROMIUM to its path");
  }
}

function onPath() {
  for (const dir of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of names) {
      const file = join(dir, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // not here
      }
    }
  }
  return "";
}

// unpacked makes an executable of the package once. It is unpacked beside its place and moved there whole, for a run
// that was interrupted must not leave half a browser. The libraries that come with it serve only where the machine lacks
// some; they go into the browser's environment, not into ours.
async function unpacked() {
  const place = join(packages, ".chromium");
  if (!existsSync(place)) {
    const near = mkdtempSync(join(packages, ".chromium-"));
    process.env.TMPDIR = near; // where the package unpacks to
    process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs20.x"; // only then does it unpack its libraries
    const { default: packed } = await import("@sparticuz/chromium");
    await packed.executablePath();
    try {
      renameSync(near, place);
    } catch (error) {
      rmSync(near, { recursive: true, force: true });
      if (!existsSync(place)) throw error; // else another run was faster
    }
    delete process.env.TMPDIR;
    delete process.env.LD_LIBRARY_PATH;
  }
  const executablePath = join(place, "chromium");
  // Its own font configuration names directories of another machine.
  const fonts = join(place, "fonts.conf");
  writeFileSync(fonts, `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
    <dir>/usr/share/fonts</dir><dir>${xml(join(place, "fonts"))}</dir><cachedir>${xml(join(place, "cache"))}</cachedir>
  </fontconfig>`);
  // A machine without a locale would give it the language "en-US@posix", which is none.
  const env = { ...process.env, FONTCONFIG_FILE: fonts, LANGUAGE: "en_US", LANG: "en_US.UTF-8", LC_ALL: "en_US.UTF-8" };
  const ldd = spawnSync("ldd", [executablePath], { encoding: "utf8" });
  if (ldd.status !== 0 || ldd.stdout.includes("not found")) {
    env.LD_LIBRARY_PATH = join(place, "al2023", "lib");
  }
  return { executablePath, env };
}

function xml(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
