"use strict";
// One description's view: its slice, the points on it and beside it, the lines where the other views cut it, a scale bar
// and the patient's sides. ``shared`` has the values of slice_views.py, all views, the chosen site and place.
function svgPart(name, attributes, text = "") {
  const part = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
  part.textContent = text;
  return part;
}
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const wholeNumber = (value) => value.toFixed(0).replace("-", "−");

class SliceView {
  constructor(figure, number, shared) {
    Object.assign(this, { figure, number, shared }, shared.values.views[number]);
    this.stage = figure.querySelector(".stage");
    this.canvas = figure.querySelector("canvas");
    this.overlay = figure.querySelector(".overlay");
    this.slider = figure.querySelector('input[type="range"]');
    this.failed = figure.querySelector(".failed");
    this.points = this.shared.values.points.filter(([site]) => this.shared.values.sites[site].view === number);
    this.images = [];
    this.listed = null; // number of the slice in the list of points
    this.index = this.slices.length >> 1;
    this.crossed = null; // number of the slice nearest to the place
    this.reset();
  }

  get slice() {
    return this.slices[this.index];
  }

  // A point's detector and heatmap value in words.
  found([, detector, , , , value]) {
    return `${this.shared.values.detectors[detector]} ${value.toFixed(2)}`;
  }

  reset() {
    Object.assign(this, { zoom: 1, x: 0.5, y: 0.5, width: 1, level: 0.5 }); // width, level: shares of black to white
    this.shared.redraw();
  }

  show(index) {
    this.index = clamp(index, 0, this.slices.length - 1);
    this.shared.redraw();
  }

  enlarge(factor, x = this.x, y = this.y) {
    this.zoom = clamp(this.zoom * factor, 1, 12);
    [this.x, this.y] = this.zoom === 1 ? [0.5, 0.5] : [x, y];
    this.shared.redraw();
  }

  // Enlarge so that a place of the slice lies under a pointer.
  enlargeAround(zoom, [x, y], pointer) {
    this.zoom = clamp(zoom, 1, 12);
    [this.x, this.y] = [0.5, 0.5];
    const [right, down] = this.under(pointer);
    this.move(x + this.x - right, y + this.y - down);
  }

  move(x, y) {
    if (this.zoom > 1) [this.x, this.y] = [clamp(x, 0, 1), clamp(y, 0, 1)];
    this.shared.redraw();
  }

  // Take the whole width of the page, or give it back.
  widen() {
    this.figure.classList.toggle("wide-view");
    this.shared.redraw();
  }

  window(width, level) {
    this.width = clamp(width, 0.05, 2);
    this.level = clamp(level, 0, 1);
    this.shared.redraw();
  }

  // The picture's rectangle in pixels of the stage.
  frame() {
    const [wide, high] = [this.stage.clientWidth, this.stage.clientHeight];
    const scale = Math.min(wide / this.slice.size[0], high / this.slice.size[1]) * this.zoom;
    const [width, height] = this.slice.size.map((side) => side * scale);
    return { left: wide / 2 - this.x * width, top: high / 2 - this.y * height, width, height, scale, wide, high };
  }

  // The place on the slice under the pointer.
  under(event) {
    const box = this.stage.getBoundingClientRect();
    const { left, top, width, height } = this.frame();
    return [(event.clientX - box.left - left) / width, (event.clientY - box.top - top) / height];
  }

  // The file with a slice; the neighbour's is loaded before it is needed.
  strip(index) {
    const number = Math.floor(clamp(index, 0, this.slices.length - 1) / this.shared.values.perFile);
    if (!this.images[number]) {
      const image = (this.images[number] = new Image());
      image.onload = this.shared.redraw;
      image.onerror = () => {
        this.failed.textContent = `The slices could not be loaded. They are in ${this.files[number]}, beside this page.`;
        this.failed.hidden = false;
      };
      image.src = this.files[number];
    }
    return this.images[number];
  }

  draw() {
    const frame = this.frame();
    const ratio = window.devicePixelRatio;
    this.canvas.width = frame.wide * ratio;
    this.canvas.height = frame.high * ratio;
    if (this.shared.begun) {
      const image = this.strip(this.index);
      if (image.complete && image.naturalWidth) {
        const paint = this.canvas.getContext("2d");
        paint.scale(ratio, ratio);
        paint.imageSmoothingQuality = "high";
        const { side, perFile } = this.shared.values;
        const top = (this.index % perFile) * side;
        paint.drawImage(image, 0, top, side, side, frame.left, frame.top, frame.width, frame.height);
        this.failed.hidden = true;
        this.canvas.setAttribute("aria-label", `${this.title}, slice ${this.index + 1}`);
      }
      this.strip(this.index - 4);
      this.strip(this.index + 4);
    }
    this.applyWindow();
    this.overlay.replaceChildren(
      ...this.lines(frame), ...this.cross(frame), ...this.marks(frame), ...this.edges(frame), ...this.scaleBar(frame));
    this.describe();
  }

