//! Runs every check of the project in stages, and prints a summary with the outcome and the time of each.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::driver::{self, Driver};
use crate::release;
use crate::serve;
use crate::setup;
use crate::shell::{self, Cargo, Program, Result, note};

/// The options of `cargo xtask test`.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    quick: bool,
    mesa22: bool,
    /// Passed on to every `cargo test`.
    filter: Vec<OsString>,
}

impl Options {
    pub fn parse(args: &[OsString]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--quick") => options.quick = true,
                Some("--mesa22") => options.mesa22 = true,
                Some("--") => options.filter = args.by_ref().cloned().collect(),
                _ => return Err(format!("unknown option {arg:?}: `cargo xtask help` lists the options")),
            }
        }
        if options.quick && options.mesa22 {
            return Err("--quick runs the tests on one adapter only: leave out --mesa22 or --quick".into());
        }
        Ok(options)
    }
}

/// Runs every check. If a stage fails, all stages that do not depend on it still run.
pub fn test(options: &Options) -> Result<ExitCode> {
    let checks = Checks {
        cargo: Cargo::in_workspace(),
        shadetell: Program::built_in("debug")?,
        filter: &options.filter,
    };
    let mut report = Report::default();
    let on_drivers = cfg!(target_os = "linux") && !options.quick;
    // If a driver cannot be set up, its set-up stage has failed, and the tests on it are left out.
    let drivers = if on_drivers { checks.drivers(&mut report, options.mesa22) } else { Vec::new() };
    checks.read_the_code(&mut report, options.quick);
    if report.stage("build", || shell::run(&mut checks.cargo_test(&["--no-run"]))).is_none() {
        return Ok(report.print());
    }
    for (driver, targets) in &drivers {
        let name = if targets.is_empty() { "tests" } else { "kernels" };
        report.stage(&format!("{name} on {}", driver.name), || checks.test_on(driver, targets));
    }
    if on_drivers && report.stage("set-up: Chromium", setup::chromium).is_some() {
        let kernels = ["--test", "shaders", "--", "--ignored"];
        report.stage("kernels in a browser", || shell::run(&mut checks.cargo_test(&kernels)));
    }
    if let Some((driver, _)) = drivers.first() {
        checks.serve(&mut report, driver);
        report.stage("example: Bevy", || {
            shell::run(driver.apply(&mut checks.cargo.in_example("bevy", &["test"])))
        });
        report.stage("example: egui", || shell::run(&mut checks.cargo.in_example("egui", &["check"])));
    }
    if !on_drivers {
        report.stage("set-up: adapter", || setup::ensure_adapter(&checks.shadetell));
        report.stage("tests on this machine's adapter", || {
            shell::run(checks.cargo_test(&[]).args(&options.filter))
        });
        if !options.quick {
            note("the tests on lavapipe and on SwiftShader run on Linux only");
        }
    }
    Ok(report.print())
}

/// Runs only the stages about publishing.
pub fn release(cargo: &Cargo) -> Result<ExitCode> {
    let mut report = Report::default();
    report.release(cargo);
    Ok(report.print())
}

struct Checks<'a> {
    cargo: Cargo,
    /// The command as built for the tests.
    shadetell: Program,
    /// Further arguments of `cargo test`.
    filter: &'a [OsString],
}

