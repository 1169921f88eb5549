"""A recipe's TOML file -> ``schema.Recipe``; every mistake is named by file, table and key.

Two rules beside TOML's own:

* ``like = "NAME"`` in a network or classifier takes all values of the earlier one of that name; the keys beside it
  replace single values, also within tables (``schedule.epochs = 12``).
* ``"none"`` stands for no value, where a field may have none.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from training.errors import RecipeError
from training.recipes.bounds import Bounds
from training.recipes.checks import check_recipe
from training.recipes.schema import Recipe, Schedule
from training.recipes.shipped import FOLDER, shipped_recipes

NONE = "none"
LIKE = "like"
WORDS = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number"}


def read_recipe(name: str, epochs: int | None = None, fold: int | None = None) -> Recipe:
    """Read and check a recipe; nothing else is read.

    Args:
        name: A shipped recipe's name, or the path of a file that ends in ``.toml``.
        epochs: Epochs of every training instead of the recipe's own.
        fold: The only fold instead of the recipe's own, counted from 0. ``with_fold`` describes one more.

    Raises:
        RecipeError: The file is missing or no TOML. A key is unknown or missing. A value breaks the schema. A
            reference leads nowhere. A network can't be built.
    """
    file = recipe_file(name)
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{file}: no such file. Expected a recipe in TOML. Check the path.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{file}: this is no TOML. {error}.") from error
    if "name" in values:
        raise RecipeError(f"{file}: got the key 'name'. The file's name is the recipe's. Remove the key.")
    for kind in ("networks", "classifiers"):
        values[kind] = resolve_like(values.get(kind, []), f"{file}: {kind}")
    recipe = build(Recipe, values | {"name": file.stem}, f"{file}:")
    check_recipe(recipe, str(file))
    if fold is not None:
        recipe = with_fold(recipe, fold)
    return recipe if epochs is None else with_epochs(recipe, epochs)


def recipe_file(name: str) -> Path:
    """Return the file of a recipe's name or path; RecipeError for a name that is not shipped."""
    if name.endswith(".toml"):
        return Path(name)
    known = shipped_recipes()
    if name not in known:
        raise RecipeError(f"recipe: got {name!r}{expected(name, (*known, 'FILE.toml'))}")
    return FOLDER / f"{name}.toml"


def with_fold(recipe: Recipe, fold: int) -> Recipe:
    """Return the recipe with one fold; the fold ``fold_count`` trains on all studies and validates on none.

    The studies left out choose a classifier's epoch. So only a recipe without classifiers has the fold ``fold_count``.
    """
    last = recipe.fold_count - bool(recipe.classifiers)
    if not 0 <= fold <= last:
        raise RecipeError(f"--fold: got {fold}, expected 0 to {last}.")
    return dataclasses.replace(recipe, folds=(fold,))


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with every training of so many epochs; a network without pretraining gets none."""

    def shortened(schedule: Schedule | None) -> Schedule | None:
        return schedule and dataclasses.replace(schedule, epochs=epochs)

    networks = (
        dataclasses.replace(n, schedule=shortened(n.schedule), pretraining=epochs if n.pretraining else 0)
        for n in recipe.networks
    )
    classifiers = (
        dataclasses.replace(c, step1=shortened(c.step1), step2=shortened(c.step2)) for c in recipe.classifiers
    )
    return dataclasses.replace(recipe, networks=tuple(networks), classifiers=tuple(classifiers))


def resolve_like(entries: Any, where: str) -> list[dict]:
    """Return tables with the values of those that they are ``like``."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RecipeError(f"{where}: expected tables in double brackets, [[{where.split()[-1]}]].")
    whole: dict[str, dict] = {}
    for number, entry in enumerate(entries):
        name, base = entry.get("name"), entry.get(LIKE)
        if not isinstance(name, str) or name in whole:
            found = "no name" if name is None else f"{name!r} again" if name in whole else repr(name)
            raise RecipeError(f"{where}, number {number + 1}: got {found}, expected a name of its own.")
        if base is not None and base not in whole:
            raise RecipeError(
                f"{where} {name!r}, {LIKE}: got {base!r}{expected(base, whole)}. It has to stand before."
            )
        own = {key: value for key, value in entry.items() if key != LIKE}
        whole[name] = merged(whole[base], own) if base else own
    return list(whole.values())


def merged(base: dict, over: dict) -> dict:
    """Return a table with another one's values over it, tables within tables alike."""
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def build(kind: type, values: Any, where: str) -> Any:
    """Return a dataclass made of a table; RecipeError names the key that is unknown, missing or of another type."""
    if not isinstance(values, dict):
        raise RecipeError(f"{where} got {values!r}, expected a table.")
    types = get_type_hints(kind, include_extras=True)
    for key in values.keys() - types.keys():
        raise RecipeError(f"{where} got the key {key!r}{expected(key, types)}.")
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING and field.name not in values:
            raise RecipeError(f"{where} got no {field.name!r}. Add it. {file_of(kind)} describes it.")
    known = {key: convert(types[key], value, f"{where} {key}") for key, value in values.items()}
    try:
        return kind(**known)
    except ValueError as error:
        raise RecipeError(f"{where} {error}") from error


def file_of(kind: type) -> str:
    return kind.__module__.rpartition(".")[2] + ".py"


def convert(kind: Any, value: Any, where: str) -> Any:
    """Return a TOML value as a field's type has it; RecipeError if it is of another type or out of bounds."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        (inner,) = (part for part in parts if part is not NoneType)
        return None if value == NONE else convert(inner, value, where)
    if origin is Annotated:
        return bounded(convert(parts[0], value, where), parts[1], where)
    if origin is Literal:
        if value not in parts:
            raise RecipeError(f"{where}: got {value!r}{expected(value, parts)}.")
        return value
    if origin is tuple:
        return convert_list(parts, value, where)
    if dataclasses.is_dataclass(kind):
        return build(kind, value, f"{where},")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{where}: got {value!r}, expected {WORDS[kind]}.")
    return value


def convert_list(parts: tuple, value: Any, where: str) -> tuple:
    """Return a TOML list as a tuple; ``parts`` are the types of its entries, or one type and an ellipsis."""
    if not isinstance(value, list):
        raise RecipeError(f"{where}: got {value!r}, expected a list in square brackets.")
    if parts[-1] is Ellipsis:
        parts = parts[:1] * len(value)
    if len(value) != len(parts):
        raise RecipeError(f"{where}: got {len(value)} entries, expected {len(parts)}.")
    names = [entry.get("name") if isinstance(entry, dict) else number for number, entry in enumerate(value)]
    entries = zip(parts, value, names, strict=True)
    return tuple(convert(part, entry, f"{where} {name!r}") for part, entry, name in entries)


def bounded(value: float, bounds: Bounds, where: str) -> float:
    if not bounds.low <= value <= bounds.high:
        raise RecipeError(f"{where}: got {value}, expected {bounds.low} to {bounds.high}.")
    return value


def expected(got: Any, known: Iterable[str]) -> str:
    """Return the end of a message: the known names, and the one nearest to the name that was found."""
    names = list(known)
    near = difflib.get_close_matches(str(got), names, n=1)
    return f", expected one of {', '.join(map(str, names)) or 'none'}" + (
        f". Did you mean {near[0]!r}?" if near else ""
    )
