"""The data set: captions, split, vocabulary and photos of a Flickr8k folder.

The folder holds captions.csv (header `image,caption`, five lines a photo), train.txt, dev.txt and photos/.
"""
import csv
import os
import re
from collections import Counter, defaultdict

import numpy as np
from PIL import Image

PAD, START, END, UNK = 0, 1, 2, 3
SPECIAL = ["<pad>", "<start>", "<end>", "<unk>"]
SIZE = 224
MEAN, STD = 0.498, 0.502  # 127/255 and 128/255, as EfficientNet-Lite was trained


def tokenise(text):
    return re.findall(r"[a-z0-9']+", text.lower())


class Flickr8k:
    def __init__(self, folder):
        self.folder = folder
        self.captions = defaultdict(list)  # photo name -> lists of words
        with open(os.path.join(folder, "captions.csv"), newline="", encoding="utf-8") as f:
            for row in csv.DictReader(f):
                self.captions[row["image"]].append(tokenise(row["caption"]))
        self.train = self._names("train.txt")
        self.dev = self._names("dev.txt")

    def _names(self, file):
        with open(os.path.join(self.folder, file)) as f:
            return [line.strip() for line in f if line.strip()]

    def vocabulary(self, at_least=4):
        counts = Counter(w for name in self.train for c in self.captions[name] for w in c)
        return SPECIAL + sorted((w for w, n in counts.items() if n >= at_least), key=lambda w: (-counts[w], w))

    def photo(self, name):
        path = os.path.join(self.folder, "photos", name)
        return read_photo(path)


def read_photo(path):
    """A photo as a Pillow RGB image of 224x224 (squashed with the antialiased bilinear filter if it has another size)."""
    image = Image.open(path).convert("RGB")
    if image.size != (SIZE, SIZE):
        image = image.resize((SIZE, SIZE), Image.BILINEAR)
    return image


def to_input(image):
    """Pillow image -> float32 [3, 224, 224]."""
    x = np.asarray(image, dtype=np.float32) / 255.0
    return ((x - MEAN) / STD).transpose(2, 0, 1).copy()


def encode(words, index, longest):
    """Word ids of a caption with <end>; a caption of more than `longest` words is cut and has no <end>."""
    ids = [index.get(w, UNK) for w in words]
    return ids + [END] if len(ids) < longest else ids[:longest]
