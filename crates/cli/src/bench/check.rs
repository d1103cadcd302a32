//! `shadetell bench check`: weights of 16 bits against weights of 32.

use super::report::{Setting, print_table};
use super::{Format, Look, NetworkArgs, ReportArgs, speed, stored};
use crate::args::number;
use crate::failure::{Failure, PHOTOS_FAILED};
use crate::output;
use clap::Args;
use serde::Serialize;
use shadetell::CaptionOptions;
use shadetell::engine::gpu::{Executor, Gpu};
use shadetell::engine::graph::{Data, Graph};
use shadetell::engine::reference;
use shadetell::weights::{DecoderFamily, Model};
use shadetell::workloads::pixels;
use std::process::ExitCode;

/// Checks a network with weights of 16 bits against its reference on the CPU, and against the same network with 32 bits
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    network: NetworkArgs,

    /// Pictures of noise to run the network on
    #[arg(long, value_name = "N", default_value = "4", value_parser = number(1..=1000usize, "a whole number"))]
    pictures: usize,

    #[command(flatten)]
    report: ReportArgs,
}

/// The largest allowed difference between features with 16-bit and with 32-bit weights, relative to the largest value, and the
/// least cosine between them.
const ROUNDING: f32 = 1e-2;
const COSINE: f64 = 0.9999;

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    model: String,
    pictures: usize,
    /// Bytes of weights on the device: with 32 bits, with 16 bits.
    weight_bytes: [u64; 2],
    /// Features on the device against those of the reference, both with weights of 16 bits.
    kernels: Difference,
    /// Features with weights of 16 bits against those with 32.
    rounding: Difference,
}

/// The worst over all pictures.
#[derive(Clone, Copy, Debug, Serialize)]
struct Difference {
    /// Relative to the largest feature.
    error: f32,
    cosine: f64,
    /// Pictures for which all of the decoder's words are the same.
    same_words: usize,
}

/// A network whose last result is the features of its encoder.
struct Network {
    graph: Graph,
    constants: Vec<Data>,
    executor: Executor,
}

/// Runs both networks, prints the report, checks the differences.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let full = args.network.open(false)?;
    let half = stored(&full.copy(true)?)?;
    let gpu = args.report.adapter.open()?;
    let network = |model| Network::of(model, args.network.decoder, &gpu);
    let (full, half) = (network(&full)?, network(&half)?);

    let same = Difference { error: 0.0, cosine: 1.0, same_words: 0 };
    let (mut kernels, mut rounding) = (same, same);
    let bytes = half.executor.plan().inputs().first().map_or(0, |port| port.shape.elements());
    let noise = pixels(bytes + args.pictures);
    for picture in 0..args.pictures {
        // Each picture is another stretch of the same noise.
        let pixels = Data::U8(noise[picture..picture + bytes].to_vec());
        let on_device = half.run(&pixels)?;
        kernels.add(&on_device, &half.run_twin(&pixels)?);
        rounding.add(&on_device, &full.run(&pixels)?);
    }
    let report = Report {
        setting: Setting::of(&gpu, &[half.executor.plan(), full.executor.plan()])?,
        model: args
            .network
            .model
            .as_ref()
            .map_or(args.network.arch.name().to_owned(), |path| path.display().to_string()),
        pictures: args.pictures,
        weight_bytes: [full.executor.memory().weights, half.executor.memory().weights],
        kernels,
        rounding,
    };
    report.print(args.report.look())?;
    let mut code = ExitCode::SUCCESS;
    for (what, difference, error) in
        [("16-bit kernels", kernels, speed::TOLERANCE), ("16-bit weights", rounding, ROUNDING)]
    {
        let is_close = difference.error <= error && difference.cosine >= COSINE;
        if !is_close {
            output::error(&format!(
                "{what}: expected differences up to {error:.0e} and a cosine from {COSINE}, found {:.1e} and {:.6}",
                difference.error, difference.cosine
            ));
            code = ExitCode::from(PHOTOS_FAILED);
        }
    }
    Ok(code)
}

