//! Tests of the `shadetell` command: standard output, standard error and exit codes.
//!
//! Most tests use the reference kernels on the CPU. The others fail without an adapter: `cargo xtask test` installs one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod bench;
mod caption;
mod convert;

use image::{ImageFormat, Rgb, RgbImage};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const USAGE: i32 = 2;
const NO_MODEL: i32 = 3;
const NO_DEVICE: i32 = 4;

/// The outcome of a run of the command.
#[derive(Debug)]
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// The records of `--json`.
    fn records(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    #[track_caller]
    fn expect(self, code: i32) -> Outcome {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

fn shadetell(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadetell"));
    command.args(args).env_remove("WGPU_ADAPTER_NAME").stdin(Stdio::null());
    command
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    let code = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", output.status));
    Outcome { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(args: &[&str]) -> Outcome {
    outcome(&mut shadetell(args))
}

/// The same on a machine without an adapter.
fn run_without_adapter(args: &[&str]) -> Outcome {
    let nowhere = "/nonexistent/icd.json";
    let mut command = shadetell(args);
    command.env("VK_DRIVER_FILES", nowhere).env("VK_ICD_FILENAMES", nowhere).env_remove("WGPU_BACKEND");
    command.env("__EGL_VENDOR_LIBRARY_FILENAMES", nowhere);
    outcome(&mut command)
}

/// `caption` on the CPU, which every machine has.
fn on_cpu(args: &[&str]) -> Outcome {
    run(&[&["caption", "--device", "cpu"], args].concat())
}

/// A folder of files for one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of a file, as an argument.
    fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("a temporary folder with a plain name").to_owned()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).expect("the temporary folder can be written to");
        self.name(name)
    }

    /// A photo of some colours.
    fn photo(&self, name: &str, format: ImageFormat) -> String {
        self.write(name, photo(40, 30, format))
    }
}

/// Stripes and a slope, in a file format.
fn photo(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let pixel =
        |x: u32, y: u32| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, (x / 5 % 2 * 200) as u8]);
    let mut bytes = Vec::new();
    let image = RgbImage::from_fn(width, height, pixel);
    image.write_to(&mut Cursor::new(&mut bytes), format).expect("images can be encoded");
    bytes
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_error_of_wrong_usage_states_the_allowed_values() {
    let cases: [(&[&str], &str); 16] = [
        (&["caption"], "<PATH>"),
        (&["caption", "--beam", "0", "a.jpg"], "from 1 to 32"),
        (&["caption", "--beam", "33", "a.jpg"], "from 1 to 32"),
        (&["caption", "--beam", "-1", "a.jpg"], "from 1 to 32"),
        (&["caption", "--beam", "two", "a.jpg"], "from 1 to 32"),
        (&["caption", "--max-length", "0", "a.jpg"], "from 1 to 200"),
        (&["caption", "--max-length", "201", "a.jpg"], "from 1 to 200"),
        (&["caption", "--length-penalty", "-0.5", "a.jpg"], "from 0 to 10"),
        (&["caption", "--length-penalty", "nan", "a.jpg"], "from 0 to 10"),
        (&["caption", "--max-pixels", "0", "a.jpg"], "from 1 to 10000"),
        (&["caption", "--decoder", "gpt", "a.jpg"], "show-attend-tell"),
        (&["caption", "--device", "tpu", "a.jpg"], "auto"),
        (&["caption", "--backend", "glide", "a.jpg"], "vulkan"),
        (&["caption", "--device", "cpu", "--adapter", "0", "a.jpg"], "--adapter"),
        (&["caption", "-q", "-v", "a.jpg"], "--verbose"),
        (&["describe", "a.jpg"], "describe"),
    ];
    for (args, words) in cases {
        let output = run(args).expect(USAGE);
        assert!(output.stderr.contains(words) && output.stderr.contains("--help"), "{args:?}: {output:#?}");
        assert_eq!(output.stdout, "", "{args:?}");
    }
}

/// The bundled model's file, to be changed by tests.
struct Source {
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
    /// A matrix of the first decoder.
    tensor: String,
}

impl Source {
    fn load() -> Source {
        let bytes = shadetell_everyday::MODEL.to_vec();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().expect("a description");
        let description: Value = serde_json::from_str(&metadata["shadetell"]).unwrap();
        let prefix = description["decoders"][0]["prefix"].as_str().unwrap();
        let mut names = header.offset_keys();
        names.retain(|name| name.starts_with(prefix) && header.info(name).unwrap().shape.len() == 2);
        let tensor = names.into_iter().max().expect("a decoder has matrices");
        Source { bytes, metadata, tensor }
    }

