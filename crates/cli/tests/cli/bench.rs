//! `bench` and `tune`.

use super::*;

fn report(args: &[&str]) -> (Outcome, Value) {
    let outcome = run(args);
    let report = serde_json::from_str(&outcome.stdout).unwrap_or(Value::Null);
    (outcome, report)
}

#[test]
fn a_network_is_measured_and_compared_with_a_baseline() {
    let folder = Folder::new();
    let args = ["bench", "model", "--arch", "resnet18", "--runs", "2", "--warm-up", "0", "--format", "json"];
    let [page, trace] = ["page.html", "trace.json"].map(|name| folder.name(name));
    let (outcome, measured) = report(&[&args[..], &["--report", &page, "--trace", &trace]].concat());
    outcome.expect(0);
    let number = |pointer: &str| measured.pointer(pointer).and_then(Value::as_f64).unwrap();
    let [min, median, p95] = ["/warm_ms/min", "/warm_ms/median", "/warm_ms/p95"].map(number);
    assert!(0.0 < min && min <= median && median <= p95, "{measured}");
    assert!(number("/cold_ms") >= number("/first_ms") && number("/first_ms") > 0.0);
    // 11.2 million weights of four bytes, some of them transformed; 1.8 G multiply-adds.
    assert!((44e6..200e6).contains(&number("/device_bytes/weights")), "{measured}");
    assert!((1e6..12e6).contains(&number("/device_bytes/activations")), "{measured}");
    assert!((3.6e9..3.8e9).contains(&number("/flops")), "{measured}");
    assert!(measured["adapter"].is_string() && measured["driver"].is_string());
    assert!(measured["decode_ms"].is_null(), "the encoder alone");
    assert!((1e6..1e12).contains(&number("/limits/max_buffer_size")), "{measured}");
    let layers = measured["layers"].as_array().unwrap();
    let steps: usize = layers.iter().map(|layer| layer["kernels"].as_array().unwrap().len()).sum();
    assert_eq!(steps as f64, number("/dispatches"));
    assert!(layers.iter().all(|layer| layer["ms"].as_f64().unwrap() > 0.0), "{layers:?}");
    let shaders = measured["shaders"].as_object().unwrap();
    assert!(shaders.values().all(|hash| hash.as_str().unwrap().len() == 12), "{shaders:?}");
    assert!(shaders.contains_key("max_pool2d"), "{shaders:?}");

    // The page has a bar for each layer and loads no other files.
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<rect").count(), layers.len());
    assert!(page.contains("<polyline class=\"roof\"") && page.contains("encoder.layer4.1.conv2"));
    assert!(!page.contains("{{") && !page.contains("http") && !page.contains("NaN"), "{page}");
    let trace: Value = serde_json::from_str(&fs::read_to_string(trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let on_device: Vec<_> = events.iter().filter(|e| e["tid"] == 2 && e["ph"] == "X").collect();
    assert_eq!(on_device.len(), steps);
    let times = |event: &&Value| (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
    assert!(
        on_device.iter().map(times).is_sorted_by(|a, b| a.0 + a.1 <= b.0 + 1.0),
        "steps follow each other"
    );
    assert!(events.iter().any(|event| event["name"] == "pipelines"));

    // Compare with a report that is a thousand times as slow, and with one that is as fast.
    let baseline = |factor: f64| {
        let mut earlier = measured.clone();
        earlier["warm_ms"]["median"] = (median * factor).into();
        folder.write(&format!("{factor}.json"), earlier.to_string())
    };
    let against = |path: &str| run(&[&args[..], &["--baseline", path]].concat());
    against(&baseline(1000.0)).expect(0);
    let slower = against(&baseline(0.001)).expect(1);
    assert!(slower.stderr.contains("allowed +5.0%"), "{slower:?}");
    let other = folder.write("other.json", "{}");
    assert!(against(&other).expect(USAGE).stderr.contains("other.json"));
}

#[test]
fn reports_can_be_markdown_tables() {
    let args = ["bench", "model", "--arch", "resnet18", "--decoder", "show-tell", "--half", "--runs", "1"];
    let said =
        run(&[&args[..], &["--warm-up", "0", "--checked", "--format", "markdown"]].concat()).expect(0).stdout;
    for part in ["| encoder, warm | ", "| decoder, warm | ", "| first layer | op |", "16-bit weights"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn peaks_of_the_adapter_are_measured() {
    let (outcome, peaks) = report(&["bench", "peaks", "--format", "json"]);
    outcome.expect(0);
    for rate in ["gflops_per_second", "gigabytes_per_second", "dispatch_in_pass_us"] {
        let found = peaks[rate].as_f64().unwrap();
        assert!((0.01..1e6).contains(&found), "{rate} {found}");
    }
    assert!(peaks["dispatch_ms"]["min"].as_f64().unwrap() > 0.0);
}

#[test]
fn kernels_are_checked_and_timed() {
    let args = ["bench", "kernels", "--shape", "layer4", "--runs", "1", "--warm-up", "0", "--format", "json"];
    let (outcome, measured) = report(&args);
    outcome.expect(0);
    let rows = measured["kernels"].as_array().unwrap();
    let shapes: Vec<_> = rows.iter().map(|row| row["shape"].as_str().unwrap()).collect();
    assert_eq!(shapes, ["reduce", "window", "expand"].map(|name| format!("resnet152.layer4.{name}")));
    for row in rows {
        let error = row["error"].as_f64().unwrap();
        assert!(0.0 < error && error < 1e-3, "{row}");
        assert!(row["speed"]["gflops_per_second"].as_f64().unwrap() > 0.01, "{row}");
        assert!(
            ["compute", "memory", "launch"].contains(&row["speed"]["bound_by"].as_str().unwrap()),
            "{row}"
        );
    }
    let none = run(&["bench", "kernels", "--op", "linear", "--shape", "layer4"]).expect(USAGE);
    assert!(none.stderr.contains("resnet152.layer4.window"), "{none:?}");
}

#[test]
fn every_operation_is_checked_over_some_shapes() {
    let args = ["bench", "kernels", "--runs", "1", "--warm-up", "0", "--format", "json"];
    for (op, shapes) in [("top_k", 2), ("additive_attention", 2), ("preprocess", 1), ("embedding", 1)] {
        let (outcome, measured) = report(&[&args[..], &["--op", op]].concat());
        outcome.expect(0);
        let rows = measured["kernels"].as_array().unwrap();
        assert_eq!(rows.len(), shapes, "{op}");
        assert!(rows.iter().all(|row| row["speed"]["ms"]["median"].as_f64().unwrap() > 0.0), "{rows:?}");
    }
}

const SIZES: [&str; 6] = ["bench", "kernel", "--op", "conv2d", "--shape", "6,8,12,1,1"];

#[test]
fn a_user_shader_runs_instead_of_the_built_in_one() {
    let folder = Folder::new();
    let source = run(&[&SIZES[..], &["--source"]].concat()).expect(0).stdout;
    assert!(source.contains("// p.in_channels is 8\n") && source.contains("fn main("), "{source}");
    let against = |path: &str, code| {
        let runs = ["--shader", path, "--runs", "2", "--warm-up", "0", "--format", "json"];
        let (outcome, measured) = report(&[&SIZES[..], &runs].concat());
        (outcome.expect(code), measured)
    };
    let mine = folder.write("mine.wgsl", &source);
    let (_, measured) = against(&mine, 0);
    assert!(measured["ratio"].as_f64().unwrap() > 0.0, "{measured}");
    assert!(measured["error"].as_f64().unwrap() < 1e-3, "{measured}");
    assert!(measured["shaders"].as_object().unwrap().contains_key("your mine"), "{measured}");

    // A shader with a wrong result is reported and not timed.
    let end = "return clamp_keeping_nan(sum, p.low, p.high);";
    assert!(source.contains(end), "{source}");
    let wrong = folder.write("wrong.wgsl", source.replace(end, "return sum + 1.0;"));
    let (outcome, measured) = against(&wrong, 1);
    assert!(outcome.stderr.contains("wrong.wgsl: expected the reference's result"), "{outcome:?}");
    assert!(
        measured["yours"].is_null() && measured["ours"]["ms"]["min"].as_f64().unwrap() > 0.0,
        "{measured}"
    );
}

#[test]
fn a_shader_for_browsers_and_large_workgroups_is_taken() {
    let folder = Folder::new();
    let source = run(&[&SIZES[..], &["--source"]].concat()).expect(0).stdout;
    let size = source.split("@workgroup_size(").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    let adapters: Value = serde_json::from_str(&run(&["devices", "--json"]).expect(0).stdout).unwrap();
    let most = adapters[0]["limits"]["maxComputeInvocationsPerWorkgroup"].as_u64().unwrap();
    // More invocations than WebGPU guarantees, of which only the first ones work.
    let large =
        source.replace(&format!("@workgroup_size({size})"), &format!("@workgroup_size({most}, 1, 1)"));
    assert_ne!(source, large);
    for (name, text) in [("browser", format!("\u{feff}enable subgroups;\n{source}")), ("large", large)] {
        let path = folder.write(name, text);
        let output = run(&[&SIZES[..], &["--shader", &path, "--runs", "1", "--warm-up", "0"]].concat());
        // A kernel may depend on its size; it is compiled and run all the same.
        assert!(output.code == 0 || (name == "large" && output.code == 1), "{name}: {output:#?}");
    }
}

#[test]
fn an_invalid_shader_is_refused_with_the_reason() {
    let folder = Folder::new();
    let source = run(&[&SIZES[..], &["--source"]].concat()).expect(0).stdout;
    let refused = |name: &str, text: String| {
        let path = folder.write(name, text);
        run(&[&SIZES[..], &["--shader", &path]].concat()).expect(USAGE).stderr
    };
    let said = refused("other.wgsl", source.replace("fn main(", "fn other("));
    assert!(said.contains("other.wgsl") && said.contains("'main'") && said.contains("--source"), "{said}");
    let said = refused("broken.wgsl", "nonsense".to_owned());
    assert!(said.contains("parsing error") && said.contains("nonsense"), "{said}");
    let missing = run(&[&SIZES[..], &["--shader", "no-such-file.wgsl"]].concat()).expect(USAGE).stderr;
    assert!(missing.contains("no-such-file.wgsl: cannot be read"), "{missing}");
    let unknown = run(&["bench", "kernel", "--shape", "layer9", "--source"]).expect(USAGE).stderr;
    assert!(unknown.contains("layer9") && unknown.contains("resnet152.stem"), "{unknown}");
    // A shape that needs several kernels.
    let sizes = ["bench", "kernel", "--op", "conv2d", "--shape", "14,64,64,3,1", "--source"];
    let several = run(&sizes).expect(USAGE).stderr;
    assert!(several.contains("conv2d_winograd_input") && several.contains("--kernel"), "{several}");
    let one = run(&[&sizes[..], &["--kernel", "conv2d_winograd_output"]].concat()).expect(0).stdout;
    assert!(one.contains("conv2d_winograd_output"), "{one}");
}

#[test]
fn weights_of_16_bits_are_compared_with_weights_of_32_bits() {
    let (outcome, measured) =
        report(&["bench", "check", "--arch", "resnet18", "--pictures", "2", "--format", "json"]);
    outcome.expect(0);
    let number = |pointer: &str| measured.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(number("/kernels/error") < 1e-4 && number("/kernels/cosine") > 0.999_999, "{measured}");
    let rounding = number("/rounding/error");
    assert!(1e-6 < rounding && rounding < 1e-2, "{measured}");
    assert!(number("/weight_bytes/1") < 0.6 * number("/weight_bytes/0"), "{measured}");
}

/// Runs a command with its cache in a folder.
fn with_cache(folder: &Folder, args: &[&str]) -> Outcome {
    // Systems use one of these variables.
    outcome(shadetell(args).env("XDG_CACHE_HOME", folder.path("")).env("HOME", folder.path("")))
}

#[cfg(unix)]
#[test]
fn tuned_kernels_are_stored_used_and_removed() {
    let folder = Folder::new();
    let tune = with_cache(&folder, &["tune", "--arch", "resnet18", "--decoder", "show-tell"]).expect(0);
    let line = tune.stdout.lines().find(|line| line.starts_with("conv2d 64>64 3x3 to 56x56 padded")).unwrap();
    assert!(line.contains("winograd-f4") || line.contains("window"), "{line}");
    let kept = tune.stderr.lines().find_map(|line| line.strip_prefix("stored in ")).unwrap().to_owned();
    let mut file: Value = serde_json::from_str(&fs::read_to_string(&kept).unwrap()).unwrap();

    // The stored kernel is used: replace it by another kernel of the same shape.
    let shape = "conv2d 64>64 3x3 to 56x56 padded";
    file["kernels"][shape] = "window tiled-32".into();
    fs::write(&kept, file.to_string()).unwrap();
    let args = ["bench", "model", "--arch", "resnet18", "--runs", "1", "--warm-up", "0", "--format", "json"];
    let kernels = |outcome: Outcome| {
        let measured: Value = serde_json::from_str(&outcome.expect(0).stdout).unwrap();
        let layers = measured["layers"].as_array().unwrap();
        let layer = layers.iter().find(|layer| layer["node"] == "encoder.layer1.0.conv1").unwrap();
        layer["kernels"].to_string()
    };
    assert_eq!(kernels(with_cache(&folder, &args)), "[\"conv2d_tiled\"]");

    // A damaged file causes a warning, and the default kernels are used.
    fs::write(&kept, "{").unwrap();
    let damaged = with_cache(&folder, &args);
    assert!(damaged.stderr.contains("warning: ") && damaged.stderr.contains("shadetell tune"), "{damaged:?}");
    assert_ne!(kernels(damaged), "[\"conv2d_tiled\"]");

    let forgotten = with_cache(&folder, &["tune", "--forget"]).expect(0);
    assert!(forgotten.stderr.contains("removed ") && !Path::new(&kept).exists(), "{forgotten:?}");
    assert!(with_cache(&folder, &["tune", "--forget"]).expect(0).stderr.contains("nothing is stored"));
}
