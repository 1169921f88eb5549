"""Image and labels move together, left stays left, masks stay, mixes keep their accounts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lumbar.networks.architecture import CANAL_VIEWS, CropRule
from lumbar.networks.detector import present_slices
from lumbar.sites import (
    AXIAL_T2,
    CONDITION_SITES,
    DESCRIPTIONS,
    SAGITTAL_T1,
    SITES,
    crop_sites,
    group_descriptions,
)
from training.data.classifier_dataset import ClassifierDataset, Mixer
from training.data.crop_augmentation import (
    augment_crops,
    jitter_points,
    mirror_patient,
    mirrored_sites,
    mix_studies,
)
from training.data.detector_dataset import class_planes, sample_slices
from training.data.volume_augmentation import augment_volume, random_affine, warp
from training.evaluation.metric import any_severe_log_loss, score
from training.fitting.losses import (
    any_severe_loss,
    grade_loss,
    metric_loss,
    scaled_weights,
    segmenter_loss,
    slice_mask,
    slice_target,
    weight_means,
)
from training.recipes.augmentation import (
    Affine,
    Brightness,
    CropAppearance,
    CropAugmentation,
    DetectorAugmentation,
)

STRONG = Affine(shift=0.0625, scale=0.1, rotate=45, p=1.0)


@pytest.mark.parametrize("seed", range(10))
def test_image_label_and_point_move_together(seed):
    points = np.array([[1.0, 120.0, 90.0], [2.0, 100.0, 150.0]])
    planes = class_planes(points, sigma=4)
    grid = np.stack([np.zeros((256, 256), np.float32), *planes])
    options = DetectorAugmentation(STRONG, Brightness(0, 0, 0))
    moved_grid, moved_planes = augment_volume(grid, planes, np.random.default_rng(seed), options)
    np.testing.assert_allclose(moved_grid[1:], moved_planes, atol=1e-6)
    matrix = random_affine(np.random.default_rng(seed), STRONG, 256)
    for plane, (_, row, column) in zip(moved_planes, points, strict=True):
        x, y = matrix @ (column, row, 1)
        assert np.abs(np.unravel_index(plane.argmax(), plane.shape) - np.array([y, x])).max() <= 1
    # Left stays left: of two points side by side the right one stays to the right under up to 45 degrees.
    assert np.linalg.det(matrix[:, :2]) > 0


def test_zero_slices_stay_zero_and_present(seed=0):
    grid = np.random.default_rng(0).random((4, 256, 256)).astype(np.float32)
    grid[1] = 0
    options = DetectorAugmentation(STRONG, Brightness(0.2, 0.2, 1.0))
    for draw in range(5):
        moved, _ = augment_volume(
            grid, np.zeros((1, 256, 256), np.float32), np.random.default_rng(draw), options
        )
        assert present_slices(torch.from_numpy(moved)[None])[0].tolist() == [True, False, True, True]
        assert moved.min() >= 0 and moved.max() <= 1


def test_the_warp_is_bilinear_sampling_of_the_inverse_map():
    random = np.random.default_rng(1)
    images = np.zeros((5, 128, 128), np.float32)
    images[:, 40:50, 60:90] = random.random((5, 1, 1))
    matrix = random_affine(random, STRONG, 128)
    rows, columns = np.mgrid[:128, :128]
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    x, y, _ = inverse @ np.stack([columns.ravel(), rows.ravel(), np.ones(128 * 128)])
    places = torch.from_numpy((2 * np.stack([x, y], axis=-1) + 1) / 128 - 1).view(1, 128, 128, 2).float()
    expected = F.grid_sample(torch.from_numpy(images)[None], places, align_corners=False)[0].numpy()
    assert np.abs(warp(images, matrix) - expected).mean() < 2e-4  # older OpenCVs' weights are of 5 bits


@pytest.mark.parametrize("canal_from", CANAL_VIEWS)
def test_the_mirror_exchanges_sides_and_is_its_own_inverse(canal_from):
    random = torch.Generator().manual_seed(0)
    crops, labels = torch.rand(25, 5, 8, 8, generator=random), torch.randint(0, 3, (25,), generator=random)
    mirrored, swapped = mirror_patient(crops, labels, canal_from)
    for site, other in zip(SITES, mirrored_sites(), strict=True):
        assert SITES[other].level == site.level and {site.side, SITES[other].side} in (
            {"left", "right"},
            {None},
        )
        assert swapped[site.index] == labels[other]
        axial = site.index in crop_sites(AXIAL_T2, canal_from)
        expected = crops[other].flip(2) if axial else crops[other].flip(0)
        assert torch.equal(mirrored[site.index], expected)
    back, labels_back = mirror_patient(mirrored, swapped, canal_from)
    assert torch.equal(back, crops) and torch.equal(labels_back, labels)


def test_crops_of_a_missing_description_stay_zero():
    crops = torch.rand(25, 5, 128, 128)
    crops[15:] = 0
    crops[3, 2] = 0
    options = CropAugmentation(0.5, 0.5, 0.0, STRONG, Brightness(0.2, 0.2, 1.0), blur=1.0)
    changed, _ = augment_crops(crops, torch.zeros(25, dtype=torch.long), np.random.default_rng(0), options)
    assert not changed[15:].any() and not changed[3, 2].any() and changed[:15].flatten(1).any(dim=1).all()
    same, _ = augment_crops(
        crops, torch.zeros(25, dtype=torch.long), np.random.default_rng(0), CropAugmentation()
    )
    assert torch.equal(same, crops)


def test_jitter_moves_the_five_slices_of_a_site_alike():
    points = np.random.default_rng(0).integers(20, 230, (25, 5, 3))
    moved = (
        jitter_points(points, np.random.default_rng(1), CropAugmentation(z_jitter=2, xy_jitter=10)) - points
    )
    assert (
        (moved == moved[:, :1]).all()
        and np.abs(moved[..., 0]).max() == 2
        and 5 < np.abs(moved[..., 1:]).max() <= 10
    )


def test_cutmix_pastes_what_it_says():
    crops = torch.arange(4.0)[:, None, None, None, None].expand(4, 25, 5, 128, 128)
    for seed in range(20):
        mixed, order, share = mix_studies(crops, np.random.default_rng(seed), CropAugmentation(cutmix=1.0))
        for row, other in enumerate(order):
            pasted = (mixed[row] == float(other)).float()
            if other != row:
                assert pasted.mean().item() == pytest.approx(1 - share, abs=1e-6)
                assert (pasted == pasted[:1, :1]).all()  # one rectangle for the whole stacks


def test_axial_crops_of_the_canal_change_with_the_recesses():
    crops = torch.rand(1, 5, 128, 128).expand(25, 5, 128, 128)
    options = CropAugmentation(0.5, 0.5, 0.0, STRONG, Brightness(0.2, 0.2, 1.0))
    labels, random = torch.zeros(25, dtype=torch.long), np.random.default_rng(0)
    changed, _ = augment_crops(crops, labels, random, options, AXIAL_T2)
    assert torch.equal(changed[:5], changed[15:20]) and not torch.equal(changed[:5], changed[5:10])


@pytest.mark.parametrize("canal_from", CANAL_VIEWS)
def test_a_dropped_description_is_a_missing_one_to_the_whole_batch(canal_from):
    """Its crops and labels are gone, and the sequences leave its groups out, as for a study without the series."""
    labels = np.random.default_rng(0).integers(0, 3, (4, 25)).astype(np.int8)
    studies = [str(number) for number in range(4)]
    points = {study: dict.fromkeys(DESCRIPTIONS) for study in studies}
    dropped = []
    for chance, epochs in ((0.5, 60), (0.0, 5)):
        options = CropAugmentation(cutmix=1.0, description_dropout=chance)
        rule = CropRule("shift", canal_from=canal_from)
        dataset = ClassifierDataset(None, studies, labels, points, rule, options, 0)
        items = [(torch.ones(25, 5, 8, 8), row, number) for number, row in enumerate(dataset.labels)]
        for dataset.epoch in range(epochs):
            batch = Mixer(dataset)(items)
            for site in SITES:
                held = bool(batch.groups[0, site.index // 5])
                assert (batch.crops[:, site.index] == held).all()
                for kept in (batch.labels, batch.labels_b):
                    assert (kept[:, site.index] >= 0).all() == held
            assert (batch.groups == batch.groups[0]).all()
            lost = np.flatnonzero(~batch.groups[0])
            dropped.append({group_descriptions(canal_from)[group] for group in lost})
    assert 15 < sum(map(bool, dropped[:60])) < 40 and not any(dropped[60:])
    assert set().union(*dropped) == set(group_descriptions(canal_from)) and max(map(len, dropped)) == 1


def test_a_batch_says_what_each_study_holds_and_a_mixed_one_what_both_do():
    studies, labels = ["1", "2", "3"], np.zeros((3, 25), np.int8)
    points = {"1": dict.fromkeys(DESCRIPTIONS), "2": {SAGITTAL_T1: None}, "3": {AXIAL_T2: None}}
    own = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]], bool)
    for options in (None, CropAugmentation(), CropAugmentation(mixup=1.0)):
        dataset = ClassifierDataset(None, studies, labels, points, CropRule("shift"), options, 0)
        crops = (
            torch.from_numpy(np.repeat(own, 5, axis=1)).float()[:, :, None, None, None].expand(3, 25, 5, 8, 8)
        )
        batch = Mixer(dataset)([(crops[number], dataset.labels[number], number) for number in range(3)])
        np.testing.assert_array_equal(batch.groups, batch.crops[:, ::5, 0, 0, 0].numpy() > 0)
        if not (options and options.mixup):
            np.testing.assert_array_equal(batch.groups, own)


@pytest.mark.parametrize("seed", range(8))
def test_a_look_of_crops_is_that_of_a_description_and_black_stays_black(seed):
    pattern = torch.linspace(0, 1, 128).expand(128, 128)
    crops = pattern.expand(25, 5, 128, 128).clone()
    crops[1, 0] = 0
    options = CropAugmentation(appearance=CropAppearance(curve=1, field=0, blur=0, noise=0))
    changed, _ = augment_crops(crops, torch.zeros(25), np.random.default_rng(seed), options)
    assert changed.dtype == torch.float32 and changed.min() >= 0 and changed.max() <= 1
    assert not changed[1, 0].any() and not torch.equal(changed[0], crops[0])
    for description in DESCRIPTIONS:
        sites = crop_sites(description)
        assert (changed[sites, 2] == changed[sites[0], 2]).all()
    assert not torch.equal(changed[0, 1], changed[5, 1]) and not torch.equal(changed[5, 1], changed[15, 1])
    strong = replace(options, appearance=CropAppearance(curve=1, field=0.3, blur=3, noise=0.1))
    looks = [augment_crops(crops, torch.zeros(25), np.random.default_rng(seed), strong)[0] for _ in range(2)]
    assert torch.equal(*looks) and looks[0].min() >= 0 and looks[0].max() <= 1
    assert not torch.equal(looks[0][0], looks[0][2]) and not looks[0][1, 0].any()
    for appearance in (CropAppearance(curve=0, field=0, blur=0, noise=0), replace(strong.appearance, p=0)):
        same = replace(options, appearance=appearance)
        assert torch.equal(augment_crops(crops, torch.zeros(25), np.random.default_rng(seed), same)[0], crops)


def test_mixup_adds_two_studies():
    crops = torch.arange(4.0)[:, None, None, None, None].expand(4, 25, 5, 8, 8)
    options = CropAugmentation(mixup=1.0, mixup_alpha=0.3)
    shares = []
    for seed in range(200):
        mixed, order, share = mix_studies(crops, np.random.default_rng(seed), options)
        for row, other in enumerate(order):
            assert torch.allclose(mixed[row], torch.tensor(share * row + (1 - share) * other).float())
        shares.append(share)
    # Beta(a, a) has the variance 1 / (4 (2a + 1)).
    assert np.var(shares) == pytest.approx(1 / (4 * 1.6), rel=0.2)


def test_sampled_slices_estimate_the_mean_of_all():
    torch.manual_seed(0)
    candidate = torch.ones(2, 12, dtype=torch.bool)
    candidate[1, 8:] = False
    marked = torch.zeros_like(candidate)
    marked[:, 2:5] = True
    value = torch.rand(2, 12)
    expected = value[candidate].mean()
    every, weight = sample_slices(candidate, marked, None)
    assert torch.allclose((value.flatten()[every] * weight).sum() / weight.sum(), expected)
    sums = []
    for _ in range(4000):
        chosen, weight = sample_slices(candidate, marked, 4)
        assert len(chosen) == 8 and marked.flatten()[chosen].sum() == 4
        sums.append((value.flatten()[chosen] * weight).sum() / weight.sum())
    assert torch.stack(sums).mean().item() == pytest.approx(expected.item(), abs=5e-3)


def test_masks_and_targets_of_both_kinds():
    amplitude = torch.zeros(1, 10, 3)
    amplitude[0, 0, 0], amplitude[0, 1, 0], amplitude[0, 7, 2] = 1.0, 0.5, 1.0
    labelled, present = torch.ones(1, 10, dtype=torch.bool), torch.tensor([[True, True, False]])
    labelled[0, 4] = False
    own = slice_mask(amplitude, labelled, present, "own")
    assert own.sum() == 9 * 2 and not own[0, 4].any()
    union = slice_mask(amplitude, labelled, present, "union_of_levels")
    assert union[0, :5].tolist() == [[True, False, False]] * 5 and not union[0, 5:].any()  # slice 2 is zero
    planes = torch.rand(1, 10, 4, 4)
    target = slice_target(planes, amplitude[..., 0], "union_of_levels")
    expected = (planes[0, 0] + 0.5 * planes[0, 1]).clamp(max=1)
    assert all(torch.equal(target[0, c], expected) for c in range(5)) and not target[0, 5:].any()
    logits = torch.randn(1, 10, 4, 4, requires_grad=True)
    nothing = segmenter_loss(logits, target, torch.zeros(1, 10, dtype=torch.bool), torch.ones(1))
    assert nothing.item() == 0


def test_step_2s_loss_is_the_metric_up_to_its_scale():
    random = np.random.default_rng(0)
    labels = random.choice([-1, 0, 1, 2], p=[0.1, 0.6, 0.2, 0.1], size=(40, 25)).astype(np.int8)
    labels[:, :5] = np.maximum(labels[:, :5], 0)
    logits, truth = torch.tensor(random.normal(size=(40, 25, 3))), torch.tensor(labels).long()
    weights, study_weights = scaled_weights(truth, weight_means(truth))
    official = score(labels, logits.softmax(-1).numpy())
    # Weights of mean 1 over all sites: the loss is the weighted mean that the metric takes.
    assert metric_loss(logits, truth, weights, study_weights).item() == pytest.approx(
        official["score"], abs=1e-5
    )
    severe = any_severe_loss(logits, truth, study_weights).item()
    assert severe == pytest.approx(
        any_severe_log_loss(labels[:, :5], logits.softmax(-1).numpy()[:, :5]), abs=1e-5
    )


def test_a_missing_label_counts_zero_among_all_sites():
    logits, labels = torch.randn(2, 25, 3), torch.randint(0, 3, (2, 25))
    labels[:, 15:] = -1
    labels[0, 0] = -1
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten().clamp(min=0), reduction="none").view(
        2, 25
    )
    losses[labels < 0] = 0
    expected = (
        sum(losses[:, sites].sum() / (2 * (sites.stop - sites.start)) for sites in CONDITION_SITES.values())
        / 3
    )
    assert torch.allclose(grade_loss(logits, labels, (labels >= 0).float()), expected)


def test_a_zoom_is_drawn_evenly_in_its_logarithm_and_none_draws_nothing():
    zoomed = Affine(shift=0, scale=0, rotate=0, p=1, zoom=(0.5, 2.0))
    factors = [
        np.linalg.det(random_affine(np.random.default_rng(s), zoomed, 256)[:, :2]) ** 0.5 for s in range(300)
    ]
    assert 0.5 <= min(factors) < 0.6 and 1.7 < max(factors) <= 2
    assert abs(np.mean(np.log(factors))) < 0.1
    plain = [
        random_affine(np.random.default_rng(0), ranges, 256)
        for ranges in (STRONG, replace(STRONG, zoom=(1.0, 1.0)))
    ]
    np.testing.assert_array_equal(*plain)


def test_a_stretch_changes_the_width_alone_and_keeps_the_centre():
    stretched = Affine(shift=0, scale=0, rotate=0, p=1, stretch=(0.5, 2.0))
    maps = np.array([random_affine(np.random.default_rng(s), stretched, 256) for s in range(300)])
    widths = maps[:, 0, 0]
    assert 0.5 <= widths.min() < 0.6 and 1.7 < widths.max() <= 2 and abs(np.log(widths).mean()) < 0.1
    np.testing.assert_allclose(maps[:, 1], [[0, 1, 0]] * 300, atol=1e-12)
    np.testing.assert_allclose(maps @ [127.5, 127.5, 1], [[127.5, 127.5]] * 300)
    plain = (
        random_affine(np.random.default_rng(0), r, 256) for r in (STRONG, replace(STRONG, stretch=(1.0, 1.0)))
    )
    np.testing.assert_array_equal(*plain)
