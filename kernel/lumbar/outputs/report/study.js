"use strict";
// Show or hide the marks, copy the sentences, go to the next study; light up a site's marks while its card or its row of the grid is looked at.
const toggle = document.getElementById("toggle");

function showMarks(shown) {
  toggle.setAttribute("aria-pressed", String(shown));
  document.body.classList.toggle("unmarked", !shown);
}

if (toggle) {
  toggle.addEventListener("click", () => showMarks(toggle.getAttribute("aria-pressed") === "false"));
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "p" && !event.target.matches("select") && !event.ctrlKey && !event.metaKey && !event.altKey) toggle.click();
  });
}

// The index keeps its search in the address, behind the #; the links of this page pass it on.
const search = location.hash.includes("=") ? location.hash : "";
for (const link of document.querySelectorAll("nav a")) link.href += search;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.target.matches("input, select")) return; // a slider or a list moves by the arrows itself
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = rel && document.querySelector(`nav a[rel="${rel}"]`);
  if (link) link.click();
});

const copy = document.getElementById("copy");
if (copy) {
  copy.addEventListener("click", async () => {
    const parts = document.querySelectorAll("h1, header .status, .words li, .notice strong");
    const text = [...parts].map((part) => part.innerText.replace(/\s+/g, " ").trim()).join("\n");
    let done = true;
    try {
      await navigator.clipboard.writeText(text + "\n");
    } catch (error) {
      done = false; // a browser may forbid it to pages from disk
    }
    document.getElementById("copied").textContent = done ? "Copied." : "The browser does not allow it; select the text instead.";
  });
}

function light(event) {
  const here = event.target.closest("[data-site]");
  for (const mark of document.querySelectorAll(".mark.lit")) mark.classList.remove("lit");
  if (!here) return;
  for (const mark of document.querySelectorAll(`.mark[data-site="${here.dataset.site}"]`)) mark.classList.add("lit");
}
document.addEventListener("mouseover", light);
document.addEventListener("focusin", light);

// A link to a site moves the focus there too, so that Tab goes on from it.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const site = link && document.getElementById(link.getAttribute("href").slice(1));
  if (site) site.focus({ preventScroll: true });
});
