"""A finished run -> a bundle that ``infer.py --bundle`` runs: float16 weights, manifest, figures, prior."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lumbar.bundle.loading import load_bundle
from lumbar.bundle.manifest import read_manifest
from lumbar.bundle.members import SEARCH_OPTIONS, Bundle, Classifier, Detector
from lumbar.bundle.writing import write_bundle
from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.sites import DESCRIPTION_KEYS
from training.errors import LabelError
from training.fitting.loop import BEST, RESULT, load_tensors
from training.fitting.member_starts import ensemble_names, last_weights
from training.fitting.run_file import RUN_FILE, read_run

MIN_SHARE = 1e-3  # the manifest keeps six digits of the prior, none may become 0


def export_run(
    run: Path,
    folder: Path,
    name: str,
    trained_on: str,
    weights: str = "weights",
    attribution: tuple[str, ...] = (),
) -> Path:
    """Write the bundle of a run and return its manifest's path.

    Every fold is a member of its own. With several folds, names end in ``-foldK``. Detectors share the networks that
    they have in common.

    Args:
        run: The run's folder.
        folder: The bundle's folder.
        name: Name of the bundle.
        trained_on: The training studies in words, for the manifest.
        weights: Folder of the weights, in the bundle.
        attribution: Names, authors, licences and changes of the data learnt from, where a licence requires them.

    Raises:
        LabelError: There is no run, or a member is not trained to its end.
    """
    about = read_run(run)
    recipe = about["recipe"]
    networks = {
        (entry["name"], fold): load_trained_network(run, entry, fold)
        for entry in recipe["networks"]
        for fold in recipe["folds"]
    }
    suffix = {fold: f"-fold{fold}" if len(recipe["folds"]) > 1 else "" for fold in recipe["folds"]}
    detectors, classifiers, figures = [], [], {}
    for fold in recipe["folds"]:
        for entry in recipe["detectors"]:
            own = [networks[network, fold] for network in entry["networks"]]
            by_description = {network.config.description: network for network in own}
            own_name, kind = entry["name"] + suffix[fold], entry["point_kind"]
            member = Detector(own_name, kind, by_description, **recipe_options(entry))
            detectors.append(member)
            figures[member.name] = {
                network: measured(about, f"{network}/fold{fold}") for network in entry["networks"]
            }
        for entry in final_classifiers(recipe):
            member = Classifier(entry["name"] + suffix[fold], 1.0, load_trained_classifier(run, entry, fold))
            classifiers.append(member)
            figures[member.name] = about["figures"][f"{entry['name']}/fold{fold}"]["figures"]
    if "prior" not in about:
        raise LabelError(
            f"{run / RUN_FILE}: got no prior, expected a finished run; run the recipe to its end"
        )
    prior = np.clip(np.array(about["prior"]), MIN_SHARE, None)
    bundle = Bundle(
        name=name,
        trained_on=trained_on,
        detectors=tuple(detectors),
        classifiers=tuple(classifiers),
        prior=prior / prior.sum(axis=1, keepdims=True),
        fingerprint="",
        attribution=attribution,
    )
    return write_bundle(bundle, folder, weights, figures, half=True)


def export_over(
    run: Path,
    fold: int,
    base: Path,
    folder: Path,
    trained_on: str,
    weights: str = "weights",
    attribution: tuple[str, ...] = (),
) -> Path:
    """Write a bundle with a run's trained members over those of another, and return its manifest's path.

    A network of stage 1 replaces that of its description. Classifiers replace all of the bundle's, and its calibration.
    A detector that the recipe has by the same name takes the recipe's options of the search.

    Args:
        run: The run's folder. Its recipe's detectors name the networks that are taken. One of them that is not trained
            is left as it is in the bundle, and so are the classifiers where the run has trained none.
        fold: Of the members that are taken.
        base: Folder of the bundle that everything else is taken from, its name as well.
        folder: The new bundle's folder; it may be the same one.
        trained_on: The training studies in words, for the manifest.
        weights: Folder of the weights, in the bundle.
        attribution: The same texts of data that the bundle does not name yet.

    Raises:
        LabelError: There is no run, no member of this fold is trained, or two networks are of one description.
        BundleError: The bundle can't be used.
    """
    about = read_run(run)
    trained: dict[str, tuple[str, DetectorNetwork]] = {}
    taken = {network for detector in about["recipe"]["detectors"] for network in detector["networks"]}
    for entry in about["recipe"]["networks"]:
        if entry["name"] in taken and (run / "networks" / entry["name"] / f"fold{fold}" / RESULT).is_file():
            network = load_trained_network(run, entry, fold)
            if network.config.description in trained:
                raise LabelError(
                    f"{run}: got two trained networks of {network.config.description}, expected one"
                )
            trained[network.config.description] = entry["name"], network
    classifiers = [
        Classifier(entry["name"], 1.0, load_trained_classifier(run, entry, fold))
        for entry in final_classifiers(about["recipe"])
        if (run / "classifiers" / entry["name"] / f"fold{fold}" / RESULT).is_file()
    ]
    if not trained and not classifiers:
        raise LabelError(
            f"{run}: got no trained member of fold {fold}, expected one; run the recipe, or give --fold"
        )
    bundle, manifest = load_bundle(base), read_manifest(base)
    figures = {
        member["name"]: member["figures"]
        for member in (*manifest.detectors, *manifest.classifiers)
        if "figures" in member
    }
    for detector in bundle.detectors:
        own = figures.setdefault(detector.name, {})
        for description, (name, network) in trained.items():
            detector.networks[description] = network
            for older in [key for key in own if key.endswith(DESCRIPTION_KEYS[description])]:
                del own[older]
            own[name] = measured(about, f"{name}/fold{fold}")
    for classifier in classifiers:
        figures[classifier.name] = about["figures"][f"{classifier.name}/fold{fold}"]["figures"]
    if classifiers:
        # A calibration holds for the classifiers that it was fitted to.
        bundle = replace(bundle, classifiers=tuple(classifiers), calibration=None)
    options = {entry["name"]: recipe_options(entry) for entry in about["recipe"]["detectors"]}
    detectors = tuple(replace(detector, **options.get(detector.name, {})) for detector in bundle.detectors)
    every = tuple(dict.fromkeys((*bundle.attribution, *attribution)))
    bundle = replace(bundle, detectors=detectors, trained_on=trained_on, attribution=every)
    return write_bundle(bundle, folder, weights, figures, half=True)


def recipe_options(entry: dict) -> dict:
    """Return the options of a detector's search that its entry in ``run.json`` has; older runs lack some."""
    return {name: entry[name] for name in SEARCH_OPTIONS if name in entry}


