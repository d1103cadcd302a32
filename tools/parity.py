"""What PyTorch makes of checkpoints, for tests/parity.rs: makes models, saves them as people do, and captions photos with them.

    pip install torch numpy pillow
    python tools/parity.py small tests/fixtures/parity       the files that the tests read
    python tools/parity.py stages tests/golden/resnet.json   stages of ResNet-18 to 152 with the weights of tools/synth.py
    python tools/parity.py large FOLDER PHOTO...             ResNet-152 and ResNet-101 models of full size, and the ids of their captions

Weights are random. Batch norms are calibrated on the photos, so that activations stay of order one and differ from photo to photo, and
the bias of the end word is chosen so that captions end after some eight words.
"""
import json
import pathlib
import pickle
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import synth

MEAN, STD = [torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]


class Block(nn.Module):
    """Basic block or bottleneck, as in torchvision."""
    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        convs = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)] if bottleneck else \
                [(inputs, width, 3, stride), (width, width, 3, 1)]
        for number, (i, o, side, s) in enumerate(convs, 1):
            setattr(self, f"conv{number}", nn.Conv2d(i, o, side, s, side // 2, bias=False))
            setattr(self, f"bn{number}", nn.BatchNorm2d(o))
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.count, self.outputs = len(convs), outputs

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = F.relu(y) if number < self.count else y
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


def resnet(depth, width=64):
    """The children of torchvision's ResNet up to the last stage."""
    blocks, bottleneck = synth.BLOCKS[depth]
    stages, inputs = [], width
    for stage, count in enumerate(blocks):
        stages.append([])
        for block in range(count):
            stages[-1].append(Block(inputs, width << stage, 2 if stage and not block else 1, bottleneck))
            inputs = stages[-1][-1].outputs
    trunk = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                          *(nn.Sequential(*s) for s in stages))
    return trunk, inputs


class PairEncoder(nn.Module):
    """As yunjey's EncoderCNN."""
    def __init__(self, depth, width, embed):
        super().__init__()
        self.resnet, channels = resnet(depth, width)
        self.linear, self.bn = nn.Linear(channels, embed), nn.BatchNorm1d(embed, momentum=0.01)

    def forward(self, x):
        return self.bn(self.linear(self.resnet(x).mean((2, 3))))


class PairDecoder(nn.Module):
    """As yunjey's DecoderRNN, with an LSTM or a GRU."""
    def __init__(self, words, embed, hidden, layers, cell="lstm"):
        super().__init__()
        self.embed, self.linear, self.cell = nn.Embedding(words, embed), nn.Linear(hidden, words), cell
        setattr(self, cell, getattr(nn, cell.upper())(embed, hidden, layers, batch_first=True))

    def start(self, features, rows):
        out, state = getattr(self, self.cell)(features.expand(rows, -1).unsqueeze(1))
        return self.linear(out[:, 0]), state

    def step(self, words, state):
        out, state = getattr(self, self.cell)(self.embed(words).unsqueeze(1), state)
        return self.linear(out[:, 0]), state

    def pick(self, state, rows):
        return state[:, rows].contiguous() if self.cell == "gru" else tuple(s[:, rows] for s in state)


class Attention(nn.Module):
    def __init__(self, channels, hidden, attention):
        super().__init__()
        self.encoder_att, self.decoder_att, self.full_att = nn.Linear(channels, attention), nn.Linear(hidden, attention), nn.Linear(attention, 1)


class Encoder(nn.Module):
    """As sgrvinod's: its class is pickled whole."""
    def __init__(self, depth, width):
        super().__init__()
        self.enc_image_size = 14
        self.resnet, self.channels = resnet(depth, width)
        self.adaptive_pool = nn.AdaptiveAvgPool2d((14, 14))

    def forward(self, x):
        return self.adaptive_pool(self.resnet(x)).permute(0, 2, 3, 1).flatten(1, 2)


class DecoderWithAttention(nn.Module):
    def __init__(self, words, embed, hidden, attention, channels, cell="lstm"):
        super().__init__()
        self.attention, self.embedding, self.cell = Attention(channels, hidden, attention), nn.Embedding(words, embed), cell
        self.decode_step = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell](embed + channels, hidden)
        self.init_h = nn.Linear(channels, hidden)
        if cell == "lstm":
            self.init_c = nn.Linear(channels, hidden)
        self.f_beta, self.fc = nn.Linear(hidden, channels), nn.Linear(hidden, words)

    def start(self, grid, rows):
        grid = grid.expand(rows, -1, -1)
        mean = grid.mean(1)
        c = self.init_c(mean) if self.cell == "lstm" else mean
        return self.step(torch.full((rows,), self.start_word), (self.init_h(mean), c, grid))

    def step(self, words, state):
        h, c, grid = state
        a = self.attention
        alpha = a.full_att(F.relu(a.encoder_att(grid) + a.decoder_att(h).unsqueeze(1))).squeeze(2).softmax(1)
        context = torch.sigmoid(self.f_beta(h)) * (grid * alpha.unsqueeze(2)).sum(1)
        x = torch.cat([self.embedding(words), context], 1)
        h, c = self.decode_step(x, (h, c)) if self.cell == "lstm" else (self.decode_step(x, h), c)
        return self.fc(h), (h, c, grid)

    def pick(self, state, rows):
        return tuple(s[rows] for s in state)


