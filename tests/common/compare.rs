//! Comparison of results within tolerances, with a report of the differences.

use shadetell::engine::graph::{Data, Shape};
use std::ops::Range;

/// The allowed difference from the expected result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// None: values are copied, compared, or rounded once.
    Exact,
    /// For a few roundings, an exponential, or a short sum.
    Close,
    /// For sums of many products in another order.
    Approximate,
}

impl Tolerance {
    /// The largest allowed difference from `expected`, in a tensor whose largest finite magnitude is `scale`.
    ///
    /// The part that does not depend on `expected` allows for cancellation in sums.
    fn allowed(self, expected: f32, scale: f32) -> f32 {
        let (absolute, relative) = match self {
            Tolerance::Exact => (0.0, 0.0),
            Tolerance::Close => (1e-6, 4e-6),
            Tolerance::Approximate => (5e-6, 2e-5),
        };
        absolute * scale.max(1.0) + relative * expected.abs()
    }
}

/// Number of neighbours that are printed on each side of a wrong value.
const NEIGHBOURS: usize = 3;

/// Compares a result with the expected one. NaN and infinities have to match exactly; 0 and -0 are equal.
pub(crate) fn compare(
    found: &Data,
    expected: &Data,
    shape: &Shape,
    tolerance: Tolerance,
) -> Result<(), String> {
    if (found.dtype(), found.len()) != (expected.dtype(), expected.len()) {
        return Err(format!(
            "{} {} values instead of {} {}",
            found.len(),
            found.dtype(),
            expected.len(),
            expected.dtype()
        ));
    }
    let scale = expected.f32().iter().filter(|v| v.is_finite()).fold(0.0, |a: f32, v| a.max(v.abs()));
    let wrong: Vec<usize> = (0..expected.len())
        .filter(|&i| match (found, expected) {
            (Data::F32(found), Data::F32(expected)) => !is_near(found[i], expected[i], scale, tolerance),
            (Data::U32(found), Data::U32(expected)) => found[i] != expected[i],
            _ => found.u8()[i] != expected.u8()[i],
        })
        .collect();
    let Some(&first) = wrong.first() else { return Ok(()) };
    let worst = found.f32().iter().zip(expected.f32()).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    let near = first.saturating_sub(NEIGHBOURS)..(first + NEIGHBOURS + 1).min(expected.len());
    Err(format!(
        "  {} of {} values of {shape} are not {tolerance:?}ly right (largest difference {worst:e}); the first at {:?}\n\
         \x20 expected {}\n  found    {}\n  around it, [{}..{}]:\n  expected {}\n  found    {}",
        wrong.len(),
        expected.len(),
        position(first, shape),
        show(expected, first..first + 1),
        show(found, first..first + 1),
        near.start,
        near.end,
        show(expected, near.clone()),
        show(found, near.clone()),
    ))
}

fn is_near(found: f32, expected: f32, scale: f32, tolerance: Tolerance) -> bool {
    if expected.is_nan() || expected.is_infinite() {
        return found == expected || (found.is_nan() && expected.is_nan());
    }
    (found - expected).abs() <= tolerance.allowed(expected, scale)
}

/// The indices of an element along each axis.
fn position(mut index: usize, shape: &Shape) -> Vec<usize> {
    let mut axes: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let at = index % size;
            index /= size;
            at
        })
        .collect();
    axes.reverse();
    axes
}

fn show(data: &Data, range: Range<usize>) -> String {
    match data {
        Data::F32(v) => format!("{:?}", &v[range]),
        Data::U32(v) => format!("{:?}", &v[range]),
        Data::U8(v) => format!("{:?}", &v[range]),
    }
}

#[test]
fn the_comparison_can_fail() {
    let shape = Shape::from([2, 2]);
    let differ = |a: [f32; 4], b: [f32; 4], tolerance| {
        compare(&Data::F32(a.to_vec()), &Data::F32(b.to_vec()), &shape, tolerance).err()
    };
    let x = [0.0, 1.0, f32::INFINITY, f32::NAN];
    assert_eq!(differ(x, x, Tolerance::Exact), None);
    assert_eq!(differ([-0.0, 1.0 + 3e-6, x[2], x[3]], x, Tolerance::Close), None);
    assert!(differ([0.0, 1.0 + 1e-5, x[2], x[3]], x, Tolerance::Close).is_some());
    assert!(differ([0.0, 1.0 + 2e-7, x[2], x[3]], x, Tolerance::Exact).is_some());
    for wrong in [[f32::NAN, 1.0, x[2], x[3]], [0.0, 1.0, 3e38, x[3]], [0.0, 1.0, x[2], 0.0]] {
        let complaint = differ(wrong, x, Tolerance::Approximate).unwrap();
        assert!(complaint.contains("1 of 4 values of [2, 2]"), "{complaint}");
    }
    let complaint = differ([0.0, 1.0, -x[2], x[3]], x, Tolerance::Exact).unwrap();
    assert!(complaint.contains("[1, 0]") && complaint.contains("-inf"), "{complaint}");
    assert!(compare(&Data::U32(vec![1]), &Data::F32(vec![1.0]), &shape, Tolerance::Exact).is_err());
}
