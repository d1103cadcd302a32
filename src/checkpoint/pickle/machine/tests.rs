use super::*;
use crate::checkpoint::BudgetExceeded;

fn root(bytes: &[u8]) -> Object {
    parse(bytes).unwrap().0.root().clone()
}

#[test]
fn numbers_of_every_width() {
    for (bytes, value) in [
        (b"I42\n.".as_slice(), 42),
        (b"L-7L\n.", -7),
        (b"J\xFE\xFF\xFF\xFF.", -2),
        (b"K\xFF.", 255),
        (b"M\x00\x01.", 256),
        (b"\x8a\x02\x00\x80.", -32768),
        (b"\x8a\x00.", 0),
        (b"\x8b\x01\x00\x00\x00\x7F.", 127),
    ] {
        assert_eq!(root(bytes), Object::Int(value), "{bytes:?}");
    }
    assert_eq!(root(b"I01\n."), Object::Bool(true));
    assert_eq!(root(b"G?\xF8\0\0\0\0\0\0."), Object::Float(1.5));
    assert_eq!(root(b"F-0.25\n."), Object::Float(-0.25));
    assert_eq!(root(&[b"\x8a\x09".as_slice(), &[1; 9], b"."].concat()), Object::LongInt(9));
}

#[test]
fn text_of_every_protocol() {
    for bytes in [
        b"S'na\\xc3\\xafve'\n.".as_slice(),
        b"Vna\\u00efve\n.",
        b"X\x06\0\0\0na\xc3\xafve.",
        b"\x8c\x06na\xc3\xafve.",
        b"U\x05na\xefve.",
    ] {
        assert_eq!(root(bytes), Object::Str("na\u{ef}ve".to_owned()), "{bytes:?}");
    }
}

#[test]
fn an_object_may_contain_itself() {
    let (pickle, length) = parse(b"]q\0h\0a.rest").unwrap();
    assert_eq!(length, 7);
    assert_eq!(pickle.root(), &Object::List(vec![Id(0)]));
}

#[test]
fn calls_are_not_made() {
    let (pickle, _) = parse(b"cos\nsystem\n(S'true'\ntR.").unwrap();
    let read = pickle.read(|reader| {
        let (call, global) = reader.call(reader.root()).unwrap();
        assert_eq!(global, ("os", "system"));
        assert_eq!(reader.sequence(call.arguments).unwrap().len(), 1);
        Ok::<_, BudgetExceeded>(())
    });
    assert_eq!(read, Ok(()));
}

#[test]
fn damage_is_an_error_with_its_offset() {
    for (bytes, offset, word) in [
        (b"".as_slice(), 0, "1 more"),
        (b"K", 0, "1 more"),
        (b"X\xFF\xFF\xFF\xFFa", 0, "4294967295 more"),
        (b"\x8d\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFa", 0, "more bytes"),
        (b"\x80\x09.", 0, "protocol"),
        (b"N0.", 2, "stack"),
        (b"t.", 0, "mark"),
        (b"(K\x01d.", 3, "key"),
        (b"K\x01K\x02a.", 4, "list"),
        (b"h\x05.", 0, "remembered"),
        (b"\x82\x01.", 0, "opcode 0x82"),
        (b"N(.", 2, "stack"),
    ] {
        let error = parse(bytes).unwrap_err();
        assert!(error.offset == offset && error.message.contains(word), "{bytes:?}: {error}");
    }
}
