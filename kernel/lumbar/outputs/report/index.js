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

function sortBy(head) {
  const first = head.dataset.first;
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  for (const th of table.tHead.rows[0].cells) th.setAttribute("aria-sort", th === head ? order : "none");
  const sign = order === "ascending" ? 1 : -1;
  const column = head.cellIndex;
  const rows = [...body.rows];
  rows.sort((a, b) => sign * compare(a.cells[column].dataset.value, b.cells[column].dataset.value));
  body.append(...rows);
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

function step(by) {
  const links = [...body.rows].filter((row) => !row.hidden).map((row) => row.querySelector("a"));
  const next = links.indexOf(document.activeElement) + by;
  if (next >= 0 && next < links.length) links[next].focus();
  else if (next < 0) search.focus();
}

for (const head of table.tHead.rows[0].cells) head.firstElementChild.addEventListener("click", () => sortBy(head));
search.addEventListener("input", filter);
for (const choice of document.querySelectorAll('input[name="kind"]')) choice.addEventListener("change", filter);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "radio") return;
  if (event.key === "/" && event.target !== search) {
    event.preventDefault();
    search.select();
  } else if (event.key === "Escape" && event.target === search) {
    search.value = "";
    filter();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
  }
});
filter(); // a browser that comes back may have kept what was typed and chosen
