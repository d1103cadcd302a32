"""The captioner: one EfficientNet-Lite0 encoder, two decoders (Show and Tell; Show, Attend and Tell).

All state-dict names are those of the weights file (see export.py). The encoder is run in two parts: `early` (stem and
blocks 0 to 10, plain convolutions, never trained, its output is cached by features.py) and `late` (blocks 11 to 15 and the
head, which are fine-tuned). Batch norm is always in evaluation mode; its scale and shift are trained, its statistics are not.
"""
import torch
import torch.nn.functional as F
from torch import nn

from data import PAD, START, END, UNK

# kernel, stride, expansion, channels in, channels out, one row a block
BLOCKS = [(3, 1, 1, 32, 16),
          (3, 2, 6, 16, 24), (3, 1, 6, 24, 24),
          (5, 2, 6, 24, 40), (5, 1, 6, 40, 40),
          (3, 2, 6, 40, 80), (3, 1, 6, 80, 80), (3, 1, 6, 80, 80),
          (5, 1, 6, 80, 112), (5, 1, 6, 112, 112), (5, 1, 6, 112, 112),
          (5, 2, 6, 112, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192),
          (3, 1, 6, 192, 320)]
CUT = 11           # first block that is trained
GRID = 7           # the head gives 7 x 7 positions
CHANNELS = 1280
EPS = 1e-3
SUPPRESS = [PAD, START, UNK]