    /// The file with one tensor changed, or left out.
    fn with(&self, change: impl FnOnce(&TensorView<'_>) -> Option<(Dtype, Vec<usize>, Vec<u8>)>) -> Vec<u8> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let changed = change(&file.tensor(&self.tensor).unwrap());
        let mut tensors = file.tensors();
        tensors.retain(|(name, _)| *name != self.tensor);
        if let Some((dtype, shape, data)) = &changed {
            tensors.push((self.tensor.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        }
        serialize(tensors, Some(self.metadata.clone())).unwrap()
    }

    /// The file with another header over the same tensors.
    fn with_header(&self, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let (length, rest) = self.bytes.split_first_chunk().unwrap();
        let (header, tensors) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let mut header: Value = serde_json::from_slice(header).unwrap();
        change(&mut header);
        let header = header.to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), tensors].concat()
    }
}

#[test]
fn each_broken_model_has_an_error_of_its_own() {
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    let source = Source::load();
    let name = source.tensor.as_str();
    let size = source.bytes.len();
    let quoted = format!("`{name}`");
    let mut endless = source.bytes.clone();
    endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());

    let not_whole = "not a whole safetensors file";
    type Case<'a> = (&'a str, Option<Vec<u8>>, &'a [&'a str]);
    let cases: [Case<'_>; 11] = [
        ("missing", None, &["cannot be read"]),
        ("truncated", Some(source.bytes[..size - 100].to_vec()), &[not_whole]),
        ("empty", Some(Vec::new()), &[not_whole]),
        ("text", Some(b"a dog runs over the grass".to_vec()), &[not_whole]),
        ("endless", Some(endless), &[not_whole]),
        (
            "wrong offsets",
            Some(source.with_header(|header| header[name]["data_offsets"][1] = size.into())),
            &[not_whole],
        ),
        (
            "without a description",
            Some(source.with_header(|header| drop(header.as_object_mut().unwrap().remove("__metadata__")))),
            &["expected a model file of shadetell"],
        ),
        ("without a tensor", Some(source.with(|_| None)), &[&quoted, "missing", "nearest"]),
        (
            "transposed",
            Some(source.with(|tensor| {
                let shape = tensor.shape().iter().rev().copied().collect();
                Some((tensor.dtype(), shape, tensor.data().to_vec()))
            })),
            &[&quoted, "expected", "found"],
        ),
        (
            "whole numbers",
            Some(source.with(|tensor| {
                let dtype = if tensor.dtype() == Dtype::F32 { Dtype::I32 } else { Dtype::I16 };
                Some((dtype, tensor.shape().to_vec(), tensor.data().to_vec()))
            })),
            &[&quoted, "expected f32, f16 or bf16", "found I"],
        ),
        (
            "not a number",
            Some(source.with(|tensor| {
                let mut data = tensor.data().to_vec();
                // All exponent bits and more, in any of the three types.
                data[..4].fill(0xFF);
                Some((tensor.dtype(), tensor.shape().to_vec(), data))
            })),
            &[&quoted, "expected finite numbers", "found NaN at index 0"],
        ),
    ];
    for (name, bytes, words) in cases {
        let path = folder.name(name);
        if let Some(bytes) = bytes {
            folder.write(name, bytes);
        }
        let output = on_cpu(&["--model", &path, &photo]).expect(NO_MODEL);
        assert!(output.stderr.starts_with(&format!("error: {path}: ")), "{output:#?}");
        assert!(words.iter().all(|words| output.stderr.contains(words)), "{words:?}: {output:#?}");
        assert_eq!(output.stdout, "", "{name}");
    }
}

#[test]
fn a_model_file_gives_the_same_captions_as_the_built_in_model() {
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    let model = folder.write("everyday.safetensors", shadetell_everyday::MODEL);
    let from_file = on_cpu(&["--max-length", "4", "--model", &model, &photo]).expect(0);
    assert_eq!(from_file.stdout, on_cpu(&["--max-length", "4", &photo]).expect(0).stdout);
}

