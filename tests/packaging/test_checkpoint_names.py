"""The facts in a checkpoint's path: the published names, other spellings, and names without any."""

from pathlib import PurePosixPath

import pytest

from dataset.published.names import NameFacts, read_name
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

PATHS = {
    "sagittal_t2/fold1/epoch030-trainloss0.164532-testloss0.183283-testscore0.92555.bin": NameFacts(
        SAGITTAL_T2, None, fold=1, seed=None, step=None, score=0.92555
    ),
    "stage1/axial_t2/fold1/epoch035-trainloss0.095594-testloss0.102066-testscore1.408456.bin": NameFacts(
        AXIAL_T2, None, fold=1, seed=None, step=None, score=1.408456
    ),
    "stage2_finetuned_2024_3/fold5/epoch008-trainloss0.2-testloss0.3-testscore0.41.bin": NameFacts(
        None, "level_slices", fold=5, seed=2024, step=2, score=0.41
    ),
    "stage2_42_1/fold2/epoch018-testscore0.5.bin": NameFacts(
        None, "level", fold=2, seed=42, step=None, score=0.5
    ),
    "pretrain/convnext_small_version2_seed42/fold-3.pth": NameFacts(
        None, "level_skip", fold=3, seed=42, step=1, score=None
    ),
    "convnext_tiny_level_fold4.safetensors": NameFacts(
        None, "level", fold=4, seed=None, step=None, score=None
    ),
    "caformer_s18.sail_in22k_ft_in1k/level_region/fold_2/step2.bin": NameFacts(
        None, "level_region", fold=2, seed=None, step=2, score=None
    ),
    "Sagittal T1/Fold 2/best.bin": NameFacts(SAGITTAL_T1, None, fold=2, seed=None, step=None, score=None),
    "pvt_v2_b3/best.bin": NameFacts(None, None, fold=None, seed=None, step=None, score=None),
    "max_t2/levels.bin": NameFacts(None, None, fold=None, seed=None, step=None, score=None),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_gives_its_facts_and_no_more(path):
    assert read_name(PurePosixPath(path)) == PATHS[path]


def test_the_innermost_part_counts_and_two_descriptions_in_one_count_for_none():
    assert read_name(PurePosixPath("fold9/axial_t2/fold1/x.bin")).fold == 1
    assert read_name(PurePosixPath("axial_t2/sagittal_t1.bin")).description == SAGITTAL_T1
    assert read_name(PurePosixPath("sagittal_t1/axial_t2_and_sagittal_t2.bin")).description is None