def same_padding(size, kernel, stride):
    """TensorFlow's SAME: the odd pixel goes to the right and the bottom."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Block(nn.Module):
    def __init__(self, kernel, stride, expand, cin, cout):
        super().__init__()
        mid = cin * expand
        self.kernel, self.stride, self.expand, self.skip = kernel, stride, expand, stride == 1 and cin == cout
        if expand != 1:
            self._expand_conv = nn.Conv2d(cin, mid, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(mid, eps=EPS)
        self._depthwise_conv = nn.Conv2d(mid, mid, kernel, stride, groups=mid, bias=False)
        self._bn1 = nn.BatchNorm2d(mid, eps=EPS)
        self._project_conv = nn.Conv2d(mid, cout, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(cout, eps=EPS)

    def forward(self, x):
        y = x
        if self.expand != 1:
            y = F.relu6(self._bn0(self._expand_conv(y)))
        a, b = same_padding(y.shape[-1], self.kernel, self.stride)
        y = F.relu6(self._bn1(self._depthwise_conv(F.pad(y, (a, b, a, b)))))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skip else y


def fold(conv, bn):
    """Weight [out, in*k*k] and bias [out] of a convolution with its batch norm folded in (differentiable)."""
    scale = bn.weight * torch.rsqrt(bn.running_var + EPS)
    return conv.weight.flatten(1) * scale[:, None], bn.bias - bn.running_mean * scale


def taps(size, kernel, stride):
    """Constant [k*k, size*size*out*out] that spreads depthwise taps into a (pixels in) x (pixels out) matrix."""
    before, _ = same_padding(size, kernel, stride)
    out = -(-size // stride)
    m = torch.zeros(kernel, kernel, size, size, out, out)
    for oy in range(out):
        for ox in range(out):
            for ky in range(kernel):
                for kx in range(kernel):
                    iy, ix = oy * stride + ky - before, ox * stride + kx - before
                    if 0 <= iy < size and 0 <= ix < size:
                        m[ky, kx, iy, ix, oy, ox] = 1
    return m.reshape(kernel * kernel, -1)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPS)
        self._blocks = nn.ModuleList(Block(*b) for b in BLOCKS)
        self._conv_head = nn.Conv2d(320, CHANNELS, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(CHANNELS, eps=EPS)
        self._taps = {}
        self.eval()

    def train(self, mode=True):
        return super().train(False)  # batch norm never uses the statistics of a batch

    def late_parameters(self):
        return [p for m in [*self._blocks[CUT:], self._conv_head, self._bn1] for p in m.parameters()]

    def stages(self, x):
        """Plain convolutions: yields (name, activation) for the stem, every block and the head."""
        a, b = same_padding(x.shape[-1], 3, 2)
        x = F.relu6(self._bn0(self._conv_stem(F.pad(x, (a, b, a, b)))))
        yield "stem", x
        for i, block in enumerate(self._blocks):
            x = block(x)
            yield f"block{i}", x
        yield "head", F.relu6(self._bn1(self._conv_head(x)))

    def full(self, x):
        """[n, 3, 224, 224] -> grid [n, 49, 1280]."""
        for _, y in self.stages(x):
            pass
        return y.flatten(2).transpose(1, 2)

    def late(self, x):
        """Cached activations [n, 112, 14, 14] -> grid [n, 49, 1280].

        Works on [channels, n * pixels], so every 1x1 convolution is one matrix product, and a depthwise convolution is one
        small (pixels in) x (pixels out) matrix for each channel: on a CPU much faster than convolution kernels.
        """
        n, side = x.shape[0], x.shape[-1]
        x = x.flatten(2).transpose(0, 1).reshape(x.shape[1], -1)
        for block in self._blocks[CUT:]:
            w, b = fold(block._expand_conv, block._bn0)
            y = torch.addmm(b[:, None], w, x).clamp(0, 6)
            w, b = fold(block._depthwise_conv, block._bn1)
            out = -(-side // block.stride)
            key = (side, block.kernel, block.stride)
            if key not in self._taps:
                self._taps[key] = taps(*key)
            m = (w @ self._taps[key]).view(-1, side * side, out * out)
            y = torch.baddbmm(b[:, None, None], y.view(-1, n, side * side), m).clamp(0, 6)
            w, b = fold(block._project_conv, block._bn2)
            y = torch.addmm(b[:, None], w, y.view(y.shape[0], -1))
            x, side = (x + y if block.skip else y), out
        w, b = fold(self._conv_head, self._bn1)
        y = torch.addmm(b[:, None], w, x).clamp(0, 6)
        return y.view(CHANNELS, n, -1).permute(1, 2, 0)


class Later:
    """A linear map inside a loop over steps whose weight gradient is one matrix product over all steps, made by finish().

    Autograd would make (and add up) one for every step. Call finish() after the loss's backward."""
    def __init__(self, weight, bias=None):
        self.weight, self.bias, self.inputs, self.gradients = weight, bias, [], {}
        self.transposed = weight.detach().t()

    def __call__(self, x, plus=None):
        """x W' + bias + plus."""
        plus = self.bias.detach() if plus is None else plus
        y, step = torch.addmm(plus, x, self.transposed), len(self.inputs)
        if y.requires_grad:
            y.register_hook(lambda g: self.gradients.__setitem__(step, g))
        self.inputs.append(x.detach())
        return y

    def finish(self):
        steps = sorted(self.gradients)
        g, x = torch.cat([self.gradients[s] for s in steps]), torch.cat([self.inputs[s] for s in steps])
        torch.autograd.backward([self.weight] + [self.bias] * (self.bias is not None), [g.t() @ x] + [g.sum(0)] * (self.bias is not None))


def lstm_step(gates, c):
    i, f, g, o = gates.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class Rows:
    """Caption rows of a batch, longest first, so that step t works on the first live[t] rows only.

    tokens: list of id lists (targets); photo: index of each row's photo."""
    def __init__(self, tokens, photo):
        order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
        self.order = order
        self.lengths = [len(tokens[i]) for i in order]
        longest = self.lengths[0]
        self.target = torch.zeros(len(order), longest, dtype=torch.long)
        for r, i in enumerate(order):
            self.target[r, :self.lengths[r]] = torch.tensor(tokens[i])
        self.photo = torch.tensor([photo[i] for i in order])
        self.live = [sum(l > t for l in self.lengths) for t in range(longest)]

    def pack(self, x):
        """[rows, steps, ...] -> the existing steps, one after another, step by step."""
        return torch.cat([x[:n, t] for t, n in enumerate(self.live)])

    @property
    def packed_target(self):
        return self.pack(self.target)

    @property
    def packed_row(self):
        return torch.cat([torch.arange(n) for n in self.live])


