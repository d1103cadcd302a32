//! Every check of the project, one stage after the other, with a summary of what each one said and took.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::driver::{self, Driver};
use crate::setup;
use crate::shell::{self, Cargo, Program, Result, note};

/// What `cargo xtask test` was asked for.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    quick: bool,
    mesa22: bool,
    /// Passed on to every `cargo test`.
    cargo_test: Vec<OsString>,
}

impl Options {
    pub fn parse(args: &[OsString]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--quick") => options.quick = true,
                Some("--mesa22") => options.mesa22 = true,
                Some("--") => options.cargo_test = args.by_ref().cloned().collect(),
                _ => return Err(format!("unknown option {arg:?}: `cargo xtask help` tells the options")),
            }
        }
        if options.quick && options.mesa22 {
            return Err("--quick runs the tests on one adapter only: leave out --mesa22 or --quick".into());
        }
        Ok(options)
    }
}

/// Runs every check; a stage that fails does not keep the later ones from running.
pub fn test(options: &Options) -> Result<ExitCode> {
    let checks = Checks { cargo: Cargo::in_workspace(), cargo_test: &options.cargo_test };
    let mut report = Report::default();
    if options.quick || !cfg!(target_os = "linux") {
        report.stage("set-up: adapter", || setup::ensure_adapter(&checks.shadetell()));
        checks.read_the_code(&mut report, options.quick);
        report.stage("tests on this machine's adapter", || checks.tests(&[], None));
        if !options.quick {
            note("the tests on lavapipe and on SwiftShader run on Linux only");
        }
    } else {
        let drivers = checks.cargo.root().join("target/drivers");
        let lavapipe = report.stage("set-up: lavapipe", driver::lavapipe);
        let swiftshader = report.stage("set-up: SwiftShader", || driver::swiftshader(&drivers));
        let mesa22 =
            options.mesa22.then(|| report.stage("set-up: Mesa 22", || driver::mesa22(&drivers))).flatten();
        checks.read_the_code(&mut report, false);
        // A driver that could not be had has failed in its set-up stage already.
        let kernels: &[&str] = &["--test", "kernels"];
        let runs = [
            ("tests", &lavapipe, &[][..]),
            ("kernels", &swiftshader, kernels),
            ("kernels", &mesa22, kernels),
        ];
        for (name, driver, targets) in runs {
            let Some(driver) = driver else { continue };
            report.stage(&format!("{name} on {}", driver.name), || checks.tests(targets, Some(driver)));
        }
    }
    Ok(report.print())
}

struct Checks<'a> {
    cargo: Cargo,
    cargo_test: &'a [OsString],
}

impl Checks<'_> {
    /// The checks that need no adapter.
    fn read_the_code(&self, report: &mut Report, quick: bool) {
        let cargo = &self.cargo;
        report.stage("format", || cargo.run(&["fmt", "--all", "--check"]));
        let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
        report.stage("lints", || cargo.run(&clippy));
        if !quick {
            let doc = ["doc", "--workspace", "--no-deps", "--all-features"];
            report.stage("documentation", || {
                shell::run(
                    cargo.command(&doc).env("RUSTDOCFLAGS", "-D warnings").env("CARGO_TERM_COLOR", "never"),
                )
            });
            report.stage("library alone", || cargo.run(&["check", "--lib", "--no-default-features"]));
        }
    }

    /// The tests of some targets (none: all of them), on one driver (none: on what the machine has).
    fn tests(&self, targets: &[&str], driver: Option<&Driver>) -> Result {
        let mut command = self.cargo.command(&["test", "--workspace", "--all-features"]);
        command.args(targets).args(self.cargo_test);
        if let Some(driver) = driver {
            self.make_sure_of(driver)?;
            driver.apply(&mut command);
        }
        shell::run(&mut command)
    }

    /// A driver that does not load would leave the tests to another adapter, or to none.
    fn make_sure_of(&self, driver: &Driver) -> Result {
        let list = shell::output(driver.apply(&mut self.shadetell().command("devices"))).unwrap_or_default();
        match list.lines().find(|line| line.contains(driver.mark)) {
            Some(adapter) => note(&format!("on {}", adapter.trim())),
            None => {
                return Err(format!(
                    "`shadetell devices` does not list {} with VK_DRIVER_FILES={}: does that driver load?\n{list}",
                    driver.name,
                    driver.icd.display()
                ));
            }
        }
        Ok(())
    }

    /// The command as the tests build it.
    fn shadetell(&self) -> Program {
        self.cargo.program(&["--all-features"])
    }
}

/// What the stages said.
#[derive(Default)]
struct Report {
    stages: Vec<(String, Option<String>, Duration)>,
}

impl Report {
    /// Runs one stage and notes its outcome; what it gives is `None` where it failed.
    fn stage<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let outcome = work();
        let problem = outcome.as_ref().err().cloned();
        if let Some(problem) = &problem {
            eprintln!("error: {problem}");
        }
        self.stages.push((name.to_string(), problem, start.elapsed()));
        outcome.ok()
    }

    /// Prints a line for each stage; the exit code says whether all of them went well.
    fn print(&self) -> ExitCode {
        eprintln!("\n== summary");
        for (name, problem, took) in &self.stages {
            let verdict = if problem.is_none() { "ok" } else { "FAILED" };
            eprintln!("{verdict:>6}  {:7.1} s  {name}", took.as_secs_f32());
        }
        let failed = self.stages.iter().filter(|(_, problem, _)| problem.is_some()).count();
        if failed == 0 {
            return ExitCode::SUCCESS;
        }
        eprintln!("{failed} of {} stages failed; what they said stands above", self.stages.len());
        ExitCode::FAILURE
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_told_from_what_cargo_test_gets() {
        let options = parse(&["--mesa22", "--", "--quick", "lstm"]).unwrap();
        assert!(options.mesa22 && !options.quick);
        assert_eq!(options.cargo_test, ["--quick", "lstm"]);
        assert!(parse(&["--quik"]).unwrap_err().contains("--quik"));
        assert!(parse(&["--quick", "--mesa22"]).is_err());
    }

    #[test]
    fn one_failed_stage_fails_the_whole() {
        let mut report = Report::default();
        assert_eq!(report.stage("good", || Ok(1)), Some(1));
        assert_eq!(report.stage::<()>("bad", || Err("no".into())), None);
        assert_eq!(format!("{:?}", report.print()), format!("{:?}", ExitCode::FAILURE));
    }
}
