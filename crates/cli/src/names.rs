//! Names of files in text: one line, no effect on the terminal, and back to the file.

use std::path::Path;

/// A path for lines of text. Control characters, marks that reorder text, and bytes that are not Unicode are escaped as in Rust
/// (`\\n`, `\\u{1b}`, `\\xff`); so is the backslash, except on Windows, whose paths contain it.
pub(crate) fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' if cfg!(not(windows)) => text.push_str("\\\\"),
                other => push(&mut text, other),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    if text.is_empty() { "''".to_owned() } else { text }
}

/// Text with escapes for the characters that a terminal obeys rather than shows.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    text.chars().for_each(|character| push(&mut visible, character));
    visible
}

/// The same for text of several lines, which may be indented by tabs.
pub(crate) fn visible_lines(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => visible.push(character),
            other => push(&mut visible, other),
        }
    }
    visible
}

fn push(text: &mut String, character: char) {
    if character.is_control() || reorders(character) {
        text.extend(character.escape_default());
    } else {
        text.push(character);
    }
}

/// Whether a character separates lines, is invisible, or changes the direction of text.
fn reorders(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_and_show_every_byte() {
        for (name, expected) in [
            ("dog.jpg", "dog.jpg"),
            ("a\tb\nc\r", "a\\tb\\nc\\r"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("c1\u{9b}31m", "c1\\u{9b}31m"),
            ("gpj\u{202e}.exe", "gpj\\u{202e}.exe"),
            ("ein Hündchen 🐶", "ein Hündchen 🐶"),
            ("e\u{301}", "e\u{301}"),
            ("", "''"),
        ] {
            assert_eq!(shown(Path::new(name)), expected);
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_unicode_are_told_apart() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let name = |bytes| shown(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(name(b"caf\xe9.jpg"), "caf\\xe9.jpg");
        assert_eq!(name(b"caf\\xe9.jpg"), "caf\\\\xe9.jpg");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(visible_lines("a\n\tb\u{7}\r"), "a\n\tb\\u{7}\\r");
        assert_eq!(visible("a\tb"), "a\\tb");
    }
}
