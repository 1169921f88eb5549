"""How often a grade is wrong, by how far the members are apart at the site and by the grade's probability.

    python -m tests.benchmarks.disagreement --members DUMP/members.csv --labels DATA/test.csv [--run DUMP/run.json]

Reads the members of ``infer.py --dump`` and grades in the layout of ``train.csv``. The ensemble is the plain mean of
the members, its grade the most probable severity. The limits of ``lumbar/grading/doubt.py`` come from these tables.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lumbar.grading.doubt import DOUBT_REASONS
from lumbar.sites import MISSING, SEVERITIES, SITE_NAMES
from training.data.labels import read_grades
from training.evaluation.members import member_table

DEVIATIONS = (0.0, 0.01, 0.02, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 1.0)
PROBABILITIES = (0.33, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)


class Judged(NamedTuple):
    """The labelled sites (n,) of ``studies`` studies.

    Attributes:
        deviation: Of the members, as in ``members_deviation``.
        probability: Of the ensemble's most probable severity.
        wrong: The most probable severity is not the label.
        sites: Study id and site.
    """

    studies: int
    deviation: np.ndarray
    probability: np.ndarray
    wrong: np.ndarray
    sites: pd.MultiIndex


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.disagreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--members", type=Path, required=True, help="members.csv")
    add("--labels", type=Path, required=True, help="grades of the same studies, as train.csv has them")
    add("--only", nargs="+", metavar="CLASSIFIER", help="members to compare (default: all)")
    add("--run", type=Path, help="run.json: also the figures of the doubtful sites by reason")
    options = parser.parse_args(arguments)
    judged = judge(options.members, options.labels, options.only)
    print(text(judged))
    if options.run:
        print(reasons_text(judged, json.loads(options.run.read_text("utf-8"))["doubtful_sites"]))


def judge(members: Path, labels: Path, only: list[str] | None = None) -> Judged:
    """Return the labelled sites that at least two members grade."""
    rows = member_table(members)
    rows = rows[rows["classifier"].isin(only)] if only else rows
    grades = read_grades(labels)
    index = pd.MultiIndex.from_product([grades.study_ids, SITE_NAMES], names=["study_id", "site"])
    truth = pd.Series(grades.labels.ravel(), index)
    truth = truth[truth != MISSING]
    sites = rows.groupby(["study_id", "site"])[list(SEVERITIES)].agg(["std", "mean", "count"])
    sites = sites[(sites[SEVERITIES[0], "count"] > 1) & sites.index.isin(truth.index)]
    mean = np.stack([sites[name, "mean"] for name in SEVERITIES], axis=1)
    return Judged(
        studies=sites.index.get_level_values("study_id").nunique(),
        deviation=np.max([sites[name, "std"] for name in SEVERITIES], axis=0),
        probability=mean.max(axis=1),
        wrong=mean.argmax(axis=1) != truth[sites.index].to_numpy(),
        sites=sites.index,
    )


def text(judged: Judged) -> str:
    """Return both tables: a line per range, and beside it the figures of all sites beyond the range's worse end."""
    lines = [f"{judged.studies} studies, {len(judged.wrong)} sites, {judged.wrong.mean():.1%} wrong"]
    lines += [
        "",
        "members' deviation  sites per study   wrong    from the lower end on:  sites per study   wrong",
    ]
    for low, high in itertools.pairwise(DEVIATIONS):
        inside = (judged.deviation >= low) & (judged.deviation < high)
        lines += line(f"{low:7.1%} to {high:6.1%}", inside, judged.deviation >= low, judged)
    lines += [
        "",
        "probability         sites per study   wrong    below the upper end:    sites per study   wrong",
    ]
    for low, high in itertools.pairwise(PROBABILITIES):
        inside = (judged.probability >= low) & (judged.probability < high)
        lines += line(f"{low:7.1%} to {high:6.1%}", inside, judged.probability < high, judged)
    return "\n".join(lines)


def reasons_text(judged: Judged, doubts: dict[str, dict[str, list[str]]]) -> str:
    """Return a line per reason, and lines of the sites with any reason and with none.

    Args:
        doubts: Reasons by study and site.
    """
    reasons = [doubts.get(study, {}).get(site, []) for study, site in judged.sites]
    rows = {}
    for reason in DOUBT_REASONS:
        rows[reason] = np.array([reason in own for own in reasons])
        rows[f"{reason} alone"] = np.array([own == [reason] for own in reasons])
    rows["any reason"] = np.array([bool(own) for own in reasons])
    rows["no reason"] = ~rows["any reason"]
    lines = ["", "reason              sites per study   wrong"]
    for name, chosen in rows.items():
        if chosen.any():
            share = judged.wrong[chosen].mean()
            lines.append(f"{name:20}{chosen.sum() / judged.studies:14.2f}   {share:5.1%}")
    return "\n".join(lines)


def line(name: str, inside: np.ndarray, beyond: np.ndarray, judged: Judged) -> list[str]:
    """Return one range's line; none for a range without sites."""
    figures = [
        f"{k.sum() / judged.studies:14.2f}   {judged.wrong[k].mean():5.1%}"
        for k in (inside, beyond)
        if k.any()
    ]
    return [f"{name}  {(' ' * 27).join(figures)}"] if inside.any() else []


if __name__ == "__main__":
    main()
