//! Numbers and text of numpy: scalars and arrays in pickles, and `.npy` files.

use super::{Candidate, Vocabulary, choose, pickled, wrong};
use crate::checkpoint::CheckpointErrorKind;
use crate::checkpoint::pickle::{Call, Id, Object, Reader, parse};

/// Text or a whole number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    Text(String),
    Int(i64),
}

/// The type of an array's elements, such as `<U7`.
struct Type {
    is_big_endian: bool,
    /// `i`, `u`, `U` (text of 32-bit characters), `S` (bytes) or `O` (objects).
    kind: char,
    /// Bytes of an element.
    size: usize,
}

impl Type {
    fn parse(code: &str) -> Option<Type> {
        let is_big_endian = code.starts_with('>');
        let code = code.trim_start_matches(['<', '>', '|', '=']);
        let kind = code.chars().next()?;
        let count: usize = if kind == 'O' { 8 } else { code[kind.len_utf8()..].parse().ok()? };
        let size = if kind == 'U' { count.checked_mul(4)? } else { count };
        ("iuUSO".contains(kind) && size > 0).then_some(Type { is_big_endian, kind, size })
    }

    fn elements(&self, bytes: &[u8]) -> Option<Vec<Element>> {
        bytes.chunks_exact(self.size).map(|element| self.element(element)).collect()
    }

    fn element(&self, bytes: &[u8]) -> Option<Element> {
        let number = |bytes: &[u8]| {
            let mut word = [0; 8];
            let digits = word.get_mut(..bytes.len())?;
            digits.copy_from_slice(bytes);
            if self.is_big_endian {
                digits.reverse();
            }
            Some(u64::from_le_bytes(word))
        };
        Some(match self.kind {
            'i' | 'u' => {
                let value = number(bytes)?;
                let unused = 64 - 8 * self.size as u32;
                let is_signed = self.kind == 'i';
                Element::Int(if is_signed {
                    (value << unused).cast_signed() >> unused
                } else {
                    i64::try_from(value).ok()?
                })
            }
            'U' => {
                let character = |bytes: &[u8]| char::from_u32(u32::try_from(number(bytes)?).ok()?);
                let text: String = bytes.chunks_exact(4).map(character).collect::<Option<_>>()?;
                Element::Text(text.trim_end_matches('\0').to_owned())
            }
            'S' => Element::Text(std::str::from_utf8(bytes).ok()?.trim_end_matches('\0').to_owned()),
            _ => return None,
        })
    }
}

fn is_call_of(reader: &Reader<'_>, call: &Call, names: &[&str]) -> bool {
    reader
        .global(call.callable)
        .is_some_and(|(module, name)| module.starts_with("numpy") && names.contains(&name))
}

/// A pickled `dtype`: its code, and in its state the order of bytes.
fn dtype(reader: &Reader<'_>, id: Id) -> Option<Type> {
    let Object::Call(call) = reader.get(id) else { return None };
    if !is_call_of(reader, call, &["dtype"]) {
        return None;
    }
    let code = reader.text(*reader.sequence(call.arguments)?.first()?)?;
    let order =
        call.state.and_then(|state| reader.text(*reader.sequence(state)?.get(1)?)).unwrap_or_default();
    Type::parse(&format!("{order}{code}"))
}

/// Bytes, or their spelling in old protocols: `_codecs.encode(text, "latin1")`.
fn bytes(reader: &Reader<'_>, id: Id) -> Option<Vec<u8>> {
    match reader.get(id) {
        Object::Bytes(bytes) => Some(bytes.clone()),
        Object::Call(call) => {
            let arguments = reader.sequence(call.arguments)?;
            match reader.global(call.callable)? {
                ("_codecs", "encode") => reader
                    .text(*arguments.first()?)?
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).ok())
                    .collect(),
                (_, "bytearray" | "bytes") => bytes(reader, *arguments.first()?),
                _ => None,
            }
        }
        Object::Str(text) => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        _ => None,
    }
}

/// A numpy scalar.
pub(super) fn scalar(reader: &Reader<'_>, object: &Object) -> Option<Element> {
    let Object::Call(call) = object else { return None };
    if !is_call_of(reader, call, &["scalar"]) {
        return None;
    }
    let &[of, value, ..] = reader.sequence(call.arguments)? else { return None };
    dtype(reader, of)?.elements(&bytes(reader, value)?)?.pop()
}

/// The elements of a numpy array; `element` reads those of an array of objects.
pub(super) fn array(
    reader: &Reader<'_>,
    object: &Object,
    element: fn(&Reader<'_>, Id) -> Option<Element>,
) -> Option<Vec<Element>> {
    let Object::Call(call) = object else { return None };
    // `(version, shape, dtype, order, data)`, or, since protocol 5, the arguments `(data, dtype, shape, order)`.
    let (of, data) = if is_call_of(reader, call, &["_reconstruct"]) {
        let &[_, _, of, _, data] = reader.sequence(call.state?)? else { return None };
        (of, data)
    } else if is_call_of(reader, call, &["_frombuffer"]) {
        let &[data, of, ..] = reader.sequence(call.arguments)? else { return None };
        (of, data)
    } else {
        return None;
    };
    let of = dtype(reader, of)?;
    if of.kind == 'O' {
        return reader.sequence(data)?.iter().map(|&id| element(reader, id)).collect();
    }
    of.elements(&bytes(reader, data)?)
}

/// A `.npy` file (NumPy Enhancement Proposal 1): an array of words, or a pickled object.
pub(super) fn read_file(file: &[u8]) -> Result<Vocabulary, CheckpointErrorKind> {
    let parts = || {
        let wide = *file.get(6)? > 1;
        let length = if wide { file.get(8..12)? } else { file.get(8..10)? };
        let start = 8 + length.len();
        let length = length.iter().rev().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        let header = std::str::from_utf8(file.get(start..start.checked_add(length)?)?).ok()?;
        let code = header.split_once("'descr':")?.1.trim_start().strip_prefix('\'')?.split('\'').next()?;
        Some((Type::parse(code)?, &file[start + length..]))
    };
    let Some((of, data)) = parts() else {
        return wrong("expected a numpy array of words, found one of another type".to_owned());
    };
    if of.kind == 'O' {
        return parse(data)?.0.read(pickled::read);
    }
    let word = |(id, element)| match element {
        Element::Text(word) => Some((word, id)),
        Element::Int(_) => None,
    };
    let pairs = of.elements(data).and_then(|elements| (0..).zip(elements).map(word).collect());
    let candidates = pairs.map(|pairs| Candidate { field: String::new(), pairs }).into_iter().collect();
    choose(candidates, "a numpy array of numbers")
}
