//! `bench`.

use super::*;

fn report(args: &[&str]) -> (Outcome, Value) {
    let outcome = run(args);
    let report = serde_json::from_str(&outcome.stdout).unwrap_or(Value::Null);
    (outcome, report)
}

#[test]
fn a_network_is_measured_and_compared_with_before() {
    let folder = Folder::new();
    let args = ["bench", "model", "--arch", "resnet18", "--runs", "2", "--warm-up", "0", "--format", "json"];
    let (outcome, measured) = report(&args);
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
    let kernels = measured["kernels"].as_array().unwrap();
    assert_eq!(kernels.iter().map(|k| k["steps"].as_f64().unwrap()).sum::<f64>(), number("/dispatches"));

    // Against a report that was a thousand times as slow, and one that was as fast.
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
fn reports_are_tables_too() {
    let args = ["bench", "model", "--arch", "resnet18", "--decoder", "show-tell", "--half", "--runs", "1"];
    let said = run(&[&args[..], &["--warm-up", "0", "--format", "markdown"]].concat()).expect(0).stdout;
    for part in ["| encoder, warm | ", "| decoder, warm | ", "| op | kernel | ", "16-bit weights"] {
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
