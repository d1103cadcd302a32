"""What a model file says of photos, computed by PyTorch in float32 on the file's own (float16) weights.

    python evaluate.py MODEL.safetensors PHOTOS [--names FILE] [--json OUT.json]

PHOTOS: a source as recipe.py takes it, or a folder of photos. Prints captions, and scores if the source has captions. --json writes
{photo: {"caption": text, "ids": word ids, "tags": [[name, score], ...]}}.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch

import model_file
from corpus import look, seen
from encoder import Encoder, pool_matrix, read_photo, to_input
from metrics import line, report
from photos import SUFFIXES, Photo, captioned
from search import Rules, beams, winner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--names", type=Path, help="names of the photos to take, one a line: `photo.jpg` or `folder/photo.jpg`")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--beam", type=int, default=3)
    a = parser.parse_args()
    torch.set_num_threads(1)
    model = model_file.read(a.model)
    encoder, rules, pool = Encoder(model.encoder), Rules.of(model.words), pool_matrix()
    photos = captioned(a.photos) or [Photo(p) for p in sorted(a.photos.iterdir()) if p.suffix.lower() in SUFFIXES]
    if a.names:
        names = set(a.names.read_text(encoding="utf-8").split())
        photos = [p for p in photos if p.name in names or p.path.name in names]
    captions, out = [], {}
    for i in range(0, len(photos), 20):
        some = photos[i:i + 20]
        grid = encoder.grid(np.stack([to_input(read_photo(p.path)) for p in some]))
        sights = look(encoder.logits(grid)[:, None], model.tags, model.detectors)
        tags, scores = sights.tags[0], sights.scores[0]
        found = beams(model.decoder, seen(pool @ grid, tags, scores, sights.attributes[0]), a.beam, rules=rules)
        for photo, hypotheses, t, s in zip(some, found, tags, scores):
            ids = winner(hypotheses)
            captions.append([model.words[i] for i in ids])
            out[photo.path.name] = {"caption": " ".join(captions[-1]), "ids": ids,
                               "tags": [[model.tags[n].name, round(float(x), 4)] for n, x in zip(t, s)]}
            print(f"{photo.path.name}: {out[photo.path.name]['caption']}")
    if photos and photos[0].captions:
        print(line(report(captions, [p.captions for p in photos])))
    if a.json:
        a.json.write_text(json.dumps(out, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
