"""Scores what the engine itself says: reads the lines of `shadetell caption --json` on photos of the data set.

    shadetell caption --json DATA/photos/*.jpg > captions.jsonl
    python engine.py DATA captions.jsonl [--tokens dev_greedy.json --decoder show-attend-tell]

Prints BLEU and CIDEr-D over the dev photos among the lines. --tokens compares the ids with those of PyTorch
(as evaluate.py --json writes them) and prints the share of photos on which all are equal.
"""
import argparse
import json
import os

from data import Flickr8k
from metrics import line, report


def main():
    a = argparse.ArgumentParser()
    a.add_argument("data"), a.add_argument("captions")
    a.add_argument("--tokens")
    a.add_argument("--decoder", default="show-attend-tell")
    a = a.parse_args()
    data = Flickr8k(a.data)
    with open(a.captions) as f:
        records = {os.path.basename(r["path"]): r for r in map(json.loads, f)}
    failed = [name for name, r in records.items() if "error" in r]
    photos = [name for name in data.dev if name in records and name not in failed]
    words = [records[name]["caption"].split() for name in photos]
    print(f"{len(photos)} dev photos, {len(failed)} failed: {line(report(words, [data.captions[n] for n in photos]))}")
    unfinished = sum(not records[n]["finished"] for n in photos)
    print(f"{len(set(map(tuple, words)))} distinct captions, {sum(map(len, words)) / len(words):.1f} words, {unfinished} unfinished")
    if a.tokens:
        with open(a.tokens) as f:
            expected = json.load(f)[a.decoder]
        same = [n for n in photos if [t["id"] for t in records[n]["tokens"]] == [t for t in expected[n] if t != 2]]
        print(f"tokens equal to PyTorch's on {len(same)} of {len(photos)} photos")
        for n in [n for n in photos if n not in same][:5]:
            print(f"  {n}: {records[n]['caption']}")


if __name__ == "__main__":
    main()
