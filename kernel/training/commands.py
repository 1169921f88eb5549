"""The commands of ``train.py``, behind its command line."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from lumbar.bundle.calibrating import calibrate
from lumbar.command_line import start_logging
from lumbar.faults import BundleError, DataNotFoundError, DeviceError
from lumbar.networks.device import Device, keep_freed_memory
from lumbar.networks.device_choice import choose_device
from lumbar.sites import DESCRIPTION_KEYS
from phantom import PhantomError, write_phantoms
from training.data.training_data import DataPaths, TrainingData, check_apart, read_training_data
from training.errors import LabelError, RecipeError, TrainingError
from training.evaluation.phantom_bound import describe_bound
from training.fitting.closing_summary import closing, report
from training.fitting.export_bundle import export_over, export_run
from training.fitting.imagenet_start import convert_lite0
from training.fitting.jobs import Engine, one_after_another
from training.fitting.member_starts import check_starts
from training.fitting.ranks import FirstRankError, from_first, joined, local_card, rank, rank_count
from training.fitting.ray_jobs import ray_engine
from training.fitting.run_file import check_same_run, recipe_identity
from training.fitting.run_recipe import run_recipe
from training.fitting.train_detector import TrainingSetup
from training.recipes.checks import check_batches, check_stage2_points
from training.recipes.reading import read_recipe
from training.recipes.schema import ClassifierRecipe, NetworkRecipe, Recipe

log = logging.getLogger(__name__)

EXIT_INPUT = 2
REFUSED = (
    LabelError,
    RecipeError,
    TrainingError,
    PhantomError,
    BundleError,
    DataNotFoundError,
    DeviceError,
    OSError,
)


def run(options: argparse.Namespace) -> int:
    """Run the command of parsed options; return 0, or 2 with one line for input that can't be used."""
    command = {"phantoms": phantoms, "export": export, "imagenet": imagenet}.get(options.command, train)
    try:
        command(options)
    except REFUSED as error:
        where = f"rank {rank()}: " if rank_count() > 1 else ""
        print(f"train.py: {where}{error}", file=sys.stderr)
        return EXIT_INPUT
    except FirstRankError:
        return EXIT_INPUT
    return 0


def phantoms(options: argparse.Namespace) -> None:
    """Write phantom studies, and print where they are and the best score that they allow."""
    write_phantoms(
        options.out,
        options.studies,
        options.seed,
        options.workers,
        transfer_syntax=options.transfer_syntax,
        split=options.split,
        axial_series=options.axial_series,
        appearance=options.appearance,
        descriptions=[name for name, key in DESCRIPTION_KEYS.items() if key in options.descriptions],
    )
    print(f"{options.studies} studies in {options.out}: {options.split}_images/, their labels and truth.json")
    print(describe_bound())


def export(options: argparse.Namespace) -> None:
    """Write a finished run as a bundle, and print its manifest's path."""
    name = options.name or options.run.resolve().name
    words = options.trained_on, options.weights, tuple(options.attribution)
    if options.over:
        manifest = export_over(options.run, options.fold, options.over, options.out, *words)
    else:
        manifest = export_run(options.run, options.out, name, *words)
    print(manifest)
    if options.calibration:
        print(calibrate(options.out, options.calibration, f"out-of-fold predictions of {name}"))


def imagenet(options: argparse.Namespace) -> None:
    """Convert downloaded ImageNet weights, and print the file's path."""
    print(convert_lite0(options.file, options.out))


def train(options: argparse.Namespace) -> None:
    """Train a recipe, or the part of it that the command names, on the ranks that ``torchrun`` started, if it did."""
    if rank() > 0:
        logging.disable(logging.WARNING)
    with joined(cards=options.device != "cpu"):
        train_members(options)


def train_members(options: argparse.Namespace) -> None:
    """Train members of a recipe, which is checked before any data are read."""
    recipe, networks, classifiers = from_first(partial(checked_members, options))
    with chosen_engine(options) as (device, engine):
        workers = options.workers if options.workers is not None else 4 * (device.torch.type == "cuda")
        data, extra_data = from_first(partial(read_data, options, workers))
        setup = TrainingSetup(data, device, workers, options.imagenet, extra_data)
        started = time.monotonic()
        about = run_recipe(recipe, setup, options.out, networks, classifiers, engine)
    if rank() == 0:
        report(about)
        print(closing(about, options.out, time.monotonic() - started))


