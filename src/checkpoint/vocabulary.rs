//! Vocabularies: pickled classes, word maps in JSON, plain text.

use super::pickle::{Id, Object, Reader, parse};
use super::sniff::LONGEST_TEXT;
use super::{CheckpointError, CheckpointErrorKind, FileKind, sniff, unreadable};
use crate::weights::Special;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The special words, as given by a user; `None` means the usual spellings.
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
    /// The words; ids without a word have empty text.
    pub words: Vec<String>,
}

fn wrong<T>(message: String) -> Result<T, CheckpointErrorKind> {
    Err(CheckpointErrorKind::Vocabulary(message))
}

/// The largest id: a larger one would be a mistake, and would waste memory.
const MAX_ID: u64 = 10_000_000;

impl Vocabulary {
    /// Reads a vocabulary file.
    ///
    /// # Errors
    /// The file cannot be read, holds no words, or contradicts itself about them.
    pub fn open(path: &Path) -> Result<Vocabulary, CheckpointError> {
        let file = path.display().to_string();
        let bytes = read_whole(path).map_err(|kind| CheckpointError::new(&file, kind))?;
        Self::from_bytes(&file, &bytes)
    }

    /// Reads a vocabulary that is in memory; `file` is its name in errors.
    ///
    /// # Errors
    /// As [`Vocabulary::open`].
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Vocabulary, CheckpointError> {
        let read = || match sniff(bytes) {
            FileKind::Pickle => parse(bytes)?.0.read(from_pickle),
            FileKind::Json => from_json(bytes),
            FileKind::Text => from_text(bytes),
            other => {
                let expected = "a vocabulary (a pickled class, a word map in JSON, or a word a line)";
                Err(CheckpointErrorKind::Foreign { expected, found: other.description().to_owned() })
            }
        };
        read().map_err(|kind| CheckpointError::new(file, kind))
    }

    /// The ids of the special words. If there is no padding word, its id is 0, which never reaches a caption; if there is no word
    /// for rare words, its id is that of padding.
    ///
    /// # Errors
    /// A word that the user named does not exist, or the words for start or end are not found.
    pub fn special(&self, names: &SpecialWords) -> Result<Special, CheckpointErrorKind> {
        let find = |role: &str, name: &Option<String>, usual: &[&str]| {
            if let Some(name) = name {
                return match self.words.iter().position(|w| w == name) {
                    Some(id) => Ok(Some(id as u32)),
                    None => wrong(format!("expected the {role} word `{name}`, found no such word")),
                };
            }
            // Spellings are tried in order, since `<s>` may be an ordinary word beside `<start>`.
            let place = |spelling: &&str| self.words.iter().position(|w| w.to_lowercase() == **spelling);
            Ok(usual.iter().find_map(place).map(|id| id as u32))
        };
        let missing = |role: &'static str, usual: &[&str]| {
            Err(CheckpointErrorKind::NoSpecialWord { role, usual: usual.join(", ") })
        };
        let pad = find("pad", &names.pad, PAD)?.unwrap_or(0);
        let Some(start) = find("start", &names.start, START)? else { return missing("start", START) };
        let Some(end) = find("end", &names.end, END)? else { return missing("end", END) };
        let unk = find("unk", &names.unk, UNK)?.unwrap_or(pad);
        Ok(Special { pad, start, end, unk })
    }
}

