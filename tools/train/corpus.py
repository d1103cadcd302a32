"""All that training reads: grids, tags and attributes of photos, and batches drawn from them."""
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from decoder import Seen
from encoder import CHANNELS, VIEWS, pool_matrix
from photos import Photo
from pseudo import FIRST, Pseudo, Sights, similar
from sight import Detectors, cross_fit, tag_scores, tag_value, truth
from words import Attribute, Tag, encode

K = 6            # tags that the decoder is given
PLACES = 36      # of the pooled grid
RANDOM_GRID = 0.15  # of the sentences without a photo get the grid of any photo, the others that of a similar one


class Features:
    """Features of a set of photos, or of some of it, in files that stay on disk (see encoder.extract)."""
    def __init__(self, stem: Path, rows: np.ndarray | None = None) -> None:
        self._grid, self._logits = (np.load(stem.with_name(f"{stem.name}.{k}.npy"), mmap_mode="r") for k in ("grid", "logits"))
        self._rows = np.arange(len(self._grid)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def grids(self, first: int, count: int) -> np.ndarray:
        """[count, VIEWS, 81, 1280], fewer at the end."""
        return self._grid[self._rows[first:first + count]].astype(np.float32)

    def logits(self) -> np.ndarray:
        """[n, VIEWS, 17, 1000] float16."""
        return self._logits[self._rows]


def pooled(features: list[Features], file: Path) -> np.ndarray:
    """The grids of some sets, pooled to 6x6, [n, VIEWS, 36, 1280] float16, kept in a file."""
    if not file.exists():
        matrix, at, part = pool_matrix(), 0, file.with_suffix(".part")
        out = np.lib.format.open_memmap(part, "w+", np.float16, (sum(map(len, features)), VIEWS, PLACES, CHANNELS))
        for f in features:
            for i in range(0, len(f), 50):
                block = f.grids(i, 50)
                out[at:at + len(block)] = matrix @ block
                at += len(block)
        out.flush()
        part.rename(file)
    return np.load(file, mmap_mode="r")


def first_tags(logits: np.ndarray, tags: list[Tag]) -> tuple[np.ndarray, np.ndarray]:
    """[n, views, 17, 1000] -> numbers and scores of the first tags, [views, n, FIRST]."""
    numbers, scores = [], []
    for view in range(logits.shape[1]):
        s = np.concatenate([tag_scores(logits[i:i + 200, view], tags) for i in range(0, len(logits), 200)])
        best = np.argsort(-s, 1, kind="stable")[:, :FIRST]
        numbers.append(best)
        scores.append(np.take_along_axis(s, best, 1))
    return np.stack(numbers), np.stack(scores)


def look(logits: np.ndarray, tags: list[Tag], detectors: Detectors) -> Sights:
    numbers, scores = first_tags(logits, tags)
    whole = logits[:, :, 0].astype(np.float32)
    return Sights(numbers, scores, detectors(whole).swapaxes(0, 1))


def seen(grid: np.ndarray, tags: np.ndarray, scores: np.ndarray, attributes: np.ndarray) -> Seen:
    return Seen(torch.from_numpy(grid.astype(np.float32)), torch.from_numpy(tags[:, :K].astype(np.int64)),
                torch.from_numpy(tag_value(scores[:, :K]).astype(np.float32)), torch.from_numpy(attributes.astype(np.float32)))


@dataclass
class Item:
    """A photo (its number), or sentences without one (minus their number, minus one)."""
    number: int
    captions: list[list[int]]
    taught: bool = True  # whether teachers know what it is about


class Corpus:
    """Training photos with captions first, then photos with labels only; sentences without photos."""
    def __init__(self, photos: list[Photo], features: list[Features], everyday: np.ndarray, sentences: list[list[list[str]]], words: list[str],
                 tags: list[Tag], attributes: list[Attribute], class_rows: np.ndarray, cache: Path, longest: int = 18,
                 everyday_times: int = 3, detectors: Detectors | None = None, new: int = 0) -> None:
        """everyday (bool of each photo): more alike to what the sentences are about. detectors: of attributes, if not to be trained.
        new: of the sentences, the last that no teacher knows."""
        cache.mkdir(parents=True, exist_ok=True)
        index = {w: i for i, w in enumerate(words)}
        ids = lambda captions: [encode(c, index, longest) for c in captions]
        self.grid = pooled(features, cache / "grid.npy")
        known = np.stack([truth(p, attributes) for p in photos])
        saved = cache / "sights.npz"
        if saved.exists():
            z = np.load(saved)
            self.detectors = Detectors(z["weight"], z["bias"])
            self.sights = Sights(z["tags"], z["scores"], z["attributes"])
        else:
            parts = [f.logits() for f in features]
            whole = np.concatenate([x[:, :, 0] for x in parts]).astype(np.float32)
            self.detectors, scores = (detectors, detectors(whole)) if detectors else cross_fit(whole, known, np.where(everyday, 3.0, 1.0))
            numbers, values = zip(*(first_tags(x, tags) for x in parts))
            self.sights = Sights(np.concatenate(numbers, 1), np.concatenate(values, 1), scores.swapaxes(0, 1))
            np.savez(saved, weight=self.detectors.weight, bias=self.detectors.bias, tags=self.sights.tags, scores=self.sights.scores,
                     attributes=self.sights.attributes)
        self.captioned = sum(bool(p.captions) for p in photos)
        n = self.captioned
        real = Sights(*(x[:, :n] for x in (self.sights.tags, self.sights.scores, self.sights.attributes)))
        self.pseudo = Pseudo(tags, attributes, class_rows, real, [p.captions for p in photos[:n]], known[:n], everyday[:n])
        said = lambda p: Counter(w for c in p.captions for w in c) or Counter(w for label in p.labels for w in label.split("_"))
        self.neighbours = similar([Counter(w for c in g for w in c) for g in sentences], [said(p) for p in photos])
        self.named = [self.pseudo.names(g) for g in sentences]
        self.said = [self.pseudo.attributes_said(g) for g in sentences]
        self.items = [Item(i, ids(p.captions)) for i, p in enumerate(photos[:n]) for _ in range(everyday_times if everyday[i] else 1)]
        self.items += [Item(-1 - j, ids(g), j < len(sentences) - new) for j, g in enumerate(sentences)]

    def see(self, items: list[Item], rng: np.random.Generator) -> Seen:
        """What the decoder is given of each, views and pseudo-photos drawn anew."""
        rows = []
        for item in items:
            view = rng.integers(VIEWS)
            if item.number >= 0:
                i, s = item.number, self.sights
                rows.append((self.grid[i, view], s.tags[view, i], s.scores[view, i], s.attributes[view, i]))
            else:
                j = -1 - item.number
                near = self.neighbours[j]
                alike = len(near) and rng.random() >= RANDOM_GRID
                i = int(near[rng.integers(len(near))] if alike else rng.integers(len(self.grid)))
                rows.append((self.grid[i, view], *self.pseudo.draw(self.named[j], self.said[j], rng)))
        return seen(*(np.stack(x) for x in zip(*rows)))
