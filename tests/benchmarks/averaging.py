"""Several detectors, one classifier: probabilities averaged, points averaged, or one detector alone."""

from dataclasses import replace
from statistics import mean

import numpy as np

from lumbar.grading.ensemble import weighted_mean
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from tests.benchmarks.ablation_recipes import Bench
from training.data.classifier_dataset import ClassifierDataset, SitePoints
from training.fitting.classifier_step import grade_figures, predict_studies
from training.fitting.loop import BEST, load_tensors
from training.fitting.out_of_fold_points import FoundPoints, error_figures, point_errors, predict_points
from training.fitting.train_classifier import classifier_dataset
from training.recipes.schema import ClassifierRecipe, NetworkRecipe


def average(
    bench: Bench, detector: NetworkRecipe, classifier: ClassifierRecipe, seeds: int
) -> tuple[dict[str, list[dict]], dict[str, dict[str, float]]]:
    """Return the grades' figures of the three variants, one entry a classifier's seed, and the points' errors.

    The held-out studies are graded at the points of the detectors of all seeds; of "one detector" each is
    taken in turn and the figures are averaged.
    """
    found = [find(bench, detector, seed) for seed in range(seeds)]
    ways = [*found, mean_points(found)]
    crops = [crops_at(bench, classifier, way, detector.config.max_length) for way in ways]
    labels = crops[0].labels.numpy().astype(np.int8)
    variants: dict[str, list[dict]] = {
        "probabilities averaged": [],
        "points averaged": [],
        "one detector": [],
    }
    for seed in range(seeds):
        network = ClassifierNetwork(classifier.config)
        load_tensors(network, bench.folder("classifier", "level", seed) / "step1" / BEST)
        *each, at_mean = [predict_studies(network, way, bench.setup.device).probabilities for way in crops]
        single = [grade_figures(labels, probabilities) for probabilities in each]
        variants["probabilities averaged"].append(
            grade_figures(labels, weighted_mean(each, [1.0] * len(each)))
        )
        variants["points averaged"].append(grade_figures(labels, at_mean))
        variants["one detector"].append(
            {name: mean(figures[name] for figures in single) for name in single[0]}
        )
    targets, length = bench.setup.data.targets, detector.config.max_length
    errors = [error_figures(point_errors(way, targets, length)) for way in ways]
    one = {name: mean(figures[name] for figures in errors[:-1]) for name in errors[0]}
    return variants, {"points of one detector": one, "points averaged": errors[-1]}


def find(bench: Bench, detector: NetworkRecipe, seed: int) -> FoundPoints:
    network = DetectorNetwork(detector.config)
    load_tensors(network, bench.folder("detector", "expanding", seed) / BEST)
    return predict_points(network, bench.setup.data.cache, bench.held_out, bench.setup.device)


def mean_points(found: list[FoundPoints]) -> FoundPoints:
    """Return the mean of several detectors' fixed points, study by study, halves rounded up."""
    studies = {}
    for study in found[0].studies:
        all_points = [one.studies[study]["fixed"] for one in found]
        points = np.floor(np.mean([one.points for one in all_points], axis=0) + 0.5).astype(np.int64)
        studies[study] = {"fixed": replace(all_points[0], points=points)}
    return FoundPoints(found[0].description, studies)


def crops_at(
    bench: Bench, classifier: ClassifierRecipe, found: FoundPoints, length: int
) -> ClassifierDataset:
    """Return the held-out studies at these points; the other descriptions' are the labelled ones."""
    points = {
        study: bench.points[study] | {found.description: SitePoints(kinds["fixed"], length)}
        for study, kinds in found.studies.items()
    }
    labels = bench.setup.data.grades.of(bench.held_out)
    return classifier_dataset(classifier, bench.held_out, labels, bench.points | points, bench.setup, None)
