//! The k largest values of each row.

use crate::engine::scores::NOTHING;

/// The `k` largest values of each row of `x` `[R, columns]` and their columns, both `[R, k]`, descending;
/// of equal values the one with the lowest id comes first.
///
/// Ids in `suppressed` are never chosen, nor those of a row whose bits are set in `excluded` `[R, ceil(columns / 32)]`. NaN counts as
/// `-inf`. Slots beyond the last candidate hold [`NOTHING`] and id 0.
pub fn top_k(
    x: &[f32],
    columns: usize,
    k: usize,
    suppressed: &[u32],
    excluded: Option<&[u32]>,
) -> (Vec<f32>, Vec<u32>) {
    let rows = x.len().checked_div(columns).unwrap_or(0);
    let mut values = Vec::with_capacity(rows * k);
    let mut ids = Vec::with_capacity(rows * k);
    let bits = columns.div_ceil(32);
    for (number, row) in x.chunks_exact(columns.max(1)).enumerate() {
        let is_excluded = |id: u32| {
            let word = |excluded: &[u32]| excluded[number * bits + id as usize / 32];
            suppressed.contains(&id) || excluded.is_some_and(|excluded| word(excluded) >> (id % 32) & 1 == 1)
        };
        let mut best = best_of(row, k, is_excluded);
        best.resize(k, (NOTHING, 0));
        values.extend(best.iter().map(|&(value, _)| value));
        ids.extend(best.iter().map(|&(_, id)| id));
    }
    (values, ids)
}

/// Turns values that [`top_k`] found in the rows of `x` into the logarithms of their softmax; [`NOTHING`] stays.
pub fn log_probs(x: &[f32], columns: usize, values: &mut [f32]) {
    let rows = x.len().checked_div(columns).unwrap_or(0).max(1);
    for (row, values) in x.chunks_exact(columns.max(1)).zip(values.chunks_exact_mut(values.len() / rows)) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // 0 at the maximum, which keeps inf - inf out.
        let distance = |value: f32| if value == largest { 0.0 } else { value - largest };
        let log_sum = row.iter().map(|&value| distance(value).exp()).sum::<f32>().ln();
        for value in values.iter_mut().filter(|value| **value != NOTHING) {
            *value = distance(*value) - log_sum;
        }
    }
}

/// At most `k` pairs of value and id, descending.
fn best_of(row: &[f32], k: usize, is_excluded: impl Fn(u32) -> bool) -> Vec<(f32, u32)> {
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(k + 1);
    for (id, &value) in (0u32..).zip(row) {
        let value = if value.is_nan() { f32::NEG_INFINITY } else { value };
        // Behind its equals: ids ascend, so that the lowest id stays first.
        let place = best.partition_point(|&(other, _)| other >= value);
        if place < k && !is_excluded(id) {
            best.truncate(k - 1);
            best.insert(place, (value, id));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::test_data::values;
    use super::*;

    #[test]
    fn descending_with_ties_by_the_lowest_id() {
        let x = [1.0, 5.0, 5.0, 2.0, 7.0, 7.0, 7.0, 7.0];
        let (v, ids) = top_k(&x, 4, 3, &[], None);
        assert_eq!(v, [5.0, 5.0, 2.0, 7.0, 7.0, 7.0]);
        assert_eq!(ids, [1, 2, 3, 0, 1, 2]);
    }

    #[test]
    fn values_become_log_probabilities() {
        let x = [0.0, 2f32.ln(), 0.0, 1.0, 1.0, 1.0];
        let (mut found, ids) = top_k(&x, 3, 2, &[1], None);
        log_probs(&x, 3, &mut found);
        let expected = [0.25f32, 0.25, 1.0 / 3.0, 1.0 / 3.0].map(f32::ln);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        assert_eq!(ids, [0, 2, 0, 2]);
        let (mut found, _) = top_k(&[f32::INFINITY, 1.0], 2, 2, &[1], None);
        log_probs(&[f32::INFINITY, 1.0], 2, &mut found);
        assert_eq!(found, [0.0, NOTHING]);
    }

    #[test]
    fn suppressed_ids_are_never_chosen() {
        let (v, ids) = top_k(&[9.0, 3.0, 8.0, 1.0], 4, 4, &[0, 2, 77], None);
        assert_eq!(v, [3.0, 1.0, NOTHING, NOTHING]);
        assert_eq!(ids, [1, 3, 0, 0]);
    }

    #[test]
    fn each_row_leaves_out_its_own_columns() {
        let x: Vec<f32> = (0..80).map(|i| (i % 40) as f32).collect();
        let (v, ids) = top_k(&x, 40, 2, &[38], Some(&[0, 1 << 7, 1 << 5, 0]));
        assert_eq!((v, ids), (vec![37.0, 36.0, 39.0, 37.0], vec![37, 36, 39, 37]));
        let (v, _) = top_k(&x, 40, 1, &[], Some(&[u32::MAX; 4]));
        assert_eq!(v, [NOTHING; 2]);
    }

    #[test]
    fn nan_and_minus_infinity_come_last() {
        let x = [f32::NAN, -4.0, f32::NEG_INFINITY, f32::INFINITY];
        let (v, ids) = top_k(&x, 4, 4, &[], None);
        assert_eq!(v, [f32::INFINITY, -4.0, f32::NEG_INFINITY, f32::NEG_INFINITY]);
        assert_eq!(ids, [3, 1, 0, 2]);
    }

    #[test]
    fn more_slots_than_candidates() {
        assert_eq!(top_k(&[2.0], 1, 3, &[], None), (vec![2.0, NOTHING, NOTHING], vec![0, 0, 0]));
        assert_eq!(top_k(&[2.0], 1, 0, &[], None), (vec![], vec![]));
    }

    #[test]
    fn agrees_with_a_stable_sort() {
        // Rounded, so that there are many ties.
        let x: Vec<f32> = values(3 * 500, 1).iter().map(|v| (v * 20.0).round()).collect();
        let (v, ids) = top_k(&x, 500, 9, &[], None);
        for (r, row) in x.chunks(500).enumerate() {
            let mut order: Vec<usize> = (0..500).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            for j in 0..9 {
                assert_eq!(ids[r * 9 + j] as usize, order[j]);
                assert_eq!(v[r * 9 + j], row[order[j]]);
            }
        }
    }
}
