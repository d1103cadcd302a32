//! Tests of `shadetell serve` over real connections.
//!
//! They run on the adapter of the machine, and fail without one: `cargo xtask test` installs one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod access;
mod api;
mod hostile;
mod load;

use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

/// A server on a free port. It is killed when this value is dropped.
struct Server {
    process: Child,
    /// Address and port.
    address: String,
}

impl Server {
    fn start(args: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shadetell"));
        command.args(["serve", "--device", "gpu"]).args(args);
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut process =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = lines.by_ref().map(Result::unwrap).find_map(|line| {
            writeln!(said, "{line}").unwrap();
            Some(line.strip_prefix("listening on http://")?.trim_end_matches('/').to_owned())
        });
        let Some(address) = address else { panic!("the server does not start:\n{said}") };
        // Keep reading: the server would block once the pipe is full.
        thread::spawn(move || lines.for_each(drop));
        let server = Server { process, address };
        let clock = Instant::now();
        while server.get("/readyz").status != 200 {
            assert!(clock.elapsed() < Duration::from_secs(60), "the server does not become ready");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> Answer {
        Answer::of(agent().get(self.url(path)).call().unwrap())
    }

    /// Posts a body of a media type.
    fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Answer {
        Answer::of(agent().post(self.url(path)).content_type(media_type).send(body).unwrap())
    }

    /// Posts a form: names of fields, names of files or `None`, contents.
    fn post_form(&self, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, file, content) in parts {
            let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
            write!(body, "--cut\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").unwrap();
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--cut--\r\n");
        self.post(path, "multipart/form-data; boundary=cut", &body)
    }

    /// Sends raw bytes, and reads the answer until the server closes the connection.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// A value from `/metrics`.
    fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The answer until the server closes the connection, which it has to do.
#[track_caller]
fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset of the connection also ends the answer.
    let ended = stream.read_to_end(&mut answer).map_err(|error| error.kind());
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        !matches!(ended, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "it stays open after {answer:?}"
    );
    answer
}

fn agent() -> Agent {
    let config =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60)));
    config.build().into()
}

/// An answer of a server.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn of(mut response: Response<Body>) -> Answer {
        let text = response.body_mut().read_to_string().unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), text }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The record of a captioned photo.
    #[track_caller]
    fn record(&self) -> Value {
        assert_eq!((self.status, self.header("content-type")), (200, "application/json"), "{}", self.text);
        self.json()
    }

    /// Checks that the answer is a problem, and returns its detail.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "application/problem+json"),
            "{}",
            self.text
        );
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{problem}");
        assert_eq!(problem["type"], "about:blank");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

fn photo(name: &str) -> Vec<u8> {
    fs::read(format!("{}/../../photos/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The record of a photo by `caption --json`.
fn command_line(name: &str, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_shadetell"))
        .args(["caption", "--quiet", "--json", "--device", "gpu"])
        .args(args)
        .arg(format!("{}/../../photos/{name}", env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A record without timings and path, which differ between the command line and the server.
fn comparable(mut record: Value) -> Value {
    let record_ = record.as_object_mut().unwrap();
    record_.remove("timings_ms").expect("the record has timings");
    record_.remove("path").expect("the record has a path");
    record
}