class ShowTell(nn.Module):
    """The pooled image vector is the LSTM's first input; the first output is <start>."""
    def __init__(self, words, embed=256, hidden=512):
        super().__init__()
        self.project = nn.Linear(CHANNELS, embed)
        self.embed = nn.Embedding(words, embed)
        self.lstm = nn.LSTM(embed, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, words)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        nn.init.uniform_(self.linear.weight, -0.1, 0.1)
        nn.init.zeros_(self.linear.bias)

    @torch.no_grad()
    def whiten(self, pooled):
        """Starts `project` as the whitened principal components of some pooled vectors.

        These are all positive and much alike; with a random `project` the first LSTM input hardly tells one photo from another."""
        mean = pooled.mean(0)
        _, spread, axes = torch.linalg.svd(pooled[:3000] - mean, full_matrices=False)
        k = self.project.out_features
        self.project.weight.copy_(axes[:k] / spread[:k, None] * 3000 ** 0.5)
        self.project.bias.copy_(-self.project.weight @ mean)

    def teach(self, grid, rows, dropout):
        """Logits of every existing step, in the order of rows.pack (the step that gives <start> is trained too, at the end).

        After backward, call finish() of every element of self.later."""
        l, n = self.lstm, len(rows.lengths)
        image = self.project(grid.mean(1))[rows.photo]
        words = self.embed(rows.pack(torch.cat([torch.full((n, 1), START), rows.target[:, :-1]], 1)))
        x = F.dropout(torch.cat([image, words]), dropout / 2, self.training)
        x = F.linear(x, l.weight_ih_l0, l.bias_ih_l0 + l.bias_hh_l0).split([n] + rows.live)
        recur = Later(l.weight_hh_l0)
        h, c = lstm_step(x[0], torch.zeros(n, l.hidden_size))
        out = [h]
        for t, n in enumerate(rows.live):
            h, c = lstm_step(recur(h[:n], x[t + 1]), c[:n])
            out.append(h)
        self.later = [recur]
        return self.linear(F.dropout(torch.cat(out[1:] + out[:1]), dropout, self.training))

    def start(self, grid):
        x = self.project(grid.mean(1))
        h = x.new_zeros(x.shape[0], self.lstm.hidden_size)
        state = self._cell(x, h, h)
        return state  # then step() with <start>, whether or not <start> was the likeliest word

    def _cell(self, x, h, c):
        l = self.lstm
        return lstm_step(F.linear(x, l.weight_ih_l0, l.bias_ih_l0) + F.linear(h, l.weight_hh_l0, l.bias_hh_l0), c)

    def step(self, tokens, state):
        h, c = self._cell(self.embed(tokens), *state[:2])
        return self.linear(h), (h, c)


class Attention(nn.Module):
    def __init__(self, hidden, size):
        super().__init__()
        self.encoder_att = nn.Linear(CHANNELS, size)
        self.decoder_att = nn.Linear(hidden, size)
        self.full_att = nn.Linear(size, 1)


