//! An HTML page about a network: times and memory, roofline, layers. A single file that loads no others.

use super::layers::{Layer, grouped};
use super::network::NetworkReport;
use crate::failure::Failure;
use shadetell::engine::gpu::Peaks;
use std::fmt::Write;
use std::path::Path;

const PAGE: &str = include_str!("report.html");

/// CSS classes of marks, in the order in which they are assigned to kinds of layers; the page's style sheet has their colours.
const COLOURS: usize = 5;

/// Writes the page.
pub(super) fn write(path: &Path, report: &NetworkReport, peaks: &Peaks) -> Result<(), Failure> {
    std::fs::write(path, page(report, peaks))
        .map_err(|error| Failure::System(format!("{}: cannot be written: {error}", path.display())))
}

fn page(report: &NetworkReport, peaks: &Peaks) -> String {
    let kinds = kinds(&report.layers);
    let parts = [
        ("{{title}}", escaped(&format!("{} on {}", report.model, report.setting.adapter))),
        ("{{setting}}", escaped(&report.setting.text()).replace('\n', "<br>")),
        ("{{figures}}", figures(report)),
        ("{{legend}}", legend(&kinds)),
        ("{{layers}}", layer_chart(&report.layers, &kinds)),
        ("{{roofline}}", roofline(&report.layers, &kinds, peaks)),
        ("{{table}}", table(&report.layers)),
        ("{{clock}}", report.clock.to_owned()),
    ];
    parts.iter().fold(PAGE.to_owned(), |page, (mark, text)| page.replace(mark, text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The kernels of a layer, in one name.
fn kind(layer: &Layer) -> String {
    layer.kernels.join(" + ")
}

/// Kinds of layers with their time, those that take longest first.
fn kinds(layers: &[Layer]) -> Vec<(String, f64)> {
    let mut kinds: Vec<(String, f64)> = Vec::new();
    for layer in layers {
        match kinds.iter_mut().find(|(name, _)| *name == kind(layer)) {
            Some((_, ms)) => *ms += layer.ms,
            None => kinds.push((kind(layer), layer.ms)),
        }
    }
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    kinds
}

/// The CSS class of a layer's marks.
fn colour(layer: &Layer, kinds: &[(String, f64)]) -> String {
    let place = kinds.iter().position(|(name, _)| *name == kind(layer)).unwrap_or(COLOURS);
    format!("c{}", place.min(COLOURS))
}

fn figures(report: &NetworkReport) -> String {
    let figures = [
        (format!("{:.1} ms", report.warm_ms.median), "warm, median"),
        (format!("{:.1} to {:.1} ms", report.warm_ms.min, report.warm_ms.p95), "least to 95th percentile"),
        (format!("{:.0} ms", report.cold_ms), "cold, from the start"),
        (format!("{:.1}", report.photos_per_second), "photos a second"),
        (
            format!("{:.1} GFLOP/s", report.flops as f64 / report.warm_ms.median / 1e6),
            "over the whole network",
        ),
        (format!("{:.0} MB", report.device_bytes.weights as f64 / 1e6), "of weights"),
        (format!("{:.1} MB", report.device_bytes.activations as f64 / 1e6), "of activations"),
    ];
    figures.iter().map(|(value, name)| format!("<div><b>{value}</b>{name}</div>")).collect()
}

fn legend(kinds: &[(String, f64)]) -> String {
    let all: f64 = kinds.iter().map(|(_, ms)| ms).sum();
    let item = |class: usize, name: &str, ms: f64| {
        let share = 100.0 * ms / all.max(1e-9);
        format!("<span><i class=\"c{class}\"></i>{} {ms:.1} ms, {share:.0}%</span>", escaped(name))
    };
    let (named, others) = kinds.split_at(kinds.len().min(COLOURS));
    let mut legend: String =
        named.iter().enumerate().map(|(class, (name, ms))| item(class, name, *ms)).collect();
    if !others.is_empty() {
        legend += &item(COLOURS, "others", others.iter().map(|(_, ms)| ms).sum());
    }
    legend
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
/// The space for labels on the left and at the bottom.
const LEFT: f64 = 56.0;
const BELOW: f64 = 36.0;

/// A bar for each layer, in the order in which they run.
fn layer_chart(layers: &[Layer], kinds: &[(String, f64)]) -> String {
    let most = layers.iter().map(|layer| layer.ms).fold(1e-6, f64::max);
    let step = round_step(most / 4.0);
    let top = (most / step).ceil() * step;
    let (width, height) = (WIDTH - LEFT, HEIGHT - BELOW);
    let y = |ms: f64| height - (height - 8.0) * ms / top;
    let mut svg = open_chart("Time of each layer in milliseconds, in order");
    for line in 0..=(top / step).round() as usize {
        let ms = line as f64 * step;
        horizontal(&mut svg, y(ms), &short(ms));
    }
    let bar = width / layers.len().max(1) as f64;
    for (index, layer) in layers.iter().enumerate() {
        let (x, y) = (LEFT + index as f64 * bar, y(layer.ms));
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{:.2}\"><title>{}: {:.3} ms, {:.1} GFLOP/s</title></rect>",
            colour(layer, kinds),
            (bar - 1.0).max(0.6),
            height - y,
            escaped(&layer.node),
            layer.ms,
            layer.gflops_per_second(),
        );
    }
    let middle = LEFT + width / 2.0;
    let _ = write!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" class=\"name\">{} layers, first to last</text>",
        HEIGHT - 8.0,
        layers.len()
    );
    svg + "</svg>"
}

/// The rate over the arithmetic intensity, both logarithmic, below the adapter's roofline.
fn roofline(layers: &[Layer], kinds: &[(String, f64)], peaks: &Peaks) -> String {
    let (peak, bandwidth) = (peaks.flops_per_second / 1e9, peaks.bytes_per_second / 1e9);
    let groups = grouped(layers);
    let points: Vec<(f64, f64, &(usize, Layer))> = groups
        .iter()
        .filter(|(_, layer)| layer.flops > 0 && layer.bytes > 0)
        .map(|group| (group.1.flops as f64 / group.1.bytes as f64, group.1.gflops_per_second(), group))
        .collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        (low.log10().floor(), high.log10().ceil())
    };
    let knee = peak / bandwidth;
    let (left, right) = range(&mut points.iter().map(|p| p.0).chain([knee / 4.0, knee * 4.0]));
    let (low, high) = range(&mut points.iter().map(|p| p.1).chain([peak * 1.1]));
    let (width, height) = (WIDTH - LEFT - 24.0, HEIGHT - BELOW - 8.0);
    let x = |intensity: f64| LEFT + width * (intensity.log10() - left) / (right - left);
    let y = |rate: f64| 8.0 + height * (high - rate.log10()) / (high - low);
    let mut svg = open_chart("Roofline: GFLOP/s over FLOP per byte");
    for decade in low as i32..=high as i32 {
        let rate = 10f64.powi(decade);
        horizontal(&mut svg, y(rate), &short(rate));
    }
    for decade in left as i32..=right as i32 {
        let at = x(10f64.powi(decade));
        let label = short(10f64.powi(decade));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"8\" y2=\"{}\"/><text class=\"tick middle\" x=\"{at:.1}\" y=\"{}\">{label}</text>",
            HEIGHT - BELOW,
            HEIGHT - BELOW + 16.0,
        );
    }
    // The point at which the slope leaves the chart at the bottom.
    let start = (10f64.powf(low) / bandwidth).max(10f64.powf(left));
    let _ = write!(
        svg,
        "<polyline class=\"roof\" points=\"{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\"/>",
        x(start),
        y(start * bandwidth),
        x(knee),
        y(peak),
        x(10f64.powf(right)),
        y(peak),
    );
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{peak:.0} GFLOP/s</text><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{bandwidth:.0} GB/s</text>",
        WIDTH - 24.0,
        y(peak) - 6.0,
        x((start * knee).sqrt()) - 8.0,
        y((start * knee).sqrt() * bandwidth),
    );
    let most = points.iter().map(|p| p.2.1.ms).fold(1e-6, f64::max);
    for (intensity, rate, (count, layer)) in &points {
        // The area of a mark is its share of the time.
        let radius = 3.0 + 9.0 * (layer.ms / most).sqrt();
        let _ = write!(
            svg,
            "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{} and {} like it: {:.2} ms, {rate:.1} GFLOP/s, {intensity:.1} FLOP/B</title></circle>",
            colour(layer, kinds),
            x(*intensity),
            y(*rate),
            escaped(&layer.node),
            count - 1,
            layer.ms,
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" class=\"name\">FLOP per byte of operands and results; GFLOP/s upwards</text>",
        LEFT + width / 2.0,
        HEIGHT - 4.0
    );
    svg + "</svg>"
}

fn open_chart(title: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">")
}

fn horizontal(svg: &mut String, y: f64, label: &str) {
    let _ = write!(
        svg,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"tick\" x=\"{}\" y=\"{:.1}\">{label}</text>",
        LEFT - 6.0,
        y + 4.0
    );
}

/// 1, 2 or 5 times a power of ten, not below the value.
fn round_step(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(power)
}

/// A number without trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn table(layers: &[Layer]) -> String {
    let row = |(count, layer): &(usize, Layer)| {
        format!(
            "<tr><td>{}<td>{}<td>{}<td>{count}<td>{:.2}<td>{:.3}<td>{:.1}<td>{:.1}</tr>",
            escaped(&layer.node),
            layer.op,
            escaped(&layer.kernels.join(" + ")),
            layer.ms,
            layer.flops as f64 / 1e9,
            layer.gflops_per_second(),
            layer.gigabytes_per_second(),
        )
    };
    grouped(layers).iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_an_axis_are_round() {
        assert_eq!([0.011, 1.0, 2.3, 7.0].map(round_step).map(short), ["0.02", "1", "5", "10"]);
        assert_eq!([1000.0, 0.5, 0.0].map(short), ["1000", "0.5", "0"]);
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
