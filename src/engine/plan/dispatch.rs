//! Dispatches as plain data: a kernel, its bindings, its parameters and its workgroups.

use super::PackedWeight;
use crate::engine::graph::TensorId;
use crate::engine::ops::SHADERS;
use std::hash::{Hash, Hasher};
use std::ops;

/// A WGSL file with what the engine knows about it.
#[derive(Debug)]
pub struct Shader {
    /// The file's stem.
    pub name: &'static str,
    /// Its text, before imports and conditions are resolved.
    pub source: &'static str,
    /// The members of its `Params`, in order; each is one 32-bit word.
    pub params: &'static [&'static str],
    /// The sets of `#ifdef` names that it is compiled with.
    pub variants: &'static [&'static [&'static str]],
}

impl Shader {
    /// Whether it is one of the engine's, text and all.
    pub(crate) fn is_own(&self) -> bool {
        SHADERS.iter().any(|own| (own.name, own.source) == (self.name, self.source))
    }
}

/// A shader in one variant, with its pipeline constants: what one pipeline is made from.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The file.
    pub shader: &'static Shader,
    /// The names that `#ifdef` finds defined.
    pub defines: &'static [&'static str],
    /// Values for its `override` constants.
    pub constants: Vec<(&'static str, u32)>,
}

impl Kernel {
    /// A name that tells variants apart, such as `conv2d_gemm[POINTWISE] LANES=8`.
    pub fn label(&self) -> String {
        let mut label = self.shader.name.to_owned();
        if !self.defines.is_empty() {
            label += &format!("[{}]", self.defines.join(","));
        }
        for (name, value) in &self.constants {
            label += &format!(" {name}={value}");
        }
        label
    }
}

/// A shader without variants or constants.
impl From<&'static Shader> for Kernel {
    fn from(shader: &'static Shader) -> Kernel {
        Kernel { shader, defines: &[], constants: Vec::new() }
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        (self.shader.name, self.defines, &self.constants)
            == (other.shader.name, other.defines, &other.constants)
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.shader.name, self.defines, &self.constants).hash(state);
    }
}

/// The variants of shaders that import `row`.
pub(crate) const ROW_VARIANTS: &[&[&str]] = &[&[], &["SERIAL"], &["SUBGROUP"], &["SUBGROUPS"]];

/// The variants of shaders that import `weights` or `quads`.
pub(crate) const WEIGHT_VARIANTS: &[&[&str]] = &[&[], &["HALF"]];

/// What a shader finds behind one of its storage variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An activation in the arena: `var<storage, read_write>`, since all share one buffer.
    Activation(TensorId),
    /// A weight: `var<storage, read>`.
    Weight(PackedWeight),
    /// Memory for what passes between the dispatches of one node, declared as an activation: by its number in
    /// [`Plan::scratch`], or, before the plan numbers it, among those of its operation.
    ///
    /// [`Plan::scratch`]: crate::engine::plan::Plan::scratch
    Scratch(usize),
    /// Nothing: an optional operand that is absent. Declared as an activation; the shader must not read it.
    Absent,
}

/// One `dispatchWorkgroups`, as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// What runs.
    pub kernel: Kernel,
    /// Storage bindings 1, 2, 3 ...; binding 0 is the uniform `Params`.
    pub bindings: Vec<Binding>,
    /// The words of `Params`.
    pub params: Vec<u32>,
    /// How many workgroups run.
    pub workgroups: [u32; 3],
}

/// Arithmetic and memory traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts as two.
    pub flops: u64,
    /// Bytes of operands and results, each counted once.
    pub bytes: u64,
}

impl ops::Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}
