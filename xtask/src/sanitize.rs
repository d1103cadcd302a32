//! `cargo xtask sanitize`: tests of the code around `unsafe` under AddressSanitizer.

use crate::shell::{self, Cargo, Result};

/// Tests of the C interface.
const C_INTERFACE: &[&str] = &["-p", "shadetell-capi"];

/// Tests of the library that read files, map them and look at memory as values of another type.
const FILES: &[&str] = &["-p", "shadetell", "--all-features", "--lib", "--test", "hostile"];

/// Builds and runs the tests with AddressSanitizer, an unstable feature of the compiler.
pub fn sanitize(cargo: &Cargo) -> Result {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(format!("the sanitizer stage supports {TARGET} only: run it there"));
    }
    for tests in [C_INTERFACE, FILES] {
        // Build scripts and macros must not be instrumented; naming a target prevents that.
        let mut command = cargo.command(&[&["test", "--target", TARGET], tests].concat());
        command
            .arg("--target-dir")
            .arg(cargo.target().join("sanitize"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=address")
            .env("SHADETELL_CFLAGS", "-fsanitize=address")
            // Leaks are not checked: drivers keep memory until the process ends.
            .env("ASAN_OPTIONS", "detect_leaks=0");
        shell::run(&mut command)?;
    }
    Ok(())
}
