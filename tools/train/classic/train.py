"""Cross-entropy training of both decoders and the late encoder together.

    python train.py DATA FEATURES RUN --encoder efficientnet-lite0-57934424.pth --minutes 50

Batches are photos, each with its five captions: the encoder runs once a photo. Keeps RUN/last.pt (to resume: the same command
again) and RUN/epochN.pt (averaged weights) and appends scores on the dev photos (greedy) to RUN/log.txt.
"""
import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from data import START, Flickr8k, encode
from metrics import line, report
from model import Captioner, Rows, greedy
from workers import Workers

FAMILIES = ["show_attend_tell", "show_tell"]


class Store:
    """Photos' cached activations: every view that features.py has finished by now."""
    def __init__(self, folder, data):
        self.folder, self.data = folder, data
        self.dev = torch.from_numpy(np.load(os.path.join(folder, "dev.plain.npy")))
        self.refresh()

    def refresh(self):
        names = sorted(f for f in os.listdir(self.folder) if f.startswith("train.") and f.endswith(".npy"))
        self.views = [np.load(os.path.join(self.folder, f), mmap_mode="r") for f in names]

    def batch(self, photos, rng, views=None):
        views = views or self.views
        return torch.from_numpy(np.stack([views[rng.integers(len(views))][i] for i in photos])).float()

    def pool(self, workers, count=2):
        """From now on the pooled image vectors (as grids of one place) of some views: all that Show and Tell sees of a fixed encoder."""
        def job(model, x):
            with torch.no_grad():
                return model.encoder.late(x.float()).mean(1, keepdim=True)

        run = lambda array: torch.cat(workers.run(job, (torch.from_numpy(array[i:i + 25]) for i in range(0, len(array), 25))))
        self.dev = run(self.dev.numpy())
        self.views = [run(v).numpy() for v in self.views[-count:]]


def grids(model, x):
    return model.encoder.late(x.float()).contiguous() if x.dim() == 4 else x


@torch.no_grad()
def dev_captions(model, x, families):
    model.eval()
    grid = grids(model, x)
    return [greedy(getattr(model, family), grid) for family in families]


def dev_scores(workers, store, data, words, families=FAMILIES):
    """{family: (bleu, cider)} and {family: captions} on the dev photos, greedy."""
    parts = workers.run(lambda m, x: dev_captions(m, x, families), store.dev.split(50))
    scores, captions = {}, {}
    for number, family in enumerate(families):
        captions[family] = [[words[w] for w in c] for part in parts for c in part[number]]
        scores[family] = report(captions[family], [data.captions[n] for n in data.dev])
    return scores, captions


class Average:
    """Exponential moving average of the trained weights."""
    def __init__(self, params, decay):
        self.params, self.decay = params, decay
        self.values = [p.detach().clone() for p in params]
        self.count = 0

    @torch.no_grad()
    def update(self):
        self.count += 1
        d = min(self.decay, self.count / (self.count + 10))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.params], 1 - d)

    def swap(self):
        for p, v in zip(self.params, self.values):
            kept = p.detach().clone()
            p.data.copy_(v)
            v.copy_(kept)


def parameter_groups(model, rate, encoder_rate, families):
    late = model.encoder.late_parameters()
    rest = [p for f in families for p in getattr(model, f).parameters()]
    return [{"params": rest, "peak": rate}, {"params": late, "peak": encoder_rate}], rest + late


def log(run, text):
    text = time.strftime("%H:%M:%S ") + text
    print(text, flush=True)
    with open(os.path.join(run, "log.txt"), "a") as f:
        f.write(text + "\n")


def save(path, **what):
    torch.save(what, path + ".part")
    os.replace(path + ".part", path)


def teach(model, task, targets, train_encoder, a):
    """Losses and gradients of a batch (photos, their activations)."""
    photos, x = task
    model.train()
    with torch.set_grad_enabled(train_encoder):
        grid = grids(model, x)
    rows = Rows([t for i in photos for t in targets[i]], [j for j, i in enumerate(photos) for _ in targets[i]])
    # the gradients of both decoders meet at the grid, then go through the encoder once
    leaf = grid.detach().requires_grad_(train_encoder)
    losses = []
    for family in a.families:
        logits = getattr(model, family).teach(leaf, rows, a.dropout)
        target = rows.packed_target
        if logits.shape[0] > len(target):  # Show and Tell's first step
            target = torch.cat([target, torch.full((logits.shape[0] - len(target),), START)])
        loss = F.cross_entropy(logits, target, label_smoothing=a.smoothing)
        loss.backward()
        for later in getattr(model, family).later:
            later.finish()
        losses.append(loss.item())
    if train_encoder:
        grid.backward(leaf.grad)
    return losses


