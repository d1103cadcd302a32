//! Dispatches as plain data: a kernel, its bindings, its parameters and its workgroups.

use super::PackedWeight;
use crate::engine::graph::TensorId;
use std::hash::{Hash, Hasher};
use std::ops;
use std::sync::Arc;

/// A WGSL file of the engine, with the interface that the planner relies on.
#[derive(Debug)]
pub struct Shader {
    /// The file's stem.
    pub name: &'static str,
    /// Its text, before directives are carried out.
    pub source: &'static str,
    /// The members of its `Params`, in order; each is one 32-bit word.
    pub params: &'static [&'static str],
    /// The sets of `#ifdef` names that it is compiled with.
    pub variants: &'static [&'static [&'static str]],
}

/// A shader of the caller's: it is always compiled with bounds checks.
///
/// Imports, conditions and repetitions work as in the engine's own files; entry point is `main`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserShader {
    name: String,
    source: String,
}

impl UserShader {
    /// A shader with a name for reports and its WGSL text.
    pub fn new(name: impl Into<String>, source: impl Into<String>) -> UserShader {
        UserShader { name: name.into(), source: source.into() }
    }
}

/// Whose shader a kernel is.
#[derive(Clone, Debug)]
enum Source {
    BuiltIn(&'static Shader),
    User(Arc<UserShader>),
}

/// A shader in one variant, with its pipeline constants: what one pipeline is made from.
#[derive(Clone, Debug)]
pub struct Kernel {
    source: Source,
    defines: &'static [&'static str],
    constants: Vec<(&'static str, u32)>,
}

impl Kernel {
    /// A built-in shader with the names that `#ifdef` finds defined and the values of its `override` constants.
    pub(crate) fn new(
        shader: &'static Shader,
        defines: &'static [&'static str],
        constants: Vec<(&'static str, u32)>,
    ) -> Kernel {
        Kernel { source: Source::BuiltIn(shader), defines, constants }
    }

    /// The same with another constant.
    pub(super) fn with_constant(mut self, name: &'static str, value: u32) -> Kernel {
        self.constants.push((name, value));
        self
    }

    /// A shader of the caller's.
    pub(crate) fn user(shader: UserShader) -> Kernel {
        Kernel { source: Source::User(Arc::new(shader)), defines: &[], constants: Vec::new() }
    }

    /// The same variant and constants of a shader of the caller's.
    pub(super) fn replaced(&self, shader: UserShader) -> Kernel {
        Kernel { source: Source::User(Arc::new(shader)), ..self.clone() }
    }

    /// The built-in shader, if it is one.
    pub fn shader(&self) -> Option<&'static Shader> {
        match self.source {
            Source::BuiltIn(shader) => Some(shader),
            Source::User(_) => None,
        }
    }

    /// The name of the shader.
    pub fn name(&self) -> &str {
        match &self.source {
            Source::BuiltIn(shader) => shader.name,
            Source::User(shader) => &shader.name,
        }
    }

    /// The text of the shader, before its directives are carried out.
    pub fn source(&self) -> &str {
        match &self.source {
            Source::BuiltIn(shader) => shader.source,
            Source::User(shader) => &shader.source,
        }
    }

    /// The names that `#ifdef` finds defined.
    pub fn defines(&self) -> &'static [&'static str] {
        self.defines
    }

    /// Values for its `override` constants.
    pub fn constants(&self) -> &[(&'static str, u32)] {
        &self.constants
    }

    /// Whether it is one of the engine's, which are compiled without bounds checks.
    pub fn is_built_in(&self) -> bool {
        self.shader().is_some()
    }

    /// A name that tells variants apart, such as `conv2d_gemm[POINTWISE] LANES=8`.
    pub fn label(&self) -> String {
        let mut label = self.name().to_owned();
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
        Kernel::new(shader, &[], Vec::new())
    }
}

/// A user's shader is identified by its text, since several may have one name.
impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        (self.is_built_in(), self.name(), self.defines, &self.constants)
            == (other.is_built_in(), other.name(), other.defines, &other.constants)
            && (self.is_built_in() || self.source() == other.source())
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name(), self.defines, &self.constants).hash(state);
    }
}

/// The variants of shaders that import `row`.
pub(crate) const ROW_VARIANTS: &[&[&str]] = &[&[], &["SERIAL"], &["SUBGROUP"], &["SUBGROUPS"]];

/// The variants of shaders that import `weights` or `mat4_u64`.
pub(crate) const WEIGHT_VARIANTS: &[&[&str]] = &[&[], &["HALF"]];

/// The memory behind a storage variable of a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An activation in the arena: `var<storage, read_write>`, since all share one buffer.
    Activation(TensorId),
    /// A weight: `var<storage, read>`.
    Weight(PackedWeight),
    /// Memory that passes values between the dispatches of one node, declared as an activation. The number is an index into
    /// [`Plan::scratch`], or, before the plan numbers it, into the scratch memory of its operation.
    ///
    /// [`Plan::scratch`]: crate::engine::plan::Plan::scratch
    Scratch(usize),
    /// Nothing: an optional operand that is absent. Declared as an activation; the shader must not read it.
    Absent,
}

/// One `dispatchWorkgroups`, as plain data.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dispatch {
    /// The compiled shader that runs.
    pub kernel: Kernel,
    /// Storage bindings 1, 2, 3 ...; binding 0 is the uniform `Params`.
    pub bindings: Vec<Binding>,
    /// The words of `Params`.
    pub params: Vec<u32>,
    /// The number of workgroups in x, y and z.
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
