"""Writes the files in tests/fixtures/checkpoints/: small checkpoints in all of PyTorch's containers, and vocabularies.

    pip install torch numpy
    python tools/checkpoints.py

`expected.json` holds what PyTorch reads from each of them.
"""
import collections
import io
import json
import pathlib
import pickle
import struct
import sys
import tarfile
import types

import numpy as np
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent.parent / "tests" / "fixtures" / "checkpoints"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Block(nn.Module):
    """A basic block of a ResNet."""
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs)
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class Encoder(nn.Module):
    """A ResNet-18 that is two channels wide, as the tutorials wrap it."""
    def __init__(self, project=None):
        super().__init__()
        stage = lambda inputs, stride: nn.Sequential(Block(inputs, 2, stride), Block(2, 2))
        self.resnet = nn.Sequential(nn.Conv2d(3, 1, 7, 2, bias=False), nn.BatchNorm2d(1), nn.ReLU(), nn.MaxPool2d(3),
                                    stage(1, 1), stage(2, 2), stage(2, 2), stage(2, 2))
        if project:
            self.linear, self.bn = nn.Linear(2, project), nn.BatchNorm1d(project)


class Decoder(nn.Module):
    """Show and Tell's."""
    def __init__(self, words=7, embed=3, hidden=4, layers=2):
        super().__init__()
        self.embed = nn.Embedding(words, embed)
        self.lstm = nn.LSTM(embed, hidden, layers)
        self.linear = nn.Linear(hidden, words)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder_att, self.decoder_att, self.full_att = nn.Linear(2, 5), nn.Linear(4, 5), nn.Linear(5, 1)


class DecoderWithAttention(nn.Module):
    """Show, Attend and Tell's."""
    def __init__(self, words=7):
        super().__init__()
        self.attention, self.embedding = Attention(), nn.Embedding(words, 3)
        self.decode_step = nn.LSTMCell(5, 4)
        self.init_h, self.init_c, self.f_beta, self.fc = (nn.Linear(a, b) for a, b in [(2, 4), (2, 4), (4, 2), (4, words)])


def legacy(value, name):
    torch.save(value, HERE / name, _use_new_zipfile_serialization=False)


def tar(tensors, name):
    """The container of the first releases, which nothing writes any more: layout as torch.serialization reads it."""
    storages, described = io.BytesIO(), io.BytesIO()
    dump = lambda value, file: pickle.dump(value, file, 2)
    dump(len(tensors) - 1, storages)
    for key, tensor in enumerate(tensors.values()):
        if key == 0:
            continue
        dump((key, "cpu", getattr(torch, tensor.storage_name)), storages)
        data = tensor.whole.numpy().tobytes()
        storages.write(struct.pack("<q", tensor.whole.numel()) + data)
    # The first tensor's memory is a part of the second's.
    dump([(0, 1, 2, 4)], storages)
    dump(len(tensors), described)
    for key, tensor in enumerate(tensors.values()):
        dump((100 + key, key, torch.FloatTensor), described)
        described.write(struct.pack("<ii", len(tensor.shape), 0))
        for numbers in (tensor.shape, tensor.strides, [tensor.offset]):
            described.write(struct.pack(f"<{len(numbers)}q", *numbers))

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value[1] if isinstance(value, tuple) and value[:1] == ("tensor",) else None

    body = io.BytesIO()
    Pickler(body, 2).dump(collections.OrderedDict((n, ("tensor", 100 + k)) for k, n in enumerate(tensors)))
    system = io.BytesIO()
    dump(dict(protocol_version=PROTOCOL, little_endian=True), system)
    with tarfile.open(HERE / name, "w", format=tarfile.PAX_FORMAT) as archive:
        for part, data in [("sys_info", system), ("pickle", body), ("storages", storages), ("tensors", described)]:
            info = tarfile.TarInfo(part)
            info.size = len(data.getvalue())
            archive.addfile(info, io.BytesIO(data.getvalue()))