impl Checks<'_> {
    /// The drivers to test on, each with its test targets; an empty list means all targets.
    fn drivers(&self, report: &mut Report, mesa22: bool) -> Vec<(Driver, &'static [&'static str])> {
        const ALL: &[&str] = &[];
        const KERNELS: &[&str] = &["--test", "kernels"];
        let folder = self.cargo.root().join("target/drivers");
        let lavapipe = report.stage("set-up: lavapipe", driver::lavapipe);
        let swiftshader = report.stage("set-up: SwiftShader", || driver::swiftshader(&folder));
        let mesa22 = mesa22.then(|| report.stage("set-up: Mesa 22", || driver::mesa22(&folder))).flatten();
        let wanted = [(lavapipe, ALL), (swiftshader, KERNELS), (mesa22, KERNELS)];
        wanted.into_iter().filter_map(|(driver, targets)| Some((driver?, targets))).collect()
    }

    /// The checks that run no tests.
    fn read_the_code(&self, report: &mut Report, quick: bool) {
        let cargo = &self.cargo;
        report.stage("format", || {
            cargo.run(&["fmt", "--all", "--check"])?;
            let manifests = ["examples/bevy/Cargo.toml", "examples/egui/Cargo.toml"];
            manifests
                .iter()
                .try_for_each(|manifest| cargo.run(&["fmt", "--check", "--manifest-path", manifest]))
        });
        let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
        report.stage("lints", || cargo.run(&clippy));
        if !quick {
            let doc = ["doc", "--workspace", "--no-deps", "--all-features"];
            report.stage("documentation", || {
                shell::run(cargo.command(&doc).env("RUSTDOCFLAGS", "-D warnings"))
            });
            report.release(cargo);
            report.stage("library alone", || {
                cargo.run(&["check", "-p", "shadetell", "--lib", "--no-default-features"])
            });
        }
    }

    /// Runs the tests of some targets on one driver.
    fn test_on(&self, driver: &Driver, targets: &[&str]) -> Result {
        // If the driver does not load, the tests would use another adapter, or none.
        let list = self.shadetell.devices(Some(driver))?.unwrap_or_default();
        let Some(adapter) = list.lines().find(|line| line.contains(driver.mark)) else {
            let icd = driver.icd.display();
            return Err(format!(
                "{} does not load: look at `VK_LOADER_DEBUG=error VK_DRIVER_FILES={icd} shadetell devices`\n{list}",
                driver.name
            ));
        };
        note(&format!("on {}", adapter.trim()));
        shell::run(driver.apply(self.cargo_test(targets).args(self.filter)))
    }

    /// The web page in a browser, and the API against its description.
    fn serve(&self, report: &mut Report, driver: &Driver) {
        let root = self.cargo.root();
        if report.stage("set-up: Node.js", setup::node).is_some() {
            report.stage("web page", || serve::page(root, driver, &self.shadetell));
        }
        if report.stage("set-up: Python", setup::python).is_some() {
            report.stage("API", || serve::api(root, driver, &self.shadetell));
        }
    }

    /// `cargo test` with all features.
    fn cargo_test(&self, args: &[&str]) -> Command {
        self.cargo.command(&[&["test", "--workspace", "--all-features", "--no-fail-fast"], args].concat())
    }
}

/// The outcomes of the stages.
#[derive(Default)]
struct Report {
    stages: Vec<(String, Option<String>, Duration)>,
}

impl Report {
    /// Runs one stage and records its outcome; returns its result, or `None` if it failed.
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

    /// Checks of published packages.
    fn release(&mut self, cargo: &Cargo) {
        self.stage("packages", || release::packages(cargo));
        self.stage("dependencies", || release::deny(cargo));
        self.stage("public interface", || release::semver(cargo));
    }

    /// Prints a line for each stage; the exit code is 0 if all stages passed.
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
        eprintln!("{failed} of {} stages failed; see their output above", self.stages.len());
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
    fn options_are_separated_from_the_arguments_of_cargo_test() {
        let options = parse(&["--mesa22", "--", "--quick", "lstm"]).unwrap();
        assert!(options.mesa22 && !options.quick);
        assert_eq!(options.filter, ["--quick", "lstm"]);
        assert!(parse(&["--quik"]).unwrap_err().contains("--quik"));
        assert!(parse(&["--quick", "--mesa22"]).is_err());
    }

    #[test]
    fn a_failed_stage_makes_the_whole_run_fail() {
        let mut report = Report::default();
        assert_eq!(report.stage("good", || Ok(1)), Some(1));
        assert_eq!(report.stage::<()>("bad", || Err("no".into())), None);
        assert_eq!(format!("{:?}", report.print()), format!("{:?}", ExitCode::FAILURE));
    }
}
