"""Score the nearest-template baseline on phantoms: no learning beyond means.

    python -m tests.benchmarks.phantom_baseline [--studies 100] [--seed 1]

Points: the mean position of each site as a fraction of the volume (slice, row, column), over template studies.
Grades: the best constant per condition and level. The worth of a network is its gain over this.
Nothing is scanned: points and grades are known before pixels are.
"""

import argparse

import numpy as np

from lumbar.grids import DETECTOR_GRID
from lumbar.sites import CONDITION_SITES, DESCRIPTION_SITES, DESCRIPTIONS, SITES
from phantom import PhantomStudy, draw_study
from training.evaluation.metric import best_constant, score
from training.evaluation.phantom_bound import describe_bound


def site_fractions(study: PhantomStudy) -> tuple[np.ndarray, np.ndarray]:
    """Return (25, 3) points as fractions (slice, row, column) of the volume, NaN where no slice shows one,
    and (25,) the number of slices of the site's volume.

    Slices count in patient order over all series of the description, as ``lumbar.reading.volume`` joins them.
    """
    fractions, lengths = np.full((len(SITES), 3), np.nan), np.zeros(len(SITES))
    for site, label in zip(SITES, study.points_on_slices, strict=True):
        axis = 2 if site.description.startswith("Axial") else 0
        keys, places = [], []
        for series_id, plan in study.series.items():
            if plan.description == site.description:
                keys += [(series_id, instance) for instance in range(1, len(plan.planes) + 1)]
                places += [plane.position[axis] for plane in plan.planes]
        lengths[site.index] = len(keys)
        if label is None:
            continue
        order = np.argsort(places, kind="stable")
        place = int(np.flatnonzero(order == keys.index((label.series, label.instance)))[0])
        rows, columns = study.series[label.series].planes[label.instance - 1].shape
        fractions[site.index] = (place + 0.5) / len(keys), (label.y + 0.5) / rows, (label.x + 0.5) / columns
    return fractions, lengths


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=100, help="scored; as many others are the templates")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    drawn = [draw_study(options.seed, index) for index in range(2 * options.studies)]
    scored, templates = drawn[: options.studies], drawn[options.studies :]
    mean = np.nanmean([site_fractions(study)[0] for study in templates], axis=0)
    errors = []
    for study in scored:
        fractions, lengths = site_fractions(study)
        size = np.stack([lengths, *[np.full(len(SITES), DETECTOR_GRID)] * 2], axis=1)
        errors.append(np.abs(fractions - mean) * size)
    print("Mean absolute error of the points: slices, rows, columns (256 grid)")
    for description in DESCRIPTIONS:
        error = np.nanmean(np.array(errors)[:, DESCRIPTION_SITES[description]], axis=(0, 1))
        print(f"  {description}: " + ", ".join(f"{e:.2f}" for e in error) + f"; mean {error.mean():.2f}")
    constant = best_constant(np.array([study.grades.labels for study in templates]))
    labels = np.array([study.grades.labels for study in scored])
    result = score(labels, np.broadcast_to(constant, (*labels.shape, 3)))
    terms = ", ".join(f"{term} {result[term]:.3f}" for term in (*CONDITION_SITES, "any_severe"))
    print(f"Score of the prior: {result['score']:.3f} ({terms})")
    print(describe_bound())


if __name__ == "__main__":
    main()
