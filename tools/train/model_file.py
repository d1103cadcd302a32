"""The model file: weights, tables and all settings in one safetensors file (README.md, "The model file")."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from corpus import K
from decoder import SUPPRESS, Decoder, Sizes
from encoder import GRID, MEAN, SCALE, SIZE
from search import OFTEN, UNFINISHED
from sight import TAIL, WINDOW_SHARE, Detectors
from words import END, PAD, START, UNK, Attribute, Tag


def write(path: Path, decoder: Decoder, encoder: dict[str, Tensor], detectors: Detectors, words: list[str], tags: list[Tag],
          attributes: list[Attribute], name: str, licence: str) -> None:
    tensors = {f"encoder.{k}": v for k, v in encoder.items() if not k.endswith("num_batches_tracked")}
    tensors |= {f"decoder.{k}": v for k, v in decoder.state_dict().items()}
    tensors |= {"decoder.detector.weight": torch.from_numpy(detectors.weight), "decoder.detector.bias": torch.from_numpy(detectors.bias)}

    def stored(key: str, value: Tensor) -> Tensor:
        single = key.endswith("bias") or "_bn" in key or "bias_" in key
        return value.detach().cpu().to(torch.float32 if single else torch.float16).contiguous()

    index = {w: i for i, w in enumerate(words)}
    numbers = lambda some: [index[w] for w in some if w in index]
    about = {
        "format_version": 1,
        "name": name,
        "encoder": {"family": "efficientnet-lite2", "prefix": "encoder.", "grid": [GRID, GRID]},
        "decoders": [{
            "family": "semantic-attention", "prefix": "decoder.", "beam": 3, "length_penalty": 0.7, "max_length": 18,
            "tags": {"given": K, "tail": TAIL, "window_share": WINDOW_SHARE, "attributes": [a.name for a in attributes],
                     "table": [{"name": t.name, "classes": t.classes, "words": numbers(t.words)} for t in tags]},
            "rules": {"often": numbers(sorted(OFTEN)), "unfinished": numbers(sorted(UNFINISHED))},
        }],
        "preprocess": {"width": SIZE, "height": SIZE, "resize": "squash", "filter": "bicubic", "mean": [MEAN / 255] * 3, "std": [SCALE / 255] * 3},
        "vocabulary": words,
        "special": {"pad": PAD, "start": START, "end": END, "unk": UNK},
        "suppress": sorted(SUPPRESS),
        "licence": licence,
    }
    save_file({k: stored(k, v) for k, v in tensors.items()}, path, {"shadetell": json.dumps(about, ensure_ascii=False, separators=(",", ":"))})


@dataclass
class Model:
    decoder: Decoder
    encoder: dict[str, Tensor]
    detectors: Detectors
    words: list[str]
    tags: list[Tag]
    about: dict[str, Any]


def read(path: Path) -> Model:
    """A model file, its weights widened to float32."""
    with safe_open(path, "pt") as f:
        about = json.loads(f.metadata()["shadetell"])
        state = {k: f.get_tensor(k).float() for k in f.keys()}

    def of(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    state_of = of("decoder.")
    detectors = Detectors(*(state_of.pop(f"detector.{k}").numpy() for k in ("weight", "bias")))
    embed, attributes = state_of["attribute.weight"].shape[::-1]
    decoder = Decoder(Sizes(len(state_of["bias"]), len(state_of["tag.weight"]), attributes, embed,
                            state_of["lstm.weight_hh"].shape[1], len(state_of["grid.bias"])))
    decoder.load_state_dict(state_of)
    words = about["vocabulary"]
    tags = [Tag(t["name"], tuple(t["classes"]), tuple(words[i] for i in t["words"])) for t in about["decoders"][0]["tags"]["table"]]
    return Model(decoder.eval(), of("encoder."), detectors, words, tags, about)
