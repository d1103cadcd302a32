//! How operations that move or pair values walk through memory: the axes of the tensor that they number the elements of, and how far
//! apart the neighbours along each lie in other tensors.

use crate::engine::graph::{DType, Tensor};
use crate::engine::plan::{Binding, Dispatch, Kernel, Lowering, Shader, params};

/// Axes that a kernel can walk along, after neighbours were joined.
const MAX_AXES: usize = 6;

/// All but the outermost.
pub(super) const MAX_INNER: usize = MAX_AXES - 1;

/// The variants of shaders that take one value or four at a time.
pub(super) const FOURS_VARIANTS: &[&[&str]] = &[&[], &["FOURS"]];

/// How many values an element of a flat range of so many has, and the variant that reads them.
pub(super) fn in_fours(count: usize) -> (usize, &'static [&'static str]) {
    if count.is_multiple_of(4) { (4, FOURS_VARIANTS[1]) } else { (1, FOURS_VARIANTS[0]) }
}

/// The axes of a tensor that lies in one piece, and their steps in `N` others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axes<const N: usize> {
    /// How many inner axes there are.
    pub(super) inner: usize,
    /// Of the inner axes, the innermost first; 1 for those that are not there.
    pub(super) sizes: [usize; MAX_INNER],
    /// Of the inner axes, in each of the others.
    pub(super) steps: [[usize; MAX_INNER]; N],
    /// Of the outermost axis.
    pub(super) outer: [usize; N],
    /// Values of an element: one, or four along the innermost axis.
    pub(super) width: usize,
    /// The variant of the shader.
    pub(super) defines: &'static [&'static str],
}

impl<const N: usize> Axes<N> {
    /// From sizes and steps, the outermost axis first. `starts` is where the first element lies in each of the others.
    ///
    /// # Errors
    /// More axes are left than a kernel walks along when those that continue each other are joined.
    pub(super) fn new(
        axes: impl IntoIterator<Item = (usize, [usize; N])>,
        starts: [usize; N],
    ) -> Result<Axes<N>, String> {
        let mut joined: Vec<(usize, [usize; N])> = Vec::new();
        for (size, steps) in axes.into_iter().filter(|axis| axis.0 > 1) {
            match joined.last_mut() {
                Some((outer, outer_steps)) if *outer_steps == steps.map(|step| step * size) => {
                    *outer *= size;
                    *outer_steps = steps;
                }
                _ => joined.push((size, steps)),
            }
        }
        if joined.len() > MAX_AXES {
            return Err(format!(
                "expected at most {MAX_AXES} axes that do not continue each other, found {}: reshape the tensor first",
                joined.len()
            ));
        }
        let (width, defines) = in_fours(match joined.split_last() {
            Some((&(size, steps), outer))
                if steps == [1; N]
                    && starts
                        .iter()
                        .chain(outer.iter().flat_map(|axis| &axis.1))
                        .all(|n| n.is_multiple_of(4)) =>
            {
                size
            }
            _ => 1,
        });
        if let Some((innermost, outer)) = joined.split_last_mut() {
            innermost.0 /= width;
            outer.iter_mut().for_each(|(_, steps)| *steps = steps.map(|step| step / width));
        }
        let mut found = Axes {
            inner: joined.len().saturating_sub(1),
            sizes: [1; MAX_INNER],
            steps: [[0; MAX_INNER]; N],
            outer: joined.first().map_or([0; N], |axis| axis.1),
            width,
            defines,
        };
        for (axis, &(size, steps)) in joined.iter().skip(1).rev().enumerate() {
            found.sizes[axis] = size;
            for (own, step) in found.steps.iter_mut().zip(steps) {
                own[axis] = step;
            }
        }
        Ok(found)
    }
}

params! {
    count: usize, start: usize, inner: usize,
    size0: usize, size1: usize, size2: usize, size3: usize, size4: usize,
    step0: usize, step1: usize, step2: usize, step3: usize, step4: usize, step_outer: usize,
}

/// A shader that imports `axes`.
pub(super) const fn copy_shader(name: &'static str, source: &'static str) -> Shader {
    Shader { name, source, params: Params::FIELDS, variants: FOURS_VARIANTS }
}

/// A dispatch that copies between `bindings`, one invocation per element: `axes` are those of the tensor of `count` values that lies in
/// one piece, whose first value meets value `start` of the other.
pub(super) fn copy(
    node: &Lowering<'_>,
    shader: &'static Shader,
    bindings: [Binding; 2],
    count: usize,
    start: usize,
    axes: impl IntoIterator<Item = (usize, [usize; 1])>,
) -> Result<Vec<Dispatch>, String> {
    let Axes { inner, sizes, steps: [steps], outer: [step_outer], width, defines } =
        Axes::new(axes, [start])?;
    let [size0, size1, size2, size3, size4] = sizes;
    let [step0, step1, step2, step3, step4] = steps;
    let (count, start) = (count / width, start / width);
    let params = Params {
        count,
        start,
        inner,
        size0,
        size1,
        size2,
        size3,
        size4,
        step0,
        step1,
        step2,
        step3,
        step4,
        step_outer,
    };
    let kernel = Kernel::new(shader, defines, Vec::new());
    Ok(node.flat(kernel, bindings.to_vec(), params.words(), count))
}

/// Checks that kernels can copy the elements of a tensor: whole words.
pub(super) fn expect_words(x: &Tensor) -> Result<(), String> {
    if x.dtype.size() == DType::F32.size() {
        return Ok(());
    }
    Err(format!("expected f32 or u32, found {} {}", x.dtype, x.shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes<const N: usize>(axes: &[(usize, [usize; N])]) -> Axes<N> {
        Axes::new(axes.iter().copied(), [0; N]).unwrap()
    }

    #[test]
    fn axes_that_continue_each_other_are_joined() {
        let whole = axes(&[(2, [15]), (3, [5]), (1, [99]), (5, [1])]);
        assert_eq!((whole.inner, whole.outer, whole.width), (0, [1], 1));
        // Four images of two rows, each of which has another image's row beside it.
        let rows = axes(&[(4, [8, 4]), (2, [4, 0]), (4, [1, 1])]);
        assert_eq!((rows.inner, rows.width), (2, 4));
        assert_eq!((rows.sizes, rows.outer), ([1, 2, 1, 1, 1], [2, 1]));
        assert_eq!(rows.steps, [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]);
    }

    #[test]
    fn fours_need_steps_and_starts_of_fours() {
        let width = |inner, outer, start| Axes::new([(3, [outer]), (inner, [1])], [start]).unwrap().width;
        assert_eq!(width(8, 12, 4), 4);
        assert_eq!([width(6, 12, 4), width(8, 10, 4), width(8, 12, 2)], [1; 3]);
        assert_eq!(axes(&[(8, [2])]).width, 1);
        assert_eq!(axes(&[(8, [1, 0])]).width, 1, "a value that is repeated");
        assert_eq!(axes::<1>(&[]).width, 1);
    }

    #[test]
    fn six_axes_are_the_most() {
        let apart = |count| Axes::new((0..count).map(|axis| (2, [100 - axis])), [0]);
        assert!(apart(6).is_ok());
        assert!(apart(7).unwrap_err().contains("found 7"));
    }
}