@torch.no_grad()
def search(decoder, features, end, beams, longest):
    """The attention tutorial's beam search: raw sums, a beam that shrinks; greedy for one beam. Gives ids, and how near a choice was.

    Where no beam ends the best unfinished one is taken.
    """
    logits, state = decoder.start(features, 1)
    scores = logits.log_softmax(1)
    nearest, done, seqs, live = np.inf, [], [[]], beams
    totals = torch.zeros(1)
    for step in range(longest):
        flat = (totals.unsqueeze(1) + scores).flatten()
        top = flat.topk(live + 1).values
        nearest = min(nearest, (top[:-1] - top[1:]).min().item())
        totals, places = flat.topk(live)
        rows, words = places // scores.shape[1], places % scores.shape[1]
        seqs = [seqs[r] + [w] for r, w in zip(rows.tolist(), words.tolist())]
        keep = [i for i, s in enumerate(seqs) if s[-1] != end]
        done += [(t, s) for t, s in zip(totals.tolist(), seqs) if s[-1] == end]
        live = len(keep)
        if live == 0 or step + 1 == longest:
            break
        totals, rows, words = totals[keep], rows[keep], words[keep]
        seqs = [seqs[i] for i in keep]
        scores, state = decoder.step(words, decoder.pick(state, rows))
        scores = scores.log_softmax(1)
    if not done:
        done = list(zip(totals.tolist(), seqs))
    return max(done, key=lambda d: d[0])[1], nearest


@torch.no_grad()
def prepare(encoder, decoder, inputs, head, end, longest, seed):
    """Random weights, calibrated batch norms, captions that end; gives the features of all inputs."""
    torch.manual_seed(seed)
    for module in [*encoder.modules(), *decoder.modules()]:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.weight, 0.7, 1.3), nn.init.uniform_(module.bias, -0.2, 0.2)
            module.momentum = 1.0
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features ** -0.5), nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, (nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell)):
            for name, p in module.named_parameters():
                nn.init.normal_(p, std=0.1 if "bias" in name else 4 * p.shape[1] ** -0.5)
    encoder.train()(inputs[:32])
    encoder.eval(), decoder.eval()
    features = torch.cat([encoder(x) for x in inputs.split(4)])
    if isinstance(decoder, DecoderWithAttention):
        # Photos are told apart by little: what is common to all is taken out of what starts the state and of what is looked for.
        common, spread = features.mean((0, 1)), features.std((0, 1)) + 1e-3
        initial = [decoder.init_h, decoder.init_c] if decoder.cell == "lstm" else [decoder.init_h]
        for layer in (*initial, decoder.attention.encoder_att):
            layer.weight.mul_(2 / spread)
            layer.bias.sub_(layer.weight @ common)
        decoder.decode_step.weight_ih[:, decoder.embedding.weight.shape[1]:].mul_(1 / spread)
        decoder.attention.full_att.weight.mul_(4)
    head.weight.mul_(15)
    low, high = -20.0, 150.0
    for _ in range(12):
        head.bias[end] = (low + high) / 2
        lengths = [len(search(decoder, f.unsqueeze(0), end, 1, longest)[0]) for f in features[:12]]
        low, high = ((low + high) / 2, high) if np.mean(lengths) > 9 else (low, (low + high) / 2)
    return features


def expected(decoder, features, end, longest):
    out = {}
    for beams in (1, 3, 5):
        found = [search(decoder, f.unsqueeze(0), end, beams, longest) for f in features]
        out[str(beams)] = [ids for ids, _ in found]
        ended = sum(ids[-1] == end for ids, _ in found)
        print(f"  beam {beams}: {len(set(map(tuple, out[str(beams)])))} distinct of {len(found)}, {ended} ended, "
              f"{np.mean([len(ids) for ids, _ in found]):.1f} tokens, nearest choice {min(n for _, n in found):.1e}", flush=True)
    return out


class Vocabulary:
    def __init__(self, words):
        self.word2idx, self.idx2word, self.idx = {w: i for i, w in enumerate(words)}, dict(enumerate(words)), len(words)


def pair(folder, name, photos, depth, width, words, embed, hidden, layers, seed, cell="lstm"):
    """yunjey's three files, in the legacy container of their time."""
    print(name)
    encoder, decoder = PairEncoder(depth, width, embed), PairDecoder(words, embed, hidden, layers, cell)
    inputs = torch.stack([to_input(p.resize((224, 224), Image.LANCZOS)) for p in photos])
    features = prepare(encoder, decoder, inputs, decoder.linear, 2, 20, seed)
    for part, module in (("encoder", encoder), ("decoder", decoder)):
        torch.save(module.state_dict(), folder / f"{name}-{part}.pkl", _use_new_zipfile_serialization=False)
    vocabulary = Vocabulary(["<pad>", "<start>", "<end>", "<unk>"] + [f"word{i}" for i in range(4, words)])
    (folder / f"{name}-vocab.pkl").write_bytes(pickle.dumps(vocabulary, 2))
    return expected(decoder, features, 2, 20)


