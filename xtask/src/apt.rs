//! Parses Debian's package sources, and plans the commands that install a software Vulkan driver as root.
//!
//! The software driver of Mesa in Debian 12 is several times slower than the one in its backports. The plan therefore enables
//! backports, with the mirror and the key that the machine already uses.

use std::fmt;

/// From this major version on, Mesa's software driver is fast.
pub const FAST_MESA: u32 = 25;

/// The file of the source for backports that the plan writes.
pub const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/shadetell-backports.sources";

const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// One binary package source: a `deb` line, or a stanza of a deb822 file.
#[derive(Debug, Default, PartialEq)]
pub struct Source {
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    /// The value of Signed-By as a deb822 field, which may have several indented lines.
    pub signed_by: Option<String>,
}

/// Parses the one-line format: `deb [option=value ...] uri suite component...`.
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    let mut rest = line.strip_prefix([' ', '\t'])?.trim_start();
    let mut signed_by = None;
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (options, after) = bracketed.split_once(']')?;
        signed_by = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by="));
        rest = after;
    }
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = signed_by.map(|keys| keys.replace(',', " "));
    (!uri.starts_with("cdrom:")).then(|| Source {
        uris: vec![uri.into()],
        suites: vec![suite.into()],
        signed_by,
    })
}

/// Parses the deb822 format: stanzas of `Field: value`, separated by empty lines.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Option<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.starts_with([' ', '\t']), fields.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => *value += &format!("\n{line}"),
            (false, _, Some((name, value))) => fields.push((name.to_ascii_lowercase(), value.trim().into())),
            _ => {}
        }
    }
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let words =
        |name| field(name).unwrap_or_default().split_whitespace().map(String::from).collect::<Vec<_>>();
    let off =
        field("enabled").is_some_and(|value| matches!(value, "no" | "false" | "without" | "off" | "disable"));
    let binary = words("types").iter().any(|kind| kind == "deb");
    (binary && !off).then(|| Source {
        uris: words("uris"),
        suites: words("suites"),
        signed_by: field("signed-by").map(String::from),
    })
}

/// The state of a release's backports on this machine.
#[derive(Debug, PartialEq)]
pub enum Backports {
    Enabled,
    /// Not enabled yet; the text enables them.
    Missing(String),
    /// No source of the release itself is known, so the mirror is unknown too.
    NoMirror,
}

/// Looks for a release's backports among the machine's own sources.
pub fn backports(sources: &[Source], codename: &str) -> Backports {
    let carries = |suite: String| sources.iter().find(move |source| source.suites.contains(&suite));
    if carries(format!("{codename}-backports")).or_else(|| carries("stable-backports".into())).is_some() {
        return Backports::Enabled;
    }
    let release = carries(codename.into()).or_else(|| carries("stable".into()));
    let Some((release, uri)) = release.and_then(|source| Some((source, source.uris.first()?))) else {
        return Backports::NoMirror;
    };
    let mut text = format!("Types: deb\nURIs: {uri}\nSuites: {codename}-backports\nComponents: main\n");
    if let Some(key) = &release.signed_by {
        let gap = if key.starts_with('\n') { "" } else { " " };
        text += &format!("Signed-By:{gap}{key}\n");
    }
    Backports::Missing(text)
}

/// One command to run as root; it is printed as a line for a root shell.
#[derive(Debug, PartialEq)]
pub enum Step {
    Run(Vec<String>),
    Write { path: &'static str, text: String },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Run(words) => f.write_str(&words.join(" ")),
            Step::Write { path, text } => write!(f, "cat >{path} <<'END'\n{text}END"),
        }
    }
}

fn apt_get(args: &[&str]) -> Step {
    let words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"];
    Step::Run(words.iter().chain(args).map(|word| word.to_string()).collect())
}

/// Fetches the package lists.
pub fn update() -> Step {
    apt_get(&["update"])
}

/// Removes the source for backports.
pub fn forget_backports() -> Step {
    Step::Run(vec!["rm".into(), "-f".into(), BACKPORTS_FILE.into()])
}

/// Installs the driver of the release, or that of the suite `from`.
pub fn install(from: Option<&str>) -> Step {
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(from.iter().flat_map(|suite| ["-t", suite]));
    apt_get(&[args.as_slice(), &PACKAGES].concat())
}

/// Installs Debian's browser.
pub fn install_packages(names: &[&str]) -> Step {
    apt_get(&[&["install", "-y", "--no-install-recommends"], names].concat())
}

