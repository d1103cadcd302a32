"""What the classifier sees, as the decoder reads it: scores of tags, and of attributes that are learned from captions and labels."""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from photos import Photo
from words import Attribute, Tag

TAIL = 0.002        # taken from each class: the tails of 118 kinds of dog add up otherwise
WINDOW_SHARE = 0.5  # of the best window, beside the whole photo
FOLDS = 3


def tag_scores(logits: np.ndarray, tags: list[Tag]) -> np.ndarray:
    """logits [n, 17, 1000] -> [n, tags]: sum of max(p - TAIL, 0) over the tag's classes, of the whole photo, plus WINDOW_SHARE times the
    greatest of the windows."""
    x = logits.astype(np.float32)
    p = np.exp(x - x.max(-1, keepdims=True))
    p = np.maximum(p / p.sum(-1, keepdims=True) - TAIL, 0)
    sums = np.stack([p[..., list(t.classes)].sum(-1) for t in tags], -1)
    return sums[:, 0] + WINDOW_SHARE * sums[:, 1:].max(1)


def tag_value(score: np.ndarray) -> np.ndarray:
    """The score as the decoder reads it."""
    return np.log(np.maximum(score, 0.001)) / 3 + 1.2


def truth(photo: Photo, attributes: list[Attribute]) -> np.ndarray:
    """1: there, 0: not there, nan: not known. A caption word counts if two captions have it (or the only one)."""
    out = np.full(len(attributes), np.nan, np.float32)
    for j, a in enumerate(attributes):
        if photo.captions:
            said = sum(not a.words.isdisjoint(c) for c in photo.captions)
            out[j] = np.nan if said == 1 and len(photo.captions) > 1 else said > 0
        elif a.labels & photo.labels:
            out[j] = 1
        elif a.labels & photo.labelled:
            out[j] = 0
    return out


@dataclass
class Detectors:
    weight: np.ndarray  # [attributes, inputs]
    bias: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """[..., 1000] -> [..., attributes], each between -1 and 1."""
        return np.tanh(0.5 * (inputs @ self.weight.T + self.bias)).astype(np.float32)


def fit(inputs: np.ndarray, known: np.ndarray, importance: np.ndarray, decay: float = 0.05, steps: int = 150) -> Detectors:
    """Logistic regressions, all at once, by Adam on standardised inputs; importance: of each photo."""
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-3
    x = torch.from_numpy((inputs - mean) / spread)
    y = torch.from_numpy(known)
    mask = ~torch.isnan(y) * torch.from_numpy(importance.astype(np.float32))[:, None]
    y = torch.nan_to_num(y)
    mask = mask / mask.sum(0).clamp(min=1)
    weight = torch.zeros(known.shape[1], inputs.shape[1], requires_grad=True)
    bias = torch.full((known.shape[1],), -2.0, requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=0.01)
    for step in range(steps):
        loss = (F.binary_cross_entropy_with_logits(x @ weight.t() + bias, y, reduction="none") * mask).sum() + decay * weight.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] = 0.01 * (1 - step / steps)
    w = weight.detach().numpy() / spread
    return Detectors(w, bias.detach().numpy() - w @ mean)


def cross_fit(inputs: np.ndarray, known: np.ndarray, importance: np.ndarray) -> tuple[Detectors, np.ndarray]:
    """Detectors of all photos, and for each photo the scores of detectors that have not seen it. inputs: logits [n, views, 1000]."""
    n, views, width = inputs.shape
    fold = np.random.default_rng(0).permutation(n) % FOLDS
    scores = np.zeros((n, views, known.shape[1]), np.float32)

    def fit_on(chosen: np.ndarray) -> Detectors:
        return fit(inputs[chosen, 0], known[chosen], importance[chosen])

    for f in range(FOLDS):
        scores[fold == f] = fit_on(fold != f)(inputs[fold == f].reshape(-1, width)).reshape(-1, views, known.shape[1])
    return fit_on(fold >= 0), scores


def auc(scores: np.ndarray, known: np.ndarray) -> float:
    """Share of (there, not there) pairs in the right order."""
    there, absent = scores[known == 1], scores[known == 0]
    if not len(there) or not len(absent):
        return math.nan
    return float((there[:, None] > absent[None]).mean() + 0.5 * (there[:, None] == absent[None]).mean())
