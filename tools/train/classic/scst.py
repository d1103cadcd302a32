"""Self-critical training of the decoders on CIDEr-D (encoder fixed), after train.py.

    python scst.py DATA FEATURES RUN --from RUN/epoch5.pt --minutes 30

For each photo five captions are sampled; the reward of one is its CIDEr-D, with <end> counted as a word so that captions
learn to stop where a caption may stop, minus the mean reward of the other four.
"""
import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from data import END, START, Flickr8k, encode
from metrics import CiderD, line
from model import SUPPRESS, Captioner, Rows
from train import FAMILIES, Average, Store, dev_scores, grids, log, save
from workers import Workers


@torch.no_grad()
def sample(decoder, grid, count, longest):
    """count sampled captions a photo, ids with <end> (cut at `longest`)."""
    p = grid.shape[0]
    state = decoder.start(grid)
    spread = torch.arange(p).repeat_interleave(count)
    state = (state[0][spread], state[1][spread], *state[2:])
    tokens = torch.full((p * count,), START)
    done, out = torch.zeros(p * count, dtype=torch.bool), []
    for _ in range(longest):
        logits, state = decoder.step(tokens, state)
        logits[:, SUPPRESS] = -torch.inf
        # the greatest of logits plus Gumbel noise is a sample
        tokens = (logits - torch.empty_like(logits).exponential_().log_()).argmax(1)
        out.append(tokens)
        done |= tokens == END
        if done.all():
            break
    return [row[:row.index(END) + 1] if END in row else row for row in torch.stack(out, 1).tolist()]


def criticise(model, task, cider, a):
    """Samples, rewards and gradients of a batch (photos, their activations); returns mean reward and length of each decoder."""
    photos, x = task
    model.eval()
    with torch.no_grad():
        grid = grids(model, x)
    out = []
    for family in a.families:
        decoder = getattr(model, family)
        ids = sample(decoder, grid, a.samples, a.longest)
        owner = [i for i in range(len(photos)) for _ in range(a.samples)]
        reward = torch.tensor([cider.score(photos[o], s) for o, s in zip(owner, ids)]).view(-1, a.samples)
        others = (reward.sum(1, keepdim=True) - reward) / (a.samples - 1)
        rows = Rows(ids, owner)
        gain = (reward - others).flatten()[rows.order][rows.packed_row]
        logits = decoder.teach(grid, rows, 0.0)[:len(gain)]
        (gain * F.cross_entropy(logits, rows.packed_target, reduction="none")).mean().backward()
        for later in decoder.later:
            later.finish()
        out += [reward.mean().item() * 100, sum(map(len, ids)) / len(ids)]
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("data"), a.add_argument("features"), a.add_argument("run")
    a.add_argument("--from", dest="start", required=True)
    a.add_argument("--minutes", type=float, default=30)
    a.add_argument("--photos", type=int, default=16)
    a.add_argument("--samples", type=int, default=5)
    a.add_argument("--rate", type=float, default=8e-5)
    a.add_argument("--sharpen", type=float, default=1.6, help="factor on the logits at the start: label smoothing leaves a model so flat "
                   "that its samples are far worse than its best captions")
    a.add_argument("--decay", type=float, default=0.98)
    a.add_argument("--longest", type=int, default=20)
    a.add_argument("--check", type=int, default=150, help="steps between scores on dev")
    a.add_argument("--families", nargs="*", default=FAMILIES, help="train these decoders only")
    a.add_argument("--pooled", action="store_true", help="Show and Tell only: use pooled vectors, computed once")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--seed", type=int, default=1)
    a = a.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    torch.set_flush_denormal(True)
    os.makedirs(a.run, exist_ok=True)
    data = Flickr8k(a.data)
    state = torch.load(a.start)
    words = state["words"]
    index = {w: i for i, w in enumerate(words)}
    model = Captioner(len(words))
    model.load_state_dict(state["model"])
    with torch.no_grad():
        for family in a.families:
            layer = model.show_attend_tell.fc if family == "show_attend_tell" else model.show_tell.linear
            layer.weight.mul_(a.sharpen)
            layer.bias.mul_(a.sharpen)
    store = Store(a.features, data)
    cider = CiderD([[encode(c, index, 99) for c in data.captions[n]] for n in data.train])
    params = [p for f in a.families for p in getattr(model, f).parameters()]
    optimiser = torch.optim.Adam(params, lr=a.rate, betas=(0.9, 0.98), fused=True)
    average = Average(params, a.decay)
    step, before, rewards = 0, 0.0, []
    last = os.path.join(a.run, "last.pt")
    if os.path.exists(last):
        state = torch.load(last)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.count, step, before = state["average"], state["count"], state["step"], state["seconds"]
        log(a.run, f"resumed at step {step}")
    else:
        log(a.run, json.dumps(vars(a)))
    workers = Workers(model, a.threads)
    if a.pooled:
        store.pool(workers)
    rng = np.random.default_rng((a.seed, step))
    began = time.time()
    seconds = lambda: before + time.time() - began
    finished = lambda: seconds() >= 60 * a.minutes

    def update(result):
        nonlocal step
        rewards.append(result)
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
        for g in optimiser.param_groups:
            g["lr"] = a.rate * min(1.0, (step + 1) / 20) * max(0.01, 1 - seconds() / (60 * a.minutes))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update()
        step += 1
        if step % 50 == 0:
            log(a.run, f"step {step} reward/length " + " ".join(f"{x:.1f}" for x in np.mean(rewards[-50:], 0))
                + f" norm {norm:.2f} {seconds() / step:.2f} s/step")

    order = []

    def batches():
        nonlocal order
        for _ in range(a.check):
            if finished():
                return
            if len(order) < a.photos:
                order = rng.permutation(len(data.train))
            photos, order = order[:a.photos], order[a.photos:]
            yield photos, store.batch(photos, rng)

    while not finished():
        workers.run(lambda m, t: criticise(m, t, cider, a), batches(), update)
        average.swap()
        scores, captions = dev_scores(workers, store, data, words, a.families)
        save(os.path.join(a.run, f"step{step}.pt"), model=model.state_dict(), words=words)
        average.swap()
        for family in a.families:
            log(a.run, f"step {step} {family}: {line(scores[family])}  e.g. "
                + " | ".join(" ".join(captions[family][i]) for i in range(4)))
        save(last, model=model.state_dict(), optimiser=optimiser.state_dict(), average=average.values, count=average.count, step=step,
             seconds=seconds())


if __name__ == "__main__":
    main()
