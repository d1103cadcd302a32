"""Photos that nobody has: what the decoder would be given of a photo of which only sentences are known."""
from collections import Counter
from dataclasses import dataclass

import numpy as np

from sight import auc
from words import Attribute, Tag

FIRST = 10  # tags of a photo that are kept


@dataclass
class Sights:
    """What was seen on photos (views first: [views, n, ...])."""
    tags: np.ndarray        # [views, n, FIRST] numbers of the first tags
    scores: np.ndarray      # [views, n, FIRST]
    attributes: np.ndarray  # [views, n, attributes]


class TagNames:
    """Which tags a set of sentences names."""
    def __init__(self, tags: list[Tag]) -> None:
        self._of_word: dict[str, list[int]] = {}
        for i, tag in enumerate(tags):
            for word in tag.words:
                self._of_word.setdefault(word, []).append(i)

    def __call__(self, captions: list[list[str]]) -> Counter[int]:
        """Number of captions that name each tag."""
        return Counter(t for c in captions for t in {t for word in c for t in self._of_word.get(word, ())})


def similar(documents: list[Counter[str]], pool: list[Counter[str]], count: int = 5, least: float = 0.2) -> list[np.ndarray]:
    """For each document the `count` of the pool that are most alike (cosine of tf-idf), none below `least`."""
    frequency: Counter[str] = Counter(w for d in pool + documents for w in d)
    total = len(pool) + len(documents)
    index = {w: i for i, w in enumerate(w for w, n in frequency.items() if n > 1)}
    weight = np.array([np.log(total / frequency[w]) for w in index], np.float32)

    def matrix(documents: list[Counter[str]]) -> np.ndarray:
        m = np.zeros((len(documents), len(index)), np.float32)
        for row, d in zip(m, documents):
            for word, n in d.items():
                if word in index:
                    row[index[word]] = (1 + np.log(n)) * weight[index[word]]
        return m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-6)

    stored = matrix(pool)
    out = []
    for i in range(0, len(documents), 500):
        cosine = matrix(documents[i:i + 500]) @ stored.T
        best = np.argsort(-cosine, 1)[:, :count]
        out += [b[row[b] >= least] for b, row in zip(best, cosine)]
    return out


class Pseudo:
    """Draws tags, scores and attributes for sentences, from those of real photos.

    A real photo gives the pattern: which of its first tags are right, and all scores. The right ones are replaced by tags of the
    sentences' own nouns; the wrong ones stay, or become tags like a right one. An attribute's score is that of a photo on which the
    attribute is likewise there or not; where detectors are worse on everyday photos than on the others, some are swapped."""
    def __init__(self, tags: list[Tag], attributes: list[Attribute], class_rows: np.ndarray, sights: Sights, captions: list[list[list[str]]],
                 known: np.ndarray, everyday: np.ndarray, everyday_share: float = 0.65) -> None:
        """sights, captions, known (truth of attributes), everyday (bool): of the real photos."""
        self.names, self.attributes, self.sights = TagNames(tags), attributes, sights
        self.right = np.zeros(sights.tags.shape, bool)
        for i, c in enumerate(captions):
            named = self.names(c)
            self.right[:, i] = np.isin(sights.tags[:, i], list(named))
        means = np.stack([class_rows[list(t.classes)].mean(0) for t in tags])
        means -= means.mean(0)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        cosine = means @ means.T
        np.fill_diagonal(cosine, -1)
        self.near = np.argsort(-cosine, 1)[:, :6]
        parts = [np.flatnonzero(~everyday), np.flatnonzero(everyday)]
        self.patterns = parts if all(map(len, parts)) else [np.arange(len(everyday))] * 2
        self.everyday_share = everyday_share
        self.swap = np.zeros(len(attributes))
        self.drawn: list[list[np.ndarray]] = []  # [attribute][there]: scores
        view = sights.attributes[0]
        for j in range(len(attributes)):
            usual, here = (auc(view[part, j], known[part, j]) for part in self.patterns)
            if (known[everyday, j] == 1).sum() >= 8 and usual > here:
                self.swap[j] = min(usual - here, 0.3)
            weights = [view[known[:, j] == there, j] for there in (0, 1)]
            extra = [view[everyday & (known[:, j] == there), j] for there in (0, 1)]
            self.drawn.append([np.concatenate([w] + [e] * 4) if len(w) else np.full(1, -1 + 2 * there, np.float32)
                               for there, (w, e) in enumerate(zip(weights, extra))])

    def attributes_said(self, captions: list[list[str]]) -> np.ndarray:
        """Share of belief that each attribute is there: 0, one half if one caption says so, 1."""
        said = [sum(not a.words.isdisjoint(c) for c in captions) for a in self.attributes]
        return np.minimum(np.array(said), 2) / 2

    def draw(self, named: Counter[int], said: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tags [FIRST], scores [FIRST], attributes."""
        part = self.patterns[int(rng.random() < self.everyday_share)]
        photo, view = part[rng.integers(len(part))], rng.integers(len(self.right))
        right, tags, scores = (x[view, photo].copy() for x in (self.right, self.sights.tags, self.sights.scores))
        # tags that more captions name come first, with chance
        true = sorted(named, key=lambda t: rng.exponential() / named[t] ** 1.5)
        used, place = set(), 0
        for k in range(FIRST):
            if right[k] and place < len(true):
                tags[k] = true[place]
                place += 1
            elif true and (right[k] or tags[k] in named or rng.random() < 0.5):
                tags[k] = self.near[true[rng.integers(len(true))]][rng.integers(6)]
            if tags[k] in used or (not right[k] and tags[k] in named and rng.random() < 0.5):
                tags[k] = rng.integers(len(self.near))
            used.add(tags[k])
        there = (rng.random(len(said)) < said) ^ (rng.random(len(said)) < self.swap)
        attributes = np.array([d[int(t)][rng.integers(len(d[int(t)]))] for d, t in zip(self.drawn, there)], np.float32)
        return tags, scores, attributes
