"""One copy to a device and one read of it, passes of fixed shape, results that show whether they are finite."""

import numpy as np
import pytest
import torch
from torch import nn

from lumbar.grading.point_search import unit_range
from lumbar.grids import unit_range as unit_range_of_arrays
from lumbar.networks.batch_runner import BatchRunner
from lumbar.networks.captured_pass import CapturedPass
from lumbar.networks.device import Device, nan_unless_finite
from lumbar.networks.transfer import download, upload

FIXED = Device(torch.device("cpu"), None, "test", batch=4, fixed_shapes=True)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_arrays_of_any_type_go_up_together(device):
    arrays = [
        np.arange(7, dtype=np.uint8),
        np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        np.arange(5),
        np.zeros((0, 3), np.float32),
    ]
    arrays[1] = np.ascontiguousarray(arrays[1])
    there = upload(arrays, torch.device(device))
    assert [tuple(t.shape) for t in there] == [a.shape for a in arrays]
    assert [t.dtype for t in there] == [torch.uint8, torch.float32, torch.int64, torch.float32]
    if device == "cpu":
        for tensor, array in zip(there, arrays, strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array)


def test_tensors_come_back_together_as_they_were():
    tensors = [torch.rand(2, 3), torch.rand(4), torch.rand(1, 2, 2).transpose(1, 2)]
    for read, tensor in zip(download(tensors), tensors, strict=True):
        np.testing.assert_array_equal(read, tensor.numpy())
    assert download([]) == []


def test_pixels_are_scaled_to_the_bit_as_arrays_are():
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(unit_range(torch.from_numpy(pixels)).numpy(), unit_range_of_arrays(pixels))


def test_rows_whose_source_is_not_finite_become_nan():
    source = torch.ones(4, 2, 3)
    source[1, 0, 2], source[2, 1, 1], source[3, 0, 0] = float("nan"), float("inf"), float("-inf")
    result = nan_unless_finite(torch.arange(8.0).view(4, 2), source)
    assert result[0].tolist() == [0, 1]
    assert result[1:].isnan().all()


class Doubler(nn.Module):
    """Doubles images, and remembers how many it got at a time."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        return 2 * images


def double(network, images):
    return network(images)


def test_passes_of_fixed_shape_are_padded_and_give_only_what_was_asked():
    runner, network, images = BatchRunner(FIXED), Doubler(), torch.rand(10, 3)
    for _ in range(2):
        torch.testing.assert_close(runner.run(double, network, images, "test"), 2 * images)
    assert network.sizes == [4, 4, 4] * 2
    assert len(runner.captured) == 1
    first = runner.run(double, network, images[:2], "test")
    runner.run(double, network, images[2:4], "test")
    torch.testing.assert_close(first, 2 * images[:2])  # not written over by the next pass


def test_a_pass_is_captured_at_the_second_call_and_replayed_from_then_on():
    """On a stand-in for a card: a replay reads the images of its call, and gives its own result."""
    runs = []

    class Recorded(CapturedPass):
        def capture(self):
            output = self.run()
            return lambda: output.copy_(2 * self.images)

    def run(images):
        runs.append(len(images))
        return 2 * images

    card = Device(torch.device("cpu"), None, "stand-in", batch=4, fixed_shapes=True)
    one = Recorded(run, torch.empty(4, 3, device="meta"), card)
    one.captures = True
    for _ in range(4):
        images = torch.rand(3, 3)
        torch.testing.assert_close(one(images), 2 * images)
    assert runs == [4, 4]  # as it is, and while it is captured
