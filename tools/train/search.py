"""Beam search over many photos at once, with the rules that end sentences well."""
from dataclasses import dataclass

import torch
from torch import Tensor

from decoder import SUPPRESS, Decoder, Seen
from words import END, START

# words that a caption may say twice
OFTEN = frozenset("""a an the of in on at with and or to is are be being has have by for from into onto over under up down out off as that this
it its it's his her their him them he she they while who which some other another one two three top front next side near behind through
around each all not there between along across against""".split())
# words that no caption ends on
UNFINISHED = frozenset("""a an the of in on at with and or to is are be being has have by for from into onto over as that this its his her their
while who which some another near behind through between along across against his two three four very wearing holding riding playing
white black blue red green yellow brown pink purple grey gray tan blond blonde bright dark colored colorful large small big little tiny
young old older tall long short different various several many few wooden stuffed striped plaid next front""".split())


@dataclass(frozen=True)
class Rules:
    """Masks over the vocabulary."""
    once: Tensor        # bool: may be said once only
    unfinished: Tensor  # bool: <end> may not follow

    @staticmethod
    def of(words: list[str]) -> "Rules":
        return Rules(torch.tensor([i > 3 and w not in OFTEN for i, w in enumerate(words)]), torch.tensor([w in UNFINISHED for w in words]))

    def to(self, device: torch.device) -> "Rules":
        return Rules(self.once.to(device), self.unfinished.to(device))


@dataclass
class Hypothesis:
    ids: list[int]   # without <start>, with <end> if finished
    score: float     # sum of log-probabilities
    finished: bool


@torch.no_grad()
def beams(decoder: Decoder, seen: Seen, k: int = 3, longest: int = 18, rules: Rules | None = None) -> list[list[Hypothesis]]:
    """Hypotheses of each photo. Every step takes the best continuations by summed log-probability, as many as slots are left; those
    with <end> are finished and their slot is gone. Log-probabilities are those of the whole softmax; forbidden words are never taken."""
    memory, p = decoder.read(seen), len(seen.grid)
    h, c = (x.repeat_interleave(k, 0) for x in (memory.h, memory.c))
    device = h.device
    tokens = torch.full((p * k,), START, device=device)
    scores = torch.full((p, k), -torch.inf, device=device)
    scores[:, 0] = 0
    used = torch.zeros(p * k, decoder.sizes.words, dtype=torch.bool, device=device)
    base = torch.arange(p, device=device)[:, None] * k
    paths: list[list[list[int]]] = [[[]] * k for _ in range(p)]
    found: list[list[Hypothesis]] = [[] for _ in range(p)]
    for step in range(longest):
        logits, h, c = decoder.step(tokens, h, c, memory)
        logp = torch.log_softmax(logits, 1)
        logp[:, SUPPRESS] = -torch.inf
        if step == 0:
            logp[:, END] = -torch.inf
        if rules is not None:
            logp.masked_fill_(used, -torch.inf)
            logp[:, END].masked_fill_(rules.unfinished[tokens], -torch.inf)
        best, at = (scores.view(-1, 1) + logp).view(p, -1).topk(k, 1)
        rows, words = at // logp.shape[1], at % logp.shape[1]
        ended = (words == END).tolist()
        kept = [[paths[i][r] + [w] for r, w in zip(rs, ws)] for i, (rs, ws) in enumerate(zip(rows.tolist(), words.tolist()))]
        values = best.tolist()
        for i in range(p):
            slots = k - len(found[i])
            for n in range(k):
                if n >= slots or values[i][n] == -torch.inf:
                    best[i, n] = -torch.inf
                elif ended[i][n]:
                    found[i].append(Hypothesis(kept[i][n], values[i][n], True))
                    best[i, n] = -torch.inf
        paths, scores, tokens = kept, best, words.flatten()
        flat = (base + rows).flatten()
        h, c, used = h[flat], c[flat], used[flat]
        if rules is not None:
            used[torch.arange(p * k, device=device), tokens] |= rules.once[tokens]
        if all(len(f) == k for f in found) or not torch.isfinite(scores).any():
            break
    for i in range(p):
        if not found[i]:
            found[i] = [Hypothesis(path, score, False) for path, score in zip(paths[i], scores[i].tolist()) if score > -torch.inf]
    return found


def winner(hypotheses: list[Hypothesis], penalty: float = 0.7) -> list[int]:
    """Word ids of the hypothesis with the greatest score / length^penalty (length counts <end>), without <end>."""
    best = max(hypotheses, key=lambda h: h.score / len(h.ids) ** penalty)
    return best.ids[:-1] if best.finished else best.ids