class ShowAttendTell(nn.Module):
    """Soft attention over the grid with a gate on the context; the first input is <start>, the first output the first word."""
    def __init__(self, words, embed=256, hidden=512, attention=256):
        super().__init__()
        self.attention = Attention(hidden, attention)
        self.embedding = nn.Embedding(words, embed)
        self.decode_step = nn.LSTMCell(embed + CHANNELS, hidden)
        self.init_h = nn.Linear(CHANNELS, hidden)
        self.init_c = nn.Linear(CHANNELS, hidden)
        self.f_beta = nn.Linear(hidden, CHANNELS)
        self.fc = nn.Linear(hidden, words)
        self.sizes = (attention, CHANNELS, 4 * hidden)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.fc.weight, -0.1, 0.1)
        nn.init.zeros_(self.fc.bias)

    def _from_h(self):
        """All that multiplies h, in one matrix: attention query, gate, LSTM."""
        a, s = self.attention.decoder_att, self.decode_step
        return torch.cat([a.weight, self.f_beta.weight, s.weight_hh]), torch.cat([a.bias, self.f_beta.bias, s.bias_hh + s.bias_ih])

    def _attend(self, keys, query):
        """keys [p, 49, a], query [p, k, a] -> weights [p, k, 49]."""
        e = torch.relu(keys[:, None] + query[:, :, None]) @ self.attention.full_att.weight[0]
        return torch.softmax(e + self.attention.full_att.bias, -1)

    def teach(self, grid, rows, dropout):
        """Logits of every existing step, in the order of rows.pack. After backward, call finish() of every element of self.later."""
        p = grid.shape[0]
        pooled = grid.mean(1)
        keys = self.attention.encoder_att(grid)
        c = self.init_c(pooled)[rows.photo]
        h = self.init_h(pooled)[rows.photo]
        # where each row sits in a [photo, k] layout: rows come longest first, so photos are ordered by their longest caption
        photos, slot, seen = [], [], {}
        for q in rows.photo.tolist():
            if q not in seen:
                seen[q] = [len(photos), 0]
                photos.append(q)
            slot.append((seen[q][0], seen[q][1]))
            seen[q][1] += 1
        grid, keys = grid[photos], keys[photos]
        slot = torch.tensor(slot)
        ids = torch.cat([torch.full((len(rows.lengths), 1), START), rows.target[:, :-1]], 1)
        embed_w, context_w = self.decode_step.weight_ih.split([self.embedding.embedding_dim, CHANNELS], 1)
        words = F.dropout(self.embedding(rows.pack(ids)), dropout / 2, self.training)
        words = (words @ embed_w.t()).split(rows.live)
        from_h, from_context = Later(*self._from_h()), Later(context_w)
        self.later = [from_h, from_context]
        out = []
        for t, n in enumerate(rows.live):
            h, c = h[:n], c[:n]
            query, gate, hidden = from_h(h).split(self.sizes, 1)
            s = slot[:n]
            np_, nk = int(s[:, 0].max()) + 1, int(s[:, 1].max()) + 1
            place = s[:, 0] * nk + s[:, 1]
            q = query.new_zeros(np_ * nk, query.shape[1]).index_copy(0, place, query).view(np_, nk, -1)
            alpha = self._attend(keys if np_ == p else keys[:np_], q)
            context = (alpha @ (grid if np_ == p else grid[:np_])).view(np_ * nk, -1).index_select(0, place)
            h, c = lstm_step(from_context(torch.sigmoid(gate) * context, hidden + words[t]), c)
            out.append(h)
        return self.fc(F.dropout(torch.cat(out), dropout, self.training))

    def start(self, grid):
        pooled = grid.mean(1)
        return self.init_h(pooled), self.init_c(pooled), grid, self.attention.encoder_att(grid)

    def step(self, tokens, state, attention=None):
        """tokens [photos * k] in photo order; grid and keys stay one a photo. Returns the logits and the new state."""
        h, c, grid, keys = state
        p = grid.shape[0]
        weight, bias = self._from_h()
        query, gate, hidden = torch.addmm(bias, h, weight.t()).split(self.sizes, 1)
        alpha = self._attend(keys, query.view(p, -1, query.shape[1]))
        if attention is not None:
            attention.append(alpha)
        context = (alpha @ grid).view(h.shape[0], -1)
        x = torch.cat([self.embedding(tokens), torch.sigmoid(gate) * context], 1)
        h, c = lstm_step(F.linear(x, self.decode_step.weight_ih) + hidden, c)
        return self.fc(h), (h, c, grid, keys)


class Captioner(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.encoder = Encoder()
        self.show_attend_tell = ShowAttendTell(words)
        self.show_tell = ShowTell(words)

    def load_imagenet(self, path):
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = {k: v for k, v in state.items() if not k.startswith("_fc.")}
        missing = self.encoder.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys and all(k.endswith("num_batches_tracked") for k in missing.missing_keys), missing


@torch.no_grad()
def greedy(decoder, grid, longest=20):
    """Word ids of each photo, without <end>."""
    state = decoder.start(grid)
    tokens = torch.full((grid.shape[0],), START)
    out = []
    for _ in range(longest):
        logits, state = decoder.step(tokens, state)
        logits[:, SUPPRESS] = -torch.inf
        tokens = logits.argmax(1)
        out.append(tokens)
    return [cut(row) for row in torch.stack(out, 1).tolist()]


def cut(ids):
    return ids[:ids.index(END)] if END in ids else ids