impl Network {
    fn of(model: &Model, decoder: Option<DecoderFamily>, gpu: &Gpu) -> Result<Network, Failure> {
        let options = CaptionOptions { decoder, beam: Some(1), ..CaptionOptions::default() };
        let (mut graph, constants) = shadetell::caption_graph(model, &options)?;
        let encoder_end = graph.phases().get(1).map_or(graph.nodes().len(), |phase| phase.start);
        let features = graph.nodes()[..encoder_end].last().map(|node| node.outputs[0]);
        if let Some(features) = features {
            graph.output(features).map_err(shadetell::Error::from)?;
        }
        let plan = gpu.plan(&graph).map_err(shadetell::Error::from)?;
        let executor = Executor::new(gpu, plan)?;
        Ok(Network { graph, constants, executor })
    }

    fn inputs(&self, pixels: &Data) -> Vec<Data> {
        [pixels].into_iter().chain(&self.constants).cloned().collect()
    }

    fn run(&self, pixels: &Data) -> Result<Vec<Data>, Failure> {
        Ok(self.executor.run(&self.inputs(pixels))?.outputs)
    }

    fn run_twin(&self, pixels: &Data) -> Result<Vec<Data>, Failure> {
        Ok(reference::run(&self.graph, &self.inputs(pixels)).map_err(shadetell::Error::from)?)
    }
}

impl Difference {
    /// Adds the results of one more picture; the last result is the features.
    fn add(&mut self, found: &[Data], expected: &[Data]) {
        let ([words @ .., features], [expected_words @ .., expected_features]) = (found, expected) else {
            return;
        };
        let pair = [features, expected_features].map(std::slice::from_ref);
        self.error = speed::larger(self.error, speed::error(pair[0], pair[1]));
        self.cosine = self.cosine.min(cosine(features.f32(), expected_features.f32()));
        let ids = |data: &&Data| matches!(data, Data::U32(_));
        self.same_words += usize::from(words.iter().filter(ids).eq(expected_words.iter().filter(ids)));
    }
}

/// The cosine of the angle between two vectors; 0 if one of them is zero.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    if cosine.is_finite() { cosine } else { 0.0 }
}

impl Report {
    fn print(&self, look: Look) -> Result<(), Failure> {
        if look.format == Format::Json {
            return Ok(output::print_json(self)?);
        }
        let Report { setting, model, pictures, weight_bytes, kernels, rounding } = self;
        let [full, half] = weight_bytes.map(|bytes| bytes as f64 / 1e6);
        output::print(&format!(
            "{}\n\n{model}: {full:.1} MB of weights, {half:.1} MB of them as 16 bits\n\n",
            setting.text()
        ))?;
        let row = |name: &str, difference: &Difference| {
            [
                name.to_owned(),
                format!("{:.1e}", difference.error),
                format!("{:.7}", difference.cosine),
                format!("{} of {pictures}", difference.same_words),
            ]
        };
        let titles = ["features of", "difference", "cosine", "same words"].map(str::to_owned);
        let rows = [
            titles,
            row("16-bit kernels, against the reference", kernels),
            row("16-bit weights, against 32-bit ones", rounding),
        ];
        print_table(&rows, 3, &[], look)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted() {
        let results = |word, feature| vec![Data::U32(vec![word]), Data::F32(vec![feature, 4.0])];
        let mut difference = Difference { error: 0.0, cosine: 1.0, same_words: 0 };
        difference.add(&results(1, 3.0), &results(1, 3.0));
        assert_eq!((difference.error, difference.cosine, difference.same_words), (0.0, 1.0, 1));
        difference.add(&results(1, 3.0), &results(2, 1.0));
        assert_eq!((difference.error, difference.same_words), (0.5, 1));
        assert!((difference.cosine - 19.0 / (25.0 * 17.0f64).sqrt()).abs() < 1e-12);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }
}
