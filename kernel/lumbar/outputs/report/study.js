"use strict";
// Show or hide the marks; light up a site's marks while its card or its row of the grid is looked at.
const toggle = document.getElementById("toggle");

function showMarks(shown) {
  toggle.setAttribute("aria-pressed", String(shown));
  document.body.classList.toggle("unmarked", !shown);
}

if (toggle) {
  toggle.addEventListener("click", () => showMarks(toggle.getAttribute("aria-pressed") === "false"));
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "p" && !event.ctrlKey && !event.metaKey && !event.altKey) toggle.click();
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