#[test]
fn an_unknown_adapter_is_an_error_even_if_another_device_is_available() {
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    for device in ["auto", "gpu"] {
        let output = run(&["caption", "--device", device, "--adapter", "abacus", &photo]).expect(NO_DEVICE);
        assert!(
            output.stderr.contains("`abacus`") && output.stderr.contains("shadetell devices"),
            "{output:#?}"
        );
        assert_eq!(output.stdout, "");
    }
    let output =
        outcome(shadetell(&["caption", &photo]).env("WGPU_ADAPTER_NAME", "abacus")).expect(NO_DEVICE);
    assert!(output.stderr.contains("`abacus`"), "{output:#?}");
}

#[test]
fn the_cpu_is_used_rather_than_a_software_adapter_that_nobody_asked_for() {
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    let adapters: Value = serde_json::from_str(&run(&["devices", "--json"]).expect(0).stdout).unwrap();
    let chosen = adapters.as_array().unwrap().iter().find(|adapter| adapter["chosen"] == true).unwrap();
    let name = chosen["name"].as_str().unwrap();
    let used = |options: &[&str]| {
        let args = [&["caption", "-v", "--max-length", "2"], options, &[&photo]].concat();
        // The tests may run with an adapter that was asked for.
        let mut command = shadetell(&args);
        command.env_remove("WGPU_BACKEND");
        outcome(&mut command).expect(0).stderr.lines().next().unwrap().to_owned()
    };
    if chosen["type"] == "software adapter" {
        assert!(used(&[]).starts_with("using the CPU, as there is no hardware GPU: found "), "{}", used(&[]));
    } else {
        assert!(used(&[]).starts_with(&format!("using {name}")), "{}", used(&[]));
    }
    for asked_for in [["--device", "gpu"], ["--adapter", "0"]] {
        assert!(
            used(&asked_for).starts_with(&format!("using {name}")),
            "{asked_for:?}: {}",
            used(&asked_for)
        );
    }
}

#[test]
fn without_an_adapter_the_cpu_is_used() {
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    let short = ["caption", "--max-length", "3"];

    let output = run_without_adapter(&["devices"]).expect(NO_DEVICE);
    assert!(
        output.stdout.is_empty()
            && output.stderr.contains("no GPU adapter found (looked at Vulkan, Metal, Direct3D 12, OpenGL)"),
        "{output:#?}"
    );
    let output = outcome(shadetell(&["devices"]).env("WGPU_BACKEND", "glide")).expect(NO_DEVICE);
    assert!(output.stderr.contains("vulkan, metal, dx12 or gl, found `glide`"), "{output:#?}");
    let output = run_without_adapter(&["devices", "--json"]).expect(NO_DEVICE);
    assert_eq!(output.stdout.trim(), "[]");
    let output = run_without_adapter(&["caption", "--device", "gpu", &photo]).expect(NO_DEVICE);
    assert!(output.stdout.is_empty() && output.stderr.contains("--device cpu"), "{output:#?}");

    let said = run_without_adapter(&[&short, ["-v", &photo].as_slice()].concat()).expect(0);
    assert_eq!(said.lines().len(), 1);
    assert!(said.stderr.starts_with("using the CPU"), "{said:#?}");
    let quiet = run_without_adapter(&[&short, ["-q", &photo].as_slice()].concat()).expect(0);
    assert_eq!((quiet.stdout, quiet.stderr.as_str()), (said.stdout, ""));
}

#[test]
fn an_adapter_gives_the_same_captions_as_the_cpu() {
    let folder = Folder::new();
    let photos = [("a.jpg", ImageFormat::Jpeg), ("b.png", ImageFormat::Png)].map(|(n, f)| folder.photo(n, f));
    let classic = folder.write("classic.safetensors", shadetell_flickr8k::MODEL);
    for choices in [&[][..], &["--model", &classic], &["--model", &classic, "--decoder", "show-tell"]] {
        let args = [choices, &["--json", &photos[0], &photos[1]]].concat();
        let gpu = run(&[&["caption", "--device", "gpu", "-v"], args.as_slice()].concat()).expect(0);
        for words in ["using ", "plan: ", "memory: ", "weights", "encode"] {
            assert!(gpu.stderr.contains(words), "{words}: {}", gpu.stderr);
        }
        let cpu = on_cpu(&args).expect(0).records();
        for (gpu, cpu) in gpu.records().iter().zip(&cpu) {
            assert_eq!(gpu["caption"], cpu["caption"]);
            assert_ne!(gpu["adapter"], cpu["adapter"]);
            let difference = gpu["log_prob"].as_f64().unwrap() - cpu["log_prob"].as_f64().unwrap();
            assert!(difference.abs() < 1e-2, "{gpu} {cpu}");
        }
    }
}