/// Reads a whole file into memory, so that other processes cannot change it while it is parsed.
fn read_whole(path: &Path) -> Result<Vec<u8>, CheckpointErrorKind> {
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err(CheckpointErrorKind::Unreadable("it is a folder".to_owned()));
    }
    let mut bytes = Vec::new();
    // A pipe has no length, and a file may grow.
    if metadata.len() <= LONGEST_TEXT as u64 {
        file.take(LONGEST_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    }
    if metadata.len() > LONGEST_TEXT as u64 || bytes.len() > LONGEST_TEXT {
        return wrong(format!("expected a vocabulary of at most {LONGEST_TEXT} bytes, found a longer file"));
    }
    Ok(bytes)
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

/// Fills gaps: ids without a word become empty words. There may be a few of them, such as 0 where padding has no name.
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
                // Either `{"dog": 4}` or `{"4": "dog"}`.
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

fn from_pickle(reader: &Reader<'_>) -> Result<Vocabulary, CheckpointErrorKind> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut todo: Vec<(String, Id)> = reader.root_id().map(|id| (String::new(), id)).into_iter().collect();
    let mut contradictory = Vec::new();
    while let Some((field, id)) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        let object = reader.get(id);
        if let Some(pairs) = pairs_of(reader, object) {
            match by_id(pairs.clone()) {
                Ok(words) => found.push(Mapping { field, words }),
                Err(error) => contradictory.push((pairs, error)),
            }
            continue;
        }
        let fields = reader.fields(object).or_else(|| reader.entries(object)).unwrap_or_default();
        for &(key, value) in fields.iter() {
            todo.extend(reader.text(key).map(|name| (name.to_owned(), value)));
        }
    }
    // The largest mapping is the vocabulary; others, such as counts, may have fewer words.
    found.sort_by_key(|m| (std::cmp::Reverse(m.words.len()), m.field.clone()));
    let mut rest = found.into_iter();
    let Some(first) = rest.next() else {
        return wrong("expected words with ids, found a pickle with none".to_owned());
    };
    // A mapping may hold counts of words. As ids they contradict each other; they agree with the vocabulary by chance only.
    for (pairs, error) in contradictory {
        let agreeing = pairs.iter().filter(|(word, id)| first.words.get(id) == Some(word)).count();
        if agreeing * 2 > first.words.len() {
            return Err(error);
        }
    }
    // A much smaller mapping is something else, such as a list of file names.
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

/// Words with ids, if an object is a mapping from words to ids, from ids to words, or a list of words.
fn pairs_of<'a>(reader: &Reader<'a>, object: &'a Object) -> Option<Vec<(String, u64)>> {
    let id = |id: Id| reader.int(id).and_then(|n| u64::try_from(n).ok());
    let pairs: Option<Vec<_>> = if let Object::List(ids) = object {
        (0..).zip(ids).map(|(id, &word)| Some((reader.text(word)?.to_owned(), id))).collect()
    } else {
        let pair = |&(key, value): &(Id, Id)| match (reader.text(key), reader.text(value)) {
            (Some(word), None) => Some((word.to_owned(), id(value)?)),
            // Ids may be text as well: `{"4": "dog"}`.
            (None, Some(word)) => Some((word.to_owned(), id(key)?)),
            (Some(key), Some(word)) => Some((word.to_owned(), key.parse().ok()?)),
            (None, None) => None,
        };
        reader.entries(object)?.iter().map(pair).collect()
    };
    pairs.filter(|pairs| pairs.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let words = Vocabulary::from_bytes("v", text.as_bytes()).map(|v| v.words);
        words.map_err(|error| error.to_string())
    }

    #[track_caller]
    fn expect_error(text: &str, parts: &[&str]) {
        let error = read(text).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }

    #[test]
    fn json_maps_words_to_ids_or_ids_to_words() {
        let words = ["", "dog", "<start>", "<end>"].map(str::to_owned).to_vec();
        assert_eq!(read(r#"{"dog": 1, "<start>": 2, "<end>": 3}"#).unwrap(), words);
        assert_eq!(read(r#"{"1": "dog", "2": "<start>", "3": "<end>"}"#).unwrap(), words);
        assert_eq!(read(r#"["", "dog", "<start>", "<end>"]"#).unwrap(), words);
    }

    #[test]
    fn contradictions_are_reported() {
        expect_error(r#"{"dog": 1, "cat": 1}"#, &["1 for `", "dog", "cat"]);
        expect_error(r#"{"dog": 1.5}"#, &["found 1.5 for `dog`"]);
        expect_error(r#"{"dog": 1, "cat": 900}"#, &["2 words with ids up to 900"]);
        expect_error(r#"{"dog": 99999999999}"#, &["ids up to 10000000"]);
        expect_error("dog\ncat\ndog\n", &["`dog` in lines 1 and 3"]);
        expect_error("{}", &["found none"]);
    }

    /// A pickled dictionary of dictionaries, by its opcodes.
    fn pickled(fields: &[(&str, &[(&str, u8)])]) -> Vec<u8> {
        let text = |s: &str| [b"X", &(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat();
        let mut bytes = b"\x80\x02}(".to_vec();
        for (name, entries) in fields {
            bytes.extend([&text(name)[..], b"}("].concat());
            for (word, id) in *entries {
                bytes.extend([&text(word)[..], b"K", &[*id]].concat());
            }
            bytes.push(b'u');
        }
        bytes.extend(b"u.");
        bytes
    }

    #[test]
    fn mappings_have_to_agree_and_counts_are_ignored() {
        let words: &[(&str, u8)] = &[("a", 0), ("b", 1), ("c", 2), ("d", 3)];
        let read = |other: &[(&str, u8)]| {
            let bytes = pickled(&[("word2idx", words), ("other", other)]);
            Vocabulary::from_bytes("v", &bytes).map(|v| v.words).map_err(|error| error.to_string())
        };
        assert_eq!(read(&[("a", 7), ("b", 7), ("c", 7), ("d", 3)]).unwrap(), ["a", "b", "c", "d"]);
        let twice = read(&[("a", 0), ("b", 1), ("c", 2), ("d", 2)]).unwrap_err();
        assert!(twice.contains("2 for `c` and for `d`"), "{twice}");
        let moved = read(&[("a", 0), ("b", 1), ("c", 3), ("d", 2)]).unwrap_err();
        assert!(moved.contains("id 2 as `"), "{moved}");
    }

    #[test]
    fn special_words_have_usual_spellings_or_are_named() {
        let vocabulary = |words: &[&str]| Vocabulary { words: words.iter().map(|&w| w.to_owned()).collect() };
        let usual = vocabulary(&["dog", "<SOS>", "</s>", "<UNK>", "<pad>"]);
        let special = Special { pad: 4, start: 1, end: 2, unk: 3 };
        assert_eq!(usual.special(&SpecialWords::default()), Ok(special));
        let own = vocabulary(&["dog", "begin", "halt"]);
        let error = own.special(&SpecialWords::default()).unwrap_err().to_string();
        assert!(error.contains("a word for the start"), "{error}");
        let names = SpecialWords {
            start: Some("begin".to_owned()),
            end: Some("halt".to_owned()),
            ..SpecialWords::default()
        };
        assert_eq!(own.special(&names), Ok(Special { pad: 0, start: 1, end: 2, unk: 0 }));
        let names = SpecialWords { end: Some("stop".to_owned()), ..names };
        let error = own.special(&names).unwrap_err().to_string();
        assert!(error.contains("`stop`, found no such word"), "{error}");
    }
}
