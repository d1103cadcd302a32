//! Vocabularies: pickled classes, word maps in JSON, plain text.

use super::pickle::{Id, Object, Pickle, parse};
use super::{CheckpointError, CheckpointErrorKind, FileKind, map, sniff};
use crate::weights::Special;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// The words that have a meaning of their own, as a user names them; `None` means the usual spellings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialWords {
    /// Fills up shorter captions in training.
    pub pad: Option<String>,
    /// Comes before the first word.
    pub start: Option<String>,
    /// Comes after the last word.
    pub end: Option<String>,
    /// Stands for rare words.
    pub unk: Option<String>,
}

/// Usual spellings, in lower case.
const PAD: &[&str] = &["<pad>", "[pad]", "<padding>", "<blank>", "<null>"];
const START: &[&str] =
    &["<start>", "<s>", "<sos>", "<bos>", "[cls]", "<|startoftext|>", "startseq", "<begin>", "<go>"];
const END: &[&str] = &["<end>", "</s>", "<eos>", "[sep]", "<|endoftext|>", "endseq", "<stop>"];
const UNK: &[&str] = &["<unk>", "[unk]", "<oov>", "<unknown>"];

/// Words by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// The words; ids that no word has are empty.
    pub words: Vec<String>,
}

fn wrong<T>(message: String) -> Result<T, CheckpointErrorKind> {
    Err(CheckpointErrorKind::Vocabulary(message))
}

/// Largest id: more would be a mistake, and take memory for nothing.
const MAX_ID: u64 = 10_000_000;

impl Vocabulary {
    /// Reads a vocabulary file.
    ///
    /// # Errors
    /// The file cannot be read, holds no words, or contradicts itself about them.
    pub fn open(path: &Path) -> Result<Vocabulary, CheckpointError> {
        let file = path.display().to_string();
        let bytes = map(path).map_err(|kind| CheckpointError::new(&file, kind))?;
        Self::from_bytes(&file, &bytes)
    }

    /// Reads a vocabulary that is in memory; `file` names it in errors.
    ///
    /// # Errors
    /// As [`Vocabulary::open`].
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Vocabulary, CheckpointError> {
        let read = || match sniff(bytes) {
            FileKind::Pickle => from_pickle(&parse(bytes)?.0),
            FileKind::Json => from_json(bytes),
            FileKind::Text => from_text(bytes),
            other => {
                let expected = "a vocabulary (a pickled class, a word map in JSON, or a word a line)";
                Err(CheckpointErrorKind::Foreign { expected, found: other.description().to_owned() })
            }
        };
        read().map_err(|kind| CheckpointError::new(file, kind))
    }

    /// The ids of the words with a meaning of their own. Without a word to fill up with, 0 is taken, as it never
    /// reaches a caption; without one for rare words, that of padding.
    ///
    /// # Errors
    /// A word that was named is not there, or start or end are not found.
    pub fn special(&self, names: &SpecialWords) -> Result<Special, CheckpointErrorKind> {
        let find = |role: &str, name: &Option<String>, usual: &[&str]| {
            if let Some(name) = name {
                return match self.words.iter().position(|w| w == name) {
                    Some(id) => Ok(Some(id as u32)),
                    None => wrong(format!("expected the {role} word `{name}`, found no such word")),
                };
            }
            // In the order of the spellings, as `<s>` may be a word beside `<start>`.
            let place = |spelling: &&str| self.words.iter().position(|w| w.to_lowercase() == **spelling);
            Ok(usual.iter().find_map(place).map(|id| id as u32))
        };
        let missing = |role: &str, usual: &[&str]| {
            wrong(format!(
                "expected a word for the {role} ({}), found none: name it with `--{role}-word`",
                usual.join(", ")
            ))
        };
        let pad = find("pad", &names.pad, PAD)?.unwrap_or(0);
        let Some(start) = find("start", &names.start, START)? else { return missing("start", START) };
        let Some(end) = find("end", &names.end, END)? else { return missing("end", END) };
        let unk = find("unk", &names.unk, UNK)?.unwrap_or(pad);
        Ok(Special { pad, start, end, unk })
    }
}

/// Words by id from pairs, in any order.
fn by_id(
    pairs: impl IntoIterator<Item = (String, u64)>,
) -> Result<BTreeMap<u64, String>, CheckpointErrorKind> {
    let mut words: BTreeMap<u64, String> = BTreeMap::new();
    for (word, id) in pairs {
        if id > MAX_ID {
            return wrong(format!("expected ids up to {MAX_ID}, found {id} for `{word}`"));
        }
        if let Some(other) = words.get(&id).filter(|other| **other != word) {
            return wrong(format!("expected an id for each word, found {id} for `{other}` and for `{word}`"));
        }
        words.insert(id, word);
    }
    Ok(words)
}

/// Closes gaps: ids that no word has are empty words, of which there may be a few (0, where padding has no name).
fn dense(words: BTreeMap<u64, String>) -> Result<Vocabulary, CheckpointErrorKind> {
    let Some((&last, _)) = words.last_key_value() else {
        return wrong("expected words, found none".to_owned());
    };
    let len = last as usize + 1;
    if len > 2 * words.len() + 16 {
        return wrong(format!(
            "expected an id for each word, found {} words with ids up to {last}",
            words.len()
        ));
    }
    let mut dense = vec![String::new(); len];
    for (id, word) in words {
        dense[id as usize] = word;
    }
    Ok(Vocabulary { words: dense })
}

