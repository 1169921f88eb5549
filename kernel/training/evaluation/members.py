"""An ensemble's members against labels: each one's score and their mean's."""

from pathlib import Path

import numpy as np
import pandas as pd

from lumbar.grading.ensemble import weighted_mean
from lumbar.outputs.tables import MEMBER_KEYS
from lumbar.sites import CONDITION_SITES, MISSING, SEVERITIES, SITE_NAMES, SITES
from training.data.labels import Grades, read_table
from training.errors import LabelError
from training.evaluation.metric import score

KEYS = list(MEMBER_KEYS)
FOLD = r"/fold\d+$"  # how a run names a classifier's folds

Members = dict[
    tuple[str, str], np.ndarray
]  # probabilities (n, 25, 3) by (detector, classifier), NaN where not graded


def read_members(
    file: Path, grades: Grades, studies: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], Members]:
    """Return the studies and each member's probabilities.

    A member may lack rows: the study has no series or no slice of the site, or the member no network for it. Those
    sites are NaN.

    Args:
        file: members.csv of ``infer.py --dump`` or of a training run. A run's folds grade different studies, and are
            one member.
        grades: Labels by study.
        studies: Studies wanted, None for all that have grades.

    Raises:
        LabelError: A row is there twice or no probabilities, or no study is left.
    """
    table = member_table(file)
    if studies is None:
        present = set(table["study_id"])
        studies = tuple(study for study in grades.study_ids if study in present)
    table = table[table["study_id"].isin(studies)]
    if table.empty:
        raise LabelError(
            f"{file}: got none of the studies to judge, expected all; check --members and --data"
        )
    members = {}
    wanted = pd.MultiIndex.from_product([studies, SITE_NAMES])
    for key, rows in table.groupby(["detector", "classifier"], sort=True):
        values = rows.set_index(["study_id", "site"])[list(SEVERITIES)].reindex(wanted)
        members[key] = normalised(values.to_numpy().reshape(len(studies), len(SITES), len(SEVERITIES)))
    return studies, members


def member_table(file: Path) -> pd.DataFrame:
    """Read members.csv, a classifier's folds as one; LabelError for a repeated row or one without probabilities."""
    table = read_table(file, (*MEMBER_KEYS, *SEVERITIES))  # further columns are for other readers
    table["classifier"] = table["classifier"].str.replace(FOLD, "", regex=True)
    twice = table.duplicated(KEYS)
    if twice.any():
        raise LabelError(
            f"{file}: got {tuple(table.loc[twice, KEYS].iloc[0])} twice, expected one row of each"
        )
    values = table[list(SEVERITIES)].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    bad = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1) | (values.sum(axis=1) == 0)
    if bad.any():
        row = table[bad].iloc[0]
        raise LabelError(
            f"{file}: {tuple(row[KEYS])}: got {row[list(SEVERITIES)].tolist()}, expected probabilities; write it again"
        )
    return table.assign(**values)


def members_mean(members: Members, prior: np.ndarray) -> np.ndarray:
    """Return the members' plain mean; the prior (25, 3) at sites that none of them graded."""
    return completed(weighted_mean(list(members.values()), [1.0] * len(members)), prior)


def member_figures(labels: np.ndarray, members: Members, prior: np.ndarray) -> dict:
    """Return the terms and score of each member and of their plain mean, and how many sites members lack.

    A site that a member did not grade counts with the prior, as ``infer.py`` submits it. A condition that it never
    graded has no term.

    Returns:
        "mean" and "single", by member, of ``training.evaluation.metric.score``; "ungraded", by member, the number of
        labelled sites that it did not grade.
    """
    single = {
        name(member): score(graded_conditions(labels, p), completed(p, prior))
        for member, p in members.items()
    }
    ungraded = {
        name(member): int((ungraded_sites(p) & (labels != MISSING)).sum()) for member, p in members.items()
    }
    return {"mean": score(labels, members_mean(members, prior)), "single": single, "ungraded": ungraded}


def graded_conditions(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the labels (n, 25), MISSING in the conditions of which a member graded no site at all."""
    kept = labels.copy()
    for sites in CONDITION_SITES.values():
        if ungraded_sites(probabilities)[:, sites].all():
            kept[:, sites] = MISSING
    return kept


def completed(probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return probabilities (n, 25, 3) with the prior (25, 3) in the rows of NaN."""
    return np.where(ungraded_sites(probabilities)[..., None], prior, probabilities)


def ungraded_sites(probabilities: np.ndarray) -> np.ndarray:
    return np.isnan(probabilities).any(axis=-1)


def name(member: tuple[str, str]) -> str:
    detector, classifier = member
    return f"{detector} x {classifier}"


def normalised(probabilities: np.ndarray) -> np.ndarray:
    return probabilities / probabilities.sum(axis=-1, keepdims=True)
