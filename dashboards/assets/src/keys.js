// keys: / finds, j and k move through a list, Enter opens, g then t, s or a goes to tenants, SLOs or alerts.
export function keys() {
  let went = 0;
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target.closest("input, select, textarea, [contenteditable]")) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    const go = { t: "/tenants", s: "/slos", a: "/alerts" }[e.key];
    if (go && e.timeStamp - went < 1000) {
      location.assign(go);
      return;
    }
    switch (e.key) {
      case "g":
        went = e.timeStamp;
        break;
      case "/": {
        const field = document.getElementById("find");
        if (!field) return;
        e.preventDefault();
        field.focus();
        field.select();
        break;
      }
      case "j":
        move(1);
        break;
      case "k":
        move(-1);
        break;
      case "Enter":
        if (e.target === document.body || e.target.matches("tr, main")) document.querySelector("tr[data-chosen] a")?.click();
    }
  });
}

function move(by) {
  const rows = [...document.querySelectorAll("tr[data-href]")];
  if (rows.length === 0) return;
  const at = rows.findIndex((r) => r.hasAttribute("data-chosen"));
  const to = Math.min(Math.max(at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by, 0), rows.length - 1);
  rows[at]?.removeAttribute("data-chosen");
  rows[to].setAttribute("data-chosen", "");
  rows[to].scrollIntoView({ block: "nearest" });
  rows[to].querySelector("a")?.focus({ preventScroll: true });
}
