//! Rows of a table, by token id.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Embedding;

#[test]
fn known_and_unknown_ids_agree_with_the_reference() {
    for (entries, width) in [(1, 1), (7, 3), (10, 5), (300, 64), (33, 129)] {
        let ids = [0, entries - 1, entries / 2, 0, entries, entries + 1, u32::MAX, 1 << 31, entries - 1];
        let mut case = Case::new(entries.into());
        let tokens = case.ids([ids.len()], ids.to_vec());
        let tables =
            [case.random_weight([entries as usize, width]), case.half_weight([entries as usize, width])];
        for table in tables {
            case.last(Embedding, vec![tokens, table]);
        }
        let kernels = case.kernels();
        assert!(kernels.iter().any(|k| k == "embedding") && kernels.iter().any(|k| k == "embedding[HALF]"));
        case.check(&format!("{entries} entries of {width}"), Tolerance::Exact);
    }
}
