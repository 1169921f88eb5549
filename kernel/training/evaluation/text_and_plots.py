"""An evaluation as a page of text and as a picture."""

import matplotlib

matplotlib.use("Agg")  # no window: evaluations run on servers
from math import isnan
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lumbar.sites import CONDITION_SITES, GROUPS, LEVEL_WORDS, LEVELS, SEVERITIES, SITES
from training.evaluation.metric import TERMS
from training.evaluation.point_figures import ANOTHER, NEAR_LEVEL, NOWHERE, OWN
from training.plots import finish


def evaluation_text(figures: dict) -> str:
    """Return the figures as aligned lines."""
    return "\n".join([*(grade_lines(figures) if "studies" in figures else ()), *point_lines(figures)])


def grade_lines(figures: dict) -> list[str]:
    """Return the lines about grades: scores, AUC, calibration, losses, and the ensemble's fit."""
    lines = [f"{figures['studies']} studies, {figures['labels']} labels", ""]
    lines.append(f"{'':28s}{'score':>8s}" + "".join(f"{term:>14s}" for term in TERMS))
    rows = {"prediction": figures, "prior": figures["prior"]}
    if "best_possible" in figures:  # phantoms
        rows["best possible"] = figures["best_possible"]
    if members := figures.get("members"):
        rows |= {"mean of members": members["mean"], **members["single"]}
    lines += [
        f"{name:28.28s}{row['score']:8.4f}" + "".join(f"{row[t]:14.4f}" for t in TERMS)
        for name, row in rows.items()
    ]
    lines += [
        f"{member}: {count} labelled sites not graded; the prior counts there, a condition without grades has no term"
        for member, count in (members["ungraded"] if members else {}).items()
        if count
    ]
    lines += ["", "AUC  " + "  ".join(f"{name} {value:.3f}" for name, value in figures["auc"].items())]
    for condition, severities in figures["calibration"].items():
        errors = "  ".join(f"{name} {values['error']:.3f}" for name, values in severities.items())
        lines.append(f"calibration error, {condition}: {errors}")
    lines += ["", f"{'loss (labels)':40s}" + "".join(f"{level:>16s}" for level in LEVELS)]
    for group in GROUPS:
        cells = [figures["sites"][site.name] for site in SITES if site.group == group]
        lines.append(f"{group:40s}" + "".join(f"{c['loss']:9.3f} ({sum(c['counts']):4d})" for c in cells))
    if "contradicted" in figures:
        lines += ["", f"{figures['contradicted']} of {figures['labels']} labels are contradicted"]
    if fitted := figures.get("fit"):
        lines += ["", *fit_lines(fitted)]
    return lines


def point_lines(figures: dict) -> list[str]:
    """Return one line per detector and description about its points."""
    lines = []
    for detector, descriptions in figures.get("points", {}).items():
        for name, e in descriptions.items():
            right = f"right level {e['level_right']:.1%}"
            if not isnan(e["side_right"]):
                right += f", right side {e['side_right']:.1%}"
            lines.append(
                f"{detector}, {name}: {e['px']:.2f} px (y {e['y']:.2f}, x {e['x']:.2f}), {e['slices']:.2f} slices "
                f"({e['slices_one_series']:.2f} in volumes of one series), by place {e['place_px']:.2f} px, "
                f"{e['place_slices']:.2f} slices, {e['mm']:.2f} mm, {right}, n {e['n']}"
            )
            shares = f"own level {e[OWN]:.0%}, another level {e[ANOTHER]:.0%}, nowhere {e[NOWHERE]:.0%}"
            lines.append(f"  within {NEAR_LEVEL:g} mm of a label: {shares}")
            lines.append(f"  studies with most points a level off: {e['shifted_studies']:.0%}")
            if not isnan(e["other_series"]):
                lines.append(
                    f"  on another series than the label, where there are several: {e['other_series']:.0%}"
                )
    return lines


def fit_lines(fitted: dict) -> list[str]:
    """Return the lines about ``ensemble_fit.fit_ensemble``: its numbers, its scores, and whether it pays."""
    weights = ", ".join(f"{name} {value:.3f}" for name, value in fitted["weights"].items())
    lines = [f"weights: {weights}"]
    if calibration := fitted["calibration"]:
        lines.append(f"calibration: any severe x {calibration['any_severe']:.3f}; scale, moderate, severe:")
        before: tuple = ()
        for condition, sites in CONDITION_SITES.items():
            for level, row in zip(
                LEVELS, calibration["rows"][sites], strict=False
            ):  # both sides have the same
                if (condition, *row) != before:
                    lines.append(f"  {condition} from {LEVEL_WORDS[level]}: " + ", ".join(map(str, row)))
                before = (condition, *row)
    lines.append("score: " + ", ".join(f"{k} {fitted[k]:.4f}" for k in ("equal", "fitted", "cross_fitted")))
    folds = " ".join(f"{difference:+.4f}" for difference in fitted["folds"])
    verdict = "pays" if fitted["pays"] else "does not pay: leave it out"
    return [*lines, f"cross_fitted less equal in each fold: {folds}; it {verdict}"]


def draw_evaluation(file: Path, figures: dict, points: pd.DataFrame | None) -> None:
    """Draw reliability curves of each condition and, where there are points, their errors' distribution."""
    columns = len(CONDITION_SITES) + (points is not None)
    figure, axes = plt.subplots(1, columns, figsize=(4 * columns, 4), squeeze=False)
    for axis, condition in zip(axes[0], CONDITION_SITES, strict=False):
        axis.plot([0, 1], [0, 1], color="gray", lw=0.5)
        for severity in SEVERITIES:
            curve = figures["calibration"][condition][severity]
            axis.plot(curve["predicted"], curve["observed"], "o-", label=severity, ms=4)
        axis.set(title=f"{condition} {figures[condition]:.3f}", xlabel="predicted", ylabel="observed")
        axis.legend(fontsize=7)
    if points is not None:
        axis = axes[0, -1]
        for (detector, description), rows in points.groupby(["detector", "description"]):
            distance = ((rows["y"] ** 2 + rows["x"] ** 2) ** 0.5).sort_values()
            axis.plot(
                distance,
                [(i + 1) / len(distance) for i in range(len(distance))],
                label=f"{detector}, {description}",
            )
        axis.set(title="point errors", xlabel="pixels of the 256 grid", ylabel="share of sites", xlim=(0, 12))
        axis.legend(fontsize=6)
    finish(figure, file, f"score {figures['score']:.4f}, prior {figures['prior']['score']:.4f}")
