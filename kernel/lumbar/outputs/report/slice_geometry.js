"use strict";
// Slices in the patient. A slice has its corner (mm, LPS) and the vectors across and down its picture; a place on it is
// a share 0..1 of each.
const geometry = (() => {
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const along = (a, t, b) => [a[0] + t * b[0], a[1] + t * b[1], a[2] + t * b[2]];
  const length = (a) => Math.sqrt(dot(a, a));

  function normal({ across: a, down: b }) {
    const n = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    return n.map((value) => value / length(n));
  }

  // The patient's point of a place on a slice, or null without a geometry.
  function toPatient(slice, x, y) {
    return slice.corner && along(along(slice.corner, x, slice.across), y, slice.down);
  }

  // The place on a slice below a patient's point, and the point's distance from the plane in mm.
  function toSlice(slice, point) {
    const from = minus(point, slice.corner);
    const share = (side) => dot(from, side) / dot(side, side);
    return { x: share(slice.across), y: share(slice.down), off: dot(from, normal(slice)) };
  }

  // The number of the slice nearest to a patient's point; a slice beside it counts with the way to its picture.
  function nearest(slices, point) {
    let best = null;
    let least = Infinity;
    slices.forEach((slice, number) => {
      if (!slice.corner) return;
      const { x, y, off } = toSlice(slice, point);
      const beside = (share, side) => Math.max(0, -share, share - 1) * length(side);
      const distance = Math.abs(off) + beside(x, slice.across) + beside(y, slice.down);
      if (distance < least) [best, least] = [number, distance];
    });
    return best;
  }

  // Where the picture of another slice cuts a slice: the two ends as places on it, or null.
  function crossing(slice, other) {
    if (!slice.corner || !other.corner) return null;
    if (Math.abs(dot(normal(slice), normal(other))) > 0.9) return null; // nearly parallel: no line to go by
    const corners = [[0, 0], [1, 0], [1, 1], [0, 1]].map(([x, y]) => toSlice(slice, toPatient(other, x, y)));
    const ends = [];
    corners.forEach((a, number) => {
      const b = corners[(number + 1) % 4];
      if (a.off < 0 === b.off < 0) return;
      const share = a.off / (a.off - b.off);
      ends.push([a.x + share * (b.x - a.x), a.y + share * (b.y - a.y)]);
    });
    return ends.length === 2 ? ends : null;
  }

  return { toPatient, toSlice, nearest, crossing };
})();
