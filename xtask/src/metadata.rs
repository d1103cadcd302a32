//! The packages of the workspace and all their dependencies, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shell::{self, Cargo, Result};

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// As an SPDX expression.
    pub licence: Option<String>,
    /// A file with the licence, if there is no expression.
    pub licence_file: Option<PathBuf>,
    pub repository: Option<String>,
    /// The folder of its files.
    pub folder: PathBuf,
    /// Whether it belongs to the workspace.
    pub is_member: bool,
    /// Whether it may be published.
    pub is_published: bool,
}

/// All packages of a workspace, with the packages that each is linked with.
pub struct Metadata {
    packages: BTreeMap<String, Package>,
    dependencies: HashMap<String, Vec<String>>,
}

impl Metadata {
    /// Runs `cargo metadata`, which downloads packages of the lock file that are missing.
    pub fn read(cargo: &Cargo) -> Result<Metadata> {
        let text = shell::output(&mut cargo.command(&["metadata", "--format-version", "1", "--locked"]));
        let text = text.ok_or("`cargo metadata --locked` failed: run `cargo check` first")?;
        Metadata::parse(&text).ok_or_else(|| "`cargo metadata` has an unknown format".to_owned())
    }

    fn parse(text: &str) -> Option<Metadata> {
        let json: Value = serde_json::from_str(text).ok()?;
        let members: BTreeSet<&str> =
            json["workspace_members"].as_array()?.iter().filter_map(Value::as_str).collect();
        let mut packages = BTreeMap::new();
        for package in json["packages"].as_array()? {
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            let id = text("id")?;
            let folder = Path::new(package["manifest_path"].as_str()?).parent()?.to_owned();
            let found = Package {
                name: text("name")?,
                version: text("version")?,
                licence: text("license"),
                licence_file: text("license_file").map(|file| folder.join(file)),
                repository: text("repository"),
                is_member: members.contains(id.as_str()),
                is_published: package["publish"].is_null(),
                folder,
            };
            packages.insert(id, found);
        }
        let mut dependencies = HashMap::new();
        for node in json["resolve"]["nodes"].as_array()? {
            // Dependencies of tests and build scripts are not linked.
            let is_linked = |dep: &&Value| {
                dep["dep_kinds"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
            };
            let linked = node["deps"].as_array()?.iter().filter(is_linked);
            let linked = linked.filter_map(|dep| dep["pkg"].as_str().map(str::to_owned)).collect();
            dependencies.insert(node["id"].as_str()?.to_owned(), linked);
        }
        Some(Metadata { packages, dependencies })
    }

    /// The packages of the workspace that may be published.
    pub fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.is_member && package.is_published)
    }

    /// All packages that are linked into packages of the workspace, on any system, in alphabetical order.
    pub fn linked(&self, roots: &[&str]) -> Vec<&Package> {
        let is_root = |package: &Package| package.is_member && roots.contains(&package.name.as_str());
        let mut waiting: Vec<&String> =
            self.packages.iter().filter(|(_, package)| is_root(package)).map(|(id, _)| id).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if seen.insert(id) {
                waiting.extend(self.dependencies.get(id).into_iter().flatten());
            }
        }
        let mut found: Vec<&Package> = seen.into_iter().filter_map(|id| self.packages.get(id)).collect();
        found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn linked_packages_are_found() {
        let package = |id: &str, publish: &str| {
            format!(
                r#"{{"id": "{id}", "name": "{id}", "version": "1.0.0", "license": "MIT", "license_file": null, "repository": null,
                    "manifest_path": "/{id}/Cargo.toml", "publish": {publish}}}"#
            )
        };
        let packages = [
            package("own", "null"),
            package("task", "[]"),
            package("lib", "null"),
            package("test", "null"),
            package("deep", "null"),
        ];
        let text = format!(
            r#"{{"workspace_members": ["own", "task"], "packages": [{}], "resolve": {{"nodes": [
                {{"id": "own", "deps": [{{"pkg": "lib", "dep_kinds": [{{"kind": null}}]}},
                                        {{"pkg": "test", "dep_kinds": [{{"kind": "dev"}}]}}]}},
                {{"id": "lib", "deps": [{{"pkg": "deep", "dep_kinds": [{{"kind": "build"}}, {{"kind": null}}]}}]}}]}}}}"#,
            packages.join(",")
        );
        let metadata = Metadata::parse(&text).unwrap();
        let names = |packages: Vec<&Package>| packages.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(metadata.linked(&["own"])), ["deep", "lib", "own"]);
        assert_eq!(names(metadata.published().collect()), ["own"]);
        assert_eq!(metadata.linked(&["own"])[0].folder, Path::new("/deep"));
        assert!(Metadata::parse("{}").is_none());
    }
}
