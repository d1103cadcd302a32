"""ResNet-152, 224x224, batch 1, 32-bit floats: this engine and others in turns, as a Markdown table.

    python3 benches/peers/compare.py [--turns N] [--runs N] [--engines shadetell-cpu,onnxruntime-cpu,...]

Installs the others from the Python package index into target/peers/. In each turn every engine runs twice in a fresh process: with
Mesa's shader cache empty, then filled. Times before the first result count from the loading of the network. Which Vulkan driver is used
is for the environment to say: VK_ICD_FILENAMES.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# The packages, the script and what it is told.
ENGINES = {
    "ncnn-vulkan": (["ncnn", "numpy"], "ncnn_resnet152.py", "vulkan"),
    "onnxruntime-webgpu": (["onnxruntime-webgpu", "onnx", "numpy"], "onnxruntime_resnet152.py", "webgpu"),
    "ncnn-cpu": (["ncnn", "numpy"], "ncnn_resnet152.py", "cpu"),
    "onnxruntime-cpu": (["onnxruntime-webgpu", "onnx", "numpy"], "onnxruntime_resnet152.py", "cpu"),
}


def command(engine, runs):
    """What runs an engine so many times and prints JSON."""
    if engine == "shadetell":
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
        binary = os.path.join(ROOT, "target", "release", "shadetell")
        return [binary, "bench", "model", "--arch", "resnet152", "--runs", str(runs), "--format", "json"]
    if engine == "shadetell-cpu":
        binary = command("shadetell", runs)[0]
        model = os.path.join(ROOT, "target", "peers", "resnet152.safetensors")
        if not os.path.exists(model):
            os.makedirs(os.path.dirname(model), exist_ok=True)
            options = ["--arch", "resnet152", "--decoder", "show-tell", "-o", model]
            subprocess.run([binary, "synth", *options], check=True)
        photo = os.path.join(ROOT, "photos", "cat.jpg")
        return [sys.executable, os.path.join(HERE, "shadetell_cpu.py"), binary, model, photo, str(runs)]
    packages, script, device = ENGINES[engine]
    folder = os.path.join(ROOT, "target", "peers", script.removesuffix(".py"))
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return [python, os.path.join(HERE, script), device, str(runs)]


def measured(arguments, cache):
    """The report of one process, or nothing if it failed."""
    environment = {**os.environ, "MESA_SHADER_CACHE_DIR": cache}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    lines = done.stdout.strip()
    if done.returncode != 0 or not lines:
        print(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    # Some engines write of their own devices first.
    return json.loads(lines[lines.index("{"):])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ["shadetell-cpu", *ENGINES]
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--runs", type=int, default=7, help="warm runs of each process")
    parser.add_argument("--engines", default=",".join(known), help="which, separated by commas")
    args = parser.parse_args()
    names = ["shadetell", *args.engines.split(",")]
    if unknown := [name for name in names[1:] if name not in known]:
        parser.error(f"unknown engines {unknown}; there are {known}")
    commands = {name: command(name, args.runs) for name in names}
    found = {name: {"empty": [], "filled": [], "warm": []} for name in names}
    labels = {}
    for turn in range(args.turns):
        for name in names:
            with tempfile.TemporaryDirectory() as cache:
                reports = [measured(commands[name], cache) for _ in range(2)]
            if None in reports:
                continue
            labels[name] = (reports[0].get("engine", "Shade & Tell"), reports[0]["adapter"])
            found[name]["empty"].append(reports[0]["cold_ms"])
            found[name]["filled"].append(reports[1]["cold_ms"])
            found[name]["warm"] += [report["warm_ms"]["median"] for report in reports]
            print(f"turn {turn + 1}, {name}: {found[name]}", file=sys.stderr)

    ours = found["shadetell"]
    print("| engine | adapter | warm, ms | first, empty cache, s | first, filled cache, s | warm, of ours |")
    print("|---|---|---:|---:|---:|---:|")
    for name in names:
        times = found[name]
        if not times["warm"]:
            print(f"| {name} | | failed | | | |")
            continue
        engine, adapter = labels[name]
        warm = statistics.median(times["warm"])
        empty, filled = (statistics.median(times[key]) / 1e3 for key in ["empty", "filled"])
        ratio = warm / statistics.median(ours["warm"])
        print(f"| {engine} | {adapter} | {warm:.0f} | {empty:.2f} | {filled:.2f} | {ratio:.2f} |")


main()
