//! Photos in JSON: base64 or data URLs, as programs send them that have no form.

use super::{Upload, too_many};
use crate::budget::Memory;
use crate::models::truncated;
use crate::photo::Photo;
use crate::problem::Problem;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const EXPECTED: &str =
    "expected JSON such as {\"image\": \"BASE64\"}, with a photo in base64 or as a data URL";

/// Whether a body begins as an object of JSON does; no photo begins so.
pub(super) fn is_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

/// The memory for a body of this length, its text and its photos.
pub(super) fn memory(body: usize) -> u64 {
    3 * body as u64
}

impl Upload {
    /// Reads an object: a photo in `image`, or several in `images`; all else are parameters.
    pub(super) fn read_json(
        &mut self,
        bytes: &[u8],
        memory: Arc<Memory>,
        most: usize,
    ) -> Result<(), Problem> {
        let object: Map<String, Value> = serde_json::from_slice(bytes)
            .map_err(|error| Problem::bad_request(format!("{EXPECTED}, found an error: {error}")))?;
        for (name, value) in object {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("image", Value::String(text)) => self.push(&name, &text, &memory, most)?,
                ("images", Value::Array(list)) => {
                    self.is_form = true;
                    for item in list {
                        let Value::String(text) = item else {
                            return Err(Problem::bad_request(format!(
                                "images: {EXPECTED}, found another value"
                            )));
                        };
                        self.push(&name, &text, &memory, most)?;
                    }
                }
                ("image" | "images", _) => {
                    return Err(Problem::bad_request(format!("{name}: {EXPECTED}, found another value")));
                }
                (_, Value::String(text)) => self.fields.push((name, text)),
                (_, value) => self.fields.push((name, value.to_string())),
            }
        }
        match self.photos.as_slice() {
            [] => Err(Problem::bad_request(format!("{EXPECTED}, found none"))),
            _ => Ok(()),
        }
    }

    fn push(&mut self, name: &str, text: &str, memory: &Arc<Memory>, most: usize) -> Result<(), Problem> {
        if self.photos.len() == most {
            return Err(too_many(most));
        }
        let bytes = photo(text).map_err(|problem| Problem::bad_request(format!("{name}: {problem}")))?;
        self.photos.push(Photo { name: "-".to_owned(), bytes: bytes.into(), _memory: Arc::clone(memory) });
        Ok(())
    }
}

/// The bytes of a photo in base64, as MIME or URLs write it, or in a data URL.
fn photo(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let start = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    if start.starts_with("http:") || start.starts_with("https:") {
        return Err(
            "expected base64 or a data URL, found an address: the server loads nothing, so send the photo"
                .to_owned(),
        );
    }
    let data = match start.strip_prefix("data:") {
        None => text,
        Some(_) => match text.split_once(',') {
            Some((kind, data)) if kind.to_ascii_lowercase().ends_with(";base64") => data,
            _ => {
                return Err(
                    "expected a data URL as data:image/jpeg;base64,..., found one without base64".to_owned()
                );
            }
        },
    };
    let plain = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let data: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(plain).collect();
    BASE64.decode(data).map_err(|error| {
        let start: String = text.chars().take(20).collect();
        format!("expected base64 or a data URL, found {}: {error}", truncated(&start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_all_its_forms() {
        let expected = [0xff, 0xd8, 0xff, 0xe0];
        for text in [
            "/9j/4A==",
            "/9j/4A",
            "_9j_4A",
            " /9j/\r\n4A==\n",
            "data:image/jpeg;base64,/9j/4A==",
            "DATA:image/jpeg;name=a.jpg;Base64,/9j/4A==",
            "data:;base64,_9j_4A",
        ] {
            assert_eq!(photo(text).unwrap(), expected, "{text}");
        }
        for (text, found) in [
            ("https://example.org/a.jpg", "the server loads nothing"),
            ("data:image/jpeg,%ff", "without base64"),
            ("data:image/jpeg;base64", "without base64"),
            ("a photo of a dog, perhaps", "\"a photo of a dog, pe\""),
        ] {
            let error = photo(text).unwrap_err();
            assert!(error.contains(found), "{error}");
        }
        assert!(photo("").unwrap().is_empty());
        assert!(is_object(b" \n{}") && !is_object(b"\xff\xd8") && !is_object(b""));
    }
}
