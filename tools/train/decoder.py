"""The decoder: an LSTM whose state attends to the photo's grid and to slots of tags and attributes (see README.md, "The decoder")."""
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder import CHANNELS
from words import START, UNK, PAD

SUPPRESS = [PAD, START, UNK]


@dataclass(frozen=True)
class Sizes:
    words: int
    tags: int
    attributes: int
    embed: int = 256
    hidden: int = 512
    grid: int = 512


@dataclass
class Seen:
    """What the decoder is given of some photos."""
    grid: Tensor        # [p, places, 1280]
    tags: Tensor        # [p, k] numbers of the first tags
    scores: Tensor      # [p, k] of these tags
    attributes: Tensor  # [p, a]

    def to(self, device: torch.device) -> "Seen":
        return Seen(*(x.to(device) for x in (self.grid, self.tags, self.scores, self.attributes)))


@dataclass
class Memory:
    """What does not change from word to word."""
    grid: Tensor    # [p, places, grid]
    slots: Tensor   # [p, k + a + 1, embed]
    gates: Tensor   # [p, 4 hidden]: the photo's part of the LSTM gates
    h: Tensor       # [p, hidden]
    c: Tensor       # [p, hidden]


class Rows:
    """Captions of a batch, longest first, so that step t works on the first live[t] rows only. The steps that exist are laid out one
    after another ("packed"); attention works on [photo, steps of all its captions]."""
    def __init__(self, captions: list[list[int]], owners: list[int], photos: int) -> None:
        self.order = sorted(range(len(captions)), key=lambda i: -len(captions[i]))
        lengths = [len(captions[i]) for i in self.order]
        steps = lengths[0]
        target = torch.zeros(len(lengths), steps, dtype=torch.long)
        for r, i in enumerate(self.order):
            target[r, :lengths[r]] = torch.tensor(captions[i])
        self.live = [sum(length > t for length in lengths) for t in range(steps)]
        self.photo = torch.tensor([owners[i] for i in self.order])
        row = torch.cat([torch.arange(n) for n in self.live])
        step = torch.cat([torch.full((n,), t) for t, n in enumerate(self.live)])
        self.target = target[row, step]
        self.row = row
        self.input = torch.where(step > 0, target[row, (step - 1).clamp(min=0)], START)
        # the place of each packed step among its photo's steps
        filled = [0] * photos
        begin = torch.zeros(len(lengths), dtype=torch.long)
        for r, p in enumerate(self.photo.tolist()):
            begin[r] = filled[p]
            filled[p] += lengths[r]
        self.width = max(filled)
        self.place = self.photo[row] * self.width + begin[row] + step

    def to(self, device: torch.device) -> "Rows":
        for name in ("photo", "target", "row", "input", "place"):
            setattr(self, name, getattr(self, name).to(device))
        return self


class Recurrence(torch.autograd.Function):
    """The LSTM over packed rows. The gradient of the recurrent weight is one product over all steps, not one a step."""
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, h: Tensor, c: Tensor, live: list[int]) -> Tensor:
        transposed, hs, cs, acts = weight.t(), [h], [c], []
        for x_t in x.split(live):
            n = len(x_t)
            gates = torch.addmm(x_t, h[:n], transposed)
            i, f, g, o = gates.chunk(4, 1)
            i.sigmoid_(), f.sigmoid_(), g.tanh_(), o.sigmoid_()
            c = torch.addcmul(f * c[:n], i, g)
            h = o * torch.tanh(c)
            hs.append(h)
            cs.append(c)
            acts.append(gates)
        ctx.live = live
        ctx.save_for_backward(weight, *hs, *cs, *acts)
        return torch.cat(hs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        live, t_max = ctx.live, len(ctx.live)
        weight, *saved = ctx.saved_tensors
        hs, cs, acts = saved[:t_max + 1], saved[t_max + 1:2 * t_max + 2], saved[2 * t_max + 2:]
        d_gates: list[Tensor] = []
        grads = grad.split(live)
        dh, dc = torch.zeros_like(hs[0]), torch.zeros_like(cs[0])
        for t in range(t_max - 1, -1, -1):
            n = live[t]
            i, f, g, o = acts[t].chunk(4, 1)
            tanh_c = torch.tanh(cs[t + 1])
            dh_t = dh[:n] + grads[t]
            dc_t = torch.addcmul(dc[:n], dh_t * o, 1 - tanh_c * tanh_c)
            d = torch.cat([dc_t * g * i * (1 - i), dc_t * cs[t][:n] * f * (1 - f), dc_t * i * (1 - g * g), dh_t * tanh_c * o * (1 - o)], 1)
            d_gates.append(d)
            dh[:n] = d @ weight
            dc[:n] = dc_t * f
        dx = torch.cat(d_gates[::-1])
        before = torch.cat([h[:n] for h, n in zip(hs, live)])
        return dx, dx.t() @ before, dh, dc, None


class CrossEntropy(torch.autograd.Function):
    """Label-smoothed cross-entropy of each row. Overwrites the logits with their gradient, so that nothing of their size is made anew."""
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        most = logits.amax(1)
        loss = most - (1 - smoothing) * logits.gather(1, target[:, None])[:, 0]
        if smoothing:
            loss -= smoothing * logits.mean(1)
        total = logits.sub_(most[:, None]).exp_().sum(1)
        loss += total.log()
        logits.div_(total[:, None])
        if smoothing:
            logits.sub_(smoothing / logits.shape[1])
        logits.scatter_add_(1, target[:, None], logits.new_full((len(target), 1), smoothing - 1))
        ctx.save_for_backward(logits)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0].mul_(grad[:, None]), None, None


class Decoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        s = self.sizes = sizes
        self.embedding = nn.Embedding(s.words, s.embed)
        self.tag = nn.Embedding(s.tags, s.embed)
        self.tag_score = nn.Parameter(torch.zeros(s.embed))
        self.attribute = nn.Embedding(s.attributes, s.embed)
        self.attribute_score = nn.Parameter(torch.empty(s.attributes, s.embed))
        self.none = nn.Parameter(torch.zeros(1, s.embed))
        self.grid = nn.Linear(CHANNELS, s.grid)
        self.whole = nn.Linear(s.grid + s.embed + s.attributes, s.embed)
        self.first = nn.Linear(s.embed, 2 * s.hidden)
        self.lstm = nn.LSTMCell(2 * s.embed, s.hidden)
        self.query = nn.Linear(s.hidden, 2 * s.grid + s.embed)
        self.mix = nn.Linear(s.hidden + s.grid + 2 * s.embed, s.hidden)
        self.out = nn.Linear(s.hidden, s.embed)
        self.slot_share = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(s.words))
        for table, spread in ((self.embedding.weight, 0.1), (self.tag.weight, 0.1), (self.attribute.weight, 0.1), (self.attribute_score, 0.1)):
            nn.init.normal_(table, std=spread)
        nn.init.constant_(self.lstm.bias_ih[s.hidden:2 * s.hidden], 1.0)

    def read(self, seen: Seen, dropout: float = 0.0) -> Memory:
        s = self.sizes
        grid = torch.relu(self.grid(seen.grid))
        tags = self.tag(seen.tags) + seen.scores[..., None] * self.tag_score
        attributes = self.attribute.weight + seen.attributes[..., None] * self.attribute_score
        whole = torch.relu(self.whole(torch.cat([grid.mean(1), tags.mean(1), seen.attributes], 1)))
        grid, tags, whole = (F.dropout(x, dropout, self.training) for x in (grid, tags, whole))
        slots = torch.cat([tags, attributes, self.none.expand(len(tags), 1, -1)], 1)
        h, c = torch.tanh(self.first(whole)).split(s.hidden, 1)
        gates = F.linear(whole, self.lstm.weight_ih[:, s.embed:], self.lstm.bias_ih + self.lstm.bias_hh)
        return Memory(grid, slots, gates, h, c)

    def _attend(self, memory: Memory, query: Tensor) -> tuple[Tensor, Tensor]:
        """query [p, n, 2 grid + embed] -> contexts [p, n, grid], [p, n, embed] of the photos' grids and slots."""
        s = self.sizes
        to_grid, gate, to_slots = query.split([s.grid, s.grid, s.embed], 2)
        places = torch.softmax(to_grid @ memory.grid.transpose(1, 2) / math.sqrt(s.grid), 2)
        slots = torch.softmax(to_slots @ memory.slots.transpose(1, 2) / math.sqrt(s.embed), 2)
        return torch.sigmoid(gate) * (places @ memory.grid), slots @ memory.slots

    def _logits(self, h: Tensor, grid: Tensor, slots: Tensor, words: Tensor) -> Tensor:
        mixed = torch.relu(self.mix(torch.cat([h, grid, slots, words], 1)))
        return F.linear(self.out(F.dropout(mixed, 0.3, self.training)) + self.slot_share * slots, self.embedding.weight, self.bias)

    def teach(self, seen: Seen, rows: Rows, dropout: float = 0.0) -> Tensor:
        """Logits of every packed step."""
        s, memory = self.sizes, self.read(seen, dropout / 4)
        words = F.dropout(self.embedding(rows.input), dropout / 2, self.training)
        gates = F.linear(words, self.lstm.weight_ih[:, :s.embed]) + memory.gates[rows.photo][rows.row]
        h = Recurrence.apply(gates, self.lstm.weight_hh, memory.h[rows.photo], memory.c[rows.photo], rows.live)
        h = F.dropout(h, dropout, self.training)
        query = self.query(h)
        photos = len(seen.tags)
        wide = query.new_zeros(photos * rows.width, query.shape[1]).index_copy(0, rows.place, query)
        grid, slots = self._attend(memory, wide.view(photos, rows.width, -1))
        return self._logits(h, grid.flatten(0, 1)[rows.place], slots.flatten(0, 1)[rows.place], words)

    def step(self, tokens: Tensor, h: Tensor, c: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """tokens, h, c: k rows for each photo, in order. Returns the logits and the new state."""
        s, photos = self.sizes, len(memory.grid)
        k = len(tokens) // photos
        words = self.embedding(tokens)
        gates = F.linear(words, self.lstm.weight_ih[:, :s.embed]) + memory.gates.repeat_interleave(k, 0) + F.linear(h, self.lstm.weight_hh)
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        grid, slots = self._attend(memory, self.query(h).view(photos, k, -1))
        return self._logits(h, grid.flatten(0, 1), slots.flatten(0, 1), words), h, c