def final_classifiers(recipe: dict) -> list[dict]:
    """Return the classifiers of a run's recipe that are members of the ensemble."""
    names = ensemble_names({entry["name"]: entry.get("start_from") for entry in recipe["classifiers"]})
    return [entry for entry in recipe["classifiers"] if entry["name"] in names]


def measured(about: dict, member: str) -> dict:
    """Return the figures of a run's member, without those that are None because no study was held out."""
    best = about["figures"][member]["best"]
    return {name: value for name, value in best.items() if value is not None}


def load_trained_network(run: Path, entry: dict, fold: int) -> DetectorNetwork:
    folder = finished(run / "networks" / entry["name"] / f"fold{fold}")
    network = DetectorNetwork(config_of(DetectorConfig, entry["config"]))
    load_tensors(network, folder / BEST)
    return network.eval()


def load_trained_classifier(run: Path, entry: dict, fold: int) -> ClassifierNetwork:
    folder = finished(run / "classifiers" / entry["name"] / f"fold{fold}")
    network = ClassifierNetwork(config_of(ClassifierConfig, entry["config"]))
    load_tensors(network, last_weights(folder))
    return network.eval()


def config_of(kind: type, values: dict):
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def finished(folder: Path) -> Path:
    if not (folder / RESULT).is_file():
        raise LabelError(
            f"{folder}: not trained to its end; run the recipe again, it goes on where it stopped"
        )
    return folder
