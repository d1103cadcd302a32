"""Beam search as the engine does it, over many photos at once."""
import torch

from data import END, START
from model import SUPPRESS


@torch.no_grad()
def beams(decoder, grid, k, longest=20):
    """All hypotheses of each photo: [(ids with <end> if finished, sum of log-probabilities, finished)].

    k rows a photo. Every step takes the best continuations by summed log-probability (as many as slots are left); those with
    <end> are finished and their slot is gone. Log-probabilities are those of the whole softmax; suppressed words are never taken.
    """
    p = grid.shape[0]
    state = decoder.start(grid)
    spread = torch.arange(p).repeat_interleave(k)
    state = (state[0][spread], state[1][spread], *state[2:])
    tokens = torch.full((p * k,), START)
    scores = torch.full((p, k), -torch.inf)
    scores[:, 0] = 0
    slots, paths = [k] * p, [[[]] + [None] * (k - 1) for _ in range(p)]
    found = [[] for _ in range(p)]
    for step in range(longest):
        logits, state = decoder.step(tokens, state)
        logp = torch.log_softmax(logits, 1)
        logp[:, SUPPRESS] = -torch.inf
        total = (scores.view(-1, 1) + logp).view(p, -1)
        best, at = total.topk(k, 1)
        best, at, words = best.tolist(), at.tolist(), logp.shape[1]
        rows, tokens, scores = [], [], []
        for i in range(p):
            live = []
            for score, a in zip(best[i][:slots[i]], at[i]):
                if score == -torch.inf:
                    continue
                row, word = divmod(a, words)
                path = paths[i][row] + [word]
                if word == END:
                    found[i].append((path, score, True))
                else:
                    live.append((row, word, score, path))
            slots[i] = len(live) if step else min(slots[i], len(live))
            paths[i] = [l[3] for l in live] + [None] * (k - len(live))
            rows += [i * k + l[0] for l in live] + [i * k] * (k - len(live))
            tokens += [l[1] for l in live] + [END] * (k - len(live))
            scores.append([l[2] for l in live] + [-torch.inf] * (k - len(live)))
        rows, tokens, scores = torch.tensor(rows), torch.tensor(tokens), torch.tensor(scores)
        state = (state[0][rows], state[1][rows], *state[2:])
        if not any(slots):
            break
    for i in range(p):
        if not found[i]:
            found[i] = [(path, score, False) for path, score in zip(paths[i], scores[i].tolist()) if path is not None]
    return found


def winner(hypotheses, penalty):
    """The hypothesis with the greatest sum / length^penalty (length counts <end>); the first found wins a tie."""
    return max(hypotheses, key=lambda h: h[1] / len(h[0]) ** penalty)
