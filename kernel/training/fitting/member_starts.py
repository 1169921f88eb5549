"""Members that start from the weights of other members: of the run, or copied into its folder."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from training.errors import LabelError, RecipeError
from training.fitting.loop import BEST, RESULT
from training.recipes.schema import ClassifierRecipe, NetworkRecipe

log = logging.getLogger(__name__)


def check_starts(
    members: Sequence[NetworkRecipe] | Sequence[ClassifierRecipe], folds: Sequence[int], folder: Path
) -> None:
    """Raise RecipeError for a member that is to start from weights which are neither trained before it nor there.

    Args:
        members: The networks, or the classifiers, that are to be trained, in this order.
        folds: The folds of each.
        folder: The run's folder of them, ``networks`` or ``classifiers``.
    """
    trained = set()
    for member in members:
        trained.add(member.name)
        if member.start_from is None or member.start_from in trained:
            continue
        for fold in folds:
            start = last_weights(folder / member.start_from / f"fold{fold}")
            finished = folder / member.name / f"fold{fold}" / RESULT
            if not start.is_file() and not finished.is_file():
                raise RecipeError(
                    f"{folder.name} {member.name!r}, start_from: got {member.start_from!r}. It is not trained before, "
                    f"and {start} does not exist. Correct the name, train it first, or copy its folder there."
                )


def ensemble_names(starts: Mapping[str, str | None]) -> set[str]:
    """Return the names of the classifiers that are members of the ensemble: those that no other one starts from.

    Args:
        starts: By classifier the name of the one that it starts from.
    """
    return starts.keys() - set(starts.values())


def last_weights(folder: Path) -> Path:
    """Return the file of a trained member's weights: a network's, or those of a classifier's last step."""
    steps = [folder / step / BEST for step in ("step2", "step1")]
    return next((file for file in steps if file.is_file()), folder / BEST)


def start_from(network: nn.Module, folder: Path) -> None:
    """Take over the weights of a trained member wherever name and shape are the same."""
    file = last_weights(folder)
    if not file.is_file():
        raise LabelError(f"{file}: got no such file; train the member that this one starts from first")
    mine = network.state_dict()
    taken = {k: v for k, v in load_file(file).items() if k in mine and mine[k].shape == v.shape}
    network.load_state_dict(mine | taken)
    log.info("%d of %d tensors start from %s", len(taken), len(mine), file)
