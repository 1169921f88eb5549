"""The rules of a whole recipe beyond the types of its fields: names, references, networks that can be built."""

import difflib
import re

import timm
import torch

from lumbar.networks.classifier import ClassifierNetwork
from lumbar.networks.detector import DetectorNetwork
from lumbar.sites import DESCRIPTIONS
from training.errors import RecipeError
from training.recipes.augmentation import CropAugmentation
from training.recipes.schema import ClassifierRecipe, NetworkRecipe, Recipe

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")  # of members: they name folders and files
TIMM_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)  # "hf-hub:..." and "local-dir:..." are no recipe's


def check_recipe(recipe: Recipe, file: str) -> None:
    """Check names, references, folds and architectures.

    Raises:
        RecipeError: With the file, the member and its field.
    """
    check_names(recipe, file)
    check_folds(recipe, file)
    check_references(recipe, file)
    for network in recipe.networks:
        where = f"{file}: networks {network.name!r}, config"
        if network.config.description not in DESCRIPTIONS:
            raise RecipeError(
                f"{where}, description: got {network.config.description!r}, expected one of {DESCRIPTIONS}."
            )
        for field in ("encoder", "pointer_encoder"):
            check_backbone(getattr(network.config, field), f"{where}, {field}")
    for classifier in recipe.classifiers:
        where = f"{file}: classifiers {classifier.name!r}, config, backbone"
        check_backbone(classifier.config.backbone, where)
    check_architectures(recipe, file)


def check_names(recipe: Recipe, file: str) -> None:
    for kind in ("networks", "detectors", "classifiers"):
        names = [member.name for member in getattr(recipe, kind)]
        for name in names:
            if not NAME.fullmatch(name):
                raise RecipeError(
                    f"{file}: {kind}: got the name {name!r}, expected letters, digits, '_', '.', '+' and '-'."
                )
            if names.count(name) > 1:
                raise RecipeError(f"{file}: {kind}: got {name!r} twice, expected a name of its own for each.")


def check_folds(recipe: Recipe, file: str) -> None:
    folds, count = recipe.folds, recipe.fold_count
    if not folds or len(set(folds)) < len(folds) or max(folds) >= count:
        raise RecipeError(f"{file}: folds: got {list(folds)}, expected some of 0 to {count - 1}, each once.")


def check_stage2_points(recipe: Recipe, classifiers: tuple[ClassifierRecipe, ...]) -> None:
    """Raise RecipeError where classifiers need points or predictions out of fold, and not all folds are trained."""
    detectors = {classifier.detector for classifier in classifiers}
    read = {name for detector in recipe.detectors if detector.name in detectors for name in detector.networks}
    for network in recipe.networks:
        if (
            network.name in read
            and network.stage2_points == "out_of_fold"
            and len(recipe.folds) < recipe.fold_count
        ):
            raise RecipeError(
                f"{recipe.name}: networks {network.name!r}, stage2_points: 'out_of_fold' needs the networks of all "
                f"{recipe.fold_count} folds, got {list(recipe.folds)}. Train them all, or take 'middle_epoch'."
            )
    for classifier in classifiers:
        if classifier.label_noise and len(recipe.folds) < recipe.fold_count:
            raise RecipeError(
                f"{recipe.name}: classifiers {classifier.name!r}, label_noise: the predictions that judge the labels "
                f"need all {recipe.fold_count} folds, got {list(recipe.folds)}. Train them all, or leave it out."
            )


def check_batches(
    networks: tuple[NetworkRecipe, ...], classifiers: tuple[ClassifierRecipe, ...], ranks: int
) -> None:
    """Raise RecipeError where a number of ranks does not divide a batch, or leaves a rank nothing to mix."""
    members = [(f"networks {n.name!r}", "schedule", n.schedule, None) for n in networks]
    for c in classifiers:
        members += [(f"classifiers {c.name!r}", "step1", c.step1, c.augmentation)]
        members += [(f"classifiers {c.name!r}", "step2", c.step2, c.augmentation2)] if c.step2 else []
    for where, name, schedule, augmentation in members:
        field = f"{where}, {name}.batch"
        if schedule.batch % ranks:
            raise RecipeError(
                f"{field}: got {schedule.batch} studies for {ranks} ranks, expected a multiple of {ranks}. Start "
                "another number of ranks, or change the batch: it is that of all ranks together."
            )
        mixes = isinstance(augmentation, CropAugmentation) and (augmentation.cutmix or augmentation.mixup)
        if mixes and ranks > 1 and schedule.batch == ranks:
            raise RecipeError(
                f"{field}: got one study for each of {ranks} ranks, expected at least two, because CutMix and mixup "
                "mix the studies of a rank. Start fewer ranks, or change the batch."
            )