/// Installs the driver from backports; `None` if they are not available. The package lists have to be up to date.
pub fn install_from_backports(sources: &[Source], codename: &str) -> Option<Vec<Step>> {
    let mut steps = match backports(sources, codename) {
        Backports::NoMirror => return None,
        Backports::Enabled => Vec::new(),
        Backports::Missing(text) => vec![Step::Write { path: BACKPORTS_FILE, text }, update()],
    };
    steps.push(install(Some(&format!("{codename}-backports"))));
    Some(steps)
}

/// The major version that a Debian package version starts with: 22 for `22.3.6-1+deb12u1`.
pub fn major(version: &str) -> Option<u32> {
    let upstream = version.split_once(':').map_or(version, |(_epoch, rest)| rest);
    upstream.trim().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The candidate version in the output of `apt-cache policy PACKAGE`.
pub fn candidate(policy: &str) -> Option<&str> {
    policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:")).map(str::trim)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a comment with a colon: https://mirror.example/of/another/day
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
";

    fn missing(sources: &[Source]) -> String {
        match backports(sources, "bookworm") {
            Backports::Missing(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn backports_come_from_the_mirror_of_a_deb822_source() {
        let expected = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\n\
                        Components: main\nSigned-By: /usr/share/keyrings/archive.gpg\n";
        assert_eq!(missing(&parse_deb822(DEB822)), expected);
    }

    #[test]
    fn backports_come_from_the_mirror_of_a_one_line_source() {
        let list = "# deb http://old.example/debian bookworm main\n\
                    deb-src http://source.example/debian bookworm main\n\
                    deb cdrom:[Debian GNU/Linux 12]/ bookworm main\n\
                    deb [arch=amd64 signed-by=/a.gpg,/b.gpg] http://mirror.example/debian bookworm main # own\n";
        let text = missing(&parse_list(list));
        assert!(text.contains("URIs: http://mirror.example/debian\n"), "{text}");
        assert!(text.ends_with("Signed-By: /a.gpg /b.gpg\n"), "{text}");
    }

    #[test]
    fn a_source_without_a_key_gives_none() {
        let text = missing(&parse_list("deb\thttp://mirror.example/debian\tbookworm\tmain"));
        assert!(!text.contains("Signed-By"), "{text}");
    }

    #[test]
    fn a_key_written_into_the_source_is_kept_whole() {
        let key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n";
        let source = format!("Types: deb deb-src\nURIs: http://mirror.example/d\nSuites: bookworm\n{key}");
        assert!(missing(&parse_deb822(&source)).ends_with(key));
    }

    #[test]
    fn the_mirror_is_found_by_the_alias_of_the_release() {
        let text = missing(&parse_list("deb http://mirror.example/debian stable main"));
        assert!(text.contains("Suites: bookworm-backports"), "{text}");
    }

    #[test]
    fn enabled_backports_are_not_added_again() {
        let with = format!("{DEB822}\nTypes: deb\nURIs: http://m.example/\nSuites: bookworm-backports\n");
        assert_eq!(backports(&parse_deb822(&with), "bookworm"), Backports::Enabled);
        let off = format!("{with}Enabled: no\n");
        assert!(matches!(backports(&parse_deb822(&off), "bookworm"), Backports::Missing(_)));
    }

    #[test]
    fn without_a_source_of_the_release_there_is_no_mirror() {
        assert_eq!(backports(&[], "bookworm"), Backports::NoMirror);
        assert_eq!(install_from_backports(&parse_deb822(DEB822), "sid"), None);
    }

    #[test]
    fn the_plan_for_backports_is_a_script_for_root() {
        let steps = install_from_backports(&parse_deb822(DEB822), "bookworm").unwrap();
        let script = steps.iter().map(Step::to_string).collect::<Vec<_>>().join("\n");
        let expected = "\
cat >/etc/apt/sources.list.d/shadetell-backports.sources <<'END'
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/archive.gpg
END
env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 update
env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends \
-t bookworm-backports mesa-vulkan-drivers libvulkan1";
        assert_eq!(script, expected);
    }

    #[test]
    fn major_version_numbers_are_parsed() {
        assert_eq!(major("22.3.6-1+deb12u1"), Some(22));
        assert_eq!(major("1:25.0.7-2~bpo12+1\n"), Some(25));
        assert_eq!(major("(none)"), None);
        let policy = "mesa-vulkan-drivers:\n  Installed: (none)\n  Candidate: 22.3.6-1+deb12u2\n";
        assert_eq!(candidate(policy).and_then(major), Some(22));
    }
}
