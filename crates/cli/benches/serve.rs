//! `cargo bench --bench serve`: how many photos a second the server captions for one connection and for 32, whether all answers
//! are right, how much memory the server takes, and how fast `/healthz` answers meanwhile; then how fast an overloaded server
//! refuses photos.
//!
//! The bench starts the server that was built with it, on a free port.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its results and panics on errors"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

const PHOTOS: [&str; 2] = ["../../photos/camera.jpg", "../../photos/astronaut.jpg"];
const CONNECTIONS: usize = 32;
const REQUESTS: usize = 1000;
/// Rounds; each has a part of the requests of a single connection and of the others.
const TURNS: usize = 5;
const ALONE: usize = 40;
/// Photos that the overloaded server accepts, and clients that send requests repeatedly.
const PLACES: &str = "8";
const CROWD: usize = 32;
const CROWD_STAYS: Duration = Duration::from_secs(10);

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(args: &[&str]) -> Server {
        let mut process = Command::new(env!("CARGO_BIN_EXE_shadetell"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "none"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .find_map(|line| {
                Some(line.unwrap().strip_prefix("listening on ")?.trim_end_matches('/').to_owned())
            })
            .expect("the server prints its address");
        thread::spawn(move || lines.for_each(drop));
        let server = Server { process, address };
        while ureq::get(&server.url("/readyz")).call().is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Resident memory in KiB, where the system reports it.
    fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() {
    let photos = PHOTOS.map(|path| fs::read(path).unwrap());
    let expected = PHOTOS.map(command_line);
    let server = Server::start(&[]);
    let (url, health) = (server.url("/v1/caption"), server.url("/healthz"));

    let [right, wrong, lost] = [(); 3].map(|()| AtomicUsize::new(0));
    let ask = |agent: &ureq::Agent, index: usize| {
        let mut answer = agent.post(&url).content_type("image/jpeg").send(&photos[index % 2][..]).ok()?;
        let record: serde_json::Value =
            serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
        Some(comparable(&record) == expected[index % 2])
    };
    // Photos a second.
    let rate = |connections: usize, requests: usize| {
        let next = AtomicUsize::new(0);
        let connection = || {
            let agent = ureq::Agent::new_with_defaults();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= requests {
                    break;
                }
                let count = match ask(&agent, index) {
                    Some(true) => &right,
                    Some(false) => &wrong,
                    None => &lost,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let clock = Instant::now();
        thread::scope(|scope| (0..connections).for_each(|_| drop(scope.spawn(connection))));
        requests as f64 / clock.elapsed().as_secs_f64()
    };
    let done = AtomicBool::new(false);
    let watch = || {
        let agent = ureq::Agent::new_with_defaults();
        let mut slowest = Duration::ZERO;
        while !done.load(Ordering::Relaxed) {
            let clock = Instant::now();
            assert!(agent.get(&health).call().is_ok());
            slowest = slowest.max(clock.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
        slowest
    };
    println!("photos a second, and resident memory after each turn:");
    let slowest = thread::scope(|scope| {
        let watcher = scope.spawn(watch);
        // Alternate, since the speed of shared machines varies.
        let ratios: Vec<f64> = (0..TURNS)
            .map(|_| {
                let (alone, together) = (rate(1, ALONE), rate(CONNECTIONS, REQUESTS / TURNS));
                let ratio = together / alone;
                let memory = server.memory().unwrap_or(0);
                println!("  1 connection {alone:5.1}, {CONNECTIONS} connections {together:5.1}, ratio {ratio:.2}, {memory} KiB");
                ratio
            })
            .collect();
        println!("ratio, mean of the turns: {:.2}", ratios.iter().sum::<f64>() / TURNS as f64);
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    let [right, wrong, lost] = [right, wrong, lost].map(AtomicUsize::into_inner);
    println!("{} requests: {right} right, {wrong} wrong, {lost} lost", right + wrong + lost);
    println!("slowest /healthz: {:.1} ms", ms(slowest));
    drop(server);
    overload(&photos[0], &expected[0]);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// More clients than places in the queue. Refused clients try again at once.
fn overload(photo: &[u8], expected: &str) {
    let server = Server::start(&["--queue", PLACES]);
    let url = server.url("/v1/caption");
    let start = Instant::now();
    let client = || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let (mut refused, mut done) = (Vec::new(), 0);
        while start.elapsed() < CROWD_STAYS {
            let clock = Instant::now();
            let mut answer = agent.post(&url).content_type("image/jpeg").send(photo).unwrap();
            let text = answer.body_mut().read_to_string().unwrap();
            match answer.status().as_u16() {
                429 => refused.push(clock.elapsed()),
                200 => {
                    assert_eq!(comparable(&serde_json::from_str(&text).unwrap()), expected);
                    done += 1;
                }
                other => panic!("{other}: {text}"),
            }
        }
        (refused, done)
    };
    let (mut refused, mut done) = (Vec::new(), 0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CROWD).map(|_| scope.spawn(client)).collect();
        for (times, count) in clients.into_iter().map(|client| client.join().unwrap()) {
            refused.extend(times);
            done += count;
        }
    });
    refused.sort();
    println!(
        "{CROWD} clients for {PLACES} places: {done} captioned, {} refused in {:.1} ms (median), {:.1} ms (slowest)",
        refused.len(),
        refused.get(refused.len() / 2).map_or(0.0, |&time| ms(time)),
        refused.last().map_or(0.0, |&time| ms(time)),
    );
}

/// The caption of a photo by the command line.
fn command_line(path: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_shadetell"))
        .args(["caption", "--quiet", "--json", path])
        .output()
        .unwrap();
    comparable(&serde_json::from_slice(&output.stdout).unwrap())
}

/// The parts of a record that have to be the same for all answers: words, probabilities, alternatives.
fn comparable(record: &serde_json::Value) -> String {
    ["caption", "tokens", "log_prob", "finished", "alternatives", "image"]
        .map(|key| record[key].to_string())
        .join("\n")
}
