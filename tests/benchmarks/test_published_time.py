"""The estimate for T4s counts an operator by the longer of its FLOPs and its bytes."""

import pytest
import torch
from torch.nn import functional as F

from tests.benchmarks.card.published import T4_BANDWIDTH, T4_RATE
from tests.benchmarks.published_time import BANDWIDTH_SHARE, RATE_SHARE, per_image


def test_a_small_product_takes_its_bytes_and_a_large_one_its_flops():
    """A 1 x 1 convolution of n channels: 2 n n FLOPs per pixel, and 2 bytes of each value and weight once."""
    for channels, by_flops in ((4, False), (2048, True)):
        weight = torch.empty(channels, channels, 1, 1, dtype=torch.float16, device="meta")
        work = per_image(lambda images, weight=weight: F.conv2d(images, weight), channels, 32, batch=2)
        assert work.flops == 2 * channels**2 * 32**2
        assert work.matrix_bytes == 2 * (2 * channels * 32**2 + channels**2 / 2)
        seconds = work.flops / (RATE_SHARE * T4_RATE), work.matrix_bytes / (BANDWIDTH_SHARE * T4_BANDWIDTH)
        assert (seconds[0] > seconds[1]) == by_flops
        assert work.seconds == pytest.approx((max(seconds), max(seconds), seconds[0]))


def test_an_activation_costs_bytes_where_it_is_not_joined_and_a_view_none():
    work = per_image(lambda images: F.relu(images).flatten(), 3, 32, batch=2)
    assert (work.flops, work.matrix_bytes, work.other_bytes) == (0, 0, 2 * 2 * 3 * 32**2)
    assert work.seconds[0] > 0 and work.seconds[1:] == (0, 0)
