//! Checkpoints whose objects are shared, nested or repeated, in each container.

/// Writes pickles by their opcodes.
#[derive(Default)]
pub(super) struct Pickler(Vec<u8>);

impl Pickler {
    pub(super) fn new() -> Pickler {
        Pickler(b"\x80\x02".to_vec())
    }

    pub(super) fn op(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    pub(super) fn get(&mut self, place: u8) -> &mut Self {
        self.op(&[b'h', place])
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    /// An empty tensor in the memory of key 0.
    pub(super) fn tensor(&mut self) -> &mut Self {
        self.global("torch._utils", "_rebuild_tensor_v2").op(b"((").text("storage");
        self.global("torch", "FloatStorage").text("0").text("cpu").op(b"K\0tQK\0K\0\x85K\x01\x85\x89)tR")
    }

    pub(super) fn end(&mut self) -> Vec<u8> {
        self.op(b".");
        std::mem::take(&mut self.0)
    }
}

/// Dictionaries, each of which contains the previous one twice.
pub(super) fn shared_dictionaries(levels: u8) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"}q\0");
    for level in 1..=levels {
        pickle.op(b"}q").op(&[level]).op(b"(X\x01\0\0\0a").get(level - 1);
        pickle.op(b"X\x01\0\0\0b").get(level - 1).op(b"u");
    }
    pickle.end()
}

/// Modules, each of which contains the previous one twice.
pub(super) fn shared_modules(levels: u8) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.global("models", "Net").op(b"q\xFF0N");
    for level in 0..levels {
        pickle.op(b"q").op(&[level]).op(b"0").get(0xFF).op(b")\x81}(").text("_modules").op(b"}(");
        pickle.text("a").get(level).text("b").get(level).op(b"uub");
    }
    pickle.end()
}

/// A dictionary that contains itself twice.
pub(super) fn cycle() -> Vec<u8> {
    Pickler::new().op(b"}q\0(").text("a").get(0).text("b").get(0).op(b"u").end()
}

/// Tuples and lists, each of which contains the previous one twice, in the place of a dictionary's entries.
pub(super) fn shared_sequences(levels: u8) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"]q\0");
    for level in 1..=levels {
        if level % 2 == 0 {
            pickle.op(b"]q").op(&[level]).op(b"(").get(level - 1).get(level - 1).op(b"e");
        } else {
            pickle.get(level - 1).get(level - 1).op(b"\x86q").op(&[level]);
        }
    }
    pickle.global("collections", "OrderedDict").op(b"(").get(levels).op(b"tR").end()
}

/// An `OrderedDict` with the same entries many times.
pub(super) fn repeated_arguments(count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"}q\0(");
    for _ in 0..count {
        pickle.op(b"NN");
    }
    pickle.op(b"u0").global("collections", "OrderedDict").op(b"(");
    for _ in 0..count {
        pickle.get(0);
    }
    pickle.op(b"tR").end()
}

/// Many tensors of one long name.
pub(super) fn long_name(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.text(&"n".repeat(length)).op(b"q\x000").tensor().op(b"q\x010}(");
    for _ in 0..count {
        pickle.get(0).get(1);
    }
    pickle.op(b"u").end()
}

/// A module of a long name with many parameters.
pub(super) fn long_prefix(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.tensor().op(b"q\x000").global("models", "Net").op(b"q\x010");
    pickle.get(1).op(b")\x81}(").text("_parameters").op(b"}(");
    for _ in 0..count {
        pickle.op(b"X\x01\0\0\0w").get(0);
    }
    pickle.op(b"uubq\x020").get(1).op(b")\x81}(").text("_modules").op(b"}(");
    pickle.text(&"n".repeat(length)).get(2).op(b"uub").end()
}

/// Many calls that share long arguments.
pub(super) fn long_arguments(count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.global("torch._utils", "_rebuild_tensor_v2").op(b"((").text("storage");
    pickle.global("torch", "FloatStorage").text("0").text("cpu").op(b"K\0tQK\0K\0\x85K\x01\x85");
    for _ in 0..count {
        pickle.op(b"N");
    }
    pickle.op(b"tRq\x000}(");
    for _ in 0..count {
        pickle.op(b"X\x01\0\0\0w").get(0);
    }
    pickle.op(b"u").end()
}

/// Many references to memory whose key is long.
pub(super) fn long_key(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.op(b"(").text("storage").global("torch", "FloatStorage").text(&"k".repeat(length)).text("cpu");
    pickle.op(b"K\0tq\x000(");
    for _ in 0..count {
        pickle.get(0).op(b"Q");
    }
    pickle.op(b"t").end()
}

/// Many classes whose names are one long text.
pub(super) fn long_class(length: usize, count: usize) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.text(&"n".repeat(length)).op(b"q\x000");
    for _ in 0..count {
        pickle.get(0).get(0).op(b"\x930");
    }
    pickle.op(b"N").end()
}

/// Tensors of these names, which share one empty memory.
pub(super) fn tensors(names: impl Iterator<Item = String>) -> Vec<u8> {
    let mut pickle = Pickler::new();
    pickle.tensor().op(b"q\x000}(");
    for name in names {
        pickle.text(&name).get(0);
    }
    pickle.op(b"u").end()
}

/// A pickle as PyTorch's zip container holds it, with empty memory of key 0.
pub(super) fn zip(pickle: &[u8]) -> Vec<u8> {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in [("a/data.pkl", pickle), ("a/data/0", b"")] {
        let size = (data.len() as u32).to_le_bytes();
        let lengths = [&(name.len() as u16).to_le_bytes()[..], &[0, 0]].concat();
        let offset = (body.len() as u32).to_le_bytes();
        body.extend([b"PK\x03\x04", &[0; 14][..], &size, &size, &lengths, name.as_bytes(), data].concat());
        let middle = [&[0; 16][..], &size, &size, &lengths, &[0; 10], &offset].concat();
        directory.extend([b"PK\x01\x02", &middle[..], name.as_bytes()].concat());
    }
    let (length, offset) = ((directory.len() as u32).to_le_bytes(), (body.len() as u32).to_le_bytes());
    [&body[..], &directory, b"PK\x05\x06\0\0\0\0\x02\0\x02\0", &length, &offset, &[0; 2]].concat()
}

/// The same in the legacy container (before PyTorch 1.6), without memory.
pub(super) fn legacy(pickle: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    [magic, &b"\x80\x02M\xe9\x03."[..], b"\x80\x02}.", pickle, b"\x80\x02]."].concat()
}

/// The same in the tar container (before PyTorch 0.1.10), without memory.
pub(super) fn tar(pickle: &[u8]) -> Vec<u8> {
    let none = b"\x80\x02K\0.";
    let mut file = Vec::new();
    for (name, data) in [
        ("storages", [none, &b"\x80\x02]."[..]].concat()),
        ("tensors", none.to_vec()),
        ("pickle", pickle.to_vec()),
    ] {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[257..262].copy_from_slice(b"ustar");
        file.extend(header);
        file.extend(&data);
        file.resize(file.len().next_multiple_of(512), 0);
    }
    file
}
