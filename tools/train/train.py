"""Cross-entropy and self-critical training of the decoder, in one process or several that add up their gradients."""
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from corpus import Corpus
from decoder import SUPPRESS, CrossEntropy, Decoder, Rows, Seen
from metrics import CiderD
from words import END, START


@dataclass
class Stage:
    name: str             # "teach" or "reward"
    steps: int
    rate: float
    photos: int = 32      # of a process's batch
    warm: int = 60        # steps in which the rate rises
    dropout: float = 0.4
    smoothing: float = 0.1
    decay: float = 0.998  # of the moving average of the weights
    clip: float = 2.0
    samples: int = 5      # captions drawn of each photo ("reward")
    keep: float = 0.1     # share of cross-entropy beside the reward
    soft: float = 0.8     # share of the teachers' probabilities beside the human captions
    sharpen: float = 1.6  # factor on the logits when rewards begin: label smoothing leaves a model so flat that its samples are poor


class Average:
    """Moving average of the weights."""
    def __init__(self, params: Sequence[Tensor], decay: float) -> None:
        self.params, self.decay, self.values, self.count = params, decay, [p.detach().clone() for p in params], 0

    def update(self) -> None:
        self.count += 1
        d = min(self.decay, self.count / (self.count + 10))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.params], 1 - d)

    def swap(self) -> None:
        for p, v in zip(self.params, self.values):
            kept = p.detach().clone()
            p.data.copy_(v)
            v.copy_(kept)


@torch.no_grad()
def sample(decoder: Decoder, seen: Seen, count: int, longest: int) -> list[list[int]]:
    """count sampled captions of each photo, ids with <end> (cut at `longest`)."""
    memory = decoder.read(seen)
    h, c = (x.repeat_interleave(count, 0) for x in (memory.h, memory.c))
    tokens = torch.full((len(h),), START, device=h.device)
    done, out = torch.zeros(len(h), dtype=torch.bool, device=h.device), []
    for _ in range(longest):
        logits, h, c = decoder.step(tokens, h, c, memory)
        logits[:, SUPPRESS] = -torch.inf
        # the greatest of logits plus Gumbel noise is a sample
        tokens = (logits - torch.empty_like(logits).exponential_().log_()).argmax(1)
        out.append(tokens)
        done |= tokens == END
        if done.all():
            break
    return [row[:row.index(END) + 1] if END in row else row for row in torch.stack(out, 1).tolist()]


