//! Vocabularies in text: a word a line, or words with ids in two columns.

use super::{Candidate, Vocabulary, choose, shortened, wrong};
use crate::checkpoint::{CheckpointErrorKind, sniff};
use std::collections::HashMap;

pub(super) fn read(bytes: &[u8]) -> Result<Vocabulary, CheckpointErrorKind> {
    let text = sniff::text(bytes).unwrap_or_default();
    if let Some(pairs) = columns(text) {
        // Numbers of words are no ids: many words come as often as others.
        let mut ids: Vec<u64> = pairs.iter().map(|&(_, id)| id).collect();
        ids.sort_unstable();
        let is_numbering = ids.windows(2).all(|pair| pair[0] + 1 == pair[1]) && ids[0] <= 1;
        if !is_numbering {
            let (word, number) = &pairs[0];
            return wrong(format!(
                "expected the ids 0, 1, 2 ... beside the words, found {number} beside `{}`: if these are counts, keep the words only, \
                 a word a line in the order of their ids",
                shortened(word)
            ));
        }
        return choose(vec![Candidate { field: String::new(), pairs }], "text");
    }
    let words: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    let mut seen = HashMap::new();
    for (line, word) in (1..).zip(&words) {
        if let Some(before) = seen.insert(word, line) {
            return wrong(format!(
                "expected a word a line, found `{}` in lines {before} and {line}",
                shortened(word)
            ));
        }
    }
    if words.len() < 2 {
        return wrong("expected a word a line, found a single line".to_owned());
    }
    Ok(Vocabulary { words })
}

/// Words with whole numbers, if every line but a heading has both, divided by a tab, a comma, a semicolon or a space.
fn columns(text: &str) -> Option<Vec<(String, u64)>> {
    let divided = |delimiter: u8| {
        // Only fields with commas need quotes; elsewhere a quote is a word.
        let mut builder = csv::ReaderBuilder::new();
        builder
            .delimiter(delimiter)
            .quoting([b',', b';'].contains(&delimiter))
            .has_headers(false)
            .flexible(true);
        let mut reader = builder.from_reader(text.as_bytes());
        let mut pairs = Vec::new();
        for (line, record) in reader.records().enumerate() {
            let record = record.ok()?;
            let fields: Vec<&str> = record.iter().map(str::trim).collect();
            let pair = match fields.as_slice() {
                [first, second] => match (first.parse(), second.parse()) {
                    (_, Ok(id)) => Some(((*first).to_owned(), id)),
                    (Ok(id), Err(_)) => Some(((*second).to_owned(), id)),
                    (Err(_), Err(_)) => None,
                },
                _ => None,
            };
            match pair {
                Some(pair) => pairs.push(pair),
                None if line == 0 => {}
                None => return None,
            }
        }
        Some(pairs).filter(|pairs| pairs.len() > 1)
    };
    [b'\t', b',', b';', b' '].into_iter().find_map(divided)
}
