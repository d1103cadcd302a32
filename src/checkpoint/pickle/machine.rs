//! The stack machine that reads pickles: a stack, marks, a memo.

mod literals;

use super::{Call, Id, Object, Pickle, PickleError};
use literals::{text, unescape, unquote};
use std::collections::HashMap;

/// Most objects of one pickle: a whole-module checkpoint with its optimiser has a few hundred thousand.
const MAX_OBJECTS: usize = 20_000_000;

/// Longest name of a module or a class that a pickle may refer to.
const MAX_NAME: usize = 255;

/// Reads one pickle from the beginning of `bytes`; returns it with its length.
///
/// # Errors
/// The pickle is damaged, or uses an opcode that plain data does not need.
pub fn parse(bytes: &[u8]) -> Result<(Pickle, usize), PickleError> {
    let mut machine = Machine { bytes, ..Machine::default() };
    machine.run()?;
    Ok((machine.pickle, machine.at))
}

/// Reads one pickle, of which `bytes` may be only the beginning; `None` if `bytes` end before the pickle does.
///
/// # Errors
/// As [`parse`].
pub(in super::super) fn parse_beginning(bytes: &[u8]) -> Result<Option<(Pickle, usize)>, PickleError> {
    let mut machine = Machine { bytes, ..Machine::default() };
    match machine.run() {
        Err(_) if machine.is_cut => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(Some((machine.pickle, machine.at))),
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    opcode_at: usize,
    /// Whether the bytes ended before the pickle did.
    is_cut: bool,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    pickle: Pickle,
}

type Step<T> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<()> {
        while self.step()? {}
        self.pickle.bytes = self.at;
        Ok(())
    }

    fn error<T>(&self, message: impl Into<String>) -> Step<T> {
        Err(PickleError { offset: self.opcode_at, message: message.into() })
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => {
                self.is_cut = true;
                self.error(format!("expected {count} more bytes, found {}", self.bytes.len() - self.at))
            }
        }
    }

    /// A little-endian unsigned integer of up to 8 bytes.
    fn number(&mut self, width: usize) -> Step<u64> {
        let mut word = [0; 8];
        for (place, &byte) in word.iter_mut().zip(self.take(width)?) {
            *place = byte;
        }
        Ok(u64::from_le_bytes(word))
    }

    /// Bytes preceded by their length.
    fn counted(&mut self, width: usize) -> Step<&'a [u8]> {
        let count = self.number(width)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&b| b == b'\n') else {
            self.is_cut = true;
            return self.error("expected a line, found no end of it");
        };
        let line = self.take(length)?;
        self.take(1)?;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn text_line(&mut self) -> Step<String> {
        Ok(text(self.line()?))
    }

    fn utf8(&self, bytes: &[u8]) -> Step<Object> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Object::Str(text.to_owned())),
            Err(_) => self.error("expected text in UTF-8"),
        }
    }

    fn make(&mut self, object: Object) -> Step<Id> {
        if self.pickle.objects.len() >= MAX_OBJECTS {
            return self.error(format!("expected at most {MAX_OBJECTS} objects"));
        }
        self.pickle.objects.push(object);
        Ok(Id(self.pickle.objects.len() - 1))
    }

    fn push(&mut self, object: Object) -> Step<()> {
        let id = self.make(object)?;
        self.stack.push(id);
        Ok(())
    }

    /// The least height of the stack: objects below the last mark cannot be popped.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<Id> {
        if self.stack.len() <= self.floor() {
            return self.error("expected an object on the stack, found none");
        }
        match self.stack.pop() {
            Some(id) => Ok(id),
            None => self.error("expected an object on the stack, found none"),
        }
    }

    fn top(&self) -> Step<Id> {
        match self.stack.get(self.floor()..).and_then(<[Id]>::last) {
            Some(&id) => Ok(id),
            None => self.error("expected an object on the stack, found none"),
        }
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.error("expected a mark on the stack, found none"),
        }
    }

    fn pop_pairs(&mut self) -> Step<Vec<(Id, Id)>> {
        let flat = self.pop_to_mark()?;
        let (pairs, rest) = flat.as_chunks::<2>();
        if !rest.is_empty() {
            return self.error("expected a value for each key, found none for the last");
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn tuple(&mut self, count: usize) -> Step<()> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.pop()?);
        }
        ids.reverse();
        self.push(Object::Tuple(ids))
    }

    fn call(&mut self, callable: Id, arguments: Id) -> Step<()> {
        self.push(Object::Call(Box::new(Call {
            callable,
            arguments,
            state: None,
            entries: Vec::new(),
            elements: Vec::new(),
        })))
    }

    fn set_items(&mut self, pairs: Vec<(Id, Id)>) -> Step<()> {
        let target = self.top()?;
        match self.pickle.objects.get_mut(target.0) {
            Some(Object::Dict(entries)) => entries.extend(pairs),
            Some(Object::Call(call)) => call.entries.extend(pairs),
            _ => return self.error("expected a dictionary to put entries into"),
        }
        Ok(())
    }

    fn append(&mut self, ids: Vec<Id>) -> Step<()> {
        let target = self.top()?;
        match self.pickle.objects.get_mut(target.0) {
            Some(Object::List(elements) | Object::Set(elements)) => elements.extend(ids),
            Some(Object::Call(call)) => call.elements.extend(ids),
            _ => return self.error("expected a list to put elements into"),
        }
        Ok(())
    }

    fn put(&mut self, key: u64) -> Step<()> {
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn get(&mut self, key: u64) -> Step<()> {
        match self.memo.get(&key) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => self.error(format!("expected an object remembered as {key}, found none")),
        }
    }

    fn memo_key(&mut self) -> Step<u64> {
        let line = self.text_line()?;
        line.trim().parse().or_else(|_| self.error(format!("expected a number, found `{line}`")))
    }

    fn global(&mut self, module: String, name: String) -> Step<()> {
        let offset = self.opcode_at;
        self.push(Object::Global { module, name, offset })
    }

    fn long(&mut self, bytes: &[u8]) -> Step<()> {
        let mut word = [if bytes.last().is_some_and(|&b| b >= 0x80) { 0xFF } else { 0 }; 8];
        let object = if bytes.len() <= 8 {
            for (place, &byte) in word.iter_mut().zip(bytes) {
                *place = byte;
            }
            Object::Int(i64::from_le_bytes(word))
        } else {
            Object::LongInt(bytes.len())
        };
        self.push(object)
    }

    fn decimal(&mut self) -> Step<()> {
        let line = self.text_line()?;
        let object = match line.trim() {
            "00" => Object::Bool(false),
            "01" => Object::Bool(true),
            digits => {
                let digits = digits.strip_suffix('L').unwrap_or(digits);
                match digits.parse() {
                    Ok(value) => Object::Int(value),
                    Err(_) if digits.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) => {
                        Object::LongInt(digits.len())
                    }
                    Err(_) => return self.error(format!("expected an integer, found `{line}`")),
                }
            }
        };
        self.push(object)
    }

    /// One opcode; `false` after the last.
    fn step(&mut self) -> Step<bool> {
        self.opcode_at = self.at;
        let opcode = self.number(1)? as u8;
        match opcode {
            // Protocol and frames.
            0x80 => {
                let protocol = self.number(1)?;
                if protocol > 5 {
                    return self.error(format!("expected a protocol of 0 to 5, found {protocol}"));
                }
            }
            0x95 => drop(self.take(8)?),
            b'.' => {
                self.pickle.root = Some(self.pop()?);
                return Ok(false);
            }
            // The stack.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let id = self.top()?;
                self.stack.push(id);
            }
            // The memo.
            b'p' => {
                let key = self.memo_key()?;
                self.put(key)?;
            }
            b'q' | b'r' => {
                let key = self.number(if opcode == b'q' { 1 } else { 4 })?;
                self.put(key)?;
            }
            0x94 => self.put(self.memo.len() as u64)?,
            b'g' => {
                let key = self.memo_key()?;
                self.get(key)?;
            }
            b'h' | b'j' => {
                let key = self.number(if opcode == b'h' { 1 } else { 4 })?;
                self.get(key)?;
            }
            _ => self.value(opcode)?,
        }
        Ok(true)
    }

    /// An opcode that makes or changes an object.
    fn value(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b'N' => self.push(Object::None),
            0x88 => self.push(Object::Bool(true)),
            0x89 => self.push(Object::Bool(false)),
            b'I' | b'L' => self.decimal(),
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Object::Int(value.into()))
            }
            b'K' | b'M' => {
                let value = self.number(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Object::Int(value as i64))
            }
            0x8a | 0x8b => {
                let bytes = self.counted(if opcode == 0x8a { 1 } else { 4 })?;
                self.long(bytes)
            }
            b'F' => {
                let line = self.text_line()?;
                match line.trim().parse() {
                    Ok(value) => self.push(Object::Float(value)),
                    Err(_) => self.error(format!("expected a number, found `{line}`")),
                }
            }
            b'G' => {
                let bits = self.number(8)?.swap_bytes();
                self.push(Object::Float(f64::from_bits(bits)))
            }
            b'S' => {
                let line = self.line()?;
                match unquote(line) {
                    Some(bytes) => self.push(Object::Str(text(&bytes))),
                    None => self.error("expected a quoted string"),
                }
            }
            b'T' | b'U' => {
                let bytes = self.counted(if opcode == b'T' { 4 } else { 1 })?;
                self.push(Object::Str(text(bytes)))
            }
            b'V' => {
                let line = self.line()?;
                self.push(Object::Str(unescape(&text(line))))
            }
            b'X' | 0x8c | 0x8d => {
                let bytes = self.counted(match opcode {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                })?;
                let object = self.utf8(bytes)?;
                self.push(object)
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let bytes = self.counted(match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.push(Object::Bytes(bytes.to_vec()))
            }
            _ => self.collection(opcode),
        }
    }

    /// An opcode about lists, tuples, dictionaries and sets.
    fn collection(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b']' => self.push(Object::List(Vec::new())),
            0x8f => self.push(Object::Set(Vec::new())),
            b'l' => {
                let ids = self.pop_to_mark()?;
                self.push(Object::List(ids))
            }
            0x91 => {
                let ids = self.pop_to_mark()?;
                self.push(Object::Set(ids))
            }
            b'a' => {
                let id = self.pop()?;
                self.append(vec![id])
            }
            b'e' | 0x90 => {
                let ids = self.pop_to_mark()?;
                self.append(ids)
            }
            b')' => self.push(Object::Tuple(Vec::new())),
            b't' => {
                let ids = self.pop_to_mark()?;
                self.push(Object::Tuple(ids))
            }
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84)),
            b'}' => self.push(Object::Dict(Vec::new())),
            b'd' => {
                let pairs = self.pop_pairs()?;
                self.push(Object::Dict(pairs))
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![(key, value)])
            }
            b'u' => {
                let pairs = self.pop_pairs()?;
                self.set_items(pairs)
            }
            _ => self.instance(opcode),
        }
    }

    /// An opcode about classes and their instances.
    fn instance(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b'c' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match self.pickle.objects.get(id.0) {
                    // Without this limit, a name of any length could be repeated at the cost of two references.
                    Some(Object::Str(text)) if text.len() <= MAX_NAME => Some(text.clone()),
                    _ => None,
                };
                match (text(module), text(name)) {
                    (Some(module), Some(name)) => self.global(module, name),
                    _ => self.error(format!(
                        "expected the names of a module and of a member, of up to {MAX_NAME} bytes"
                    )),
                }
            }
            // `(class, arguments)`; the last opcode also has keyword arguments, which are not needed.
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            0x92 => {
                let (_, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            b'i' => {
                let (module, name) = (self.text_line()?, self.text_line()?);
                let arguments = self.pop_to_mark()?;
                let offset = self.opcode_at;
                let callable = self.make(Object::Global { module, name, offset })?;
                let arguments = self.make(Object::Tuple(arguments))?;
                self.call(callable, arguments)
            }
            b'o' => {
                let mut ids = self.pop_to_mark()?;
                if ids.is_empty() {
                    return self.error("expected a class, found nothing");
                }
                let callable = ids.remove(0);
                let arguments = self.make(Object::Tuple(ids))?;
                self.call(callable, arguments)
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                match self.pickle.objects.get_mut(target.0) {
                    Some(Object::Call(call)) => {
                        call.state = Some(state);
                        Ok(())
                    }
                    _ => self.error("expected an object of a class to give a state to"),
                }
            }
            b'P' => {
                let line = self.text_line()?;
                let id = self.make(Object::Str(line))?;
                self.push(Object::Persistent(id))
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Object::Persistent(id))
            }
            _ => self.error(format!("found opcode 0x{opcode:02x}, which plain data has no need of")),
        }
    }
}

#[cfg(test)]
mod tests;
