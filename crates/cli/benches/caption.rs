//! The times that a user waits for: `cargo bench` captions a sample photo with the bundled model and with flickr8k, and prints medians.
//!
//! Warm times are measured in one process; start-up times and memory in fresh `shadetell` processes, with an empty and with a
//! filled shader cache of Mesa.

#![expect(clippy::print_stdout, reason = "a benchmark prints a report")]

use shadetell::engine::gpu::{AdapterChoice, Gpu};
use shadetell::image::{DecodeOptions, Rgb8, read};
use shadetell::weights::{DecoderFamily, Model};
use shadetell::{Backend, CaptionOptions, Captioner};
use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../photos/camera.jpg");
const WARM_RUNS: usize = 21;
const COLD_RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::open(&AdapterChoice::default())?;
    println!("{} ({} {}), {:?}", gpu.info.name, gpu.info.driver, gpu.info.driver_info, gpu.info.backend);
    let model = Model::from_static("bundled model", shadetell_everyday::MODEL)?;
    let classic = Model::from_static("shadetell-flickr8k", shadetell_flickr8k::MODEL)?;
    let photo = read(Path::new(PHOTO), &DecodeOptions::default())?;
    for (model, decoder) in [
        (&model, DecoderFamily::SemanticAttention),
        (&classic, DecoderFamily::ShowAttendTell),
        (&classic, DecoderFamily::ShowTell),
    ] {
        for beam in [Some(1), None] {
            let options = CaptionOptions { decoder: Some(decoder), beam, ..CaptionOptions::default() };
            warm(model, &gpu, &photo, &options)?;
        }
    }
    let cache = std::env::temp_dir().join(format!("shadetell-bench-{}", std::process::id()));
    let mut empty = Vec::new();
    for _ in 0..COLD_RUNS {
        let _ = std::fs::remove_dir_all(&cache);
        empty.push(start(&cache)?.0);
    }
    row("process, empty shader cache", &mut empty, "bar 3000 ms");
    let mut filled = Vec::new();
    let mut peak = 0;
    for _ in 0..COLD_RUNS {
        let (time, memory) = start(&cache)?;
        filled.push(time);
        peak = peak.max(memory);
    }
    row("process, filled shader cache", &mut filled, "bar 1000 ms");
    println!("{:<46} {:>9.1} MB        bar 400 MB", "process, peak memory", peak as f64 / 1024.0);
    std::fs::remove_dir_all(&cache)?;
    Ok(())
}

/// Times of a captioner that has run before.
fn warm(model: &Model, gpu: &Gpu, photo: &Rgb8, options: &CaptionOptions) -> Result<(), Box<dyn Error>> {
    let captioner = Captioner::new(model, Backend::Gpu(gpu), options)?;
    captioner.caption(photo)?;
    let mut total = Vec::new();
    let mut encode = Vec::new();
    for _ in 0..WARM_RUNS {
        let clock = Instant::now();
        let caption = captioner.caption(photo)?;
        total.push(clock.elapsed());
        encode.push(caption.timings.encode);
    }
    let decoder = options.decoder.map_or_else(String::new, |d| d.to_string());
    let search = if options.beam == Some(1) { "greedy" } else { "default beam" };
    row(&format!("{decoder}, encoder"), &mut encode, "");
    row(&format!("{decoder}, encoder and {search}"), &mut total, "bar 350 ms for show-attend-tell, greedy");
    Ok(())
}

/// The time of a fresh process from start to end, and its peak memory in KiB (0 where the system does not report it).
fn start(cache: &Path) -> Result<(Duration, u64), Box<dyn Error>> {
    let clock = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_shadetell"))
        .args(["caption", "--beam", "1", "-q", "--device", "gpu", PHOTO])
        .env("MESA_SHADER_CACHE_DIR", cache)
        .stdout(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(resident(&child));
        std::thread::sleep(Duration::from_millis(2));
    };
    if status.success() { Ok((clock.elapsed(), peak)) } else { Err(format!("shadetell: {status}").into()) }
}

/// The peak of a process's resident memory so far, in KiB.
fn resident(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn row(name: &str, times: &mut [Duration], note: &str) {
    times.sort();
    let ms = |t: Duration| t.as_secs_f64() * 1e3;
    let (median, least, most) = (times[times.len() / 2], times[0], times[times.len() - 1]);
    println!("{name:<46} {:>9.1} ms ({:.1} to {:.1})  {note}", ms(median), ms(least), ms(most));
}
