//! From a `.wgsl` file to the text that a driver compiles.
//!
//! A line whose first word begins with `#` is a directive; blocks nest. All other lines stay as they are.
//!
//! | directive | effect |
//! |---|---|
//! | `#import NAME` | inserts `shaders/shared/NAME.wgsl`, unless that was imported before |
//! | `#ifdef NAME`, `#ifndef NAME`, `#else`, `#endif` | keeps or drops lines |
//! | `#for NAME in FIRST..END`, `#endfor` | repeats lines, with the numbers from `FIRST` to `END - 1` in place of `$NAME` |
//! | `#for NAME in WORD WORD ..`, `#endfor` | repeats lines, with each word in place of `$NAME` |
//!
//! A byte order mark is dropped, and so is `subgroups` in `enable`: browsers ask for it, the compiler of wgpu does not know it.
//!
//! Names in `#for` are capital letters, so that `$R` ends before the suffix of `$Ru`. A bound is a number or a `const` above the loop.

use std::borrow::Cow;

macro_rules! shared {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared/", $name, ".wgsl")))),+]
    };
}

/// The files of `shaders/shared/`: names and texts.
const SHARED: &[(&str, &str)] = shared![
    "activation",
    "additive_attention",
    "axes",
    "conv2d",
    "flat",
    "gru_cell",
    "linear",
    "lstm_cell",
    "mat4_u64",
    "matmul",
    "nan",
    "pool2d",
    "row",
    "slices",
    "softmax",
    "u64_pair",
    "values",
    "vec4_u64",
    "weight_mat4",
    "weights",
    "winograd",
];

/// The text of the shader `source` in the variant that `defines` selects; `name` is for messages.
///
/// # Errors
/// Names the file and the line of a directive that is unknown, incomplete, or not ended.
pub fn assemble(name: &str, source: &str, defines: &[&str]) -> Result<String, String> {
    assemble_with_origins(name, source, defines).map(|(text, _)| text)
}

/// The same, and the origin of each of its lines as `FILE:LINE`, for messages about it.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_with_origins(
    name: &str,
    source: &str,
    defines: &[&str],
) -> Result<(String, Vec<String>), String> {
    let mut output = Assembler { defines, imported: Vec::new(), text: String::new(), origins: Vec::new() };
    output.file(&format!("{name}.wgsl"), source)?;
    Ok((output.text, output.origins))
}

struct Assembler<'a> {
    defines: &'a [&'a str],
    /// Names of shared files.
    imported: Vec<&'static str>,
    text: String,
    origins: Vec<String>,
}

/// A file that is being read. Lines count from 0.
struct File<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

/// Where in a file a block begins, and what holds there.
#[derive(Clone, Copy)]
struct Block<'a> {
    first: usize,
    /// Whether its lines are part of the text.
    is_kept: bool,
    /// Names and values of the loops around it.
    values: &'a [(&'a str, String)],
}

impl File<'_> {
    fn origin(&self, line: usize) -> String {
        format!("{}:{}", self.name, line + 1)
    }

    /// An error about a line.
    fn error<T>(&self, line: usize, message: &str) -> Result<T, String> {
        Err(format!("{}: {message}", self.origin(line)))
    }

    /// Checks that the block of the directive in line `start` ends with `end` in line `found`, which is given back.
    fn ended(&self, start: usize, end: &str, found: usize) -> Result<usize, String> {
        let beginning = self.lines[start].trim();
        match self.lines.get(found).map(|line| line.trim()) {
            Some(line) if line == end => Ok(found),
            Some(line) => self.error(
                found,
                &format!("expected {end} for `{beginning}` in line {}, found {line}", start + 1),
            ),
            None => self.error(start, &format!("`{beginning}` without {end}")),
        }
    }
}

