//! Rows of a tensor, by index.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::GatherRows;

#[test]
fn indices_inside_and_outside_agree_with_the_reference() {
    for (rows, width) in [(1, 1), (3, 5), (15, 64), (6, 129)] {
        let indices = [rows - 1, 0, rows, u32::MAX, rows / 2, 1 << 30, 0];
        let mut case = Case::new(rows.into());
        let x = case.random_input([rows as usize, width]);
        let indices = case.ids([indices.len()], indices.to_vec());
        case.last(GatherRows, vec![x, indices]);
        case.check(&format!("{rows} rows of {width}"), Tolerance::Exact);
    }
}
