"""A recipe's file is the recipe: what TOML says is what is trained, and every mistake is named."""

import pytest

from training.recipes.families import family_a, family_b
from training.recipes.reading import read_recipe
from training.recipes.small import nfn_small, small


@pytest.mark.parametrize("made", [family_a, family_b, small, nfn_small])
def test_a_file_gives_the_recipe_that_python_gave(made):
    assert read_recipe(made.__name__) == made()
