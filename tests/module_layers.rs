//! The module layers of the library: each folder of `src` is a layer, and imports only from lower layers. Also checks that the library
//! does not mention options of the command.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The folders and files of `src`, from the lowest layer to the highest, with their allowed imports.
const LAYERS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("workloads", &["engine"]),
    ("image", &["engine"]),
    ("weights", &["engine", "image"]),
    ("error", &["engine", "image", "weights"]),
    ("checkpoint", &["engine", "weights"]),
    ("models", &["engine", "weights", "error"]),
    ("host", &["engine", "image", "weights", "error"]),
    ("caption", &["engine", "image", "weights", "error", "models", "host"]),
    ("features", &["engine", "image", "weights", "error", "models", "caption"]),
];

/// All Rust files of the library.
fn sources() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                None if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// The lines of a file that are code, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn the_library_does_not_mention_options_of_the_command() {
    let mut found = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let names = |line: &str| line.contains("`--") || line.contains("`shadetell ");
        let lines = code(&text).filter(|(_, line)| names(line));
        found.extend(lines.map(|(number, line)| format!("{}:{number}: {}", path.display(), line.trim())));
    }
    assert!(found.is_empty(), "advice about options belongs to the command:\n{}", found.join("\n"));
}

/// The names behind a prefix such as `crate::` in a line.
fn names_behind<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let found = line.match_indices(prefix).filter(|(start, _)| !line[..*start].ends_with(is_name));
    found
        .map(|(start, _)| {
            let rest = &line[start + prefix.len()..];
            &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]
        })
        .collect()
}

/// The forbidden imports of a file in `layer`, `depth` modules below the root, with line numbers.
fn wrong_imports(text: &str, layer: &str, allowed: &[&str], depth: usize) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    // Tests are one module deeper.
    let tests = text.lines().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(usize::MAX);
    for (index, line) in text.lines().enumerate() {
        for name in names_behind(line, "crate::") {
            if name.is_empty() {
                wrong.push((
                    index + 1,
                    "write one `use crate::...` per layer: this test reads no nested imports".to_owned(),
                ));
            } else if name != layer && !allowed.contains(&name) {
                wrong.push((index + 1, format!("`{layer}` may not import `{name}`")));
            }
        }
        let root = "super::".repeat(if index > tests { depth + 1 } else { depth });
        if line.contains(&root) {
            wrong.push((index + 1, "`super` reaches the root: write `crate`".to_owned()));
        }
    }
    wrong
}

#[test]
fn layers_import_only_from_lower_layers() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (number, (layer, allowed)) in LAYERS.iter().enumerate() {
        let below = |name: &&str| LAYERS[..number].iter().any(|(other, _)| other == name);
        assert!(allowed.iter().all(below), "`{layer}` may import from below only");
    }
    let mut wrong = Vec::new();
    for path in sources() {
        let place = path.strip_prefix(&source).unwrap().with_extension("");
        let modules: Vec<&str> =
            place.iter().map(|part| part.to_str().unwrap()).filter(|m| *m != "mod").collect();
        if matches!(modules[..], ["lib" | "main"]) {
            continue;
        }
        let known = LAYERS.iter().find(|(layer, _)| *layer == modules[0]);
        let (layer, allowed) =
            known.unwrap_or_else(|| panic!("{} belongs to no layer: add it to the table", path.display()));
        let text = fs::read_to_string(&path).unwrap();
        for (line, what) in wrong_imports(&text, layer, allowed, modules.len()) {
            wrong.push(format!("{}:{line}: {what}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wrong_imports_are_found() {
    let found = |text: &str| wrong_imports(text, "image", &["engine"], 2);
    assert!(found("use crate::engine::Cause;\nuse crate::image::Rgb8;\nuse super::Rgb8;").is_empty());
    assert!(found("#[cfg(test)]\nmod tests {\n    use super::super::Rgb8;").is_empty());
    let lines = |text: &str| found(text).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(lines("\nuse crate::host::Budget;"), [2]);
    assert_eq!(lines("/// See [`caption`](crate::caption)."), [1]);
    assert_eq!(lines("use crate::{engine, host};"), [1]);
    assert_eq!(lines("use super::super::host::Budget;"), [1]);
}
