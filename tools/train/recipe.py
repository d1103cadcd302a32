"""Trains a caption model on photos of one's own, or goes on from a model file: one command (README.md).

    python recipe.py RUN --encoder efficientnet-lite2-9656183e.pth --photos PHOTOS [--everyday PHOTOS] [--labels FOLDER]
        [--sentences FILE] [--from MODEL.safetensors] [--teacher MODEL.safetensors] [--engine shadetell]

Started again, it goes on where it stopped. The result is RUN/model.safetensors; scores on photos set aside are in RUN/log.txt, those of
the engine on the same photos, read from their files, last.
"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

import model_file
from corpus import Corpus, Features, look, pooled, seen
from decoder import Decoder, Seen, Sizes
from encoder import Encoder, extract
from metrics import line, report
from photos import Photo, captioned, labelled, sentences, without
from search import Rules, beams, winner
from train import Stage, Trainer
from words import read_attributes, read_tags, vocabulary


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder for features, state, log and result")
    parser.add_argument("--encoder", type=Path, required=True, help="ImageNet weights of EfficientNet-Lite2")
    parser.add_argument("--photos", type=Path, action="append", default=[], help="captioned photos: a folder, JSONL or COCO JSON (may be repeated)")
    parser.add_argument("--everyday", type=Path, action="append", default=[], help="the same, drawn three times an epoch: few photos that matter")
    parser.add_argument("--labels", type=Path, action="append", default=[], help="folder of photos with labels.csv")
    parser.add_argument("--sentences", type=Path, action="append", default=[], help="captions of photos that nobody has: `photo,sentence`")
    parser.add_argument("--new-sentences", type=Path, action="append", default=[], help="the same, about what teachers do not know: learned without them")
    parser.add_argument("--hold-out", type=Path, action="append", default=[], help="names of photos to score on, one a line: `photo.jpg` or `folder/photo.jpg`")
    parser.add_argument("--leave-out", type=Path, action="append", default=[], help="names of photos not to use at all")
    parser.add_argument("--share", type=float, default=0.1, help="of each source that is set aside to score on if --hold-out names none of it")
    parser.add_argument("--from", dest="start", type=Path, help="model file to go on from")
    parser.add_argument("--teacher", type=Path, action="append", default=[], help="model file of the same words and tags to learn from (may be repeated)")
    parser.add_argument("--engine", default="shadetell", help="the command that scores the result, if there is one")
    parser.add_argument("--teach", type=int, default=2000, help="steps of cross-entropy")
    parser.add_argument("--reward", type=int, default=700, help="steps of self-critical training")
    parser.add_argument("--batch", type=int, default=64, help="photos a step, of all processes together")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--reward-rate", type=float, default=6e-5)
    parser.add_argument("--often", type=int, default=4, help="times a word must occur in the photos' captions; one less in the others")
    parser.add_argument("--check", type=int, default=250, help="steps between scores")
    parser.add_argument("--processes", type=int, default=1, help="that train together on a CPU, one thread each")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="own-photos")
    parser.add_argument("--licence", default="Encoder: EfficientNet-Lite2 ImageNet weights (Apache-2.0). Decoder: as its training photos allow.")
    return parser.parse_args()


@dataclass
class HeldOut:
    name: str
    seen: Seen
    photos: list[Path]
    references: list[list[list[str]]]


def names_of(files: list[Path]) -> set[str]:
    return {n.strip() for f in files for n in f.read_text(encoding="utf-8").splitlines() if n.strip()}


def part(photos: list[Photo], stem: Path, chosen: np.ndarray) -> tuple[list[Photo], Features]:
    return [p for p, c in zip(photos, chosen) if c], Features(stem, np.flatnonzero(chosen))


class Data:
    """Everything read from the sources; the features are computed when they are not there yet."""
    def __init__(self, a: argparse.Namespace, say: Callable[[str], None]) -> None:
        self.tags, self.attributes = read_tags(), read_attributes()
        self.encoder: dict[str, Tensor] = torch.load(a.encoder, map_location="cpu", weights_only=True)
        encoder = Encoder(self.encoder)
        held, left = names_of(a.hold_out), names_of(a.leave_out)
        cache = a.run / "features"
        cache.mkdir(parents=True, exist_ok=True)
        photos: list[Photo] = []
        features: list[Features] = []
        everyday: list[bool] = []
        aside: list[tuple[str, list[Photo], Features]] = []
        sources = [(s, captioned(s), s in a.everyday) for s in a.photos + a.everyday] + [(s, labelled(s), True) for s in a.labels]
        self.groups: list[tuple[list[list[str]], int]] = []
        taken: list[list[list[str]]] = []
        for number, (source, found, near) in enumerate(sources):
            stem = cache / f"{number}-{source.stem}"
            say(f"{source}: {len(found)} photos")
            extract(encoder, [p.path for p in found], stem, say)
            is_held = np.array([p.name in held or p.path.name in held for p in found])
            is_left = np.array([p.name in left or p.path.name in left for p in found])
            if found[0].captions:
                if not is_held.any():
                    is_held = np.random.default_rng((a.seed, number)).random(len(found)) < a.share
                aside.append((source.stem, *part(found, stem, is_held)))
                taken += [p.captions for p in found]
            used, f = part(found, stem, ~is_held & ~is_left)
            self.groups.append(([c for p in used for c in p.captions], a.often - near))
            photos += used
            features.append(f)
            everyday += [near] * len(used)
        self.sentences, new = ([group for file in files for group in without(sentences(file), taken)] for files in (a.sentences, a.new_sentences))
        self.sentences += new
        self.groups.append(([c for group in self.sentences for c in group], a.often - 1))
        start = model_file.read(a.start) if a.start else None
        self.start = start.decoder if start else None
        self.words = vocabulary(self.groups)
        if start:
            known = start.words
            self.words = known + [w for w in self.words if w not in set(known)]
        self.corpus = Corpus(photos, features, np.array(everyday), self.sentences, self.words, self.tags, self.attributes,
                             self.encoder["_fc.weight"].numpy(), a.run / "prepared", detectors=start.detectors if start else None, new=len(new))
        self.held = [self._hold(name, p, f, a.run / "prepared") for name, p, f in aside]

    def _hold(self, name: str, photos: list[Photo], features: Features, cache: Path) -> HeldOut:
        sights = look(features.logits(), self.tags, self.corpus.detectors)
        grid = pooled([features], cache / f"held-{name}.npy")[:, 0]
        return HeldOut(name, seen(grid, sights.tags[0], sights.scores[0], sights.attributes[0]), [p.path for p in photos],
                       [p.captions for p in photos])


def describe(decoder: Decoder, held: HeldOut, rules: Rules, chosen: list[int]) -> list[list[int]]:
    """Word ids of the best caption of each chosen photo."""
    device, out = next(decoder.parameters()).device, []
    for i in range(0, len(chosen), 40):
        some = chosen[i:i + 40]
        batch = Seen(*(x[some] for x in (held.seen.grid, held.seen.tags, held.seen.scores, held.seen.attributes))).to(device)
        out += [winner(h) for h in beams(decoder, batch, rules=rules.to(device))]
    return out


def teacher(file: Path, data: Data) -> Decoder:
    model = model_file.read(file)
    tags = [[(t.name, t.classes) for t in some] for some in (model.tags, data.tags)]
    if model.words != data.words or tags[0] != tags[1]:
        raise SystemExit(f"{file}: expected a teacher with the same words and tags as this run, found others: train it on the same sources")
    return model.decoder


def engine_scores(command: str, model: Path, held: HeldOut) -> str:
    """Scores of the captions that the engine gives to photos, in batches of files."""
    captions: list[list[str]] = []
    for i in range(0, len(held.photos), 200):
        done = subprocess.run([command, "caption", "--quiet", "--json", "--model", model, *held.photos[i:i + 200]], stdout=subprocess.PIPE, check=True)
        captions += [json.loads(text)["caption"].split() for text in done.stdout.splitlines()]
    return line(report(captions, held.references))


def enlarged(start: Decoder, sizes: Sizes) -> dict[str, Tensor]:
    """The state of a decoder for more words: new words begin as random vectors."""
    fresh = Decoder(sizes).state_dict()
    for key, value in start.state_dict().items():
        fresh[key][tuple(slice(n) for n in value.shape)] = value
    return fresh


def work(rank: int, a: argparse.Namespace, meeting: str) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if a.processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=a.processes)

    def say(text: str) -> None:
        if rank == 0:
            text = time.strftime("%H:%M:%S ") + text
            print(text, flush=True)
            with open(a.run / "log.txt", "a", encoding="utf-8") as f:
                f.write(text + "\n")

    if rank > 0:
        dist.barrier()  # the first process makes what is kept in files
    data = Data(a, say)
    if rank == 0 and a.processes > 1:
        dist.barrier()
    torch.manual_seed(a.seed)
    sizes = Sizes(len(data.words), len(data.tags), len(data.attributes))
    decoder = Decoder(sizes)
    if data.start:
        decoder.load_state_dict(enlarged(data.start, sizes))
    decoder.to(a.device)
    rules = Rules.of(data.words)
    say(f"{len(data.words)} words, {len(data.corpus.items)} items an epoch, {sum(p.numel() for p in decoder.parameters()) / 1e6:.2f} M parameters")

    def score(decoder: Decoder, name: str) -> None:
        for held in data.held:
            mine = list(range(rank, len(held.references), a.processes))
            found = [(mine, describe(decoder, held, rules, mine))]
            if a.processes > 1:
                gathered: list[tuple[list[int], list[list[int]]]] = [([], [])] * a.processes
                dist.all_gather_object(gathered, found[0])
                found = gathered
            captions = {i: [data.words[t] for t in ids] for numbers, all_ids in found for i, ids in zip(numbers, all_ids)}
            if captions:
                ordered = [captions[i] for i in range(len(held.references))]
                say(f"{name} {held.name}: {line(report(ordered, held.references))}; " + " | ".join(" ".join(c) for c in ordered[:3]))

    photos = a.batch // a.processes
    stages = [Stage("teach", a.teach, a.rate, photos), Stage("reward", a.reward, a.reward_rate, photos // 2, warm=20, decay=0.99, clip=1.0,
                    sharpen=1.6 if a.teach else 1.0)]
    teachers = [teacher(file, data).to(a.device) for file in a.teacher]
    Trainer(decoder, data.corpus, a.run, [s for s in stages if s.steps], a.seed, say, score, a.check, teachers=teachers).fit()
    if rank == 0:
        model_file.write(a.run / "model.safetensors", decoder, data.encoder, data.corpus.detectors, data.words, data.tags, data.attributes,
                         a.name, a.licence)
        say(f"wrote {a.run / 'model.safetensors'}")
        if shutil.which(a.engine):
            for held in data.held:
                say(f"engine {held.name}: {engine_scores(a.engine, a.run / 'model.safetensors', held)}")


def main() -> None:
    a = arguments()
    a.run.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if a.device != "cpu":
        a.processes = 1
    if a.processes == 1:
        work(0, a, "")
    else:
        with tempfile.TemporaryDirectory() as folder:
            spawn(work, (a, os.path.join(folder, "meeting")), a.processes)


if __name__ == "__main__":
    main()
