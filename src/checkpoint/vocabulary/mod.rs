//! Vocabularies: pickled classes and collections, JSON, text, numpy arrays, PyTorch files and model files.

mod json;
mod numpy;
mod pickled;
mod text;

use super::pickle::parse;
use super::sniff::LONGEST_TEXT;
use super::{Checkpoint, CheckpointError, CheckpointErrorKind, FileKind, sniff, unreadable};
use crate::weights::{Model, Special};
use std::collections::BTreeMap;
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
        // A model file is long, and has its words in the header.
        if FileKind::of_file(path) == Ok(FileKind::Safetensors) {
            let unusable = |kind: String| CheckpointError::new(&file, CheckpointErrorKind::Vocabulary(kind));
            let model = Model::open(path).map_err(|error| unusable(error.kind.to_string()))?;
            return Ok(Vocabulary { words: model.manifest().vocabulary.clone() });
        }
        let bytes = read_whole(path).map_err(|kind| CheckpointError::new(&file, kind))?;
        Self::from_bytes(&file, &bytes)
    }

    /// Reads a vocabulary that is in memory; `file` is its name in errors.
    ///
    /// # Errors
    /// As [`Vocabulary::open`].
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Vocabulary, CheckpointError> {
        let read = || match sniff(bytes) {
            FileKind::Pickle => parse(bytes)?.0.read(pickled::read),
            // As `torch.save` writes any object.
            FileKind::TorchZip | FileKind::TorchLegacy => {
                let file = Checkpoint::from_bytes(file, bytes.to_vec()).map_err(|error| error.kind)?;
                file.pickle().read(pickled::read)
            }
            FileKind::Numpy => numpy::read_file(bytes),
            FileKind::Json => json::read(bytes),
            FileKind::Text => text::read(bytes),
            other => {
                let expected = "a vocabulary (a pickle, JSON, or a word a line)";
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

/// A mapping from words to ids, and the name of the field that it was found in.
struct Candidate {
    field: String,
    pairs: Vec<(String, u64)>,
}

/// The vocabulary among mappings that were found in a file; `found` says what else the file is, for messages.
fn choose(mut candidates: Vec<Candidate>, found: &str) -> Result<Vocabulary, CheckpointErrorKind> {
    // A vocabulary has a word for the start; lists of captions or of file names have none.
    let has_start = |candidate: &Candidate| {
        candidate.pairs.iter().any(|(word, _)| START.contains(&word.to_lowercase().as_str()))
    };
    if candidates.iter().any(has_start) {
        candidates.retain(has_start);
    }
    let mut mappings = Vec::new();
    let mut contradictory = Vec::new();
    for Candidate { field, pairs } in candidates {
        match by_id(pairs.clone()) {
            Ok(words) => mappings.push((field, words)),
            Err(error) => contradictory.push((pairs, error)),
        }
    }
    // The largest mapping is the vocabulary; others, such as counts, may have fewer words.
    mappings.sort_by_key(|(field, words)| (std::cmp::Reverse(words.len()), field.clone()));
    let mut rest = mappings.into_iter();
    let Some((field, words)) = rest.next() else {
        return match contradictory.into_iter().next() {
            Some((_, error)) => Err(error),
            None => wrong(format!("expected words with ids, found {found}")),
        };
    };
    // A mapping may hold counts of words. As ids they contradict each other; they agree with the vocabulary by chance only.
    for (pairs, error) in contradictory {
        let agreeing = pairs.iter().filter(|(word, id)| words.get(id) == Some(word)).count();
        if agreeing * 2 > words.len() {
            return Err(error);
        }
    }
    // A much smaller mapping is something else, such as a list of file names.
    for (other, others) in rest.filter(|(_, others)| others.len() * 10 >= words.len() * 9) {
        let disagrees = |&(id, word): &(&u64, &String)| words.get(id) != Some(word);
        if let Some((id, word)) = others.iter().find(disagrees) {
            let before = words.get(id).map_or("no word", String::as_str);
            return wrong(format!(
                "expected its mappings to agree, found id {id} as `{before}` in `{field}` and as `{word}` in `{other}`"
            ));
        }
        if others.len() != words.len() {
            return wrong(format!(
                "expected its mappings to agree, found {} words in `{field}` and {} in `{other}`",
                words.len(),
                others.len()
            ));
        }
    }
    dense(words)
}

/// At most some thirty characters of a text, for messages.
fn shortened(text: &str) -> String {
    const MOST: usize = 30;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
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
        expect_error(r#"{"dog": 1.5}"#, &["found an object with `dog`: 1.5"]);
        expect_error(r#"{"dog": 1, "cat": 900}"#, &["2 words with ids up to 900"]);
        expect_error(r#"{"dog": 99999999999, "cat": 2}"#, &["ids up to 10000000"]);
        expect_error("dog\ncat\ndog\n", &["`dog` in lines 1 and 3"]);
        expect_error("{}", &["an empty object"]);
        expect_error("a\t969108\nof\t5\n", &["found 969108 beside `a`", "counts"]);
        let long = format!(r#"{{"info": "{}", "images": [{{"id": 1}}]}}"#, "x".repeat(500));
        let error = read(&long).unwrap_err();
        assert!(error.len() < 200 && error.contains("`images`: [...]"), "{error}");
        // A set of two words, whose order in the file is chance.
        let set = b"\x80\x04\x8f(\x8c\x07<start>\x8c\x03doge.".map(|b| if b == b'e' { 0x90 } else { b });
        let set = Vocabulary::from_bytes("v", &set).unwrap_err().to_string();
        assert!(set.contains("a set, whose words have no order"), "{set}");
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
