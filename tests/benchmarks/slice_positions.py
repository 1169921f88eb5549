"""The worth of slice positions as the pointer's input: two sequences on the same features, with and without them.

    python -m tests.benchmarks.slice_positions --data WIDE --real DIR --out DIR

The sagittal T1 network of the bundle reads the phantoms of WIDE (``train.py phantoms --appearance wide``) in random
looks of the recipe ``wide_sagittal``. Its encoder runs once. The sequence and the head then learn on its features, from
the bundle's weights, with positions and without, the same steps and seeds on both sides. The last ``--unseen`` phantoms
and the real studies are measured only. The bundle as it is comes first.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from lumbar.bundle.loading import load_bundle
from lumbar.networks.detector import DetectorNetwork
from lumbar.networks.device import Device
from lumbar.networks.device_choice import choose_device
from lumbar.sites import SAGITTAL_T1
from tests.benchmarks.__main__ import REPOSITORY
from tests.benchmarks.unseen_studies import held_out_studies, lay_out
from training.data.detector_dataset import DetectorDataset
from training.data.training_data import DataPaths, TrainingData, read_training_data
from training.evaluation.point_figures import site_errors
from training.fitting.out_of_fold_points import predict_points
from training.fitting.pointer_sequence import feature_rows, sequence_losses, train_sequence
from training.fitting.run_file import recipe_identity
from training.json_files import write_strict_json
from training.recipes.reading import read_recipe

BATCH, LEARNING_RATE = 16, 2e-3
FIGURES = ("side_right", "level_right", "slices")


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.slice_positions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="WIDE", help="phantoms of wide appearance")
    add(
        "--real", type=Path, help="labelled real studies, of which fold 0 of the recipe nfn_small is measured"
    )
    add("--out", type=Path, required=True, help="folder of decoded studies")
    add("--bundle", type=Path, default=REPOSITORY, help="default: the shipped one")
    add("--studies", type=int, default=80, help="phantoms to learn from (default: %(default)s)")
    add("--unseen", type=int, default=30, help="phantoms to measure on (default: %(default)s)")
    add("--real-studies", type=int, default=40, help="real studies to measure on (default: %(default)s)")
    add("--looks", type=int, default=4, help="random looks of each phantom (default: %(default)s)")
    add("--epochs", type=int, default=30, help="of the sequences (default: %(default)s)")
    add("--seeds", type=int, default=1, help="of the order and dropout (default: %(default)s)")
    add("--json", type=Path, help="where to write all figures")
    result = measure(parser.parse_args(arguments))
    return result


def measure(options: argparse.Namespace) -> dict:
    """Train and measure; print a line per network, set and seed, and return the figures."""
    device = choose_device("cpu", "fp32")
    network = load_bundle(options.bundle).detectors[0].networks[SAGITTAL_T1]
    phantoms = read(options.data, options.out / "phantoms")
    learnt, unseen = phantoms.study_ids[: options.studies], phantoms.study_ids[-options.unseen :]
    sets = {"phantoms": (phantoms, unseen)}
    if options.real:
        held_out = held_out_studies(options.real, recipe_identity(read_recipe("nfn_small"))["recipe"])
        shown = options.out / "real studies"
        if not shown.is_dir():
            lay_out(options.real, set(held_out[: options.real_studies]), shown)
        real = read(shown, options.out / "real")
        sets["real"] = (real, real.study_ids)
    rows = learnt_rows(network, phantoms, learnt, options.looks, device)
    result = {"as shipped": judge(network, sets, device, "as shipped")}
    for seed in range(options.seeds):
        for reads in (False, True):
            name = f"positions {'read' if reads else 'not read'}, seed {seed}"
            trained = train(network, rows, reads, options.epochs, seed)
            result[name] = judge(trained, sets, device, name)
    if options.json:
        write_strict_json(options.json, result)
    return result


def read(folder: Path, out: Path) -> TrainingData:
    """Decode a labelled folder."""
    return read_training_data(DataPaths(folder, out / "cache", None, None, 0, strict=False), out)


def learnt_rows(
    network: DetectorNetwork, data: TrainingData, studies: Sequence[str], looks: int, device: Device
) -> list[Tensor]:
    """Return the rows of ``feature_rows`` of these studies, each in so many random looks."""
    recipe = next(n for n in read_recipe("wide_sagittal").networks if n.name == "wide_t1-sagittal_t1")
    length = network.config.max_length
    dataset = DetectorDataset(
        data.cache,
        studies,
        data.targets,
        SAGITTAL_T1,
        length,
        recipe.augmentation,
        recipe.seed,
        repeat=looks,
        reads_positions=True,
    )
    return feature_rows(network.eval(), dataset, device)


def train(
    network: DetectorNetwork, rows: list[Tensor], reads: bool, epochs: int, seed: int
) -> DetectorNetwork:
    """Return the network with a sequence and a head that went on learning on the rows."""
    torch.manual_seed(seed)
    trained = DetectorNetwork(replace(network.config, slice_positions=reads))
    trained.load_state_dict(
        network.state_dict() | ({"pointer.position": trained.pointer.position} if reads else {})
    )
    train_sequence(trained)
    learning = [*trained.pointer.sequence.parameters(), *trained.pointer.head.parameters()]
    learning += [trained.pointer.position] if reads else []
    optimizer = torch.optim.AdamW(learning, lr=LEARNING_RATE, weight_decay=1e-2)
    steps = len(rows[0]) // BATCH
    schedule = OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * steps)
    for _ in range(epochs):
        order = torch.randperm(len(rows[0]))[: steps * BATCH].view(steps, BATCH)
        for chosen in order:
            optimizer.zero_grad()
            sequence_losses(trained, [column[chosen] for column in rows])["loss"].backward()
            optimizer.step()
            schedule.step()
    return trained.eval()


def judge(network: DetectorNetwork, sets: dict, device: Device, name: str) -> dict[str, dict[str, float]]:
    """Return the figures of the network's points on every set, and print them."""
    figures = {}
    for key, (data, studies) in sets.items():
        found = predict_points(network, data.cache, list(studies), device)
        rows = []
        for study, points in found.studies.items():
            if (study, SAGITTAL_T1) in data.targets:
                truth, volume = (
                    data.targets[study, SAGITTAL_T1].points,
                    data.cache.volumes(study)[SAGITTAL_T1],
                )
                if len(volume) > network.config.max_length:
                    continue  # the labels' slices are those of the volume before its squeeze
                for c in np.flatnonzero(~np.isnan(truth[:, 0])):
                    errors = site_errors(points["fixed"].points[c, 2], int(c), truth, volume)
                    rows.append((errors.side_right, errors.level_shift == 0, errors.slices))
        figures[key] = dict(zip(FIGURES, np.nanmean(rows, axis=0).tolist(), strict=True)) | {"n": len(rows)}
        numbers = ", ".join(f"{f} {figures[key][f]:.3f}" for f in FIGURES)
        print(f"{name}, {key}: {numbers}, n {len(rows)}", flush=True)
    return figures


if __name__ == "__main__":
    main()