class Trainer:
    def __init__(self, decoder: Decoder, corpus: Corpus, run: Path, stages: list[Stage], seed: int, report: Callable[[str], None],
                 score: Callable[[Decoder, str], None], check: int = 300, save_every: float = 150, teachers: Sequence[Decoder] = ()) -> None:
        """score: called on every process with the averaged weights, every `check` steps and at the end of a stage. teachers: decoders whose
        mean probabilities are learned in the stage "teach" (knowledge distillation, Hinton et al., arXiv 1503.02531)."""
        self.teachers = [t.eval() for t in teachers]
        self.decoder, self.corpus, self.run, self.stages, self.seed = decoder, corpus, run, stages, seed
        self.report, self.score, self.check, self.save_every = report, score, check, save_every
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.params = list(decoder.parameters())
        self.device = self.params[0].device
        self.cider = CiderD([i.captions for i in corpus.items] if any(s.name == "reward" for s in stages) else [])

    def fit(self) -> None:
        last = self.run / "last.pt"
        state = torch.load(last, map_location=self.device, weights_only=True) if last.exists() else None
        for number, stage in enumerate(self.stages):
            if state is None or number >= state["stage"]:
                self._stage(number, stage, state if state and number == state["stage"] else None)
                state = None

    def _stage(self, number: int, stage: Stage, state: dict | None) -> None:
        optimiser = torch.optim.AdamW(self.params, lr=0, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        begin = 0
        if state:
            self.decoder.load_state_dict(state["decoder"])
            optimiser.load_state_dict(state["optimiser"])
            begin = state["step"]
        elif stage.name == "reward":
            with torch.no_grad():
                for p in (self.decoder.out.weight, self.decoder.out.bias, self.decoder.bias):
                    p.mul_(stage.sharpen)
                self.decoder.slot_share.mul_(stage.sharpen)
        average = Average(self.params, stage.decay)
        if state:
            average.values, average.count = state["average"], state["count"]
        self.report(f"{asdict(stage)}" + (f", resumed at step {begin}" if begin else ""))
        saved, began, seen_losses = time.time(), time.time(), []
        for step in range(begin, stage.steps):
            batch, rng = self._batch(stage, number, step)
            torch.manual_seed(hash((self.seed, number, step, self.rank)) % 2 ** 31)
            seen_losses.append(self._reward(batch, rng, stage) if stage.name == "reward" else [self._teach(batch, rng, stage)])
            self._add_up()
            torch.nn.utils.clip_grad_norm_(self.params, stage.clip, foreach=True)
            for group in optimiser.param_groups:
                group["lr"] = stage.rate * min(1.0, (step + 1) / stage.warm) * max(0.02, 1 - step / stage.steps)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            average.update()
            done = step + 1
            if done % 50 == 0:
                figures = " ".join(f"{x:.3f}" for x in np.mean(seen_losses[-50:], 0))
                self.report(f"{stage.name} step {done} loss {figures}, {(time.time() - began) / len(seen_losses):.2f} s a step")
            if done % self.check == 0 or done == stage.steps:
                average.swap()
                self.decoder.eval()
                if self.rank == 0:
                    torch.save({"decoder": self.decoder.state_dict(), "sizes": asdict(self.decoder.sizes)}, self.run / f"{stage.name}.pt")
                self.score(self.decoder, f"{stage.name} step {done}")
                average.swap()
            if self.rank == 0 and (time.time() - saved > self.save_every or done == stage.steps):
                part = self.run / "last.part"
                torch.save({"decoder": self.decoder.state_dict(), "optimiser": optimiser.state_dict(), "average": average.values,
                            "count": average.count, "stage": number, "step": done}, part)
                os.replace(part, self.run / "last.pt")
                saved = time.time()
        average.swap()

    def _batch(self, stage: Stage, number: int, step: int) -> tuple[list[int], np.random.Generator]:
        """Numbers of this process's items at a step; every item comes once an epoch."""
        items, wide = self.corpus.items, stage.photos * self.world
        epoch, place = divmod(step, len(items) // wide)
        order = np.random.default_rng((self.seed, number, epoch)).permutation(len(items))
        at = place * wide + self.rank * stage.photos
        return order[at:at + stage.photos].tolist(), np.random.default_rng((self.seed, number, step, self.rank, 7))

    def _rows(self, batch: list[int]) -> Rows:
        captions = [self.corpus.items[i].captions for i in batch]
        return Rows([c for some in captions for c in some], [n for n, some in enumerate(captions) for _ in some], len(batch)).to(self.device)

    def _teach(self, batch: list[int], rng: np.random.Generator, stage: Stage) -> float:
        self.decoder.train()
        seen = self.corpus.see([self.corpus.items[i] for i in batch], rng).to(self.device)
        rows = self._rows(batch)
        logits = self.decoder.teach(seen, rows, stage.dropout)
        if self.teachers:
            logp = torch.log_softmax(logits, 1)
            with torch.no_grad():
                p = sum(torch.softmax(t.teach(seen, rows), 1) for t in self.teachers) / len(self.teachers)
            human = -logp.gather(1, rows.target[:, None])[:, 0]
            taught = torch.tensor([self.corpus.items[i].taught for i in batch], device=self.device)[rows.photo][rows.row]
            soft = torch.where(taught, stage.soft, 0.0)
            loss = ((1 - soft) * human - soft * (p * logp).sum(1)).mean()
        else:
            loss = CrossEntropy.apply(logits, rows.target, stage.smoothing).mean()
        loss.backward()
        return float(loss.detach())

    def _reward(self, batch: list[int], rng: np.random.Generator, stage: Stage) -> list[float]:
        """Captions are drawn; the reward of one is its CIDEr-D, <end> counted as a word so that captions learn to stop where a caption
        may stop, minus the mean of the others of its photo. Some cross-entropy of the human captions is kept."""
        self.decoder.eval()
        seen = self.corpus.see([self.corpus.items[i] for i in batch], rng).to(self.device)
        ids = sample(self.decoder, seen, stage.samples, 18)
        owners = [n for n in range(len(batch)) for _ in range(stage.samples)]
        reward = torch.tensor([self.cider.score(batch[n], s) for n, s in zip(owners, ids)]).view(-1, stage.samples)
        gain = (reward - (reward.sum(1, keepdim=True) - reward) / (stage.samples - 1)).flatten()
        rows = Rows(ids, owners, len(batch))
        gain = gain[rows.order][rows.row].to(self.device)
        rows = rows.to(self.device)
        loss = CrossEntropy.apply(self.decoder.teach(seen, rows), rows.target, 0.0)
        ((1 - stage.keep) * (gain * loss).mean()).backward()
        taught = 0.0
        if stage.keep:
            rows = self._rows(batch)
            human = CrossEntropy.apply(self.decoder.teach(seen, rows), rows.target, 0.0).mean()
            (stage.keep * human).backward()
            taught = human.item()
        return [100 * reward.mean().item(), sum(map(len, ids)) / len(ids), taught]

    def _add_up(self) -> None:
        """The mean of all processes' gradients, on each."""
        if self.world == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in self.params if p.grad is not None])
        dist.all_reduce(flat)
        flat /= self.world
        for p, g in zip(self.params, flat.split([p.numel() for p in self.params])):
            p.grad = g.view_as(p)
