//! Compiles all shaders in a browser: a page is served to Chromium, which compiles every kernel that the zoo plans, with its
//! constants, and sends back the errors.

use crate::zoo;
use serde::{Deserialize, Serialize};
use shadetell::engine::gpu::source;
use shadetell::engine::ops::SHADERS;
use shadetell::engine::plan::Shader;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("browser.html");
const LIMIT: Duration = Duration::from_secs(240);

/// A shader with the constants of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Kernel {
    label: String,
    code: String,
    entries: &'static [&'static str],
    constants: BTreeMap<&'static str, u32>,
}

/// The report of the page.
#[derive(Debug, Deserialize)]
struct Answer {
    adapter: String,
    compiled: usize,
    complaints: Vec<String>,
}

struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each kernel that the zoo plans, once.
fn kernels() -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for plan in zoo::plans() {
        for step in plan.steps() {
            let kernel = &step.dispatch.kernel;
            let code =
                for_browsers(source::assemble(kernel.name(), kernel.source(), kernel.defines()).unwrap());
            let constants = kernel.constants().iter().copied().collect();
            let kernel = Kernel { label: kernel.label(), code, entries: &["main"], constants };
            if !kernels.contains(&kernel) {
                kernels.push(kernel);
            }
        }
    }
    kernels.extend(RESAMPLE.variants.iter().map(|defines| Kernel {
        label: format!("{} {defines:?}", RESAMPLE.name),
        code: for_browsers(source::assemble(RESAMPLE.name, RESAMPLE.source, defines).unwrap()),
        entries: &["across", "down"],
        constants: BTreeMap::new(),
    }));
    kernels
}

/// The kernels that resize a host's pictures.
const RESAMPLE: Shader = Shader {
    name: "resample",
    source: include_str!("../../src/host/resample.wgsl"),
    params: &[],
    variants: &[&["TEXTURE"], &[]],
};

/// Browsers require a directive to enable subgroups, which naga 30 does not support (gfx-rs/wgpu issue 5555).
fn for_browsers(code: String) -> String {
    if code.contains("subgroup") { format!("enable subgroups;\n{code}") } else { code }
}

/// WebGPU has no 64-bit integers: kernels with them are used only on native devices.
fn is_native(code: &str) -> bool {
    code.contains("u64")
}

fn answer(stream: &mut TcpStream, kernels: &str) -> Option<Answer> {
    stream.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut length = 0;
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (kind, text) = match request.split(' ').nth(1) {
        Some("/") => ("text/html", PAGE),
        Some("/kernels") => ("application/json", kernels),
        _ => ("text/plain", ""),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", text.len());
    stream.write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes()).unwrap();
    request.starts_with("POST /answer").then(|| serde_json::from_slice(&body).unwrap())
}

#[test]
#[ignore = "needs Chromium: `cargo xtask test` installs it"]
fn every_variant_compiles_in_a_browser() {
    let (native, kernels): (Vec<_>, Vec<_>) =
        kernels().into_iter().partition(|kernel| is_native(&kernel.code));
    let variants: BTreeSet<_> = kernels.iter().chain(&native).map(|kernel| kernel.code.as_str()).collect();
    for shader in SHADERS {
        for defines in shader.variants {
            let code = for_browsers(source::assemble(shader.name, shader.source, defines).unwrap());
            assert!(variants.contains(code.as_str()), "the zoo has no {} {defines:?}", shader.name);
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Browser(
        Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--no-first-run", "--disable-dev-shm-usage"])
            .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(&address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let text = serde_json::to_string(&kernels).unwrap();
    let start = Instant::now();
    let answer = loop {
        match listener.accept() {
            Ok((mut stream, _)) => match answer(&mut stream, &text) {
                Some(answer) => break answer,
                None => continue,
            },
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        assert!(start.elapsed() < LIMIT, "Chromium does not answer");
        assert!(browser.0.try_wait().unwrap().is_none(), "Chromium ended by itself");
    };
    assert!(answer.complaints.is_empty(), "{}: {:#?}", answer.adapter, answer.complaints);
    assert_eq!(answer.compiled, kernels.len() + 1, "{}", answer.adapter);
    eprintln!(
        "{}: {} kernels compiled; {} are for native devices",
        answer.adapter,
        kernels.len(),
        native.len()
    );
}