def main():
    a = argparse.ArgumentParser()
    a.add_argument("data"), a.add_argument("features"), a.add_argument("run")
    a.add_argument("--encoder", required=True)
    a.add_argument("--minutes", type=float, default=50, help="time to train; the learning rate falls to nothing over it")
    a.add_argument("--photos", type=int, default=16, help="photos a batch (five captions each)")
    a.add_argument("--rate", type=float, default=8e-4)
    a.add_argument("--encoder-rate", type=float, default=1e-4)
    a.add_argument("--freeze", type=float, default=1, help="epochs before the encoder is trained")
    a.add_argument("--dropout", type=float, default=0.5)
    a.add_argument("--smoothing", type=float, default=0.1)
    a.add_argument("--decay", type=float, default=0.997, help="of the moving average of the weights")
    a.add_argument("--longest", type=int, default=22)
    a.add_argument("--from", dest="start", help="checkpoint to begin with")
    a.add_argument("--families", nargs="*", default=FAMILIES, help="train these decoders only")
    a.add_argument("--pooled", action="store_true", help="encoder fixed, Show and Tell only: use pooled vectors, computed once")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--seed", type=int, default=1)
    a = a.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    torch.set_flush_denormal(True)
    os.makedirs(a.run, exist_ok=True)
    data = Flickr8k(a.data)
    words = data.vocabulary()
    index = {w: i for i, w in enumerate(words)}
    store = Store(a.features, data)
    targets = [[encode(c, index, a.longest) for c in data.captions[n]] for n in data.train]
    model = Captioner(len(words))
    model.load_imagenet(a.encoder)
    if a.start:
        model.load_state_dict(torch.load(a.start)["model"])
    groups, params = parameter_groups(model, a.rate, a.encoder_rate, a.families)
    optimiser = torch.optim.Adam(groups, lr=0, betas=(0.9, 0.98), fused=True)
    average = Average(params, a.decay)
    step, before = 0, 0.0
    last = os.path.join(a.run, "last.pt")
    if os.path.exists(last):
        state = torch.load(last)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.count, step, before = state["average"], state["count"], state["step"], state["seconds"]
        log(a.run, f"resumed at step {step}")
    workers = Workers(model, a.threads)
    if a.pooled:
        store.pool(workers)
        if step == 0:
            model.show_tell.whiten(torch.from_numpy(store.views[0][:, 0]))
        a.freeze = 1e9
    a_epoch = len(data.train) // a.photos
    freeze, saved, losses, began = int(a.freeze * a_epoch), time.time(), [], time.time()
    seconds = lambda: before + time.time() - began
    if step == 0:
        log(a.run, f"{json.dumps(vars(a))} {len(words)} words")
    finished = lambda: seconds() >= 60 * a.minutes

    def keep():
        save(last, model=model.state_dict(), optimiser=optimiser.state_dict(), average=average.values, count=average.count, step=step,
             seconds=seconds())

    def update(loss):
        nonlocal step, saved
        losses.append(loss)
        norms = [float(torch.nn.utils.clip_grad_norm_(g["params"], 5.0, foreach=True)) if g["params"][0].grad is not None else 0.0
                 for g in groups]
        for g in optimiser.param_groups:
            begun = step - freeze if g["peak"] == a.encoder_rate else step
            g["lr"] = g["peak"] * min(1.0, max(0, begun + 1) / 100) * max(0.01, 1 - seconds() / (60 * a.minutes))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update()
        step += 1
        if step % 50 == 0:
            log(a.run, f"step {step} loss " + " ".join(f"{x:.3f}" for x in np.mean(losses[-50:], 0))
                + f" norms {norms[0]:.2f} {norms[1]:.2f} {seconds() / step:.2f} s/step")
        if time.time() - saved > 240:
            keep()
            saved = time.time()

    def batches(epoch):
        rng = np.random.default_rng((a.seed, epoch))
        order = rng.permutation(len(data.train))
        for b in range(step % a_epoch, a_epoch):
            if finished():
                return
            photos = order[b * a.photos:(b + 1) * a.photos]
            yield photos, store.batch(photos, rng)

    while not finished():
        epoch = step // a_epoch
        if not a.pooled:
            store.refresh()
        workers.run(lambda m, t: teach(m, t, targets, step >= freeze, a), batches(epoch), update)
        average.swap()
        save(os.path.join(a.run, f"epoch{epoch + 1}.pt"), model=model.state_dict(), words=words)
        scores, captions = dev_scores(workers, store, data, words, a.families)
        average.swap()
        for family in a.families:
            log(a.run, f"epoch {epoch + 1} {family}: {line(scores[family])}  e.g. {' '.join(captions[family][0])}")
        keep()


if __name__ == "__main__":
    main()
