import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

// Charts that are drawn now, by their element, with the data they show.
const drawn = new Map();

// follow draws all charts, and again what changes: data after a refresh, colours with the theme, widths.
export function follow() {
  draw();
  document.addEventListener("htmx:after:swap", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => requestAnimationFrame(resize)).observe(document.getElementById("main"));
}

function draw() {
  for (const [el, c] of drawn) {
    if (!el.isConnected) {
      c.plot.destroy();
      drawn.delete(el);
    }
  }
  for (const el of document.querySelectorAll(".chart[data-chart]")) {
    const text = el.dataset.chart;
    const c = drawn.get(el);
    if (!text || c?.text === text) {
      if (c) el.classList.add("drawn"); // a refresh took the mark away
      continue;
    }
    c?.plot.destroy();
    drawn.set(el, { text, plot: plot(el, JSON.parse(text)) });
    el.classList.add("drawn");
  }
}

function redraw() {
  for (const c of drawn.values()) c.text = "";
  draw();
}

function resize() {
  for (const [el, c] of drawn) c.plot.setSize({ width: el.querySelector(".plot").clientWidth, height: c.plot.height });
}

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// colour resolves a token such as --p95 to what a canvas understands: light-dark() pairs have to be computed first.
function colour(el, name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  el.append(probe);
  const c = getComputedStyle(probe).color;
  probe.remove();
  return c;
}

// alone finds the values without a neighbour: no line leads to them, so they are drawn as points.
function alone(u, at) {
  const v = u.data[at];
  const list = [];
  for (let i = 0; i < v.length; i++) if (v[i] != null && v[i - 1] == null && v[i + 1] == null) list.push(i);
  return list.length ? list : null;
}

const tones = { p50: "--p50", p95: "--p95", p99: "--p99", err: "--bad-f", thr: "--ink-3" };
const widths = { p95: 1.75, p99: 1.25 };

function plot(el, data) {
  const host = el.querySelector(".redrawn");
  const box = el.querySelector(".plot");
  const paint = (name, alpha) => {
    const c = colour(el, name);
    return alpha === undefined ? c : c.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
  };
  const ink = { grid: paint("--line"), text: paint("--ink-3"), panel: paint("--panel"), limit: paint("--ink-3"), good: paint("--good-f", 0.11), bad: paint("--bad-f", 0.16) };
  const font = `11px ${token("--sans")}`;
  const series = data.series.map((s) => ({
    label: s.label,
    stroke: paint(tones[s.class]),
    width: widths[s.class] ?? 1.5,
    fill: data.fill ? paint(tones[s.class], s.class === "err" ? 0.14 : 0.1) : undefined,
    points: { show: false, filter: alone, size: 5, fill: paint(tones[s.class]) },
  }));
  const room = data.series.findIndex((s) => s.class === "p95") + 1;
  const u = new uPlot(
    {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [0, 0, 0, 0],
      legend: { show: false },
      cursor: { y: false, sync: { key: el.dataset.sync }, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { x: { time: true }, y: { distr: data.log ? 3 : 1, range: [data.low, data.high] } },
      axes: [{ show: false }, { show: false }],
      series: [{}, ...series],
      hooks: {
        drawClear: [(u) => underlay(u, data, ink, room)],
        draw: [(u) => overlay(u, el, data, ink, font)],
        setCursor: [(u) => tip(u, el, data)],
      },
    },
    [data.times, ...data.series.map((s) => s.values)],
    host,
  );
  return u;
}

// underlay shades the room between P95 and its limit: below the limit it is room, above it is not.
function underlay(u, data, ink, room) {
  if (data.limit === null || room < 1) return;
  const { ctx, bbox } = u;
  const limit = u.valToPos(data.limit, "y", true);
  const area = new Path2D();
  const values = u.data[room];
  for (let i = 0; i < values.length; i++) {
    if (values[i] == null) continue;
    area.moveTo(u.valToPos(u.data[0][i], "x", true), limit);
    for (; i < values.length && values[i] != null; i++) area.lineTo(u.valToPos(u.data[0][i], "x", true), u.valToPos(values[i], "y", true));
    area.lineTo(u.valToPos(u.data[0][i - 1], "x", true), limit);
    area.closePath();
  }
  for (const [fill, top, bottom] of [[ink.bad, bbox.top, limit], [ink.good, limit, bbox.top + bbox.height]]) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, top, bbox.width, bottom - top);
    ctx.clip();
    ctx.fillStyle = fill;
    ctx.fill(area);
    ctx.restore();
  }
}

// overlay draws what the server's drawing has as text and lines: they are read from it, so that both say the same.
function overlay(u, el, data, ink, font) {
  const { ctx } = u;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.scale(scale, scale);
  ctx.font = font;
  ctx.lineJoin = "round";
  const width = u.bbox.width / scale;
  for (const line of el.querySelectorAll(".plot > line")) {
    const y = Math.round(+line.getAttribute("y1")) + 0.5;
    ctx.beginPath();
    ctx.strokeStyle = line.classList.contains("limit") ? ink.limit : ink.grid;
    ctx.setLineDash(line.classList.contains("limit") ? [5, 4] : []);
    ctx.moveTo(0, y);
    ctx.lineTo(width, y);
    ctx.stroke();
  }
  ctx.setLineDash([]);
  ctx.strokeStyle = ink.panel;
  ctx.lineWidth = 4;
  for (const text of el.querySelectorAll(".plot > text")) {
    const style = getComputedStyle(text);
    const x = (parseFloat(text.getAttribute("x")) / 100) * width;
    const y = +text.getAttribute("y") + +text.getAttribute("dy");
    ctx.font = `${style.fontWeight} ${font}`;
    ctx.strokeText(text.textContent, x, y);
    ctx.fillStyle = style.fill;
    ctx.fillText(text.textContent, x, y);
  }
  ctx.restore();
}

const clock = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

// say writes a value with its unit as the rest of the page does.
function say(v, unit) {
  if (v == null) return "none";
  const digits = v >= 100 ? 0 : v >= 10 ? 0 : v >= 1 ? 1 : 2;
  if (unit === "ms") return v >= 1000 ? (v / 1000).toFixed(2) + "\u202fs" : v.toFixed(digits) + "\u202fms";
  if (unit === "%") return v.toFixed(v === 0 ? 0 : digits) + "\u202f%";
  return Math.round(v).toLocaleString("en-US") + unit;
}

// tip shows the values under the cursor. With one cursor over all charts each shows its own.
function tip(u, el, data) {
  let box = el.querySelector(".tip");
  const i = u.cursor.idx;
  if (i == null || u.cursor.left < 0) {
    box?.remove();
    return;
  }
  if (!box) {
    box = document.createElement("div");
    box.className = "tip";
    el.querySelector(".redrawn").append(box);
  }
  const list = document.createElement("dl");
  data.series.forEach((s) => {
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    term.textContent = s.label;
    value.textContent = say(s.values[i], data.unit);
    list.append(term, value);
  });
  const head = document.createElement("b");
  head.textContent = clock.format(data.times[i] * 1000) + " UTC";
  box.replaceChildren(head, list);
  const left = u.cursor.left + 14;
  box.style.left = (left + box.offsetWidth > u.width ? u.cursor.left - box.offsetWidth - 14 : left) + "px";
  box.style.top = "8px";
}