  applyWindow() {
    const asStored = this.width === 1 && this.level === 0.5;
    this.canvas.style.filter = asStored ? "" : `url(#window-${this.number})`;
    for (const part of this.figure.querySelectorAll("filter *[type]")) {
      part.setAttribute("slope", 1 / this.width);
      part.setAttribute("intercept", 0.5 - this.level / this.width);
    }
  }

  // The lines where the other views cut the slice, named at one end; of two lines close together each at its own.
  lines({ left, top, width, height, wide, high }) {
    return this.shared.views.filter((other) => other !== this).flatMap((other) => {
      const cut = geometry.crossing(this.slice, other.slice);
      if (!cut) return [];
      const ends = cut.map(([x, y]) => [left + x * width, top + y * height]);
      ends.sort((a, b) => a[0] + a[1] - b[0] - b[1]);
      const [[x1, y1], [x2, y2]] = ends;
      const [x, y] = ends[other.number === 1 ? 1 : 0];
      const at = { x: clamp(x, 24, wide - 24), y: clamp(y - 5, 36, high - 36) };
      return [
        svgPart("line", { class: "cut", x1, y1, x2, y2, "data-view": other.number }),
        svgPart("text", { class: "cut-name", ...at }, `${other.short} ${other.index + 1}`),
      ];
    });
  }

  cross({ left, top, width, height }) {
    if (this.crossed !== this.index || !this.shared.place) return [];
    const { x, y } = geometry.toSlice(this.slice, this.shared.place);
    const middle = `translate(${left + x * width} ${top + y * height})`;
    return [svgPart("path", { class: "cross", d: "M-14 0H-4M4 0H14M0-14V-4M0 4V14", transform: middle })];
  }

  marks({ left, top, width, height }) {
    const near = this.points.filter(([, , slice]) => Math.abs(slice - this.index) <= 1);
    const named = new Set(); // sites with a name beside their first mark
    return near.map((point) => {
      const [site, detector, slice, x, y] = point;
      const { name, title, short } = this.shared.values.sites[site];
      const shape = detector % this.shared.values.shapes.length;
      const off = slice === this.index ? "" : " off";
      const chosen = site === this.shared.chosen ? " chosen" : "";
      const middle = `translate(${left + x * width} ${top + y * height})`;
      const mark = svgPart("g", { class: `mark d${shape}${off}${chosen}`, "data-site": name, transform: middle });
      mark.append(svgPart("title", {}, `${title}, ${this.found(point)}`));
      mark.append(svgPart("path", { d: this.shared.values.shapes[shape] }));
      if (!off && !named.has(site)) {
        named.add(site);
        const right = this.number === 2 && short.startsWith("L "); // the names stand away from the canal
        mark.append(svgPart("text", { class: right ? "right" : "left", x: right ? 14 : -14, y: 4.5 }, short));
      }
      return mark;
    });
  }

  edges({ wide, high }) {
    const [left, right, top, bottom] = this.slice.letters ?? [];
    const letters = [[12, high / 2, left], [wide - 12, high / 2, right], [wide / 2, 14, top], [wide / 2, high - 14, bottom]];
    return letters.filter(([, , letter]) => letter).map(([x, y, letter]) => svgPart("text", { class: "edge", x, y }, letter));
  }

  scaleBar({ scale, wide, high }) {
    if (!this.slice.mm) return [];
    const mm = [100, 50, 20, 10, 5, 2, 1].find((step) => step * scale < wide / 3) ?? 1;
    return [
      svgPart("path", { class: "scale", d: `M14 ${high - 22}v6h${mm * scale}v-6`, "data-mm": mm }),
      svgPart("text", { class: "scale-name", x: 16, y: high - 21 }, `${mm} mm`),
    ];
  }

  describe() {
    const words = [`slice ${this.index + 1} of ${this.slices.length}`];
    const middle = geometry.toPatient(this.slice, 0.5, 0.5);
    if (middle) words.push(this.number === 2 ? `z ${wholeNumber(middle[2])} mm` : `x ${wholeNumber(middle[0])} mm`);
    if (this.slice.instance !== undefined) words.push(`instance ${this.slice.instance}`);
    if (this.width !== 1 || this.level !== 0.5) {
      words.push(`window ${wholeNumber(100 * this.width)} %, level ${wholeNumber(100 * this.level)} %`);
    }
    this.figure.querySelector(".where").textContent = words.join(" · ");
    const here = new Map();
    for (const point of this.points.filter(([, , slice]) => slice === this.index)) {
      here.set(point[0], [...(here.get(point[0]) ?? []), point]);
    }
    this.slider.value = this.index + 1;
    const spoken = `${words[0]}, ${here.size || "no"} ${here.size === 1 ? "site" : "sites"} with points`;
    this.slider.setAttribute("aria-valuetext", spoken);
    if (this.listed === this.index) return;
    this.listed = this.index;
    const items = [...here].sort(([a], [b]) => a - b).map(([site, points]) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.site = this.shared.values.sites[site].name;
      button.textContent = `${this.shared.values.sites[site].short}: ${points.map((point) => this.found(point)).join(", ")}`;
      item.append(button);
      return item;
    });
    this.figure.querySelector(".points-here").replaceChildren(...items);
  }
}