impl Assembler<'_> {
    fn file(&mut self, name: &str, source: &str) -> Result<(), String> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let file = File { name, lines: source.lines().collect() };
        let end = self.block(&file, Block { first: 0, is_kept: true, values: &[] })?;
        match file.lines.get(end) {
            Some(line) => file.error(end, &format!("{} ends no block", line.trim())),
            None => Ok(()),
        }
    }

    /// Appends the lines of a block; gives the line that ends it, or that behind the last one.
    fn block(&mut self, file: &File<'_>, block: Block<'_>) -> Result<usize, String> {
        let mut line = block.first;
        while let Some(text) = file.lines.get(line) {
            let words: Vec<&str> = text.split_whitespace().collect();
            match words[..] {
                ["#else" | "#endif" | "#endfor"] => return Ok(line),
                ["#ifdef", name] => line = self.condition(file, line, block, self.defines.contains(&name))?,
                ["#ifndef", name] => {
                    line = self.condition(file, line, block, !self.defines.contains(&name))?
                }
                ["#for", name, "in", ref list @ ..] => line = self.repeat(file, line, block, name, list)?,
                ["#import", name] if block.is_kept => self.import(file, line, name)?,
                ["#import", _] => {}
                [word, ..] if word.starts_with('#') => {
                    return file.error(line, &format!("`{}` is no directive", text.trim()));
                }
                _ if block.is_kept => self.line(file, line, block.values)?,
                _ => {}
            }
            line += 1;
        }
        Ok(line)
    }

    /// `#ifdef` or `#ifndef` in line `start`; gives the line of its `#endif`.
    fn condition(
        &mut self,
        file: &File<'_>,
        start: usize,
        around: Block<'_>,
        is_met: bool,
    ) -> Result<usize, String> {
        let is_kept = around.is_kept && is_met;
        let mut end = self.block(file, Block { first: start + 1, is_kept, ..around })?;
        if file.lines.get(end).is_some_and(|line| line.trim() == "#else") {
            let is_kept = around.is_kept && !is_met;
            end = self.block(file, Block { first: end + 1, is_kept, ..around })?;
        }
        file.ended(start, "#endif", end)
    }

    /// `#for` in line `start`; gives the line of its `#endfor`.
    fn repeat(
        &mut self,
        file: &File<'_>,
        start: usize,
        around: Block<'_>,
        name: &str,
        list: &[&str],
    ) -> Result<usize, String> {
        if !name.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return file.error(start, &format!("expected a name of capital letters, found {name}"));
        }
        // A dropped block may follow a constant that is dropped too.
        let values = if around.is_kept { self.values(list) } else { Some(Vec::new()) };
        let Some(values) = values else {
            let found = list.join(" ");
            return file.error(
                start,
                &format!("expected words, or FIRST..END of numbers or constants, found `{found}`"),
            );
        };
        let first = start + 1;
        for value in values {
            let values = [around.values, &[(name, value)]].concat();
            self.block(file, Block { first, values: &values, ..around })?;
        }
        let end = self.block(file, Block { first, is_kept: false, ..around })?;
        file.ended(start, "#endfor", end)
    }

    /// The values of a loop: words, or a range of numbers.
    fn values(&self, list: &[&str]) -> Option<Vec<String>> {
        match *list {
            [] => None,
            [range] if range.contains("..") => {
                let (first, end) = range.split_once("..")?;
                Some((self.number(first)?..self.number(end)?).map(|n| n.to_string()).collect())
            }
            _ => Some(list.iter().map(|&word| word.to_owned()).collect()),
        }
    }

    /// The number that `word` is, or the value of the constant `word` in the text so far.
    fn number(&self, word: &str) -> Option<u32> {
        word.parse().ok().or_else(|| {
            let declaration = format!("const {word} = ");
            let value = self.text.lines().find_map(|line| line.strip_prefix(&declaration))?;
            value.strip_suffix("u;")?.parse().ok()
        })
    }

    fn import(&mut self, file: &File<'_>, line: usize, name: &str) -> Result<(), String> {
        let path = format!("shaders/shared/{name}.wgsl");
        let Some(&(name, text)) = SHARED.iter().find(|shared| shared.0 == name) else {
            return file.error(line, &format!("there is no {path}"));
        };
        if self.imported.contains(&name) {
            return Ok(());
        }
        self.imported.push(name);
        self.file(&path, text)
    }

    /// Appends a line with values in place of names.
    fn line(&mut self, file: &File<'_>, line: usize, values: &[(&str, String)]) -> Result<(), String> {
        let text = without_subgroups(file.lines[line]);
        let mut parts = text.split('$');
        self.text += parts.next().unwrap_or_default();
        for part in parts {
            let end = part.bytes().take_while(u8::is_ascii_uppercase).count();
            let (name, rest) = part.split_at(end);
            let Some((_, value)) = values.iter().find(|value| value.0 == name) else {
                return file.error(line, &format!("${name} is the name of no #for around it"));
            };
            self.text += value;
            self.text += rest;
        }
        self.text.push('\n');
        self.origins.push(file.origin(line));
        Ok(())
    }
}

