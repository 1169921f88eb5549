"""Stage 2: the network that grades all 25 sites of a study from their crops.

Every slice of every crop goes alone through an image backbone. LSTMs then read along the five slices of a site,
and after that along sites that belong together (the 5th-place write-up, stage 2).
"""

import timm
import torch
from torch import Tensor, nn

from lumbar.networks.architecture import ONE_LSTM, ClassifierConfig
from lumbar.sites import CONDITION_SITES, GROUPS, LEVELS, SEVERITIES

CANAL = 0  # index of the canal among the ``GROUPS``
SMALL_IMAGE = 32  # pixels: the stride of timm's backbones, so the last feature map has one pixel


class AttentionPool(nn.Module):
    """Weighted mean over the slices of a site: (..., slice, H) -> (..., H)."""

    def __init__(self, width: int):
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score(torch.tanh(self.hidden(x))).softmax(dim=-2)
        return (weights * x).sum(dim=-2)


class ClassifierNetwork(nn.Module):
    """Crops (B, 25, S, 128, 128), values 0..1 -> logits (B, 25, 3), sites in the order of ``SITES``.

    S is five, and more with ``config.canal_margin``. Then the canal's crops fill all slices, the others the middle
    five.

    ``pretrained`` starts the backbone from timm's hub, ``backbone_file`` from a local file.
    """

    def __init__(self, config: ClassifierConfig, pretrained: bool = False, backbone_file: str | None = None):
        super().__init__()
        self.config = config
        self.backbone = timm.create_model(
            config.backbone,
            num_classes=0,
            in_chans=1,
            pretrained=pretrained or backbone_file is not None,
            pretrained_cfg_overlay={"file": backbone_file} if backbone_file else None,
        )
        width = feature_width(self.backbone)
        self.rnn1 = bidirectional(width)
        self.pool = AttentionPool(width)
        if config.sequence not in ONE_LSTM:
            self.rnn2 = bidirectional(width)
        if config.sequence == "level_region":
            self.rnn3 = bidirectional(width)
        head_width = 2 * width if config.sequence == "level_region" else width
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Dropout(p), nn.Linear(head_width, len(SEVERITIES))) for p in config.dropout
        )
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's features of single slices: (N, 1, 128, 128) -> (N, H)."""
        return self.backbone(images.contiguous(memory_format=torch.channels_last))

    def grade(self, features: Tensor, groups: list[int] | None = None) -> Tensor:
        """Return logits (B, 25, 3) from the features (B, 25, S, H) of every site's slices.

        Args:
            features: Of all sites.
            groups: Indices of the ``GROUPS`` that the sequences hold, None for all. The logits of other groups depend
                on nothing and mean nothing.
        """
        return self.head_logits(self.site_features(features, groups))

    def site_features(self, features: Tensor, groups: list[int] | None = None) -> Tensor:
        """Return the input of the heads: (B, 25, S, H) -> (B, 25, H), 2H for ``"level_region"``; groups as above."""
        by_group = features.unflatten(1, (len(GROUPS), len(LEVELS)))
        if groups is None:
            groups = list(range(len(GROUPS)))
            return self.relate(self.blocks(by_group, groups)).flatten(1, 2)
        related = self.relate(self.blocks(by_group[:, groups], groups))
        sites = related.new_zeros(len(related), len(GROUPS), *related.shape[2:])
        sites[:, groups] = related
        return sites.flatten(1, 2)

    def head_logits(self, sites: Tensor) -> Tensor:
        """Return logits (B, 25, 3) of the sites' features, each condition's by its own head."""
        heads = zip(self.heads, CONDITION_SITES.values(), strict=True)
        return torch.cat([head(sites[:, rows]) for head, rows in heads], dim=1)

    def blocks(self, x: Tensor, groups: list[int]) -> list[Tensor]:
        """Return x (B, group, level, S, H) as parts of as many slices each: the canal's, and the other groups'."""
        margin, has_canal = self.config.canal_margin, CANAL in groups
        if not margin:
            return [x]
        blocks = [x[:, :has_canal], x[:, has_canal:, :, margin:-margin]]
        return [block for block in blocks if block.shape[1]]

    def relate(self, blocks: list[Tensor]) -> Tensor:
        """Read along the sequences: blocks (B, group, level, slice, H) -> (B, group, level, H or 2H) of all groups."""
        sequence = self.config.sequence
        if sequence == "level_slices":
            rows = [block.transpose(1, 2).flatten(2, 3) for block in blocks]  # (B, level, group * slice, H)
            across = read_along(self.rnn1, torch.cat(rows, dim=2))
            parts = zip(across.split([row.shape[2] for row in rows], dim=2), blocks, strict=True)
            sites = [
                self.pool(part.unflatten(2, (block.shape[1], block.shape[3])).transpose(1, 2))
                for part, block in parts
            ]
            return torch.cat(sites, dim=1)
        site = torch.cat([self.pool(read_along(self.rnn1, block)) for block in blocks], dim=1)
        if sequence == "alone":
            return site
        if sequence == "all":
            return read_along(self.rnn2, site.flatten(1, 2)).unflatten(1, site.shape[1:3])
        level = read_along(self.rnn2, site.transpose(1, 2)).transpose(1, 2)
        if sequence == "level_skip":
            return site + level
        if sequence == "level_region":
            return torch.cat([level, read_along(self.rnn3, site)], dim=-1)
        return level

    def forward(self, crops: Tensor) -> Tensor:
        batch = crops.shape[0]
        features = self.features(crops.flatten(0, 2).unsqueeze(1))
        return self.grade(features.view(batch, *crops.shape[1:3], -1))


def feature_width(backbone: nn.Module) -> int:
    """Measure the width of a backbone's features on one small black image.

    No attribute of timm's networks holds it in every version: ``head_hidden_size`` is missing from MetaFormer in
    some, and ``num_features`` is the width before the last layer of a MobileNet.

    Args:
        backbone: Maps images (N, 1, H, W) to features (N, H); just made, so on the CPU and in training mode.

    Raises:
        ValueError: The backbone does not return one vector per image.
    """
    backbone.eval()  # batch norms in training mode refuse maps of one pixel
    with torch.no_grad():
        features = backbone(torch.zeros(1, 1, SMALL_IMAGE, SMALL_IMAGE))
    backbone.train()
    if features.ndim != 2:
        raise ValueError(
            f"backbone {type(backbone).__name__}: got features of shape {tuple(features.shape)}, expected "
            "(image, feature); choose a backbone that pools its last feature map"
        )
    return features.shape[1]


def bidirectional(width: int) -> nn.LSTM:
    return nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)


def read_along(rnn: nn.LSTM, x: Tensor) -> Tensor:
    """Run an LSTM along the second last axis: (..., step, H) -> (..., step, H); nothing else mixes."""
    return rnn(x.flatten(0, -3))[0].view(x.shape)
