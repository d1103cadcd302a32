//! A custom operation in a graph: its WGSL, its shape rule and its reference in Rust. One call compares shader and reference.
//!
//! `cargo run --release --example own_kernel` exits with 1 if GPU and CPU differ.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

use shadetell::engine::gpu::{AdapterChoice, Gpu};
use shadetell::engine::graph::{DType, Data, Graph, Shape, Tensor};
use shadetell::engine::ops::{Activation, Custom, CustomOperation};
use shadetell::engine::plan::UserShader;
use shadetell::engine::{Session, random_value, verify};
use std::error::Error;
use std::process::ExitCode;

/// Root mean square norm over the last axis (Zhang and Sennrich, arXiv 1910.07467):
/// `y[r, i] = gain[i] * x[r, i] / sqrt(mean_j(x[r, j]^2) + epsilon)`.
///
/// Operands: `x [.., W]` and `gain [W]`. Result: as `x`.
#[derive(Debug)]
struct RmsNorm {
    epsilon: f32,
}

const SHADER: &str = "
struct Params { rows: u32, width: u32, epsilon: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

#import flat

// One row per invocation.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = flat_index(workgroup, workgroups, local);
    if row >= p.rows {
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < p.width; i++) {
        let value = x[row * p.width + i];
        sum += value * value;
    }
    let factor = inverseSqrt(sum / f32(p.width) + p.epsilon);
    for (var i = 0u; i < p.width; i++) {
        y[row * p.width + i] = gain[i] * x[row * p.width + i] * factor;
    }
}
";

impl CustomOperation for RmsNorm {
    fn infer(&self, inputs: &[&Tensor]) -> Result<Vec<(Shape, DType)>, String> {
        match inputs {
            [x, gain] if *gain.shape == [x.shape.last()] => Ok(vec![(x.shape.clone(), DType::F32)]),
            _ => Err("expected x [.., W] and gain [W]".to_owned()),
        }
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [(shape, x), (_, gain)] = inputs else { return Vec::new() };
        let width = shape.shape.last();
        let norm = |row: &[f32]| -> Vec<f32> {
            let mean = row.iter().map(|v| v * v).sum::<f32>() / width as f32;
            let factor = (mean + self.epsilon).sqrt().recip();
            row.iter().zip(gain.f32()).map(|(v, g)| g * v * factor).collect()
        };
        vec![Data::F32(x.f32().chunks_exact(width).flat_map(norm).collect())]
    }

    fn shader(&self) -> UserShader {
        UserShader::new("rms_norm", SHADER)
    }

    fn params(&self, inputs: &[&Tensor], _: &[&Tensor]) -> Vec<u32> {
        let x = &inputs[0].shape;
        vec![x.rows() as u32, x.last() as u32, self.epsilon.to_bits()]
    }

    /// 64 rows each.
    fn workgroups(&self, inputs: &[&Tensor], _: &[&Tensor], _: u32) -> [u32; 3] {
        [inputs[0].shape.rows().div_ceil(64) as u32, 1, 1]
    }
}

/// The largest allowed difference between GPU and CPU, relative to the largest value.
const TOLERANCE: f32 = 1e-5;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    const ROWS: usize = 300;
    const WIDTH: usize = 96;
    let values =
        |seed: u64, count: usize| -> Vec<f32> { (0..count).map(|i| random_value(seed << 40, i)).collect() };

    // Between a linear layer and an activation of the engine.
    let mut graph = Graph::new();
    let x = graph.input("x", [ROWS, WIDTH], DType::F32)?;
    let weight = graph.constant("weight", [WIDTH, WIDTH], values(1, WIDTH * WIDTH))?;
    let bias = graph.constant("bias", [WIDTH], values(2, WIDTH))?;
    let gain = graph.constant("gain", [WIDTH], values(3, WIDTH))?;
    let linear = graph.linear("linear", x, weight, bias)?;
    let norm = graph.custom("norm", &Custom::new(RmsNorm { epsilon: 1e-6 }), &[linear, gain])?[0];
    let y = graph.activation("y", norm, Activation::Tanh)?;
    graph.output(y)?;

    let gpu = Gpu::open(&AdapterChoice::default())?;
    let input = Data::F32(values(4, ROWS * WIDTH));
    let comparison = verify(&gpu, &graph, std::slice::from_ref(&input))?;
    for result in &comparison.results {
        println!(
            "{}: difference {:.1e} of the largest value (at most {TOLERANCE:.0e}), {}",
            result.name,
            result.difference,
            if result.is_overrun { "written out of bounds" } else { "nothing written out of bounds" }
        );
    }
    let results = Session::new(&gpu, &graph)?.run(&[("x", input)])?;
    if let Some(y) = results.get("y") {
        println!("y begins with {:?}", &y.f32()[..4]);
    }
    Ok(ExitCode::from(u8::from(!comparison.is_within(TOLERANCE))))
}
