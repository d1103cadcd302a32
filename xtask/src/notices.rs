//! Notices of the third-party code in a binary: name, licence, and the text of the licence.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::metadata::{Metadata, Package};
use crate::shell::Result;

/// Prefixes of the names of files with a licence or a notice.
const NAMES: [&str; 4] = ["license", "licence", "copying", "notice"];

/// The notices of all packages that are linked into some of our packages.
pub fn notices(metadata: &Metadata, roots: &[&str]) -> Result<String> {
    let mut list = String::new();
    // Packages, grouped by the text that they share.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata.linked(roots).into_iter().filter(|package| !package.is_member) {
        let name = format!("{} {}", package.name, package.version);
        let licence = licence(package)?;
        let repository = package.repository.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(list, "- {name}: {licence} {repository}");
        for text in licence_texts(&package.folder) {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let mut all = format!("# Third-party notices\n\nThis program contains code of others:\n\n{list}\n");
    for (text, names) in texts {
        let _ = write!(all, "---\n\n{}:\n\n```\n{text}\n```\n\n", names.join(", "));
    }
    Ok(all)
}

/// The licence as the package states it.
fn licence(package: &Package) -> Result<String> {
    match (&package.licence, &package.licence_file) {
        (Some(licence), _) => Ok(licence.clone()),
        (None, Some(file)) => Ok(format!("see {}", file.file_name().unwrap_or_default().to_string_lossy())),
        (None, None) => Err(format!(
            "{} {} states no licence: it must not be linked; use another package",
            package.name, package.version
        )),
    }
}

/// The texts of licences and notices in a package's folder.
fn licence_texts(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            path.is_file() && NAMES.iter().any(|start| name.starts_with(start))
        })
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).ok();
    files.iter().filter_map(read).map(|text| text.replace("\r\n", "\n").trim().to_owned()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn package(licence: Option<&str>) -> Package {
        Package {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            licence_file: None,
            repository: None,
            folder: "/nowhere".into(),
            is_member: false,
            is_published: true,
        }
    }

    #[test]
    fn a_package_without_a_licence_is_refused() {
        assert_eq!(licence(&package(Some("MIT"))).unwrap(), "MIT");
        assert!(licence(&package(None)).unwrap_err().contains("a 1.0.0 states no licence"));
    }

    #[test]
    fn only_texts_of_licences_are_collected() {
        let texts = licence_texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        assert!(texts.iter().any(|text| text.contains("Apache License")), "{} texts", texts.len());
        assert!(!texts.iter().any(|text| text.contains("[workspace]")));
    }
}
