"use strict";
// Sort by the buttons in the head, search, choose a status, walk with the arrows.
const table = document.getElementById("studies");
const body = table.tBodies[0];
const search = document.getElementById("search");
const shown = document.getElementById("shown");
const collator = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return a === "" || b === "" || Number.isNaN(x) || Number.isNaN(y) ? collator.compare(a, b) : x - y;
}

function nextOrder(head) {
  const first = head.dataset.first;
  const other = first === "ascending" ? "descending" : "ascending";
  return head.getAttribute("aria-sort") === first ? other : first;
}

function sortBy(head, order) {
  for (const th of table.tHead.rows[0].cells) th.setAttribute("aria-sort", th === head ? order : "none");
  const sign = order === "ascending" ? 1 : -1;
  const column = head.cellIndex;
  const rows = [...body.rows].map((row) => [row.cells[column].dataset.value, row]); // read once, not per comparison
  rows.sort(([a], [b]) => sign * compare(a, b));
  body.append(...rows.map(([, row]) => row));
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const kind = document.querySelector('input[name="kind"]:checked').value;
  let count = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    const fits = (kind === "all" || row.dataset.kind === kind) && words.every((word) => text.includes(word));
    row.hidden = !fits;
    count += fits;
  }
  shown.textContent = count === 1 ? "1 study" : `${count} studies`;
}

// The search, the filter and the order stand in the address behind the #: a link to the page keeps them.
function remember() {
  const state = new URLSearchParams();
  if (search.value.trim()) state.set("q", search.value.trim());
  const kind = document.querySelector('input[name="kind"]:checked').value;
  if (kind !== "all") state.set("show", kind);
  const sorted = [...table.tHead.rows[0].cells].find((head) => head.getAttribute("aria-sort") !== "none");
  if (sorted) state.set("sort", `${sorted.cellIndex} ${sorted.getAttribute("aria-sort")}`);
  const hash = state.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  search.value = state.get("q") ?? "";
  const kinds = [...document.querySelectorAll('input[name="kind"]')];
  (kinds.find((choice) => choice.value === state.get("show")) ?? kinds[0]).checked = true;
  const [column, order] = (state.get("sort") ?? "").split(" ");
  const head = column && table.tHead.rows[0].cells[column];
  if (head) sortBy(head, order === "descending" ? "descending" : "ascending");
  filter();
}

function step(by) {
  const links = [...body.rows].filter((row) => !row.hidden).map((row) => row.querySelector("th a"));
  const next = links.indexOf(document.activeElement) + by;
  if (next >= 0 && next < links.length) links[next].focus();
  else if (next < 0) search.focus();
}

function change() {
  filter();
  remember();
}

for (const head of table.tHead.rows[0].cells) {
  head.firstElementChild.addEventListener("click", () => {
    sortBy(head, nextOrder(head));
    remember();
  });
}
search.addEventListener("input", change);
for (const choice of document.querySelectorAll('input[name="kind"]')) choice.addEventListener("change", change);
for (const kind of ["click", "auxclick"]) {
  body.addEventListener(kind, (event) => {
    const link = event.target.closest("th a");
    if (link) link.hash = location.hash;
  });
}
window.addEventListener("hashchange", recall);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "radio") return;
  if (event.key === "/" && event.target !== search) {
    event.preventDefault();
    search.select();
  } else if (event.key === "Escape" && event.target === search) {
    search.value = "";
    change();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
  }
});
recall();