@contextmanager
def chosen_engine(options: argparse.Namespace) -> Iterator[tuple[Device, Engine]]:
    """Yield the device that trains and the engine that does the jobs.

    Raises:
        TrainingError: Ray is requested, and is not there.
    """
    if options.engine == "local":
        yield training_device(options), one_after_another
        return
    # The processes of the jobs have working folders of their own.
    options.out, options.cache = options.out.resolve(), (options.cache or options.out / "cache").resolve()
    if options.imagenet and options.imagenet != "hub":
        options.imagenet = str(Path(options.imagenet).resolve())
    options.threads = options.threads or 1
    prepare = partial(prepare_process, options)
    with ray_engine(options.address, options.device, options.threads, prepare) as chosen:
        yield chosen


def prepare_process(options: argparse.Namespace) -> Device:
    """Return the device of the flags in a process that Ray started, and prepare the process."""
    start_logging(options.log_level, "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    return training_device(options)


Members = tuple[Recipe, tuple[NetworkRecipe, ...], tuple[ClassifierRecipe, ...]]


def checked_members(options: argparse.Namespace) -> Members:
    """Return the recipe, and the networks and classifiers of it to train; RecipeError if a rule is broken."""
    recipe = read_recipe(options.recipe, options.epochs, options.fold)
    networks, classifiers = chosen_members(recipe, options)
    check_flags(recipe, networks, options)
    check_stage2_points(recipe, classifiers)
    check_batches(networks, classifiers, rank_count())
    check_engine(options)
    check_starts(networks, recipe.folds, options.out / "networks")
    check_starts(classifiers, recipe.folds, options.out / "classifiers")
    check_same_run(options.out, recipe_identity(recipe))
    return recipe, networks, classifiers


def chosen_members(
    recipe: Recipe, options: argparse.Namespace
) -> tuple[tuple[NetworkRecipe, ...], tuple[ClassifierRecipe, ...]]:
    """Return the networks and classifiers that a command trains; RecipeError if the recipe has none of that name."""
    networks = recipe.networks
    if options.command == "detector":
        return named(networks, options.network, "--network") if options.network else networks, ()
    if options.command == "classifier":
        # A network that takes its points from the labels need not be trained for it.
        networks = tuple(network for network in networks if network.stage2_points != "labels")
        return networks, named(recipe.classifiers, options.classifier, "--classifier")
    return networks, recipe.classifiers


def named(members: tuple, name: str, flag: str) -> tuple:
    """Return the members of a recipe that have this name."""
    found = tuple(member for member in members if member.name == name)
    if not found:
        raise RecipeError(f"{flag}: got {name!r}, expected one of {[member.name for member in members]}.")
    return found


def check_flags(recipe: Recipe, networks: tuple[NetworkRecipe, ...], options: argparse.Namespace) -> None:
    """Raise RecipeError for data that no network would use."""
    # The extra studies are part of a run's identity: each of its commands names them.
    for field, users in (("pretraining", networks), ("extra_studies", recipe.networks)):
        if getattr(options, field) and not any(getattr(network, field) for network in users):
            flag = field.replace("_", "-")
            raise RecipeError(f"--{flag}: no network of {recipe.name} that is trained uses it. Leave it out.")


def check_engine(options: argparse.Namespace) -> None:
    """Raise RecipeError for flags of an engine that is not chosen, and for both kinds of parallel training at once."""
    if options.address and options.engine != "ray":
        raise RecipeError(
            "--address: this is the address of a Ray cluster. Add --engine ray, or leave it out."
        )
    if options.engine == "ray" and rank_count() > 1:
        raise RecipeError(
            "--engine ray: torchrun started this process. Start it with python, or leave the flag out."
        )


def training_device(options: argparse.Namespace) -> Device:
    """Return the device of the flags, and prepare the process for it. Each rank has the card of its local number."""
    if options.threads:
        torch.set_num_threads(options.threads)
    cards = options.device != "cpu" and torch.cuda.is_available()
    device = choose_device((cards and local_card()) or options.device, options.precision)
    if device.torch.type == "cuda":
        torch.cuda.set_device(device.torch)
    if device.torch.type == "cpu":
        keep_freed_memory()
        if options.precision == "auto":
            device = replace(device, autocast_type=None)  # bfloat16 helps some networks and slows others
    log.info("device %s (%s), precision %s", device.torch, device.reason, device.precision)
    return device


def read_data(options: argparse.Namespace, workers: int) -> tuple[TrainingData, TrainingData | None]:
    """Decode and read the studies, and the extra ones where they are named."""
    cache = options.cache or options.out / "cache"
    paths = DataPaths(
        data=options.data,
        cache=cache,
        improved=options.improved,
        pretraining=options.pretraining,
        workers=max(1, workers),
        strict=options.strict,
    )
    data = read_training_data(paths, options.out)
    if not options.extra_studies:
        return data, None
    extra = DataPaths(
        options.extra_studies, cache / "extra_studies", None, None, paths.workers, options.strict
    )
    extra_data = read_training_data(extra, options.out / "extra_studies")
    check_apart(data, extra_data)
    return data, extra_data
