"""The networks of the two stages as the authors published them, plainly: one study, no batching, no tricks.

Parameter names are those of the published checkpoints (solution write-up, section 7), so that their state
dicts load strictly. Nothing here is shared with the kernel: that is what makes it a reference.
"""

import timm
import torch
from torch import nn
from torch.nn import functional as F

HEAD_SITES = ((0, 5), (5, 15), (15, 25))  # spinal, foraminal, subarticular


class DecoderBlock(nn.Module):
    """Double the size (nearest), join the skip, convolve twice."""

    def __init__(self, channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(channels + skip_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
        self.conv2 = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x, skip):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.conv2(self.conv1(x))


class Segmenter(nn.Module):
    """(slice, 3, 256, 256) -> logits (slice, class, 256, 256)."""

    def __init__(self, encoder: str, feature_levels: int, decoder_channels, classes: int):
        super().__init__()
        # All stages are built, as published; only the first feature levels are used.
        self.extracter = timm.create_model(encoder, features_only=True, in_chans=3, pretrained=False)
        self.feature_levels = feature_levels
        features = list(self.extracter.feature_info.channels())[:feature_levels]
        skips = [*features[:-1][::-1], 0]
        inputs = [features[-1], *decoder_channels[:-1]]
        self.decoder = nn.Module()
        self.decoder.blocks = nn.ModuleList(
            DecoderBlock(*widths) for widths in zip(inputs, skips, decoder_channels, strict=True)
        )
        self.head = nn.Sequential(nn.Conv2d(decoder_channels[-1], classes, 3, padding=1))

    def forward(self, x):
        features = self.extracter(x)[: self.feature_levels]
        x = features[-1]
        skips = [*features[:-1][::-1], None]
        for block, skip in zip(self.decoder.blocks, skips, strict=True):
            x = block(x, skip)
        return self.head(x)


class LstmPointer(nn.Module):
    """(slice, 3, 256, 256) -> logits (slice, class); padded slices are slices like others."""

    def __init__(self, encoder: str, hidden: int, classes: int, reads_positions: bool):
        super().__init__()
        self.extracter = timm.create_model(encoder, features_only=True, in_chans=3, pretrained=False)
        width = self.extracter.feature_info.channels()[-1]
        self.rnn = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * hidden, classes))
        self.position = nn.Parameter(torch.zeros(width)) if reads_positions else None

    def forward(self, x, present, positions=None):
        features = with_positions(self.extracter(x)[-1].mean(dim=(2, 3)), positions, self.position)
        return self.out(self.rnn(features[None])[0][0])


class TransformerPointer(nn.Module):
    """(slice, 3, 256, 256), present (slice,) -> logits (slice, class); padded slices are not attended to."""

    def __init__(self, encoder: str, hidden: int, classes: int, reads_positions: bool):
        super().__init__()
        self.extracter = timm.create_model(encoder, features_only=True, in_chans=3, pretrained=False)
        width = self.extracter.feature_info.channels()[-1]
        self.dense = nn.Linear(width, hidden)
        self.transformer = RobertaPreNorm(hidden)
        self.out = nn.Sequential(nn.Dropout(0.3), nn.Linear(hidden, classes))
        self.position = nn.Parameter(torch.zeros(width)) if reads_positions else None

    def forward(self, x, present, positions=None):
        features = with_positions(self.extracter(x)[-1].mean(dim=(2, 3)), positions, self.position)
        return self.out(self.transformer(self.dense(features), present))


def with_positions(features, positions, vector):
    """Add to each slice's features (slice, feature) its position in mm over 20, times a learnt vector, if any."""
    if vector is None:
        return features
    return torch.stack([row + mm / 20 * vector for row, mm in zip(features, positions, strict=True)])


def names(**modules) -> nn.Module:
    """Return a module that only holds others by name."""
    holder = nn.Module()
    for name, module in modules.items():
        holder.add_module(name, module)
    return holder


