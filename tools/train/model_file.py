"""The model file: weights, tables and all settings in one safetensors file (README.md, "The model file")."""
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from corpus import K
from decoder import SUPPRESS, Decoder, Sizes
from encoder import MEAN, SCALE, SIZE
from pseudo import FIRST
from search import LEAST, OFTEN, UNFINISHED
from sight import TAIL, WINDOW_SHARE, Detectors
from words import END, PAD, START, UNK, Attribute, Tag


def write(path: Path, decoder: Decoder, encoder: dict[str, Tensor], detectors: Detectors, words: list[str], tags: list[Tag],
          attributes: list[Attribute], name: str, licence: str) -> None:
    tensors = {f"encoder.{k}": v for k, v in encoder.items() if not k.endswith("num_batches_tracked")}
    tensors |= {f"decoder.{k}": v for k, v in decoder.state_dict().items()}
    tensors |= {"attributes.weight": torch.from_numpy(detectors.weight), "attributes.bias": torch.from_numpy(detectors.bias)}

    def stored(key: str, value: Tensor) -> Tensor:
        single = key.endswith("bias") or "_bn" in key or "bias_" in key
        return value.detach().cpu().to(torch.float32 if single else torch.float16).contiguous()

    index = {w: i for i, w in enumerate(words)}
    numbers = lambda some: [index[w] for w in some if w in index]
    about = {
        "format_version": 1,
        "name": name,
        "encoder": {"family": "efficientnet-lite2", "prefix": "encoder."},
        "decoders": [{"family": "semantic-attention", "prefix": "decoder.", "beam": 3, "length_penalty": 0.7, "max_length": 18}],
        "sizes": asdict(decoder.sizes),
        "preprocess": {"width": SIZE, "height": SIZE, "resize": "squash", "filter": "bicubic", "mean": [MEAN / 255] * 3, "std": [SCALE / 255] * 3},
        "vocabulary": words,
        "special": {"pad": PAD, "start": START, "end": END, "unk": UNK},
        "suppress": sorted(SUPPRESS),
        "tags": {"given": K, "kept": FIRST, "tail": TAIL, "window_share": WINDOW_SHARE, "least": LEAST,
                 "table": [{"name": t.name, "classes": t.classes, "words": numbers(t.words), "sure": t.sure} for t in tags]},
        "attributes": {"prefix": "attributes.", "names": [a.name for a in attributes]},
        "rules": {"often": numbers(sorted(OFTEN)), "unfinished": numbers(sorted(UNFINISHED))},
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

    decoder = Decoder(Sizes(**about["sizes"]))
    decoder.load_state_dict(of("decoder."))
    words = about["vocabulary"]
    tags = [Tag(t["name"], tuple(t["classes"]), tuple(words[i] for i in t["words"]), t["sure"]) for t in about["tags"]["table"]]
    return Model(decoder.eval(), of("encoder."), Detectors(*(of("attributes.")[k].numpy() for k in ("weight", "bias"))), words, tags, about)