fn from_json(bytes: &[u8]) -> Result<Vocabulary, CheckpointErrorKind> {
    let text = super::sniff::text(bytes).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| CheckpointErrorKind::Vocabulary(format!("is not JSON: {e}")))?;
    let expected = "expected a list of words, or an object with an id for each word";
    match value {
        serde_json::Value::Array(words) => {
            let text = |word: &serde_json::Value| word.as_str().map(str::to_owned);
            match words.iter().map(text).collect::<Option<Vec<_>>>() {
                Some(words) if !words.is_empty() => Ok(Vocabulary { words }),
                _ => wrong(format!("{expected}, found a list of other things")),
            }
        }
        serde_json::Value::Object(entries) => {
            let mut pairs = Vec::with_capacity(entries.len());
            for (key, value) in &entries {
                // Either way round: `{"dog": 4}` or `{"4": "dog"}`.
                let pair = match (value.as_u64(), value.as_str(), key.parse()) {
                    (Some(id), _, _) => (key.clone(), id),
                    (None, Some(word), Ok(id)) => (word.to_owned(), id),
                    _ => return wrong(format!("{expected}, found {value} for `{key}`")),
                };
                pairs.push(pair);
            }
            dense(by_id(pairs)?)
        }
        other => wrong(format!("{expected}, found {other}")),
    }
}

fn from_text(bytes: &[u8]) -> Result<Vocabulary, CheckpointErrorKind> {
    let text = super::sniff::text(bytes).unwrap_or_default();
    let words: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    let mut seen = HashMap::new();
    for (line, word) in (1..).zip(&words) {
        if let Some(before) = seen.insert(word, line) {
            return wrong(format!("expected a word a line, found `{word}` in lines {before} and {line}"));
        }
    }
    if words.len() < 2 {
        return wrong("expected a word a line, found a single line".to_owned());
    }
    Ok(Vocabulary { words })
}

/// A mapping of a pickle, with the name of the field that it was found in.
struct Mapping {
    field: String,
    words: BTreeMap<u64, String>,
}

fn from_pickle(pickle: &Pickle) -> Result<Vocabulary, CheckpointErrorKind> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut todo: Vec<(String, Id)> = pickle.root.map(|id| (String::new(), id)).into_iter().collect();
    while let Some((field, id)) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        let object = pickle.get(id);
        if let Some(words) = words_of(pickle, object)? {
            found.push(Mapping { field, words });
            continue;
        }
        let fields = pickle.fields(object).or_else(|| pickle.entries(object)).unwrap_or_default();
        for (key, value) in fields {
            todo.extend(pickle.text(key).map(|name| (name.to_owned(), value)));
        }
    }
    // The largest mapping is the vocabulary; others, such as counts, may have fewer words.
    found.sort_by_key(|m| (std::cmp::Reverse(m.words.len()), m.field.clone()));
    let mut rest = found.into_iter();
    let Some(first) = rest.next() else {
        return wrong("expected words with ids, found a pickle with none".to_owned());
    };
    // What is much smaller is something else, such as a list of file names.
    for other in rest.filter(|m| m.words.len() * 10 >= first.words.len() * 9) {
        let disagrees = |&(id, word): &(&u64, &String)| first.words.get(id) != Some(word);
        if let Some((id, word)) = other.words.iter().find(disagrees) {
            let before = first.words.get(id).map_or("no word", String::as_str);
            return wrong(format!(
                "expected its mappings to agree, found id {id} as `{before}` in `{}` and as `{word}` in `{}`",
                first.field, other.field
            ));
        }
        if other.words.len() != first.words.len() {
            return wrong(format!(
                "expected its mappings to agree, found {} words in `{}` and {} in `{}`",
                first.words.len(),
                first.field,
                other.words.len(),
                other.field
            ));
        }
    }
    dense(first.words)
}

/// Words by id, if an object is a mapping between words and ids in either direction, or a list of words.
fn words_of(pickle: &Pickle, object: &Object) -> Result<Option<BTreeMap<u64, String>>, CheckpointErrorKind> {
    let id = |id: Id| pickle.int(id).and_then(|n| u64::try_from(n).ok());
    if let Object::List(ids) = object {
        let words: Option<Vec<_>> =
            (0..).zip(ids).map(|(id, &word)| Some((pickle.text(word)?.to_owned(), id))).collect();
        return words.filter(|w| w.len() > 1).map(by_id).transpose();
    }
    let Some(entries) = pickle.entries(object) else { return Ok(None) };
    let pair = |&(key, value): &(Id, Id)| match (pickle.text(key), pickle.text(value)) {
        (Some(word), None) => Some((word.to_owned(), id(value)?)),
        // Ids may be text as well: `{"4": "dog"}`.
        (None, Some(word)) => Some((word.to_owned(), id(key)?)),
        (Some(key), Some(word)) => Some((word.to_owned(), key.parse().ok()?)),
        (None, None) => None,
    };
    let pairs: Option<Vec<_>> = entries.iter().map(pair).collect();
    match pairs.filter(|pairs| pairs.len() > 1) {
        Some(pairs) => match by_id(pairs) {
            Ok(words) => Ok(Some(words)),
            // Counts of words look like ids that several words have.
            Err(_) => Ok(None),
        },
        None => Ok(None),
    }
}
