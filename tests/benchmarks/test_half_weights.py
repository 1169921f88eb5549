"""The arithmetic of the float16 benchmark, on small networks and made-up tables."""

from pathlib import Path

import torch
from torch import nn

from tests.benchmarks.half_weights import compare, unrounded

POINTS = "study_id,detector,site,offset,slice,row,column,value"
MEMBERS = "study_id,detector,classifier,site,normal_mild,moderate,severe"


def test_unrounded_weights_round_to_what_they_were():
    """Small numbers as well: below 2 ** -14 float16's steps no longer shrink."""
    torch.manual_seed(0)
    layer = nn.Linear(300, 300)
    with torch.no_grad():
        layer.weight.mul_(torch.logspace(0, -7, 300)).copy_(layer.weight.half())
        layer.bias.copy_(layer.bias.half())
    before = {key: tensor.clone() for key, tensor in layer.state_dict().items()}
    for key, tensor in unrounded(layer).state_dict().items():
        assert torch.equal(tensor.half(), before[key].half())
        assert (tensor != before[key]).float().mean() > 0.99


def write_tables(folder: Path, points: list[str], members: list[str]) -> Path:
    folder.mkdir()
    (folder / "points.csv").write_text("\n".join([POINTS, *points]) + "\n")
    (folder / "members.csv").write_text("\n".join([MEMBERS, *members]) + "\n")
    return folder


def test_points_and_probabilities_are_compared_by_study_detector_and_site(tmp_path):
    first = write_tables(
        tmp_path / "first",
        ["1,a,x,0,3,10,10,0.9", "1,a,x,1,4,10,10,0.9", "1,a,y,0,3,50,50,0.9", "1,b,x,0,3,10,10,0.9"],
        ["1,a,c,x,0.5,0.3,0.2", "1,a,c,y,0.5,0.3,0.2", "1,b,c,x,0.5,0.3,0.2"],
    )
    second = write_tables(
        tmp_path / "second",
        ["1,b,x,0,3,10,10,0.8", "1,a,y,0,3,51,50,0.9", "1,a,x,0,4,10,10,0.9", "1,a,x,1,9,99,99,0.9"],
        ["1,b,c,x,0.5,0.29,0.21", "1,a,c,y,0.5,0.3,0.2", "1,a,c,x,0.1,0.7,0.2"],
    )
    found = compare(first, second)
    assert (found["points"], found["points_moved"], found["points_beyond_1_px"]) == (3, 2, 1)
    apart = found["probability_difference"]
    assert round(apart["largest"], 9) == 0.4 and round(apart["largest_where_no_point_moved"], 9) == 0.01
