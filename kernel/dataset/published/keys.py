"""The keys of the authors' published checkpoints -> those of ``lumbar.networks``, RoBERTa's tensors in torch's form."""

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lumbar.faults import BundleError

DETECTOR_KEYS = (
    (r"(segmenter|pointer)\.(?:extracter|extractor)\.", r"\1.encoder."),
    (r"segmenter\.decoder\.blocks\.", "segmenter.decoder."),
    (r"segmenter\.head\.0\.", "segmenter.head."),
    (r"pointer\.rnn\.", "pointer.sequence.lstm."),
    (r"pointer\.out\.1\.", "pointer.head."),
    (r"pointer\.dense\.", "pointer.sequence.dense."),
    (r"pointer\.transformer\.embeddings\.LayerNorm\.", "pointer.sequence.norm_in."),
    (r"pointer\.transformer\.LayerNorm\.", "pointer.sequence.norm_out."),
    (
        r"pointer\.transformer\.encoder\.layer\.0\.attention\.output\.dense\.",
        "pointer.sequence.layer.self_attn.out_proj.",
    ),
    (r"pointer\.transformer\.encoder\.layer\.0\.attention\.LayerNorm\.", "pointer.sequence.layer.norm1."),
    (r"pointer\.transformer\.encoder\.layer\.0\.intermediate\.LayerNorm\.", "pointer.sequence.layer.norm2."),
    (r"pointer\.transformer\.encoder\.layer\.0\.intermediate\.dense\.", "pointer.sequence.layer.linear1."),
    (r"pointer\.transformer\.encoder\.layer\.0\.output\.dense\.", "pointer.sequence.layer.linear2."),
    (r"pointer\.transformer\.encoder\.layer\.0\.attention\.self\.", "roberta.attention."),
    (r"pointer\.transformer\.embeddings\.position_ids", None),
    (r"pointer\.transformer\.embeddings\.", "roberta.embeddings."),
    (r"pointer\.transformer\.pooler\.", None),  # never used
)
CLASSIFIER_KEYS = (
    (r"cnn\.backbone\.", "backbone."),
    (r"(rnn[12])\.", r"\1."),
    (r"pooler\.fc\.0\.", "pool.hidden."),
    (r"pooler\.fc\.2\.", "pool.score."),
    *((rf"out{i + 1}\.1\.", f"heads.{i}.1.") for i in range(3)),
)


def renamed(tensors: dict[str, Tensor], table: tuple, file: Path) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in tensors.items():
        rule = next(((pattern, name) for pattern, name in table if re.match(pattern, key)), None)
        if rule is None:
            raise BundleError(f"{file}: unknown key {key!r}; not a checkpoint of a published family, refused")
        if rule[1] is not None:
            yield re.sub(rule[0], rule[1], key, count=1), tensor


def fold_transformer(tensors: dict[str, Tensor], file: Path) -> None:
    """Bring RoBERTa's tensors into torch's form, in place.

    Positions start at index 2 and token type 0 is added to each; query, key and value are one matrix. An
    LSTM pointer's ``dense`` is not used (family A carries it).
    """
    if "pointer.sequence.lstm.weight_hh_l0" in tensors:
        tensors.pop("pointer.sequence.dense.weight", None)
        tensors.pop("pointer.sequence.dense.bias", None)
        return
    try:
        positions = tensors.pop("roberta.embeddings.position_embeddings.weight").float()[2:]
        tensors["pointer.sequence.positions"] = (
            positions + tensors.pop("roberta.embeddings.token_type_embeddings.weight").float()[0]
        )
        for kind in ("weight", "bias"):
            parts = [tensors.pop(f"roberta.attention.{name}.{kind}") for name in ("query", "key", "value")]
            tensors[f"pointer.sequence.layer.self_attn.in_proj_{kind}"] = torch.cat(parts)
    except KeyError as error:
        raise BundleError(f"{file}: no tensor {error}, expected an LSTM or a RoBERTa pointer") from error
