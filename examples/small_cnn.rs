//! A custom network: a U-Net (Ronneberger, Fischer and Brox, arXiv 1505.04597) with random weights. It is built with `Graph`, run on
//! a GPU and on the CPU, compared and timed.
//!
//! `cargo run --release --example small_cnn` exits with 1 if the results differ.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

use shadetell::engine::gpu::{AdapterChoice, Gpu};
use shadetell::engine::graph::{DType, Data, Graph, GraphError, TensorId};
use shadetell::engine::ops::{Activation, Conv2d, ConvTranspose2d, Interpolation, Padding, Pool2d, Resize2d};
use shadetell::engine::{Session, random_value, verify};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Images, rows and columns of the input.
const SIZE: [usize; 3] = [2, 96, 64];
/// Classes, whose probabilities the network gives for every pixel.
const CLASSES: usize = 5;
/// The largest allowed difference between GPU and CPU, relative to the largest value.
const TOLERANCE: f32 = 1e-4;
/// Timed runs; the median is printed.
const RUNS: usize = 5;

/// A graph whose weights are random.
struct Network {
    graph: Graph,
    /// The number of weights so far, as a seed.
    seed: u64,
}

impl Network {
    /// Values whose weighted sums stay as large as their inputs: uniform, with variance `2 / inputs` (He et al., arXiv 1502.01852).
    fn weight(&mut self, name: &str, shape: Vec<usize>, inputs: usize) -> Result<TensorId, GraphError> {
        self.seed += 1;
        let scale = (6.0 / inputs as f32).sqrt();
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| scale * random_value(self.seed << 40, i)).collect();
        self.graph.constant(name, shape, values)
    }

    fn channels(&self, x: TensorId) -> usize {
        self.graph.shape(x).last()
    }

    /// A convolution `[N, H, W, I]` to `[N, H, W, outputs]` with a square window of odd size.
    fn conv(
        &mut self,
        name: &str,
        x: TensorId,
        outputs: usize,
        window: usize,
    ) -> Result<TensorId, GraphError> {
        let inputs = self.channels(x);
        let taps = inputs * window * window;
        let weight = self.weight(&format!("{name}.weight"), vec![outputs, inputs, window, window], taps)?;
        let bias = self.weight(&format!("{name}.bias"), vec![outputs], taps)?;
        let conv = Conv2d { padding: Padding::uniform(window / 2), ..Conv2d::default() };
        self.graph.conv2d(name, x, weight, bias, conv)
    }

    /// Two 3x3 convolutions, each with relu.
    fn block(&mut self, name: &str, mut x: TensorId, outputs: usize) -> Result<TensorId, GraphError> {
        for part in ["first", "second"] {
            let name = format!("{name}.{part}");
            let sums = self.conv(&name, x, outputs, 3)?;
            x = self.graph.activation(&format!("{name}.relu"), sums, Activation::Relu)?;
        }
        Ok(x)
    }

    /// Half as many rows and columns.
    fn down(&mut self, name: &str, x: TensorId) -> Result<TensorId, GraphError> {
        let pool = Pool2d { kernel: [2; 2], stride: [2; 2], padding: [0; 2], count_include_pad: true };
        self.graph.max_pool2d(name, x, pool)
    }

    /// Twice as many rows and columns, by weights.
    fn up(&mut self, name: &str, x: TensorId, outputs: usize) -> Result<TensorId, GraphError> {
        let inputs = self.channels(x);
        let weight = self.weight(&format!("{name}.weight"), vec![inputs, outputs, 2, 2], inputs)?;
        let bias = self.weight(&format!("{name}.bias"), vec![outputs], inputs)?;
        let conv = ConvTranspose2d { stride: [2; 2], ..ConvTranspose2d::default() };
        self.graph.conv_transpose2d(name, x, weight, bias, conv)
    }
}

/// `[N, H, W, 3]` to the probabilities of classes `[N, H, W, CLASSES]`, `H` and `W` multiples of four.
fn network() -> Result<Graph, GraphError> {
    let mut net = Network { graph: Graph::new(), seed: 0 };
    let [images, height, width] = SIZE;
    let x = net.graph.input("x", [images, height, width, 3], DType::F32)?;

    let fine = net.block("fine", x, 16)?;
    let half = net.down("half", fine)?;
    let middle = net.block("middle", half, 32)?;
    let quarter = net.down("quarter", middle)?;
    let coarse = net.block("coarse", quarter, 64)?;

    // Upsample, first by a transposed convolution, then by interpolation, and join each result with the features of the same size.
    let up = net.up("up", coarse, 32)?;
    let joined = net.graph.concat("middle.joined", &[middle, up], 3)?;
    let decoded = net.block("middle.decoded", joined, 32)?;
    let bilinear = Interpolation::Bilinear { align_corners: false };
    let larger =
        net.graph.resize2d("larger", decoded, Resize2d { size: [height, width], interpolation: bilinear })?;
    let joined = net.graph.concat("fine.joined", &[fine, larger], 3)?;
    let decoded = net.block("fine.decoded", joined, 16)?;

    let scores = net.conv("scores", decoded, CLASSES, 1)?;
    let probabilities = net.graph.softmax("probabilities", scores)?;
    net.graph.output(probabilities)?;
    // Convolutions absorb the relu after them.
    net.graph.fuse();
    Ok(net.graph)
}

/// The median time of a run.
fn time(session: &Session, input: &Data) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        session.run(&[("x", input.clone())])?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[RUNS / 2])
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let graph = network()?;
    let gpu = Gpu::open(&AdapterChoice::default())?;
    let count = SIZE.iter().product::<usize>() * 3;
    let input = Data::F32((0..count).map(|i| random_value(99 << 40, i)).collect());

    let comparison = verify(&gpu, &graph, std::slice::from_ref(&input))?;
    for result in &comparison.results {
        println!(
            "{}: difference {:.1e} of the largest value (at most {TOLERANCE:.0e})",
            result.name, result.difference
        );
    }
    let plan = gpu.plan(&graph)?;
    println!("{:.2} GFLOP, {} dispatches", plan.cost().flops as f64 / 1e9, plan.steps().len());
    let on_gpu = Session::new(&gpu, &graph)?;
    println!("{:>9.2?}  {}", time(&on_gpu, &input)?, gpu.info.name);
    println!("{:>9.2?}  CPU", time(&Session::on_cpu(&graph, None)?, &input)?);
    Ok(ExitCode::from(u8::from(!comparison.is_within(TOLERANCE))))
}