/// The line without `subgroups`, if it is an `enable` that lists it.
fn without_subgroups(line: &str) -> Cow<'_, str> {
    let Some((list, rest)) = line.trim_start().strip_prefix("enable ").and_then(|list| list.split_once(';'))
    else {
        return line.into();
    };
    let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let kept: Vec<&str> = names.iter().copied().filter(|&name| name != "subgroups").collect();
    match kept.len() {
        0 => rest.trim_start().to_owned().into(),
        count if count == names.len() => line.into(),
        _ => format!("enable {};{rest}", kept.join(", ")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn assemble(source: &str, defines: &[&str]) -> Result<String, String> {
        super::assemble("test", source, defines)
    }

    #[test]
    fn all_shared_files_are_listed_by_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/shared");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let stems: BTreeSet<String> =
            paths.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        let listed: Vec<&str> = SHARED.iter().map(|shared| shared.0).collect();
        assert_eq!(listed, stems.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn shaders_for_browsers_are_taken() {
        let s = "\u{feff}enable subgroups;\nenable f16, subgroups; // both\nenable f16;\nlet enable = 1;\n";
        assert_eq!(assemble(s, &[]).unwrap(), "\nenable f16; // both\nenable f16;\nlet enable = 1;\n");
    }

    #[test]
    fn conditions_nest() {
        let s = "a\n#ifdef X\nb\n  #ifdef Y\nc\n  #else\nd\n  #endif\n#else\ne\n#endif\nf\n";
        assert_eq!(assemble(s, &[]).unwrap(), "a\ne\nf\n");
        assert_eq!(assemble(s, &["X"]).unwrap(), "a\nb\nd\nf\n");
        assert_eq!(assemble(s, &["X", "Y"]).unwrap(), "a\nb\nc\nf\n");
        assert_eq!(assemble(s, &["Y"]).unwrap(), "a\ne\nf\n");
        let s = "#ifndef X\na\n#else\nb\n#endif\n";
        assert_eq!(assemble(s, &[]).unwrap(), "a\n");
        assert_eq!(assemble(s, &["X"]).unwrap(), "b\n");
    }

    #[test]
    fn loops_nest_and_replace_their_names() {
        let s = "const N = 2u;\n#for R in 0..N\n#ifdef X\n#for IN in x y\ns$R += $IN[$Ru + 1u];\n#endfor\n#endif\n-\n#endfor\n";
        assert_eq!(assemble(s, &[]).unwrap(), "const N = 2u;\n-\n-\n");
        let (text, origins) = assemble_with_origins("test", s, &["X"]).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "const N = 2u;",
                "s0 += x[0u + 1u];",
                "s0 += y[0u + 1u];",
                "-",
                "s1 += x[1u + 1u];",
                "s1 += y[1u + 1u];",
                "-"
            ]
        );
        assert_eq!(origins, ["1", "5", "5", "8", "5", "5", "8"].map(|line| format!("test.wgsl:{line}")));
        assert_eq!(assemble("#for R in 3..3\n$R\n#endfor\n", &[]).unwrap(), "");
    }

    #[test]
    fn files_are_imported_once() {
        let (text, origins) = assemble_with_origins("test", "#import flat\n\n#import flat\n", &[]).unwrap();
        assert_eq!(text.matches("fn flat_index").count(), 1);
        assert_eq!(origins[0], "shaders/shared/flat.wgsl:1");
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (source, expected) in [
            ("a\n#endif\n", "2: #endif ends no block"),
            ("#else\n", "1: #else ends no block"),
            ("a\n #ifdef X\n", "2: `#ifdef X` without #endif"),
            ("#ifdef X\n#else\n#else\n", "3: expected #endif for `#ifdef X` in line 1, found #else"),
            ("#for R in 0..2\n#endif\n", "2: expected #endfor for `#for R in 0..2` in line 1, found #endif"),
            ("#ifdef X\n#for R in 0..2\n", "2: `#for R in 0..2` without #endfor"),
            ("#ifdef X Y\n#endif\n", "1: `#ifdef X Y` is no directive"),
            ("#ifdef\n#endif\n", "1: `#ifdef` is no directive"),
            ("#ifdef X\n#endif X\n", "2: `#endif X` is no directive"),
            ("#import nothing\n", "1: there is no shaders/shared/nothing.wgsl"),
            ("#import flat row\n", "1: `#import flat row` is no directive"),
            ("#define X\n", "1: `#define X` is no directive"),
            ("#for r in 0..2\n#endfor\n", "1: expected a name of capital letters, found r"),
            (
                "#for R in 0..N\n#endfor\n",
                "1: expected words, or FIRST..END of numbers or constants, found `0..N`",
            ),
            ("#for R in\n#endfor\n", "1: expected words, or FIRST..END of numbers or constants, found ``"),
            ("#for R in 0..1\n$S\n#endfor\n", "2: $S is the name of no #for around it"),
            ("$\n", "1: $ is the name of no #for around it"),
        ] {
            assert_eq!(assemble(source, &[]), Err(format!("test.wgsl:{expected}")), "{source}");
        }
    }
}