#[test]
fn attention_is_drawn_into_one_picture_per_photo() {
    let folder = Folder::new();
    fs::create_dir(folder.path("other")).unwrap();
    let photos = ["dog.jpg", "other/dog.jpg"].map(|name| folder.photo(name, ImageFormat::Jpeg));
    let seen = folder.name("seen/here");
    let options = ["--json", "--max-length", "5", "--attention", &seen];
    let records =
        on_cpu(&[&options, [photos[0].as_str(), &photos[1]].as_slice()].concat()).expect(0).records();
    for (record, name) in records.iter().zip(["dog.attention.png", "dog-2.attention.png"]) {
        let path = Path::new(&seen).join(name);
        assert_eq!(record["attention"], path.to_str().unwrap());
        let sheet = image::open(&path).unwrap();
        // Cells of 224 x 168 photos under strips of 32, with gaps of 8 around: the photo, and one for each word.
        let (columns, rows) = ((sheet.width() - 8) / 232, (sheet.height() - 8) / 208);
        assert_eq!((sheet.width(), sheet.height()), (8 + 232 * columns, 8 + 208 * rows));
        let cells = record["tokens"].as_array().unwrap().len() as u32 + 1;
        assert_eq!(rows, cells.div_ceil(columns), "{columns} columns for {cells} cells");
    }
    // If the photo is cropped, only its middle is drawn.
    let cropped = folder.name("cropped");
    let options = ["--preset", "resize256-crop224", "--max-length", "5", "--attention", &cropped, &photos[0]];
    on_cpu(&options).expect(0);
    let sheet = image::open(Path::new(&cropped).join("dog.attention.png")).unwrap();
    assert_eq!([(sheet.width() - 8) % 232, (sheet.height() - 8) % 264], [0, 0], "cells are square");
    let classic = folder.write("classic.safetensors", shadetell_flickr8k::MODEL);
    let options = ["--model", &classic, "--decoder", "show-tell", "--attention", &seen, &photos[0]];
    let output = on_cpu(&options).expect(USAGE);
    assert!(output.stderr.contains("no attention"), "{output:#?}");
    let output = on_cpu(&["--attention", &photos[0], &photos[0]]).expect(USAGE);
    assert!(output.stderr.contains("cannot create the folder"), "{output:#?}");
}

#[test]
fn devices_are_listed() {
    let list = run(&["devices", "--json"]).expect(0);
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    let adapters = list.as_array().unwrap();
    assert_eq!(adapters.iter().filter(|adapter| adapter["chosen"] == true).count(), 1);
    let text = run(&["devices"]).expect(0);
    for (index, adapter) in adapters.iter().enumerate() {
        assert_eq!(adapter["index"], index);
        assert!(adapter["limits"]["maxStorageBufferBindingSize"].is_u64(), "{adapter}");
        assert!(adapter["features"]["timestamp-query"].is_boolean(), "{adapter}");
        let [name, driver] = ["name", "driver_info"].map(|key| adapter[key].as_str().unwrap());
        // Scripts expect both in one line.
        assert!(text.lines().iter().any(|line| line.contains(name) && line.contains(driver)), "{text:#?}");
    }
}

#[test]
fn a_plan_needs_no_adapter() {
    let folded = run_without_adapter(&["plan", "--beam", "2"]).expect(0);
    let full = run_without_adapter(&["plan", "--beam", "2", "--full"]).expect(0);
    assert!(full.lines().len() > folded.lines().len() && folded.stdout.contains("... x "), "{folded:#?}");
    let json = run_without_adapter(&["plan", "--beam", "2", "--json"]).expect(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let phases = json["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["encode", "generate"]);
    let steps: usize = phases.iter().map(|phase| phase["steps"].as_array().unwrap().len()).sum();
    assert_eq!(json["totals"]["dispatches"], steps);
    let bytes = |key: &str| json["totals"][key].as_u64().unwrap();
    assert!(bytes("arena_bytes") < bytes("naive_bytes") && bytes("weight_bytes") > 0);
    let software = run_without_adapter(&["plan", "--beam", "2", "--class", "software"]).expect(0);
    assert_ne!(software.stdout, folded.stdout);
}

#[test]
fn completion_scripts_contain_the_options() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(&["completions", shell]).expect(0);
        assert!(script.stdout.contains("length-penalty"), "{shell}");
    }
    run(&["completions", "tcl"]).expect(USAGE);
}

