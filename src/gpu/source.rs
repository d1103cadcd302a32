//! From a `.wgsl` file to the text that a driver compiles: imports and conditions, nothing else.
//!
//! `//!import NAME` is replaced by `shaders/shared/NAME.wgsl`; `#ifdef NAME`, `#ifndef NAME`, `#else` and `#endif`, which nest, keep
//! or drop the lines between them.

use crate::ops::Shader;

/// The files of `shaders/shared/`.
const SHARED: &[(&str, &str)] = &[
    ("activation", include_str!("../../shaders/shared/activation.wgsl")),
    ("conv2d", include_str!("../../shaders/shared/conv2d.wgsl")),
    ("flat", include_str!("../../shaders/shared/flat.wgsl")),
    ("fours", include_str!("../../shaders/shared/fours.wgsl")),
    ("pairs", include_str!("../../shaders/shared/pairs.wgsl")),
    ("quads", include_str!("../../shaders/shared/quads.wgsl")),
    ("row", include_str!("../../shaders/shared/row.wgsl")),
    ("slices", include_str!("../../shaders/shared/slices.wgsl")),
    ("winograd", include_str!("../../shaders/shared/winograd.wgsl")),
    ("weights", include_str!("../../shaders/shared/weights.wgsl")),
];

/// The text of a shader in the variant that these names select.
///
/// # Errors
/// Names the file and the line of an unknown import or an unbalanced condition.
pub fn assemble(shader: &Shader, defines: &[&str]) -> Result<String, String> {
    let mut text = String::with_capacity(2 * shader.source.len());
    append(&mut text, &format!("{}.wgsl", shader.name), shader.source, defines)?;
    Ok(text)
}

fn append(text: &mut String, file: &str, source: &str, defines: &[&str]) -> Result<(), String> {
    // Whether the lines of each open condition are kept.
    let mut open: Vec<bool> = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let at = |message: String| format!("{file}:{}: {message}", number + 1);
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("#ifdef"), Some(name)) => open.push(defines.contains(&name)),
            (Some("#ifndef"), Some(name)) => open.push(!defines.contains(&name)),
            (Some("#else"), None) => match open.last_mut() {
                Some(kept) => *kept = !*kept,
                None => return Err(at("#else without #ifdef".to_owned())),
            },
            (Some("#endif"), None) => {
                if open.pop().is_none() {
                    return Err(at("#endif without #ifdef".to_owned()));
                }
            }
            (Some(word), _) if word.starts_with('#') => return Err(at(format!("unknown directive {word}"))),
            _ if open.contains(&false) => {}
            (Some("//!import"), Some(name)) => match SHARED.iter().find(|s| s.0 == name) {
                Some((_, shared)) => append(text, &format!("shaders/shared/{name}.wgsl"), shared, defines)?,
                None => return Err(at(format!("no shaders/shared/{name}.wgsl"))),
            },
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{file}: #ifdef without #endif")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shader(source: &'static str) -> Shader {
        Shader { name: "test", source, params: &[], variants: &[&[]] }
    }

    #[test]
    fn conditions_nest() {
        let s = shader("a\n#ifdef X\nb\n#ifdef Y\nc\n#else\nd\n#endif\n#else\ne\n#endif\nf\n");
        assert_eq!(assemble(&s, &[]).unwrap(), "a\ne\nf\n");
        assert_eq!(assemble(&s, &["X"]).unwrap(), "a\nb\nd\nf\n");
        assert_eq!(assemble(&s, &["X", "Y"]).unwrap(), "a\nb\nc\nf\n");
        assert_eq!(assemble(&s, &["Y"]).unwrap(), "a\ne\nf\n");
        let s = shader("#ifndef X\na\n#else\nb\n#endif\n");
        assert_eq!(assemble(&s, &[]).unwrap(), "a\n");
        assert_eq!(assemble(&s, &["X"]).unwrap(), "b\n");
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (source, expected) in [
            ("a\n#endif\n", "test.wgsl:2: #endif without #ifdef"),
            ("#else\n", "test.wgsl:1: #else without #ifdef"),
            ("#ifdef X\n", "test.wgsl: #ifdef without #endif"),
            ("//!import nothing\n", "test.wgsl:1: no shaders/shared/nothing.wgsl"),
            ("#define X\n", "test.wgsl:1: unknown directive #define"),
        ] {
            assert_eq!(assemble(&shader(source), &[]), Err(expected.to_owned()));
        }
    }
}
