//! Python pickles as plain data.
//!
//! Protocols 0 to 5, as far as PyTorch and pickled vocabularies use them. Calls become [`Object::Call`], with the
//! name of the function or class; nothing is imported and nothing runs. Every opcode makes at most one object, no larger than
//! the bytes that describe it, so memory is bounded by the length of the file.
//!
//! Several objects can refer to the same object, so that visiting all of them may take far longer than parsing. An [`Id`] can
//! therefore be resolved only by a [`Reader`], which has a budget.

mod machine;

pub use machine::parse;
pub(super) use machine::parse_beginning;

use super::budget::{Budget, BudgetExceeded};
use std::borrow::Cow;

/// A pickle cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {message}")]
pub struct PickleError {
    /// The offset in the pickle.
    pub offset: usize,
    /// What was expected and what was found.
    pub message: String,
}

/// Names an object of a [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(crate) usize);

/// An object of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A longer integer, with its length in bytes.
    LongInt(usize),
    /// A float.
    Float(f64),
    /// Text; Python 2's byte strings as UTF-8, or else as Latin-1.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Id>),
    /// A set, whose order means nothing.
    Set(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A dictionary, in its order.
    Dict(Vec<(Id, Id)>),
    /// A class or a function, by name.
    Global {
        /// The module, such as `torch._utils`.
        module: String,
        /// The name in it, such as `_rebuild_tensor_v2`.
        name: String,
        /// The offset in the pickle.
        offset: usize,
    },
    /// Something outside of the pickle, such as a tensor's memory.
    Persistent(Id),
    /// The result of a call that was not made, with the contents that were added to it.
    Call(Box<Call>),
}

/// A call that was not made.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Usually an [`Object::Global`].
    pub callable: Id,
    /// Its arguments, usually a tuple.
    pub arguments: Id,
    /// The object's state, usually its fields.
    pub state: Option<Id>,
    /// Entries, if the object is a kind of dictionary.
    pub entries: Vec<(Id, Id)>,
    /// Elements, if the object is a kind of list.
    pub elements: Vec<Id>,
}

/// The objects of a pickle.
#[derive(Clone, Debug, Default)]
pub struct Pickle {
    pub(super) objects: Vec<Object>,
    root: Option<Id>,
    /// The length of the pickle in bytes.
    bytes: usize,
}

impl Pickle {
    /// The object that was pickled.
    pub fn root(&self) -> &Object {
        self.root.and_then(|id| self.objects.get(id.0)).unwrap_or(&Object::None)
    }

    /// The length of the pickle in bytes.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Calls `walk` with a reader, whose budget is proportional to the length of the pickle.
    ///
    /// # Errors
    /// The error of `walk`; or an error if `walk` has exceeded the budget, even if it succeeded.
    pub fn read<'a, T, E: From<BudgetExceeded>>(
        &'a self,
        walk: impl FnOnce(&Reader<'a>) -> Result<T, E>,
    ) -> Result<T, E> {
        let reader = Reader { pickle: self, budget: Budget::of_bytes(self.bytes) };
        let result = walk(&reader);
        // Once the budget is exceeded all objects read as empty, so the result of `walk` is not valid.
        reader.budget.check()?;
        result
    }
}

/// Reads the objects of a [`Pickle`] within a budget.
///
/// Every object costs its size, each time it is read. Once the budget is exceeded, all objects read as [`Object::None`], so
/// that every walk ends; [`Pickle::read`] then returns an error.
#[derive(Debug)]
pub struct Reader<'a> {
    pickle: &'a Pickle,
    budget: Budget,
}

/// The least cost of an object.
const VISIT: usize = 16;

/// The size of an object in bytes, without the objects that it refers to.
fn size(object: &Object) -> usize {
    match object {
        Object::None
        | Object::Bool(_)
        | Object::Int(_)
        | Object::LongInt(_)
        | Object::Float(_)
        | Object::Persistent(_) => 0,
        Object::Str(text) => text.len(),
        Object::Bytes(bytes) => bytes.len(),
        Object::List(ids) | Object::Tuple(ids) | Object::Set(ids) => size_of_val(ids.as_slice()),
        Object::Dict(entries) => size_of_val(entries.as_slice()),
        Object::Global { module, name, .. } => module.len() + name.len(),
        Object::Call(call) => size_of_val(call.entries.as_slice()) + size_of_val(call.elements.as_slice()),
    }
}