class RobertaPreNorm(nn.Module):
    """One encoder layer, RoBERTa's conventions, layer norm before attention and before the two-layer net."""

    HEADS, POSITIONS, FIRST_POSITION, EPSILON = 4, 512, 2, 1e-12

    def __init__(self, hidden: int):
        super().__init__()

        def norm():
            return nn.LayerNorm(hidden, eps=self.EPSILON)

        def square():
            return nn.Linear(hidden, hidden)

        self.embeddings = names(
            position_embeddings=nn.Embedding(self.POSITIONS, hidden),
            token_type_embeddings=nn.Embedding(2, hidden),
            LayerNorm=norm(),
        )
        layer = names(
            attention=names(
                LayerNorm=norm(),
                self=names(query=square(), key=square(), value=square()),
                output=names(dense=square()),
            ),
            intermediate=names(LayerNorm=norm(), dense=nn.Linear(hidden, 4 * hidden)),
            output=names(dense=nn.Linear(4 * hidden, hidden)),
        )
        self.encoder = names(layer=nn.ModuleList([layer]))
        self.LayerNorm = norm()

    def forward(self, x, present):
        length, hidden = x.shape
        positions = torch.arange(length, device=x.device) + self.FIRST_POSITION
        x = (
            x
            + self.embeddings.position_embeddings(positions)
            + self.embeddings.token_type_embeddings.weight[0]
        )
        x = self.embeddings.LayerNorm(x)
        layer = self.encoder.layer[0]
        normed = layer.attention.LayerNorm(x)
        attend = layer.attention.self
        query, key, value = (
            linear(normed).reshape(length, self.HEADS, hidden // self.HEADS).transpose(0, 1)
            for linear in (attend.query, attend.key, attend.value)
        )
        scores = query @ key.transpose(1, 2) / (hidden // self.HEADS) ** 0.5
        scores = scores.masked_fill(~present[None, None], torch.finfo(scores.dtype).min)
        mixed = (scores.softmax(dim=-1) @ value).transpose(0, 1).reshape(length, hidden)
        x = x + layer.attention.output.dense(mixed)
        wide = F.gelu(layer.intermediate.dense(layer.intermediate.LayerNorm(x)))
        return self.LayerNorm(x + layer.output.dense(wide))


def build_classifier(config: dict) -> nn.Module:
    """Return an untrained classifier."""
    return Classifier(config).eval()


def build_detector(config: dict, classes: int) -> nn.Module:
    """Return an untrained network of one description, with ``segmenter`` and ``pointer``."""
    pointers = {"lstm": LstmPointer, "transformer": TransformerPointer}
    return names(
        segmenter=Segmenter(config["encoder"], config["feature_levels"], config["decoder_channels"], classes),
        pointer=pointers[config["pointer"]](
            config["pointer_encoder"], config["hidden"], classes, config.get("slice_positions", False)
        ),
    ).eval()


class Classifier(nn.Module):
    """Crops of 25 sites, (slice, 128, 128) each -> logits (25, 3) along one of the sequence axes, or each alone."""

    def __init__(self, config: dict):
        super().__init__()
        self.sequence = config["sequence"]
        backbone = timm.create_model(config["backbone"], num_classes=0, in_chans=1, pretrained=False)
        self.cnn = names(backbone=backbone)
        with torch.no_grad():
            width = backbone.eval()(torch.zeros(1, 1, 128, 128)).shape[1]

        def lstm():
            return nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)

        self.rnn1, self.rnn2 = lstm(), lstm()
        regions = self.sequence == "level_region"
        if regions:
            self.rnn3 = lstm()
        self.pooler = names(
            fc=nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        )
        self.out1, self.out2, self.out3 = (
            nn.Sequential(nn.Dropout(rate), nn.Linear(width * 2 if regions else width, 3))
            for rate in config["dropout"]
        )

    def pool(self, x):
        """Return the attention-weighted mean over the slices of a site: (slice, H) -> (H,)."""
        return (self.pooler.fc(x).softmax(dim=0) * x).sum(dim=0)

    def forward(self, crops, groups=range(5)):
        """Grade with the sites of these groups in the sequences; the rows of others mean nothing."""
        held = [5 * group + level for group in groups for level in range(5)]
        features = [self.cnn.backbone(crops[site][:, None]) for site in held]  # (slice, H) of each
        found = self.sites(features)
        sites = found.new_zeros(25, found.shape[1])
        sites[held] = found
        heads = (self.out1, self.out2, self.out3)
        return torch.cat([head(sites[a:b]) for head, (a, b) in zip(heads, HEAD_SITES, strict=True)])

    def sites(self, features):
        """Return what the heads see, (25, H or 2H), of 25 sites' slice features; of fewer groups, fewer sites."""
        width = features[0].shape[-1]
        groups = len(features) // 5
        if self.sequence == "level_slices":
            pooled = [None] * len(features)
            for level in range(5):
                sites = range(level, len(features), 5)
                mixed = self.rnn1(torch.cat([features[site] for site in sites])[None])[0][0]
                lengths = [len(features[site]) for site in sites]
                for site, own in zip(sites, mixed.split(lengths), strict=True):
                    pooled[site] = self.pool(own)
            return torch.stack(pooled)
        pooled = torch.stack([self.pool(self.rnn1(site[None])[0][0]) for site in features])
        if self.sequence == "alone":
            return pooled
        if self.sequence == "all":
            return self.rnn2(pooled[None])[0][0]
        by_group = pooled.reshape(groups, 5, width)  # (group, level, H)
        across_groups = self.rnn2(by_group.transpose(0, 1))[0].transpose(0, 1).reshape(groups * 5, width)
        if self.sequence == "level":
            return across_groups
        if self.sequence == "level_skip":
            return pooled + across_groups
        across_levels = self.rnn3(by_group)[0].reshape(groups * 5, width)  # level_region
        return torch.cat([across_groups, across_levels], dim=1)
