//! The interface of all operations: operands, shape rule, reference, cost, and the dispatches that carry it out.

use crate::engine::cpu;
use crate::engine::graph::{DType, Data, Shape, Tensor};
use crate::engine::plan::{Cost, Dispatch, KernelCandidates, Lowering};

/// An operand as an operation declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    name: &'static str,
    /// `None` for any.
    dtype: Option<DType>,
    is_weight: bool,
}

impl Operand {
    /// 32-bit floats, computed or constant.
    pub(crate) const fn f32(name: &'static str) -> Operand {
        Operand { name, dtype: Some(DType::F32), is_weight: false }
    }

    /// 32-bit unsigned integers.
    pub(crate) const fn u32(name: &'static str) -> Operand {
        Operand { name, dtype: Some(DType::U32), is_weight: false }
    }

    /// Bytes.
    pub(crate) const fn u8(name: &'static str) -> Operand {
        Operand { name, dtype: Some(DType::U8), is_weight: false }
    }

    /// A tensor of any element type.
    pub(crate) const fn any(name: &'static str) -> Operand {
        Operand { name, dtype: None, is_weight: false }
    }

    /// A constant of the graph, which a kernel may want in a layout of its own.
    pub(crate) const fn weight(name: &'static str) -> Operand {
        Operand { name, dtype: Some(DType::F32), is_weight: true }
    }

    fn check(&self, found: &Tensor) -> Result<(), String> {
        let Operand { name, dtype, is_weight } = *self;
        if let Some(dtype) = dtype.filter(|&dtype| dtype != found.dtype) {
            return Err(format!("expected {dtype} for `{name}`, found {} {}", found.dtype, found.shape));
        }
        if is_weight && found.constant.is_none() {
            return Err(format!(
                "expected a constant for `{name}`, found the computed tensor {} {}: add it with `Graph::constant`",
                found.name, found.shape
            ));
        }
        Ok(())
    }
}

/// The operands of an operation, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operands<'a> {
    /// These have to be there.
    pub(crate) required: &'a [Operand],
    /// These may follow.
    pub(crate) optional: &'a [Operand],
    /// Whether the last one may come any number of times.
    pub(crate) repeats: bool,
}

impl<'a> Operands<'a> {
    /// Exactly these.
    pub(crate) const fn exactly(required: &'a [Operand]) -> Operands<'a> {
        Operands { required, optional: &[], repeats: false }
    }

    /// Whether an operand is a weight, by its place.
    pub(crate) fn is_weight(&self, index: usize) -> bool {
        let declared = self.required.iter().chain(self.optional);
        let operand = declared.clone().nth(index).or(declared.last().filter(|_| self.repeats));
        operand.is_some_and(|operand| operand.is_weight)
    }

    /// Checks the number of operands, and of each its element type and whether it may be computed.
    pub(crate) fn check(&self, found: &[&Tensor]) -> Result<(), String> {
        let known = || self.required.iter().chain(self.optional);
        let [least, most] = [self.required.len(), self.required.len() + self.optional.len()];
        if found.len() < least || (found.len() > most && !self.repeats) {
            let names: Vec<&str> = known().map(|operand| operand.name).collect();
            let count = match (least == most, self.repeats) {
                (true, false) => format!("{least}"),
                (false, false) => format!("{least} to {most}"),
                (_, true) => format!("at least {least}"),
            };
            return Err(format!("expected {count} operands ({}), found {}", names.join(", "), found.len()));
        }
        let last = known().last().filter(|_| self.repeats);
        let declared = known().chain(std::iter::repeat_n(last, found.len()).flatten());
        declared.zip(found).try_for_each(|(operand, tensor)| operand.check(tensor))
    }
}

/// The operands of an operation that takes exactly `N`.
pub(crate) fn exactly<'a, 't, const N: usize>(
    inputs: &'a [&'t Tensor],
) -> Result<&'a [&'t Tensor; N], String> {
    inputs.try_into().map_err(|_| format!("expected {N} operands, found {}", inputs.len()))
}

/// Sizes and element type of a result.
pub(crate) type Infer = Result<Vec<(Shape, DType)>, String>;

/// The one interface of all operations.
pub(crate) trait Operation {
    /// The stem of its files.
    fn name(&self) -> &'static str;

    /// The operands that it takes.
    fn operands(&self) -> Operands<'_>;

    /// The results for these operands, or what was expected and what was found. Number, element types and constants are checked
    /// before, against [`Operation::operands`], and no size is zero.
    fn infer(&self, inputs: &[&Tensor]) -> Infer;

    /// Runs the reference. Operands and results have the shapes that `infer` agreed to.
    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data>;

    /// Its kernel on the CPU, if that is another one than the reference.
    fn on_cpu(&self, _: &mut cpu::Preparation<'_>) -> Option<Box<dyn cpu::Kernel>> {
        None
    }

    /// Whether its result is its operand's memory under other sizes, so that it needs no dispatch.
    fn is_view(&self) -> bool {
        false
    }

    /// The kernels that could be timed against each other, if there are several.
    fn candidates(&self, _: &Lowering<'_>) -> Option<KernelCandidates> {
        None
    }

    /// Bytes of the memory that passes between its dispatches, which know it as [`Binding::Scratch`].
    fn scratch(&self, _: &Lowering<'_>) -> Vec<usize> {
        Vec::new()
    }

    /// The dispatches that carry it out.
    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String>;

    /// Floating-point operations of one run.
    fn flops(&self, node: &Lowering<'_>) -> u64;

    /// Arithmetic and traffic of one run.
    fn cost(&self, node: &Lowering<'_>) -> Cost {
        let tensors = node.inputs.iter().chain(&node.outputs);
        Cost { flops: self.flops(node), bytes: tensors.map(|t| t.bytes() as u64).sum() }
    }
}