impl<'a> Reader<'a> {
    /// Pays for a copy of this many bytes.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), BudgetExceeded> {
        self.budget.spend(bytes)
    }

    /// The object that was pickled.
    pub fn root(&self) -> &'a Object {
        self.pickle.root.map_or(&Object::None, |id| self.get(id))
    }

    /// The name of the object that was pickled.
    pub fn root_id(&self) -> Option<Id> {
        self.pickle.root
    }

    /// An object; `None` for an id of another pickle.
    pub fn get(&self, id: Id) -> &'a Object {
        let object = self.pickle.objects.get(id.0);
        object.filter(|object| self.budget.spend(VISIT + size(object)).is_ok()).unwrap_or(&Object::None)
    }

    /// Text.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        if let Object::Str(text) = self.get(id) { Some(text) } else { None }
    }

    /// An integer.
    pub fn int(&self, id: Id) -> Option<i64> {
        match *self.get(id) {
            Object::Int(value) => Some(value),
            Object::Bool(value) => Some(value.into()),
            _ => None,
        }
    }

    /// An integer that is a size.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        self.int(id).and_then(|value| usize::try_from(value).ok())
    }

    /// The elements of a list or a tuple.
    pub fn sequence(&self, id: Id) -> Option<&'a [Id]> {
        match self.get(id) {
            Object::List(ids) | Object::Tuple(ids) => Some(ids),
            _ => None,
        }
    }

    /// Module and name of a class or a function.
    pub fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match *self.get(id) {
            Object::Global { ref module, ref name, .. } => Some((module, name)),
            // PyTorch before 1.6 refers to a module's class with its source: `('module', class, file, source)`.
            Object::Persistent(parts) => match self.sequence(parts)? {
                &[kind, class, ..] if self.text(kind) == Some("module") => match self.get(class) {
                    Object::Global { module, name, .. } => Some((module, name)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// A call, with module and name of the callable.
    pub fn call(&self, object: &'a Object) -> Option<(&'a Call, (&'a str, &'a str))> {
        let Object::Call(call) = object else { return None };
        self.global(call.callable).map(|global| (&**call, global))
    }

    /// The entries of a dictionary of any class: `dict`, `OrderedDict`, `defaultdict`, `Counter`.
    pub fn entries(&self, object: &'a Object) -> Option<Cow<'a, [(Id, Id)]>> {
        if let Object::Dict(entries) = object {
            return Some(Cow::Borrowed(entries));
        }
        let (call, (module, name)) = self.call(object)?;
        if module != "collections" || !["OrderedDict", "defaultdict", "Counter"].contains(&name) {
            return None;
        }
        let mut entries = Vec::new();
        for &argument in self.sequence(call.arguments).unwrap_or_default() {
            match self.get(argument) {
                Object::Dict(given) => entries.extend(given),
                // The first releases of PyTorch wrote `OrderedDict([[key, value], ...])`.
                Object::List(pairs) => entries.extend(pairs.iter().filter_map(|&pair| {
                    if let &[key, value] = self.sequence(pair)? { Some((key, value)) } else { None }
                })),
                _ => {}
            }
        }
        entries.extend(&call.entries);
        Some(Cow::Owned(entries))
    }

    /// The fields of an object of a class: the dictionary that is its state.
    pub fn fields(&self, object: &'a Object) -> Option<Cow<'a, [(Id, Id)]>> {
        let Object::Call(call) = object else { return None };
        let state = self.get(call.state?);
        match state {
            // `(fields, slots)`, either of which may be `None`.
            Object::Tuple(parts) => parts.iter().find_map(|&part| self.entries(self.get(part))),
            _ => self.entries(state),
        }
    }

    /// The value of a field, or of an entry, by its name.
    pub fn lookup(&self, entries: &[(Id, Id)], name: &str) -> Option<Id> {
        entries.iter().find(|(key, _)| self.text(*key) == Some(name)).map(|&(_, value)| value)
    }

    /// The cost so far.
    #[cfg(test)]
    pub(super) fn spent(&self) -> usize {
        self.budget.spent()
    }
}