def python_2_vocabulary():
    """Byte strings where Python 3 has text, by the opcodes themselves."""
    text = lambda s: b"U" + bytes([len(s)]) + s
    words = [b"<pad>", b"<start>", b"<end>", b"<unk>", b"dog", "caf\u00e9".encode()]
    entries = b"".join(text(w) + b"K" + bytes([i]) for i, w in enumerate(words))
    back = b"".join(b"K" + bytes([i]) + text(w) for i, w in enumerate(words))
    return (b"\x80\x02c__main__\nVocabulary\n)\x81}(" + text(b"word2idx") + b"}(" + entries + b"u"
            + text(b"idx2word") + b"}(" + back + b"u" + text(b"idx") + b"K\x06ub.")


def vocabularies():
    words = ["<pad>", "<start>", "<end>", "<unk>", "dog", "caf\u00e9"]
    for protocol, (module, name, fields) in enumerate([
        ("__main__", "Vocabulary", ("word2idx", "idx2word")), ("build_vocab", "Vocabulary", ("word2idx", "idx2word")),
        ("vocab", "Vocab", ("word_to_idx", "idx_to_word")), ("data.words", "Words", ("stoi", "itos")),
        ("a.b", "V", ("w2i", "i2w")), ("x", "Y", ("to_id", "to_word")),
    ]):
        kind = type(name, (), {"__module__": module})
        for part in [module.split(".")[0], module]:
            holder = sys.modules.setdefault(part, types.ModuleType(part))
        setattr(holder, name, kind)
        value = kind()
        forward = {w: i for i, w in enumerate(words)}
        back = words if fields[1] == "itos" else {i: w for i, w in enumerate(words)}
        value.__dict__.update({fields[0]: forward, fields[1]: back, "threshold": 4, "counts": {"dog": 2, "caf\u00e9": 2}})
        (HERE / f"vocab-{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))
    (HERE / "vocab-python2.pkl").write_bytes(python_2_vocabulary())
    word_map = {w: i + 1 for i, w in enumerate(words[4:])} | {"<unk>": 3, "<start>": 4, "<end>": 5, "<pad>": 0}
    (HERE / "wordmap.json").write_text(json.dumps(word_map))
    (HERE / "words.txt").write_text("\n".join(words) + "\n")


def class_of(module, name, **methods):
    """A class that pickles as if it lay in a module."""
    kind = type(name, (), {"__module__": module, "__qualname__": name, **methods})
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        holder = sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    setattr(holder, name, kind)
    return kind


def vocabularies_in_other_containers(folder):
    """Each file has the words of `vocab-0.pkl`."""
    folder.mkdir(exist_ok=True)
    words = ["<pad>", "<start>", "<end>", "<unk>", "dog", "caf\u00e9"]
    ids = {w: i for i, w in enumerate(words)}
    dump = lambda name, value, protocol=4: (folder / name).write_bytes(pickle.dumps(value, protocol))
    text = lambda name, value: (folder / name).write_text(value, encoding="utf-8")
    dump("list-of-parts.pkl", [[[4, 5]], [[3]], dict(enumerate(words)), ids], 2)
    dump("tuple.pkl", tuple(words))
    dump("pairs.pkl", [(w, i) for w, i in reversed(ids.items())])
    dump("captions-beside.pkl", {"captions": [f"a dog {n}" for n in range(40)], "vocab": {"stoi": ids}})
    dump("bytes.pkl", [w.encode() for w in words])
    for protocol in (2, 4, 5):
        dump(f"numpy-ids-{protocol}.pkl", {w: np.int64(i) for w, i in ids.items()}, protocol)
        dump(f"numpy-words-{protocol}.pkl", np.array(words), protocol)
        dump(f"numpy-objects-{protocol}.pkl", {"idx2word": np.array(words, object)}, protocol)
    dump("numpy-text.pkl", {np.str_(w): np.int32(i) for w, i in ids.items()})
    np.save(folder / "words.npy", np.array(words))
    np.save(folder / "dictionary.npy", ids, allow_pickle=True)
    own = class_of("build_vocab", "Vocabulary")()
    own.word2idx, own.idx2word, own.idx = ids, dict(enumerate(words)), len(words)
    torch.save(own, folder / "saved-by-torch.pth")
    torch.save({"epoch": 2, "vocab": ids}, folder / "saved-by-torch-legacy.pth", _use_new_zipfile_serialization=False)
    old = class_of("torchtext.vocab", "Vocab")()
    old.freqs, old.itos, old.vectors = collections.Counter({"dog": 7, "caf\u00e9": 7, "cat": 1}), words, None
    old.stoi = collections.defaultdict(int, ids)
    dump("torchtext-old.pkl", old)
    native = class_of("torchtext._torchtext", "Vocab", __getstate__=lambda self: ("0.0.2", [3], words, []))()
    new = class_of("torchtext.vocab.vocab", "Vocab")()
    new.vocab = native
    dump("torchtext-new.pkl", new)
    text("nested.json", json.dumps({"word2idx": ids, "idx2word": {str(i): w for w, i in ids.items()}, "idx": 6}))
    text("deep.json", json.dumps({"a": [{"vocab": {w: str(i) for w, i in ids.items()}}], "images": [{"id": 1}, {"id": 2}]}))
    text("pairs.json", json.dumps([[w, i] for w, i in ids.items()]))
    text("two-columns.txt", "".join(f"{w}\t{i}\n" for w, i in ids.items()))
    text("ids-first.txt", "".join(f"{i} {w}\n" for w, i in ids.items()))
    text("heading.csv", "word,id\n" + "".join(f'"{w}",{i}\n' for w, i in ids.items()))
    text("pandas.csv", ",word\n" + "".join(f"{i},{w}\n" for w, i in ids.items()))


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    pair = Encoder(project=3).eval(), Decoder()
    legacy(pair[0].state_dict(), "encoder-legacy.pkl")
    # Tagged as if it had been on a GPU.
    path = HERE / "encoder-legacy.pkl"
    path.write_bytes(path.read_bytes().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    parallel = collections.OrderedDict((f"module.{k}", v) for k, v in pair[1].state_dict().items())
    torch.save({"epoch": 3, "state_dict": parallel}, HERE / "decoder-parallel-zip.pth")
    whole = {"epoch": 1, "bleu-4": 0.2, "encoder": Encoder(), "decoder": DecoderWithAttention()}
    whole["decoder_optimizer"] = torch.optim.Adam(whole["decoder"].parameters())
    torch.save(whole, HERE / "modules-zip.pth.tar")
    legacy(whole, "modules-legacy.pth.tar")
    base = torch.arange(24, dtype=torch.float32)
    views = {"whole": base, "part": base[6:12].view(2, 3), "across": base.view(4, 6).t()[1:4], "again": base[3:4].expand(2, 3),
             "parameter": nn.Parameter(base[20:])}
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
    views |= {str(kind).split(".")[1]: torch.tensor([3, 1, 2]).to(kind) for kind in kinds} | {"bool": torch.tensor([True, False])}
    views |= {"scalar": torch.tensor(7.5), "none": torch.zeros(0, 3)}
    torch.save(views, HERE / "views-zip.pth")
    legacy(views, "views-legacy.pth")
    memory = torch.arange(12, dtype=torch.float32)
    entry = lambda whole, shape, strides, offset: types.SimpleNamespace(
        whole=whole, shape=shape, strides=strides, offset=offset, storage_name="FloatStorage")
    tar({"inner": entry(None, [2, 2], [2, 1], 0), "outer": entry(memory, [3, 4], [1, 3], 0)}, "tensors.tar")
    vocabularies()
    vocabularies_in_other_containers(HERE / "vocabularies")

    def read(value):
        if isinstance(value, nn.Module):
            value = value.state_dict()
        return {k: {"dtype": str(t.dtype).split(".")[1], "shape": list(t.shape), "values": [float(x) for x in t.flatten()]}
                for k, t in value.items()}

    expected = {
        "encoder-legacy.pkl": {"": read(pair[0])}, "decoder-parallel-zip.pth": {"state_dict": read(pair[1])},
        "modules-zip.pth.tar": {k: read(whole[k]) for k in ("encoder", "decoder")},
        "modules-legacy.pth.tar": {k: read(whole[k]) for k in ("encoder", "decoder")},
        "views-zip.pth": {"": read(views)}, "views-legacy.pth": {"": read(views)},
        "tensors.tar": {"": read({"inner": memory[2:6].view(2, 2), "outer": memory.view(4, 3).t()})},
    }
    (HERE / "expected.json").write_text(json.dumps(expected, separators=(",", ":")))
    print(sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file()), "bytes")


if __name__ == "__main__":
    main()
