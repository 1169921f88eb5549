"use strict";
// Mouse, pen and fingers on a view: drag, click, pinch and wheel.
// ``dragging`` returns what a drag does: scroll, window or move. ``click`` takes the view and the event.
function listenToPointer(view, dragging, click) {
  const fingers = new Map(); // places of the pointers that are down
  let start = null; // of a drag
  let pinch = null;

  function middleAndSpan() {
    const [a, b] = [...fingers.values()];
    const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
    return [middle, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY)];
  }

  // The place between two fingers stays between them.
  function begin(event) {
    const { index, width, level, x, y, zoom } = view;
    start = pinch = null;
    if (fingers.size === 1) {
      start = { left: event.clientX, top: event.clientY, index, width, level, x, y, moved: false };
    } else if (fingers.size === 2) {
      const [middle, span] = middleAndSpan();
      pinch = { place: view.under(middle), span, zoom };
    }
  }

  function drag(event) {
    const [right, down] = [event.clientX - start.left, event.clientY - start.top];
    if (!start.moved && Math.hypot(right, down) < 5) return;
    start.moved = true;
    const { wide, high, width, height } = view.frame();
    const manner = event.shiftKey ? "window" : dragging();
    if (manner === "window") view.window(start.width + right / wide, start.level + down / high);
    else if (manner === "move") view.move(start.x - right / width, start.y - down / height);
    else {
      // A finger that moves up or down scrolls the page.
      const way = event.pointerType === "touch" || Math.abs(right) > Math.abs(down) ? right : down;
      view.show(start.index + Math.round(way / clamp(high / view.slices.length, 4, 20)));
    }
  }

  view.stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    fingers.set(event.pointerId, event);
    view.stage.setPointerCapture(event.pointerId);
    begin(event);
  });
  view.stage.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event);
    if (start) drag(event);
    if (!pinch) return;
    const [middle, span] = middleAndSpan();
    view.enlargeAround(pinch.zoom * span / pinch.span, pinch.place, middle);
  });
  view.stage.addEventListener("pointerup", (event) => {
    fingers.delete(event.pointerId);
    if (start && !start.moved) click(view, event);
    start = pinch = null; // a finger that is left over does nothing
    view.slider.focus({ preventScroll: true });
  });
  view.stage.addEventListener("pointercancel", (event) => {
    fingers.delete(event.pointerId);
    start = pinch = null;
  });
  // The page is not scrolled by two fingers on a view.
  for (const kind of ["touchstart", "touchmove"]) {
    view.stage.addEventListener(kind, (event) => event.touches.length > 1 && event.preventDefault(), { passive: false });
  }
  view.stage.addEventListener("dblclick", () => view.widen());
}

// ``pageScrolls`` returns whether the page is being scrolled past the views.
function listenToWheel(view, pageScrolls) {
  let way = 0;
  view.stage.addEventListener("wheel", (event) => {
    if (pageScrolls()) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.ctrlKey) {
      view.enlarge(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...view.under(event));
      return;
    }
    way += event.deltaMode ? event.deltaY * 40 : event.deltaY;
    const slices = Math.trunc(way / 40);
    way -= slices * 40;
    // A notch of a wheel is 100 pixels or more, and one slice.
    view.show(view.index + (Math.abs(event.deltaY) >= 100 ? Math.sign(event.deltaY) : slices));
    if (Math.abs(event.deltaY) >= 100) way = 0;
  }, { passive: false });
}
