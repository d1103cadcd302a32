//! The report of `shadetell bench model`.

use super::layers::{self, Layer};
use super::report::{Setting, Times, print_table};
use super::{Format, Look};
use crate::failure::Failure;
use crate::output;
use serde::Serialize;

/// The measurements of a network.
#[derive(Debug, Serialize)]
pub(super) struct NetworkReport {
    #[serde(flatten)]
    pub(super) setting: Setting,
    pub(super) model: String,
    pub(super) batch: usize,
    pub(super) half: bool,
    /// The time from the start of the command to the first result, without the generation of random weights.
    pub(super) cold_ms: f64,
    /// Opening the device.
    pub(super) device_ms: f64,
    /// Planning the network.
    pub(super) plan_ms: f64,
    /// Creating the pipelines. Drivers may also compile during the first run.
    pub(super) pipelines_ms: f64,
    /// Packing the weights, uploading them, binding everything.
    pub(super) upload_ms: f64,
    /// The first run.
    pub(super) first_ms: f64,
    /// The encoder, from pixels to features, with the upload of the pixels.
    pub(super) warm_ms: Times,
    /// The decoder, all its steps, to the end of the readback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decode_ms: Option<Times>,
    pub(super) photos_per_second: f64,
    pub(super) device_bytes: DeviceBytes,
    pub(super) flops: u64,
    pub(super) dispatches: usize,
    /// The clock of the layers' times: the device's clock, or the wall clock, with each step waited for.
    pub(super) clock: &'static str,
    pub(super) layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
pub(super) struct DeviceBytes {
    pub(super) weights: u64,
    pub(super) activations: u64,
}

impl NetworkReport {
    pub(super) fn print(&self, look: Look) -> Result<(), Failure> {
        if look.format == Format::Json {
            return Ok(output::print_json(self)?);
        }
        let half = if self.half { ", 16-bit weights" } else { "" };
        output::print(&format!(
            "{}\n\n{}, {} at a time{half}: {:.3} GFLOP in {} dispatches\n\n",
            self.setting.text(),
            self.model,
            self.batch,
            self.flops as f64 / 1e9,
            self.dispatches
        ))?;
        let ms = |name: &str, times: Times| {
            [name.to_owned(), time(times.min), time(times.median), time(times.p95)]
        };
        let once = |name: &str, value: f64| [name.to_owned(), String::new(), time(value), String::new()];
        let mut rows = vec![["ms", "min", "median", "p95"].map(str::to_owned)];
        rows.push(ms("encoder, warm", self.warm_ms));
        rows.extend(self.decode_ms.map(|times| ms("decoder, warm", times)));
        rows.push(once("cold, from the start to the first result", self.cold_ms));
        rows.push(once("  device", self.device_ms));
        rows.push(once("  plan", self.plan_ms));
        rows.push(once("  pipelines", self.pipelines_ms));
        rows.push(once("  weights, packed and uploaded", self.upload_ms));
        rows.push(once("  first run", self.first_ms));
        print_table(&rows, 3, &[], look)?;
        let DeviceBytes { weights, activations } = self.device_bytes;
        output::print(&format!(
            "{:.1} photos a second; {:.2} MB of weights, {:.2} MB of activations on the device\n\n",
            self.photos_per_second,
            weights as f64 / 1e6,
            activations as f64 / 1e6
        ))?;
        let titles = ["first layer", "op", "kernels", "layers", "ms", "GFLOP", "GFLOP/s", "GB/s"];
        let mut rows = vec![titles.map(str::to_owned)];
        rows.extend(layers::grouped(&self.layers).iter().map(|(count, layer)| {
            [
                layer.node.clone(),
                layer.op.to_owned(),
                layer.kernels.join(" + "),
                count.to_string(),
                time(layer.ms),
                format!("{:.3}", layer.flops as f64 / 1e9),
                format!("{:.1}", layer.gflops_per_second()),
                format!("{:.1}", layer.gigabytes_per_second()),
            ]
        }));
        print_table(&rows, 5, &["op", "GFLOP"], look)?;
        let whose = match self.clock {
            "device" => "from the device's clock",
            _ => "from the wall clock, with each step waited for, since the device has no clock",
        };
        let note = format!("Times of layers are {whose}: the least of three, summed over equal layers.\n");
        Ok(output::print(&note)?)
    }
}

fn time(ms: f64) -> String {
    format!("{ms:.2}")
}
