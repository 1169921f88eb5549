"use strict";
// The three views together: what keys, buttons and a click do, and the ways from the rest of the page to a site.
(() => {
  const holder = document.getElementById("slice-values");
  if (!holder) return;
  const section = document.getElementById("slices");
  const chooser = document.getElementById("go");
  const status = document.getElementById("site-shown");
  let awaited = 0;
  let scrolledPage = 0; // when the wheel last moved the page, ms
  const shared = {
    values: JSON.parse(holder.textContent),
    views: [],
    chosen: null, // number of a site
    place: null, // the patient's point gone to, mm
    begun: false, // from then on files are loaded
    redraw() {
      cancelAnimationFrame(awaited);
      awaited = requestAnimationFrame(() => shared.views.forEach((view) => view.draw()));
    },
  };
  const dragging = () => section.querySelector('input[name="drag"]:checked').value;

  // Lead the other views to a place of one view, where the slices have a geometry.
  function follow(from, x, y) {
    shared.place = geometry.toPatient(from.slice, x, y);
    for (const view of shared.views) {
      view.crossed = shared.place && view !== from ? geometry.nearest(view.slices, shared.place) : null;
      if (view.crossed === null) continue;
      view.show(view.crossed);
      if (view.zoom > 1) ({ x: view.x, y: view.y } = geometry.toSlice(view.slice, shared.place));
    }
    shared.redraw();
  }

  // Lead all views to a site's point, of a detector if one is given; return the site's view.
  function goTo(site, detector = null) {
    shared.chosen = site;
    chooser.value = site;
    const { title, grade, view: number } = shared.values.sites[site];
    const points = shared.values.points.filter((point) => point[0] === site);
    const point = points.find((one) => shared.values.detectors[one[1]] === detector) ?? points[0];
    const view = shared.views.find((one) => one.number === number);
    if (!point) {
      status.textContent = `${title}: ${grade}. No detector has a point of it.`;
      shared.redraw();
      return null;
    }
    view.show(point[2]);
    if (view.zoom > 1) [view.x, view.y] = point.slice(3, 5);
    const where = points.map((one) => `${view.found(one)} on slice ${one[2] + 1}`).join(", ");
    const alone = view.slice.corner ? "" : " The slices have no geometry, so the other views stay where they are.";
    status.textContent = `${title}: ${grade}. Heatmap in ${view.title}: ${where}.${alone}`;
    follow(view, point[3], point[4]);
    return view;
  }

  // The same from elsewhere on the page: the views come into sight, and the keys go to them.
  function bring(view) {
    section.scrollIntoView();
    (view ? view.slider : chooser).focus({ preventScroll: true });
  }

  function click(view, event) {
    const [x, y] = view.under(event);
    const { width, height } = view.frame();
    const away = (point) => Math.hypot((point[3] - x) * width, (point[4] - y) * height);
    const here = view.points.filter((point) => point[2] === view.index && away(point) < 14);
    here.sort((a, b) => away(a) - away(b));
    if (here.length) goTo(here[0][0], shared.values.detectors[here[0][1]]);
    else follow(view, x, y);
  }

  const KEYS = {
    "[": (view) => view.window(view.width - 0.05, view.level),
    "]": (view) => view.window(view.width + 0.05, view.level),
    ",": (view) => view.window(view.width, view.level + 0.05),
    ".": (view) => view.window(view.width, view.level - 0.05),
    "+": (view) => view.enlarge(1.25),
    "=": (view) => view.enlarge(1.25),
    "-": (view) => view.enlarge(1 / 1.25),
    "0": (view) => view.reset(),
    f: (view) => view.widen(),
  };

  function listenToKeys(view) {
    view.slider.addEventListener("input", () => view.show(view.slider.value - 1));
    view.figure.addEventListener("keydown", (event) => {
      const action = KEYS[event.key.toLowerCase()];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action(view);
    });
    view.figure.querySelector(".points-here").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) goTo(numberOf(button.dataset.site));
    });
  }

  const numberOf = (name) => shared.values.sites.findIndex((site) => site.name === name);

  // Films, crops, cells of the grid and the cards' buttons lead to the views.
  document.addEventListener("click", (event) => {
    if (section.contains(event.target)) return;
    const part = event.target.closest(".mark, .frame, .crops figure, .heat td, .show");
    const site = part && event.target.closest("[data-site]");
    if (site) {
      bring(goTo(numberOf(site.dataset.site), part.dataset.detector));
    } else if (part && part.matches(".frame")) {
      const { view: number, slice, left, top, width, height } = part.closest("figure").dataset;
      const view = shared.views.find((one) => one.number === Number(number));
      const box = part.getBoundingClientRect();
      const share = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      view.show(Number(slice));
      follow(view, Number(left) + share[0] * width, Number(top) + share[1] * height);
      bring(view);
    }
  });
  addEventListener("wheel", () => (scrolledPage = performance.now()), { passive: true });

  section.hidden = false;
  document.body.classList.add("with-slices");
  for (const figure of section.querySelectorAll(".view")) {
    if (figure.querySelector("canvas")) shared.views.push(new SliceView(figure, Number(figure.dataset.view), shared));
  }
  for (const view of shared.views) {
    listenToPointer(view, dragging, click);
    listenToWheel(view, () => performance.now() - scrolledPage < 250);
    listenToKeys(view);
    new ResizeObserver(shared.redraw).observe(view.stage);
  }
  chooser.addEventListener("change", () => chooser.value && goTo(Number(chooser.value)));
  section.addEventListener("change", () => section.classList.toggle("free", dragging() !== "scroll"));
  document.getElementById("larger").addEventListener("click", () => shared.views.forEach((view) => view.enlarge(1.5)));
  document.getElementById("smaller").addEventListener("click", () => shared.views.forEach((view) => view.enlarge(1 / 1.5)));
  document.getElementById("reset").addEventListener("click", () => shared.views.forEach((view) => view.reset()));
  new IntersectionObserver(([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    shared.begun = true;
    shared.redraw();
  }, { rootMargin: "300px" }).observe(section);
  if (shared.values.start !== null) goTo(shared.values.start);
  else shared.redraw();
})();
