//! `cargo xtask sanitize`: the tests of the C interface under AddressSanitizer.

use crate::shell::{self, Cargo, Result};

/// Builds the C library with AddressSanitizer, which the compiler has but does not call stable, and runs its tests.
pub fn sanitize(cargo: &Cargo) -> Result {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(format!("the sanitizer's stage is made for {TARGET}: run it there"));
    }
    // Build scripts and macros must not be instrumented, which a named target sees to.
    let mut command = cargo.command(&["test", "-p", "shadetell-capi", "--target", TARGET]);
    command
        .arg("--target-dir")
        .arg(cargo.target().join("sanitize"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env("SHADETELL_CFLAGS", "-fsanitize=address")
        // Drivers keep memory until the process ends.
        .env("ASAN_OPTIONS", "detect_leaks=0");
    shell::run(&mut command)
}