def check_references(recipe: Recipe, file: str) -> None:
    """Check that members start from earlier ones, and that detectors' and classifiers' parts are there."""
    for kind in ("networks", "classifiers"):
        members = getattr(recipe, kind)
        names = [member.name for member in members]
        for number, member in enumerate(members):
            if member.start_from in names[number:]:
                raise RecipeError(
                    f"{file}: {kind} {member.name!r}, start_from: got {member.start_from!r}, which is not trained "
                    "before it. Expected an earlier one."
                )
    names = [network.name for network in recipe.networks]
    descriptions = {network.name: network.config.description for network in recipe.networks}
    for detector in recipe.detectors:
        where = f"{file}: detectors {detector.name!r}, networks"
        if unknown := [name for name in detector.networks if name not in names]:
            raise RecipeError(f"{where}: got {unknown[0]!r}, expected some of {', '.join(names)}.")
        read = [descriptions[name] for name in detector.networks]
        if not read or len(set(read)) < len(read):
            raise RecipeError(f"{where}: got networks of {read}, expected one per description.")
    detectors = [detector.name for detector in recipe.detectors]
    for classifier in recipe.classifiers:
        if classifier.detector not in detectors:
            raise RecipeError(
                f"{file}: classifiers {classifier.name!r}, detector: got {classifier.detector!r}, "
                f"expected one of {', '.join(detectors)}."
            )
    check_first_rounds(recipe, file)


def check_first_rounds(recipe: Recipe, file: str) -> None:
    """Check that labels are judged by earlier classifiers, and that weighed ones meet epochs of their own."""
    for number, classifier in enumerate(recipe.classifiers):
        if not classifier.label_noise:
            continue
        where = f"{file}: classifiers {classifier.name!r}, label_noise, judged_by"
        earlier = [other.name for other in recipe.classifiers[:number]]
        judges = classifier.label_noise.judged_by
        if not judges or not set(judges) <= set(earlier):
            raise RecipeError(
                f"{where}: got {list(judges)}, expected some of the classifiers before it: {earlier}."
            )
        if classifier.label_noise.weight and classifier.step2 and not classifier.augmentation2:
            raise RecipeError(
                f"{file}: classifiers {classifier.name!r}, label_noise, weight: got {classifier.label_noise.weight} "
                "without augmentation2, expected 0. Step 2 then trains on features and labels that no epoch changes. "
                "Give an augmentation2, or leave contradicted labels out."
            )


def check_backbone(name: str, where: str) -> None:
    """Check that timm has a network of this name and, where the name has a tag, weights of it."""
    architecture, _, tag = name.partition(".")
    if not TIMM_NAME.fullmatch(name) or not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise RecipeError(
            f"{where}: timm {timm.__version__} has no network {name!r}.{hint} timm.list_models() lists all."
        )
    if tag and not timm.is_model_pretrained(name):
        known = timm.list_pretrained(f"{architecture}.*")
        raise RecipeError(
            f"{where}: timm {timm.__version__} has no weights {name!r}, but {', '.join(known)}."
        )


def check_architectures(recipe: Recipe, file: str) -> None:
    """Build every architecture once; random numbers drawn afterwards stay the same."""
    members = [(f"networks {n.name!r}", DetectorNetwork, n.config) for n in recipe.networks]
    members += [(f"classifiers {c.name!r}", ClassifierNetwork, c.config) for c in recipe.classifiers]
    built = set()
    for where, network, config in members:
        if config in built:
            continue
        built.add(config)
        try:
            with torch.random.fork_rng(devices=[]):
                network(config)
        except Exception as error:  # timm and torch raise errors of many kinds, according to the values
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise RecipeError(f"{file}: {where}, config: this network can't be built ({cause}).") from error
