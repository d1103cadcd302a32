//! Checks of `shadetell serve` with third-party programs: a browser, and a test tool for APIs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::driver::Driver;
use crate::shell::{self, Program, Result};

/// The version of schemathesis that the API is tested with.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Drives the web page in headless Chromium.
pub fn page(root: &Path, driver: &Driver, shadetell: &Program) -> Result {
    let folder = root.join("crates/server/tests/page");
    let npm = |args: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(args).current_dir(&folder).env("SHADETELL", shadetell.path());
        npm
    };
    shell::run(&mut npm(&["ci", "--no-audit", "--no-fund"]))?;
    shell::run(driver.apply(&mut npm(&["test"])))
}

/// Sends the API valid and invalid requests according to its description, and checks the answers against the description.
pub fn api(root: &Path, driver: &Driver, shadetell: &Program) -> Result {
    let folder = root.join("target/schemathesis");
    if !folder.join("bin/st").exists() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        shell::run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS]))?;
    }
    let server = Server::start(driver, shadetell)?;
    // A description cannot state which bytes are a photo, so the refusal of random bytes is allowed.
    let args =
        ["--exclude-checks", "positive_data_acceptance", "--max-examples", "50", "--seed", "1", "--no-color"];
    shell::run(
        Command::new(folder.join("bin/st"))
            .arg("run")
            .arg(format!("{}openapi.json", server.address))
            .args(args)
            // The folder in which schemathesis stores its findings.
            .current_dir(&folder),
    )
}

/// A server on a free port. It is killed when this value is dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(driver: &Driver, shadetell: &Program) -> Result<Server> {
        let mut command = shadetell.command("serve");
        command.args(["--listen", "127.0.0.1:0", "--log", "none"]).stderr(Stdio::piped());
        let failed = |error| format!("cannot start the server: {error}");
        let mut process = driver.apply(&mut command).spawn().map_err(failed)?;
        let mut lines = process.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines());
        let address = lines.by_ref().map_while(std::result::Result::ok).find_map(|line| {
            eprintln!("{line}");
            line.strip_prefix("listening on ").map(str::to_owned)
        });
        let mut server = Server { process, address: String::new() };
        server.address = address.ok_or("the server ended before it listened")?;
        // Keep reading: the server would block once the pipe is full.
        thread::spawn(move || lines.for_each(drop));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If the server has ended by itself, a check has already failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