def whole(folder, name, photos, depth, width, words, embed, hidden, attention, seed, cell="lstm"):
    """sgrvinod's checkpoint of whole modules and its word map."""
    print(name)
    encoder = Encoder(depth, width)
    decoder = DecoderWithAttention(words, embed, hidden, attention, encoder.channels, cell)
    end, decoder.start_word = words - 1, words - 2
    inputs = torch.stack([to_input(p.resize((256, 256), Image.BILINEAR)) for p in photos])
    features = prepare(encoder, decoder, inputs, decoder.fc, end, 51, seed)
    torch.save({"epoch": 1, "bleu-4": 0.0, "encoder": encoder, "decoder": decoder}, folder / f"{name}.pth.tar")
    word_map = {f"word{i}": i for i in range(1, words - 3)} | {"<unk>": words - 3, "<start>": words - 2, "<end>": words - 1, "<pad>": 0}
    (folder / f"{name}-wordmap.json").write_text(json.dumps(word_map, separators=(",", ":")))
    return expected(decoder, features, end, 51)


def to_input(photo):
    return (torch.from_numpy(np.asarray(photo).copy()).permute(2, 0, 1).float() / 255 - MEAN) / STD


def made_photo(number):
    """64x48 pixels in blocks of 8, from a linear congruential generator: tests/parity.rs makes the same."""
    state, cells = number + 1, []
    for _ in range(8 * 6 * 3):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        cells.append(state >> 24)
    cells = np.array(cells, np.uint8).reshape(6, 8, 3)
    return Image.fromarray(cells.repeat(8, 0).repeat(8, 1))


def stages(out):
    """Values of the stages of synthetic ResNets: the largest magnitude, and some values at [channel, row, column]."""
    photo = Image.fromarray(np.fromfile("tests/golden/photo.rgb", np.uint8).reshape(224, 224, 3))
    result = []
    rng = np.random.default_rng(0)
    for depth, side in ((18, 224), (50, 224), (101, 224), (152, 224), (101, 256)):
        trunk, _ = resnet(depth)
        names = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
        state = {".".join([names[k.split(".")[0]], *k.split(".")[1:]]): torch.from_numpy(v) for k, v in synth.resnet(depth).items()}
        missing = trunk.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys and all("num_batches" in k for k in missing.missing_keys), missing
        trunk.eval()
        x, found = to_input(photo.resize((side, side), Image.BILINEAR)).unsqueeze(0), {}
        with torch.no_grad():
            for index, part in enumerate(trunk):
                x = part(x)
                if index >= 3:
                    found["maxpool" if index == 3 else f"layer{index - 3}"] = x
            if side == 256:
                found["grid"] = F.adaptive_avg_pool2d(x, (14, 14))
            found["pooled"] = found.get("grid", x).mean((2, 3), keepdim=True)
        entry = {"depth": depth, "side": side, "stages": []}
        for name, y in found.items():
            _, c, h, w = y.shape
            places = [[int(rng.integers(c)), int(rng.integers(h)), int(rng.integers(w))] for _ in range(40)]
            entry["stages"].append({"stage": name, "shape": [c, h, w], "largest": y.abs().max().item(),
                                    "samples": [[*p, float(f"{y[0, p[0], p[1], p[2]].item():.7g}")] for p in places]})
            print(depth, side, name, tuple(y.shape), f"largest {y.abs().max():.2f}, mean magnitude {y.abs().mean():.3f}", flush=True)
        entry["features"] = [float(f"{v:.6g}") for v in found["pooled"].flatten()]
        result.append(entry)
    pathlib.Path(out).write_text(json.dumps(result, separators=(",", ":")))


def main():
    command, out, photos = sys.argv[1], sys.argv[2], sys.argv[3:]
    torch.set_num_threads(2)
    if command == "stages":
        return stages(out)
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if command == "small":
        photos = [made_photo(n) for n in range(20)]
        found = {"pair": pair(folder, "pair", photos, 18, 4, 60, 12, 24, 1, 1),
                 "layers": pair(folder, "layers", photos, 50, 2, 60, 12, 24, 2, 2),
                 "whole": whole(folder, "whole", photos, 18, 4, 60, 12, 24, 16, 3),
                 "gru": pair(folder, "gru", photos, 18, 4, 60, 12, 24, 2, 4, "gru"),
                 "gru-whole": whole(folder, "gru-whole", photos, 18, 4, 60, 12, 24, 16, 6, "gru")}
    else:
        photos = [Image.open(p).convert("RGB") for p in photos]
        found = {"pair": pair(folder, "pair", photos, 152, 64, 9956, 256, 512, 1, 1),
                 "layers": pair(folder, "layers", photos, 50, 64, 9956, 256, 512, 2, 2),
                 "whole": whole(folder, "whole", photos, 101, 64, 9490, 512, 512, 512, 3)}
    (folder / "expected.json").write_text(json.dumps(found, separators=(",", ":")))


if __name__ == "__main__":
    main()
