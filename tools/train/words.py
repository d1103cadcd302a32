"""Tokens, the vocabulary, and the tables of tags and attributes."""
import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PAD, START, END, UNK = 0, 1, 2, 3
SPECIAL = ["<pad>", "<start>", "<end>", "<unk>"]
HERE = Path(__file__).parent


def tokenise(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def vocabulary(groups: Iterable[tuple[Iterable[list[str]], int]]) -> list[str]:
    """Special words, then the words said often enough in one of the groups (captions, at least), most frequent first."""
    total: Counter[str] = Counter()
    kept: set[str] = set()
    for captions, at_least in groups:
        counts = Counter(w for c in captions for w in c)
        kept |= {w for w, n in counts.items() if n >= at_least}
        total += counts
    return SPECIAL + sorted(kept, key=lambda w: (-total[w], w))


def encode(words: list[str], index: dict[str, int], longest: int) -> list[int]:
    """Word ids of a caption with <end>; a caption of more than `longest` words is cut and has no <end>."""
    ids = [index.get(w, UNK) for w in words]
    return ids + [END] if len(ids) < longest else ids[:longest]


@dataclass(frozen=True)
class Tag:
    name: str
    classes: tuple[int, ...]  # of ImageNet
    words: tuple[str, ...]    # that count as saying it


@dataclass(frozen=True)
class Attribute:
    name: str
    words: frozenset[str]
    labels: frozenset[str]    # of photos that have labels instead of captions


def _rows(name: str) -> Iterable[list[str]]:
    with open(HERE / name, newline="", encoding="utf-8") as f:
        yield from list(csv.reader(f))[1:]


def read_tags() -> list[Tag]:
    def classes(text: str) -> Iterable[int]:
        for part in text.split():
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)

    return [Tag(name, tuple(classes(c)), tuple(words.split())) for name, c, words in _rows("tags.csv")]


def read_attributes() -> list[Attribute]:
    return [Attribute(name, frozenset(words.split()), frozenset(labels.split())) for name, words, labels in _rows("attributes.csv")]
