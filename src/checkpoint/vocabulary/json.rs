//! Vocabularies in JSON: a list of words, or an object with an id for each word, at any depth.

use super::{Candidate, Vocabulary, choose, shortened};
use crate::checkpoint::{CheckpointErrorKind, sniff};
use serde_json::Value;

pub(super) fn read(bytes: &[u8]) -> Result<Vocabulary, CheckpointErrorKind> {
    let text = sniff::text(bytes).unwrap_or_default();
    let value: Value = serde_json::from_str(text)
        .map_err(|e| CheckpointErrorKind::Vocabulary(format!("is not JSON: {e}")))?;
    let mut candidates = Vec::new();
    let mut todo = vec![(String::new(), &value)];
    while let Some((field, value)) = todo.pop() {
        if let Some(pairs) = pairs_of(value) {
            candidates.push(Candidate { field, pairs });
            continue;
        }
        match value {
            Value::Object(entries) => todo.extend(entries.iter().map(|(key, value)| (key.clone(), value))),
            Value::Array(values) => todo.extend(values.iter().map(|value| (field.clone(), value))),
            _ => {}
        }
    }
    choose(candidates, &described(&value))
}

/// A whole number, which may be written as text.
fn id_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Words with ids, if the value is a list of words, a list of pairs, or an object with a number in each entry.
fn pairs_of(value: &Value) -> Option<Vec<(String, u64)>> {
    let pairs: Option<Vec<_>> = match value {
        Value::Array(values) if values.iter().all(Value::is_string) => {
            let words = values.iter().filter_map(Value::as_str).map(str::to_owned);
            Some(words.zip(0..).collect())
        }
        Value::Array(values) => {
            let pair = |value: &Value| match value.as_array()?.as_slice() {
                [Value::String(word), id] | [id, Value::String(word)] => Some((word.clone(), id.as_u64()?)),
                _ => None,
            };
            values.iter().map(pair).collect()
        }
        // `{"4": "dog"}`, `{"dog": 4}` or `{"dog": "4"}`; a word may be a number too.
        Value::Object(entries) => {
            let by_id =
                |(key, value): (&String, &Value)| Some((value.as_str()?.to_owned(), key.parse().ok()?));
            let by_word = |(key, value): (&String, &Value)| Some((key.clone(), id_of(value)?));
            let ids: Option<Vec<_>> = entries.iter().map(by_id).collect();
            ids.or_else(|| entries.iter().map(by_word).collect())
        }
        _ => None,
    };
    pairs.filter(|pairs| pairs.len() > 1)
}

/// What a value is, in a few words.
fn described(value: &Value) -> String {
    const SHOWN: usize = 3;
    let short = |value: &Value| match value {
        Value::Object(_) => "{...}".to_owned(),
        Value::Array(_) => "[...]".to_owned(),
        other => shortened(&other.to_string()),
    };
    let more =
        |count: usize| if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() };
    match value {
        Value::Object(entries) if entries.is_empty() => "an empty object".to_owned(),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("`{}`: {}", shortened(key), short(value));
            let shown: Vec<String> = entries.iter().take(SHOWN).map(entry).collect();
            format!("an object with {}{}", shown.join(", "), more(entries.len()))
        }
        Value::Array(values) => {
            let shown: Vec<String> = values.iter().take(SHOWN).map(short).collect();
            format!("a list of {}{}", shown.join(", "), more(values.len()))
        }
        other => short(other),
    }
}
