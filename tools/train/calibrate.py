"""How sure a model may be of its sentences: fits the confidence of a model file to judged sentences, and writes it into the file.

    shadetell caption --json --model MODEL.safetensors PHOTOS... > captions.jsonl
    python calibrate.py MODEL.safetensors captions.jsonl JUDGED.csv [--threshold 0.85]

JUDGED.csv: `photo,verdict` with the photos' file names and true, partly or false. confidence = sigmoid(offset + log_prob * l), l the
sentence's log-probability: the probability that it is not false. Prints the reliability of fifths, and of the surer half.
"""
import argparse
import csv
import json
import math
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file


def fit(pairs: list[tuple[float, bool]], steps: int = 100) -> tuple[float, float]:
    """Offset and weight of a logistic regression of (value, outcome), by Newton's method."""
    a = b = 0.0
    for _ in range(steps):
        g0 = g1 = h00 = h01 = h11 = 0.0
        for x, y in pairs:
            p = 1 / (1 + math.exp(-(a + b * x)))
            g0, g1 = g0 + p - y, g1 + (p - y) * x
            w = p * (1 - p)
            h00, h01, h11 = h00 + w, h01 + w * x, h11 + w * x * x
        h00, h11 = h00 + 1e-6, h11 + 1e-6
        det = h00 * h11 - h01 * h01
        a, b = a - (h11 * g0 - h01 * g1) / det, b - (h00 * g1 - h01 * g0) / det
    return a, b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("judged", type=Path)
    parser.add_argument("--threshold", type=float, default=0.85)
    args = parser.parse_args()
    with open(args.judged, newline="", encoding="utf-8") as f:
        verdicts = {r["photo"]: r["verdict"] for r in csv.DictReader(f)}
    records = [json.loads(line) for line in args.captions.read_text(encoding="utf-8").splitlines()]
    found = [(r["log_prob"], verdicts[Path(r["path"]).name]) for r in records if Path(r["path"]).name in verdicts]
    offset, weight = fit([(x, verdict != "false") for x, verdict in found])
    rows = sorted((1 / (1 + math.exp(-(offset + weight * x))), verdict) for x, verdict in found)
    share = lambda some, verdict: sum(v == verdict for _, v in some) / len(some)
    print(f"offset {offset:.3f}, weight {weight:.3f}, {len(rows)} sentences\n| confidence | mean | not false | true |\n|---|---|---|---|")
    for k in range(5):
        part = rows[k * len(rows) // 5:(k + 1) * len(rows) // 5]
        mean = sum(c for c, _ in part) / len(part)
        print(f"| {part[0][0]:.2f} to {part[-1][0]:.2f} | {mean:.2f} | {1 - share(part, 'false'):.2f} | {share(part, 'true'):.2f} |")
    half, below = rows[len(rows) // 2:], [r for r in rows if r[0] < args.threshold]
    print(f"surer half: true {share(half, 'true'):.2f}, false {share(half, 'false'):.2f}")
    print(f"below the threshold: {len(below)}, of them false {sum(v == 'false' for _, v in below)}, true {sum(v == 'true' for _, v in below)}")
    with safe_open(args.model, "pt") as f:
        about = json.loads(f.metadata()["shadetell"])
        tensors = {k: f.get_tensor(k) for k in f.keys()}
    about["decoders"][0]["confidence"] = {"offset": round(offset, 4), "log_prob": round(weight, 4), "threshold": args.threshold}
    save_file(tensors, args.model, {"shadetell": json.dumps(about, ensure_ascii=False, separators=(",", ":"))})


if __name__ == "__main__":
    main()
