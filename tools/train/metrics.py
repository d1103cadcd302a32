"""Corpus BLEU (closest reference length) and CIDEr-D over lists of words, computed as the COCO caption tools do."""
import math
from collections import Counter
from collections.abc import Sequence


def ngrams(words: Sequence, most: int = 4) -> Counter:
    return Counter(tuple(words[i:i + n]) for n in range(1, most + 1) for i in range(len(words) - n + 1))


def bleu(candidates: Sequence[Sequence], references: Sequence[Sequence[Sequence]]) -> list[float]:
    """candidates: list of word lists; references: list of lists of word lists. Returns BLEU-1..4 in percent."""
    correct, guess, length, closest = [0] * 4, [0] * 4, 0, 0
    for cand, refs in zip(candidates, references):
        length += len(cand)
        closest += min((abs(len(r) - len(cand)), len(r)) for r in refs)[1]
        best: Counter = Counter()
        for r in refs:
            best |= ngrams(r)
        for gram, n in ngrams(cand).items():
            correct[len(gram) - 1] += min(n, best[gram])
        for k in range(4):
            guess[k] += max(len(cand) - k, 0)
    ratio = (length + 1e-15) / (closest + 1e-9)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    out, product = [], 1.0
    for k in range(4):
        product *= (correct[k] + 1e-15) / (guess[k] + 1e-9)
        out.append(100 * penalty * product ** (1 / (k + 1)))
    return out


class CiderD:
    """CIDEr-D against the references of a fixed set of photos; document frequencies are those of that set."""
    def __init__(self, references: Sequence[Sequence[Sequence]], sigma: float = 6.0) -> None:
        self.sigma = sigma
        self.df: Counter = Counter()
        for refs in references:
            self.df.update({g for r in refs for g in ngrams(r)})
        self.log_n = math.log(max(len(references), 1))
        self.refs = [[self._vector(r) for r in refs] for refs in references]

    def _vector(self, words: Sequence) -> tuple[dict[tuple, float], list[float], int]:
        vec: dict[tuple, float] = {}
        norm, length = [0.0] * 4, max(len(words) - 1, 0)
        for gram, n in ngrams(words).items():
            v = n * (self.log_n - math.log(max(1.0, self.df.get(gram, 0))))
            vec[gram] = v
            norm[len(gram) - 1] += v * v
        return vec, [math.sqrt(x) for x in norm], length

    def score(self, photo: int, words: Sequence) -> float:
        """CIDEr-D of one candidate (1.0 = 100 in the tables)."""
        vec, norm, length = self._vector(words)
        total = 0.0
        for rvec, rnorm, rlength in self.refs[photo]:
            dots = [0.0] * 4
            for gram, v in vec.items():
                r = rvec.get(gram)
                if r is not None:
                    dots[len(gram) - 1] += min(v, r) * r
            value = sum(d / (a * b) if a and b else d for d, a, b in zip(dots, norm, rnorm))
            total += value / 4 * math.exp(-(length - rlength) ** 2 / (2 * self.sigma ** 2))
        return 10 * total / len(self.refs[photo])

    def corpus(self, candidates: Sequence[Sequence]) -> float:
        return 100 * sum(self.score(i, c) for i, c in enumerate(candidates)) / len(candidates)


def report(candidates: Sequence[Sequence], references: Sequence[Sequence[Sequence]]) -> tuple[list[float], float]:
    b = bleu(candidates, references)
    c = CiderD(references).corpus(candidates)
    return b, c


def line(scores: tuple[list[float], float]) -> str:
    b, c = scores
    return "/".join(f"{x:.1f}" for x in b) + f" CIDEr-D {c:.1f}"