#[test]
fn help_has_examples() {
    for command in ["caption", "devices", "plan", "completions"] {
        let help = run(&[command, "--help"]).expect(0);
        assert!(help.stdout.contains("Examples:\n  shadetell "), "{command}: {}", help.stdout);
    }
    assert!(run(&["--help"]).expect(0).stdout.contains("Exit codes:"));
    let version = run(&["--version"]).expect(0).stdout;
    let rest = version.strip_prefix(concat!("shadetell ", env!("CARGO_PKG_VERSION"), " (")).expect(&version);
    assert!(rest.contains("wgpu ") && rest.ends_with(")\n"), "{version}");
}

/// All subcommands, and those of `bench`.
const COMMANDS: [&[&str]; 18] = [
    &[],
    &["caption"],
    &["tag"],
    &["embed"],
    &["devices"],
    &["plan"],
    &["convert"],
    &["inspect"],
    &["vocab"],
    &["synth"],
    &["tune"],
    &["serve"],
    &["completions"],
    &["bench"],
    &["bench", "model"],
    &["bench", "kernel"],
    &["bench", "kernels"],
    &["bench", "check"],
];

#[test]
fn help_fits_a_terminal_of_80_columns() {
    for command in COMMANDS {
        let help = run(&[command, &["--help"]].concat()).expect(0).stdout;
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{command:?}: {wide:#?}");
    }
}

#[test]
fn an_adapter_is_a_number_or_part_of_a_name() {
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    let caption = |adapter| run(&["caption", "--max-length", "2", "--adapter", adapter, &photo]);
    caption("0").expect(0);
    // Digits occur in the names of adapters.
    for number in ["9", "256", "99999999999999999999"] {
        let output = caption(number).expect(NO_DEVICE);
        assert!(output.stderr.contains(&format!("`{number}`; found: 0: ")), "{output:#?}");
    }
    for empty in ["", " "] {
        assert!(caption(empty).expect(USAGE).stderr.contains("expected part of an adapter's name"));
    }
}

#[test]
fn a_graphics_api_that_is_not_there_is_named() {
    let absent = if cfg!(target_os = "macos") { ("dx12", "Direct3D 12") } else { ("metal", "Metal") };
    let with = |value| outcome(shadetell(&["devices"]).env("WGPU_BACKEND", value));
    for output in [run(&["devices", "--backend", absent.0]), with(absent.0)] {
        let output = output.expect(NO_DEVICE);
        let named = format!("no {} adapter; found: 0: ", absent.1);
        assert!(output.stderr.contains(&named) && !output.stderr.contains("no GPU"), "{output:#?}");
    }
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    run(&["caption", "--backend", absent.0, &photo]).expect(NO_DEVICE);
    with("").expect(0);
    assert!(with("glide").expect(NO_DEVICE).stderr.contains("found `glide`"));
}

#[cfg(target_os = "linux")]
#[test]
fn with_too_little_address_space_the_cpu_is_used() {
    let folder = Folder::new();
    let photo = folder.photo("dog.jpg", ImageFormat::Jpeg);
    let limited = |device| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -v 700000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_shadetell")]);
        outcome(shell.args(["caption", "-v", "--max-length", "2", "--device", device, &photo]))
    };
    assert!(limited("auto").expect(0).stderr.starts_with("using the CPU"));
    let refused = limited("gpu").expect(NO_DEVICE).stderr;
    assert!(refused.contains("ulimit -v") && refused.contains("--device cpu"), "{refused}");
}

#[test]
fn a_photo_as_a_subcommand_is_explained() {
    for photo in ["dog.jpg", "-", "."] {
        let output = run(&[photo]).expect(USAGE);
        assert!(output.stderr.contains(&format!("shadetell caption {photo}\n")), "{output:#?}");
    }
    let output = run(&["dog\u{1b}[31m.jpg"]).expect(USAGE);
    assert!(!output.stderr.contains('\u{1b}'), "{output:#?}");
}

#[test]
fn a_closed_pipe_ends_the_command_without_an_error() {
    let mut command = shadetell(&["plan", "--full"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
