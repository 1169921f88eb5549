"""Stage 1: the network that finds the slice, and the place in it, of every site of a description.

One network serves one description. Two branches read the same slices, each slice with its two neighbours as
channels. A U-Net, the *segmenter*, marks the place within a slice. The *pointer* reads all slices in order and marks
the slice (the 5th-place write-up, stage 1).

The networks find left and right by the order of the slices and by the anatomy. Slice 0 is the patient's right side in
sagittal volumes, the lowest one in axial volumes. The pointer's sequence model reads the whole stack in this order,
black and padded slices included, so it can count the slices on either side. The segmenter reads a slice's two
neighbours alone. No pixel holds the distance between slices: with ``DetectorConfig.slice_positions`` the pointer reads
their positions too.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lumbar.networks.architecture import DetectorConfig
from lumbar.sites import class_count

POSITION_UNIT = 20.0  # mm: a lumbar foramen lies about as far from the midline


class DecoderBlock(nn.Module):
    """Double the resolution, join the skip connection if there is one, and convolve twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.skip_channels = skip_channels
        self.conv1 = conv_norm_relu(in_channels + skip_channels, out_channels)
        self.conv2 = conv_norm_relu(out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.conv2(self.conv1(x))


def conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Segmenter(nn.Module):
    """2-D U-Net: (N, 3, 256, 256) slices with neighbours -> (N, class, 256, 256) logits."""

    def __init__(self, config: DetectorConfig, pretrained: bool = False, weights_file: str | None = None):
        super().__init__()
        levels = range(config.feature_levels)
        self.encoder = feature_encoder(config.encoder, tuple(levels), pretrained, weights_file)
        features = feature_channels(self.encoder)[::-1]  # coarsest first
        if len(config.decoder_channels) != config.feature_levels:
            raise ValueError(
                f"DetectorConfig.decoder_channels: got {len(config.decoder_channels)} entries, "
                f"expected one for each of {config.feature_levels} feature levels"
            )
        inputs = (features[0], *config.decoder_channels)
        skips = (*features[1:], 0)  # the last block has no skip
        self.decoder = nn.ModuleList(
            DecoderBlock(i, s, o) for i, s, o in zip(inputs, skips, config.decoder_channels, strict=False)
        )
        self.head = nn.Conv2d(config.decoder_channels[-1], class_count(config.description), 3, padding=1)

    def forward(self, slices: Tensor) -> Tensor:
        *skips, x = self.encoder(slices.contiguous(memory_format=torch.channels_last))
        for block, skip in zip(self.decoder, [*skips[::-1], None], strict=True):
            x = block(x, skip)
        logits = self.head(x)
        if (
            logits.shape[-2:] != slices.shape[-2:]
        ):  # encoders that begin at a quarter of the size, such as convnext
            logits = F.interpolate(logits, slices.shape[-2:], mode="bilinear", align_corners=False)
        return logits


class Pointer(nn.Module):
    """Slices in order -> one logit per class and slice, through an LSTM or a transformer.

    With ``slice_positions`` a slice's position times the learnt vector ``position`` is added to its features. It starts
    at 0, so a pointer that starts from one without the option first gives the same logits.
    """

    def __init__(self, config: DetectorConfig, pretrained: bool = False, weights_file: str | None = None):
        super().__init__()
        self.encoder = feature_encoder(config.pointer_encoder, (-1,), pretrained, weights_file)
        width = feature_channels(self.encoder)[-1]
        self.position = nn.Parameter(torch.zeros(width)) if config.slice_positions else None
        if config.pointer == "lstm":
            self.sequence = LstmSequence(width, config.hidden)
        elif config.pointer == "transformer":
            self.sequence = TransformerSequence(width, config.hidden, config.max_length)
        else:
            raise ValueError(
                f"DetectorConfig.pointer: got {config.pointer!r}, expected 'lstm' or 'transformer'"
            )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(self.sequence.width, class_count(config.description))

    def encode(self, slices: Tensor) -> Tensor:
        """Return the mean of the last feature map: (N, 3, 256, 256) -> (N, feature)."""
        return self.encoder(slices.contiguous(memory_format=torch.channels_last))[-1].mean(dim=(2, 3))

    def point(self, features: Tensor, present: Tensor, positions: Tensor | None = None) -> Tensor:
        """Return one logit per class and slice, (B, class, D).

        Args:
            features: (B, D, feature), of ``encode``.
            present: (B, D) bool, false on zero slices.
            positions: (B, D) mm, of ``lumbar.reading.slice_positions``, 0 on padded slices; None, as all 0, where they
                are unknown. Not read without ``slice_positions``.
        """
        if self.position is not None and positions is not None:
            features = features + (positions / POSITION_UNIT)[..., None] * self.position
        return self.head(self.dropout(self.sequence(features, present))).transpose(1, 2)

    def forward(self, slices: Tensor, present: Tensor, positions: Tensor | None = None) -> Tensor:
        batch, length = slices.shape[:2]
        return self.point(self.encode(slices.flatten(0, 1)).view(batch, length, -1), present, positions)


class LstmSequence(nn.Module):
    """Bidirectional LSTM over all D slices; padded ones are not masked (both published families)."""

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.width = 2 * hidden
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        return self.lstm(features)[0]


class TransformerSequence(nn.Module):
    """One pre-layer-norm encoder layer in RoBERTa's conventions, padded slices out of the attention.

    ``positions`` holds the learned position vectors of slices 0..D-1; RoBERTa's rows start at index 2 and
    its token type 0 is a constant, which importing folds into them.
    """

    def __init__(self, features: int, hidden: int, max_length: int):
        super().__init__()
        self.width = hidden
        self.dense = nn.Linear(features, hidden)
        self.positions = nn.Parameter(torch.empty(max_length, hidden))
        self.norm_in = nn.LayerNorm(hidden, eps=1e-12)
        self.dropout = nn.Dropout(0.1)
        self.layer = nn.TransformerEncoderLayer(
            hidden,
            nhead=4,
            dim_feedforward=4 * hidden,
            dropout=0.1,
            activation="gelu",
            layer_norm_eps=1e-12,
            batch_first=True,
            norm_first=True,
        )
        self.norm_out = nn.LayerNorm(hidden, eps=1e-12)
        for parameter in (self.positions, *(m.weight for m in self.modules() if isinstance(m, nn.Linear))):
            nn.init.normal_(parameter, std=0.02)
        nn.init.normal_(self.layer.self_attn.in_proj_weight, std=0.02)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        x = self.dropout(self.norm_in(self.dense(features) + self.positions[: features.shape[1]]))
        # With every key masked the softmax would be 0/0; such a volume has no heatmap anyway.
        masked = ~present & present.any(dim=1, keepdim=True)
        return self.norm_out(self.layer(x, src_key_padding_mask=masked))


class DetectorNetwork(nn.Module):
    """Segmenter and pointer of one description.

    ``pretrained`` starts both encoders from ImageNet weights of timm's hub; ``encoder_file`` and
    ``pointer_file`` start them from local files instead. Inference uses neither.
    """

    def __init__(
        self,
        config: DetectorConfig,
        pretrained: bool = False,
        encoder_file: str | None = None,
        pointer_file: str | None = None,
    ):
        super().__init__()
        self.config = config
        self.segmenter = Segmenter(config, pretrained, encoder_file)
        self.pointer = Pointer(config, pretrained, pointer_file)
        # Grouped convolutions are many times faster so, on CPUs and with AMP.
        self.to(memory_format=torch.channels_last)

    def forward(self, grid: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return segmenter logits (B, class, D, 256, 256) and pointer logits (B, class, D).

        Every slice is computed. Inference takes the shorter way of ``lumbar.grading.point_search``.

        Args:
            grid: (B, D, 256, 256), values 0..1, padded at the end with zero slices.
            positions: (B, D) mm, as of ``Pointer.point``.
        """
        slices = neighbours(grid)
        logits = self.segmenter(slices.flatten(0, 1)).unflatten(0, grid.shape[:2]).transpose(1, 2)
        return logits, self.pointer(slices, present_slices(grid), positions)


def neighbours(grid: Tensor) -> Tensor:
    """Stack each slice with the one before and the one after it: (B, D, H, W) -> (B, D, 3, H, W).

    Beyond the ends there is a zero slice. The three lie side by side in memory, as channels-last layers read them.
    """
    return F.pad(grid, (0, 0, 0, 0, 1, 1)).unfold(1, 3, 1).contiguous().movedim(-1, 2)


def present_slices(grid: Tensor) -> Tensor:
    """Return which slices of (B, D, H, W), values 0..1, are not all zero, as (B, D) bool."""
    return grid.flatten(2).amax(dim=2) > 0  # several times faster than any()


def feature_encoder(
    name: str, levels: tuple[int, ...], pretrained: bool = False, weights_file: str | None = None
) -> nn.Module:
    """Build a timm encoder that returns the feature maps ``levels``, finest first.

    Stages that no wanted level needs are dropped (timm's efficientnets keep and run them).
    """
    overlay = {"file": weights_file} if weights_file else None
    encoder: Any = timm.create_model(
        name,
        features_only=True,
        in_chans=3,
        out_indices=levels,
        pretrained=pretrained or weights_file is not None,
        pretrained_cfg_overlay=overlay,
    )
    if hasattr(encoder, "_stage_out_idx"):
        del encoder.blocks[max(encoder._stage_out_idx) :]
    return encoder


def feature_channels(encoder: Any) -> list[int]:
    """Return the channels of a timm encoder's feature maps, finest first."""
    return encoder.feature_info.channels()
