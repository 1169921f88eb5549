"""The errors of training that end a command with one line; importing this module loads nothing else."""


class LabelError(Exception):
    """A label table or a run folder that can't be used."""


class RecipeError(Exception):
    """A recipe that can't be trained."""


class TrainingError(Exception):
    """A training that can't go on."""
