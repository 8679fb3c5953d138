// The console's script: htmx refreshes the live part of a page, uPlot redraws the charts with a cursor, a few keys move
// through lists. Every page works without it.
import "htmx.org/dist/htmx.esm.js";
import { follow } from "./chart.js";
import { keys } from "./keys.js";

document.documentElement.classList.add("scripted");

// A page that nobody sees does not ask for news; it does as soon as it is seen again.
document.addEventListener("htmx:before:request", (e) => {
  if (document.hidden && e.detail?.ctx?.sourceEvent?.type === "every") e.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  const live = document.getElementById("live");
  if (!document.hidden && live?.hasAttribute("hx-get")) live.dispatchEvent(new Event("refresh"));
});

// A choice applies at once; typing after a pause.
const filters = (e) => e.target.closest?.("form.filters");
let pause;
document.addEventListener("change", (e) => {
  if (e.target.matches("select")) filters(e)?.requestSubmit();
});
document.addEventListener("input", (e) => {
  if (!e.target.matches("input[type=search]") || !filters(e)) return;
  clearTimeout(pause);
  pause = setTimeout(() => search(filters(e)), 250);
});

// search shows what is typed without leaving the field: the live part is asked for under the new address.
function search(form) {
  const query = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...query]) if (value === "") query.delete(name);
  const address = form.getAttribute("action") + "?" + query;
  const live = document.getElementById("live");
  history.replaceState(history.state, "", address);
  window.htmx.ajax("GET", address, { target: live, swap: "outerMorph" });
}

follow();
keys();
