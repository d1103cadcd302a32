//! Vocabularies in pickles: classes, dictionaries, lists and tuples, at any depth.

use super::numpy::{self, Element};
use super::{Candidate, Vocabulary, choose};
use crate::checkpoint::CheckpointErrorKind;
use crate::checkpoint::pickle::{Id, Object, Reader};
use std::collections::HashSet;

pub(in super::super) fn read(reader: &Reader<'_>) -> Result<Vocabulary, CheckpointErrorKind> {
    let mut candidates = Vec::new();
    let mut seen = HashSet::new();
    let mut todo: Vec<(String, Id)> = reader.root_id().map(|id| (String::new(), id)).into_iter().collect();
    let mut has_set = false;
    while let Some((field, id)) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        let object = reader.get(id);
        if let Some(pairs) = pairs_of(reader, object) {
            candidates.push(Candidate { field, pairs });
            continue;
        }
        let entries = reader.entries(object).unwrap_or_default();
        let fields = reader.fields(object).unwrap_or_default();
        for &(key, value) in entries.iter().chain(fields.iter()) {
            todo.push((reader.text(key).unwrap_or(&field).to_owned(), value));
        }
        match object {
            Object::List(ids) | Object::Tuple(ids) => todo.extend(ids.iter().map(|&id| (field.clone(), id))),
            Object::Call(call) if !is_set(reader, object) => {
                // Classes of other languages keep their fields in a tuple, as torchtext's do.
                let parts = [Some(call.arguments), call.state].into_iter().flatten();
                todo.extend(parts.map(|id| (field.clone(), id)));
            }
            _ => has_set |= is_set(reader, object),
        }
    }
    let found = match has_set {
        true => "a set, whose words have no order: save a list or a dictionary",
        false => "a pickle with none",
    };
    choose(candidates, found)
}

fn is_set(reader: &Reader<'_>, object: &Object) -> bool {
    match object {
        Object::Set(_) => true,
        Object::Call(call) => {
            reader.global(call.callable).is_some_and(|(_, name)| ["set", "frozenset"].contains(&name))
        }
        _ => false,
    }
}

/// Text or a whole number, Python's or numpy's.
fn element(reader: &Reader<'_>, id: Id) -> Option<Element> {
    match reader.get(id) {
        Object::Str(text) => Some(Element::Text(text.clone())),
        Object::Bytes(bytes) => Some(Element::Text(std::str::from_utf8(bytes).ok()?.to_owned())),
        Object::Int(value) => Some(Element::Int(*value)),
        object => numpy::scalar(reader, object),
    }
}

/// Words with ids, if an object is a mapping from words to ids or from ids to words, a list of words, or a list of such pairs.
fn pairs_of(reader: &Reader<'_>, object: &Object) -> Option<Vec<(String, u64)>> {
    let id = |value: i64| u64::try_from(value).ok();
    let pair = |key: Element, value: Element| match (key, value) {
        (Element::Text(word), Element::Int(value)) | (Element::Int(value), Element::Text(word)) => {
            Some((word, id(value)?))
        }
        // Ids may be text as well: `{"4": "dog"}`.
        (Element::Text(key), Element::Text(word)) => Some((word, key.parse().ok()?)),
        (Element::Int(_), Element::Int(_)) => None,
    };
    let words = |words: Vec<Element>| {
        let word = |(id, element)| match element {
            Element::Text(word) => Some((word, id)),
            Element::Int(_) => None,
        };
        (0..).zip(words).map(word).collect::<Option<Vec<_>>>()
    };
    let pairs: Option<Vec<_>> = if let Some(elements) = numpy::array(reader, object, element) {
        words(elements)
    } else if let Object::List(ids) | Object::Tuple(ids) = object {
        // The first element tells, so that long lists of other things are left at once.
        let is_pair = ids.first().is_some_and(|&id| reader.sequence(id).is_some_and(|ids| ids.len() == 2));
        if is_pair {
            let pair = |&id: &Id| match *reader.sequence(id)? {
                [key, value] => pair(element(reader, key)?, element(reader, value)?),
                _ => None,
            };
            ids.iter().map(pair).collect()
        } else {
            words(ids.iter().map(|&id| element(reader, id)).collect::<Option<Vec<_>>>()?)
        }
    } else {
        let entries = reader.entries(object)?;
        entries.iter().map(|&(key, value)| pair(element(reader, key)?, element(reader, value)?)).collect()
    };
    pairs.filter(|pairs| pairs.len() > 1)
}
