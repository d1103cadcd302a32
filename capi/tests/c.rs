//! The interface as used by programs in C: the header matches the code, and programs that are compiled with it run.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use shadetell::engine::gpu::{AdapterChoice, Gpu};
use shadetell::image::{DecodeOptions, read};
use shadetell::weights::Model;
use shadetell::{Backend, CaptionOptions, Captioner};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the libraries that cargo built with this test.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_owned()
}

/// Compilers, with the language standards of the header and the example.
const LANGUAGES: [(&str, &[&str]); 2] = [("cc", &["-std=c99"]), ("c++", &["-std=c++17", "-x", "c++"])];

/// Compiles a program against one of the libraries.
fn compiled((compiler, standard): (&str, &[&str]), source: &Path, library: &str, program: &Path) {
    let mut compiler = Command::new(compiler);
    compiler.args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-I"]).arg(folder().join("../include"));
    // Options such as those of a sanitizer.
    compiler.args(std::env::var("SHADETELL_CFLAGS").unwrap_or_default().split_whitespace());
    compiler.args(standard).arg(source).arg("-o").arg(program);
    // The library is not source code.
    compiler.args(["-x", "none"]);
    compiler.arg(libraries().join(library));
    compiler.args(["-lpthread", "-ldl", "-lm"]);
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(program: &Path, arguments: &[&Path]) -> Output {
    Command::new(program).args(arguments).env("LD_LIBRARY_PATH", libraries()).output().unwrap()
}

#[test]
fn the_header_matches_the_code() {
    let config = cbindgen::Config::from_file(folder().join("cbindgen.toml")).unwrap();
    let mut header = Vec::new();
    cbindgen::generate_with_config(folder(), config).unwrap().write(&mut header);
    let path = folder().join("../include/shadetell.h");
    if std::env::var_os("SHADETELL_WRITE_HEADER").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text(&header),
        "{} does not match the code: `SHADETELL_WRITE_HEADER=1 cargo test -p shadetell-capi` updates it",
        path.display()
    );
}

#[test]
fn a_program_in_c_prints_the_captions_of_the_library() {
    let photo = folder().join("../photos/camera.jpg");
    let gpu = Gpu::open(&AdapterChoice::default()).unwrap();
    let model = Model::from_static("bundled model", shadetell_everyday::MODEL).unwrap();
    let captioner = Captioner::new(&model, Backend::Gpu(&gpu), &CaptionOptions::default()).unwrap();
    let expected = captioner.caption(&read(&photo, &DecodeOptions::default()).unwrap()).unwrap().text;
    assert!(!expected.is_empty());

    let programs = tempfile::tempdir().unwrap();
    let source = folder().join("examples/caption.c");
    let shared = if cfg!(target_os = "macos") { "dylib" } else { "so" };
    for (language, kind) in LANGUAGES.into_iter().zip(["a", shared]) {
        let program = programs.path().join(kind);
        compiled(language, &source, &format!("libshadetell_c.{kind}"), &program);
        let missing = Path::new("no such photo");
        let output = run(&program, &[&photo, missing, &source, &photo]);
        assert_eq!(text(&output.stdout), format!("{expected}\n{expected}\n"), "{}", text(&output.stderr));
        let said = text(&output.stderr);
        assert!(said.contains("no such photo") && said.contains("caption.c: "), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn all_functions_behave_as_documented_in_the_header() {
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("interface");
    compiled(LANGUAGES[0], &folder().join("tests/interface.c"), "libshadetell_c.a", &program);
    let output = run(&program, &[]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{}\nall checks passed\n", env!("CARGO_PKG_VERSION")));
}
