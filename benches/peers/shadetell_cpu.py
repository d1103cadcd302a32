"""One ResNet-152 pass of `shadetell caption --device cpu`: prints JSON with the first and the warm times in milliseconds.

    python shadetell_cpu.py SHADETELL MODEL PHOTO [RUNS]

MODEL is a file of `shadetell synth --arch resnet152 --decoder show-tell`. The first time is that of a whole process with one photo, the warm
times are those of the encoder that the records have.
"""

import json
import statistics
import subprocess
import sys
import time


def records(binary, model, photos):
    """What the command says of photos, one after the other."""
    options = ["--device", "cpu", "--json", "--batch", "1", "--beam", "1", "--max-length", "1", "--model", model]
    done = subprocess.run([binary, "caption", *options, *photos], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    binary, model, photo = sys.argv[1:4]
    runs = int(sys.argv[4]) if len(sys.argv) > 4 else 10
    clock = time.perf_counter()
    records(binary, model, [photo])
    first = (time.perf_counter() - clock) * 1e3
    times = sorted(record["timings_ms"]["encode"] for record in records(binary, model, [photo] * (runs + 1))[1:])
    print(json.dumps({
        "engine": "Shade & Tell",
        "adapter": "CPU",
        "cold_ms": first,
        "warm_ms": {"min": times[0], "median": statistics.median(times), "p95": times[int(0.95 * (len(times) - 1))]},
    }))


main()
