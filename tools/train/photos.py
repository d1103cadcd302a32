"""Photos with captions or labels, and sentences without photos, from folders and files of several forms."""
import csv
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from words import tokenise

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass
class Photo:
    path: Path
    captions: list[list[str]] = field(default_factory=list)
    labels: frozenset[str] = frozenset()      # what is known to be there
    labelled: frozenset[str] = frozenset()    # what was looked for

    @property
    def name(self) -> str:
        return f"{self.path.parent.parent.name}/{self.path.name}"


def captioned(source: Path) -> list[Photo]:
    """Photos with captions:

    - a folder with captions.csv (`image,caption`) and photos/,
    - a folder of photos with a text file of the same name beside each, one caption a line,
    - a .jsonl file of {"image": path, "caption": text or "captions": [texts]},
    - a COCO .json file with "images" and "annotations", photos beside it or in photos/.
    """
    if source.is_dir():
        if (source / "captions.csv").exists():
            with open(source / "captions.csv", newline="", encoding="utf-8") as f:
                pairs = [(source / "photos" / r["image"], r["caption"]) for r in csv.DictReader(f)]
        else:
            pairs = [(p, line) for p in sorted(source.rglob("*")) if p.suffix.lower() in SUFFIXES and p.with_suffix(".txt").exists()
                     for line in p.with_suffix(".txt").read_text(encoding="utf-8").splitlines()]
    elif source.suffix == ".jsonl":
        records = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
        pairs = [(source.parent / r["image"], c) for r in records for c in r.get("captions", [r.get("caption")])]
    else:
        coco = json.loads(source.read_text(encoding="utf-8"))
        folder = source.parent / "photos" if (source.parent / "photos").is_dir() else source.parent
        files = {i["id"]: folder / i["file_name"] for i in coco["images"]}
        pairs = [(files[a["image_id"]], a["caption"]) for a in coco["annotations"]]
    found: dict[Path, Photo] = {}
    for path, caption in pairs:
        words = tokenise(caption)
        if words:
            found.setdefault(path, Photo(path)).captions.append(words)
    return list(found.values())


def labelled(folder: Path) -> list[Photo]:
    """Photos of a folder with labels.csv (`image,label,count`) and photos/. Photos named in full-*.txt were searched for all their labels;
    the others for those labels only that some of the others have."""
    labels: dict[str, set[str]] = defaultdict(set)
    with open(folder / "labels.csv", newline="", encoding="utf-8") as f:
        for r in csv.DictReader(f):
            labels[r["image"]].add(r["label"].lower().replace(" ", "_"))
    full = {n.strip() for file in folder.glob("full-*.txt") for n in file.read_text().splitlines()}
    out = []
    for part in ([n for n in labels if n in full], [n for n in labels if n not in full]):
        searched = frozenset(label for n in part for label in labels[n])
        out += [Photo(folder / "photos" / n, labels=frozenset(labels[n]), labelled=searched) for n in part]
    return out


def sentences(file: Path) -> list[list[list[str]]]:
    """The captions of each photo of a file `photo,sentence`."""
    groups: dict[str, list[list[str]]] = defaultdict(list)
    with open(file, newline="", encoding="utf-8") as f:
        for r in csv.DictReader(f):
            groups[r["photo"]].append(tokenise(r["sentence"]))
    return list(groups.values())


def without(groups: Iterable[list[list[str]]], known: Iterable[list[list[str]]]) -> list[list[list[str]]]:
    """Groups of sentences of which fewer than three are among the captions of the known photos."""
    said = {tuple(c) for captions in known for c in captions}
    return [g for g in groups if sum(tuple(c) in said for c in g) < 3]
