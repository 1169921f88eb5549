"""The losses of both stages. Source: solution, training stage 1 and stage 2."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lumbar.sites import CONDITION_SITES, LEVELS, SEVERITY_WEIGHTS
from training.fitting.ranks import rank_count, sum_over_ranks


def slice_target(planes: Tensor, amplitude: Tensor, xy_target: str) -> Tensor:
    """Return the label (N, C, H, W) of N slices: each class's gaussian times its amplitude there.

    Args:
        planes: (N, C, H, W).
        amplitude: (N, C).
        xy_target: ``"own"``, or ``"union_of_levels"``, where every class gets the sum of its side's five levels,
            clipped to 1.
    """
    target = planes * amplitude[..., None, None]
    if xy_target == "own":
        return target
    sides = target.unflatten(1, (-1, len(LEVELS))).sum(dim=2, keepdim=True).clamp(max=1)
    return sides.expand(-1, -1, len(LEVELS), -1, -1).flatten(1, 2)


def slice_mask(amplitude: Tensor, labelled: Tensor, present: Tensor, xy_target: str) -> Tensor:
    """Return which (class, slice) pairs count for the segmenter: (B, C, D) bool.

    With own targets these are the labelled classes, with the union of levels the slices on which the side's sum is not
    zero.

    Args:
        amplitude: (B, C, D).
        labelled: (B, C) bool.
        present: (B, D) bool, false on zero slices.
        xy_target: As in ``slice_target``.
    """
    if xy_target == "own":
        return labelled[:, :, None] & present[:, None]
    side = (amplitude.unflatten(1, (-1, len(LEVELS))) > 0).any(dim=2)
    return side.repeat_interleave(len(LEVELS), dim=1) & present[:, None]


def segmenter_loss(logits: Tensor, target: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Return the segmenter's BCE: mean over rows and columns, then over the (class, slice) pairs in mask.

    Without a pair the loss is 0.

    Args:
        logits: (N, C, H, W) of N slices.
        target: (N, C, H, W).
        mask: (N, C).
        weight: (N,), the number of slices that each stands for.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none").mean(dim=(2, 3))
    share = mask * weight[:, None]
    return whole_batch_mean((losses * share).sum(), share.sum(), 1e-6)


def pointer_loss(logits: Tensor, peak: Tensor, mask: Tensor) -> Tensor:
    """Return the pointer's BCE against the label's largest value per slice: all (B, C, D); 0 without a pair."""
    losses = F.binary_cross_entropy_with_logits(logits.float(), peak, reduction="none")
    return whole_batch_mean((losses * mask).sum(), mask.sum(), 1)


def whole_batch_mean(total: Tensor, number: Tensor, least: float) -> Tensor:
    """Return this rank's part of a mean over the pairs of the whole batch: the ranks' parts have that mean.

    Args:
        total: Sum over this rank's pairs.
        number: This rank's pairs; the ranks may have labels of different numbers.
        least: Number to divide by where no rank has any.
    """
    return rank_count() * total / sum_over_ranks(number).clamp(min=least)


def grade_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of the three conditions' cross entropies.

    A condition's loss is the weighted sum over its sites divided by ALL its sites in the batch.

    Args:
        logits: (B, 25, 3).
        labels: (B, 25) long, -1 where missing.
        weights: (B, 25), 0 where missing.
    """
    losses = F.cross_entropy(logits.float().transpose(1, 2), labels.clamp(min=0), reduction="none") * weights
    return torch.stack([losses[:, sites].mean() for sites in CONDITION_SITES.values()]).mean()


def any_severe_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the any-severe term: BCE of the largest spinal severe probability, times each study's weight.

    Args:
        logits: (B, 25, 3).
        labels: (B, 25).
        weights: (B,), scaled to mean 1 over the training set.
    """
    sites = CONDITION_SITES["spinal"]
    # log p and log(1 - p) from the logits: exact where p rounds to 0 or 1 in half precision.
    log_severe = logits[:, sites].float().log_softmax(dim=-1)
    log_other = torch.logsumexp(log_severe[..., :2], dim=-1)
    largest = log_severe[..., 2].argmax(dim=1, keepdim=True)
    truth = (labels[:, sites] == 2).any(dim=1)
    losses = -torch.where(
        truth, log_severe[..., 2].gather(1, largest)[:, 0], log_other.gather(1, largest)[:, 0]
    )
    return (losses * weights).mean()


def metric_loss(logits: Tensor, labels: Tensor, weights: Tensor, study_weights: Tensor) -> Tensor:
    """Return step 2's loss: the mean of the three weighted conditions and the any-severe term."""
    conditions = grade_loss(logits, labels, weights)
    return (3 * conditions + any_severe_loss(logits, labels, study_weights)) / 4


@dataclass(frozen=True)
class WeightMeans:
    """Means of the metric's weights over a training set; weights are divided by them. Missing labels count 0.

    A condition without any label has mean 1, as all its weights are 0.

    Attributes:
        conditions: Spinal, foraminal and subarticular mean, over all sites of the condition.
        study: Mean of each study's largest spinal weight.
    """

    conditions: tuple[float, float, float]
    study: float


def severity_weights(labels: Tensor) -> Tensor:
    """Return 1, 2, 4 by severity, 0 where missing: labels (..., 25) -> (..., 25) float."""
    return torch.tensor([0.0, *SEVERITY_WEIGHTS], device=labels.device)[labels + 1]


def weight_means(labels: Tensor) -> WeightMeans:
    """Return the means over a training set: labels (n, 25). Source: solution, training stage 2, step 2."""
    weights = severity_weights(labels)
    spinal, foraminal, subarticular = (
        weights[:, sites].mean().item() or 1.0 for sites in CONDITION_SITES.values()
    )
    study = weights[:, CONDITION_SITES["spinal"]].amax(dim=1).mean().item() or 1.0
    return WeightMeans((spinal, foraminal, subarticular), study)


def scaled_weights(labels: Tensor, means: WeightMeans) -> tuple[Tensor, Tensor]:
    """Return site weights (B, 25) and study weights (B,), scaled to mean 1 over the training set."""
    weights = severity_weights(labels)
    study = weights[:, CONDITION_SITES["spinal"]].amax(dim=1) / means.study
    for mean, sites in zip(means.conditions, CONDITION_SITES.values(), strict=True):
        weights[:, sites] /= mean
    return weights, study
