//! `shadetell serve`: a web page and an API.
//!
//! ```text
//! connection (listen) -> observe, guard -> v1 or max -> upload: body, photos
//!   -> places in the queue -> decode and resize, on blocking threads
//!   -> queue -> worker: batches on the device -> answers
//! ```

mod drain;
mod guard;
mod listen;
mod max;
mod metrics;
mod models;
mod observe;
mod openapi;
mod page;
mod problem;
mod queue;
mod service;
mod stream;
#[cfg(test)]
mod tests;
mod upload;
mod v1;
mod worker;

use super::args::{AdapterArgs, number};
use super::engine::{Device, DeviceChoice, Engine};
use super::failure::{Failure, PHOTOS_FAILED};
use super::output::note;
use clap::{Args, ValueEnum, ValueHint};
use models::Models;
use service::Service;
use shadetell::CaptionOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

/// Serves a web page and an API that caption photos
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell serve                                  then open http://127.0.0.1:8000/
  curl --data-binary @dog.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/v1/caption
  curl -F a=@dog.jpg -F b=@cat.jpg -F beam=5 http://127.0.0.1:8000/v1/caption
  shadetell serve --model mine.safetensors --model other.safetensors
  SHADETELL_TOKEN=secret shadetell serve --listen 0.0.0.0:8000

The API is described at /docs and /openapi.json; /healthz, /readyz and /metrics are for machines. Photos are kept in
memory while they are captioned, and nowhere else. SIGTERM and Ctrl-C finish what was accepted; a second one ends at once.")]
pub(crate) struct ServeArgs {
    /// Address and port; port 0 takes a free one. Only this machine can connect unless another address is given
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,

    /// A model file to offer in place of the one built in; can be given more than once, the first is the default
    #[arg(long = "model", value_name = "FILE", value_hint = ValueHint::FilePath)]
    models: Vec<PathBuf>,

    /// What computes
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Most photos that are captioned at a time
    #[arg(long, value_name = "N", default_value = "8", value_parser = number(1..=CaptionOptions::MAX_BATCH, "a whole number"))]
    max_batch: usize,

    /// How long a photo waits for others to be captioned with it, in milliseconds
    #[arg(long, value_name = "MS", default_value = "2", value_parser = number(0..=10_000u64, "a whole number"))]
    max_wait: u64,

    /// Most photos that are accepted and not captioned yet; what comes beyond is answered with 429
    #[arg(long, value_name = "N", default_value = "64", value_parser = number(1..=100_000usize, "a whole number"))]
    queue: usize,

    /// The largest request body, in MiB
    #[arg(long, value_name = "MIB", default_value = "20", value_parser = number(1..=4096usize, "a whole number"))]
    max_body: usize,

    /// The largest photo to decode, in millions of pixels
    #[arg(long, value_name = "MEGAPIXELS", default_value = "100", value_parser = number(1..=10_000u64, "a whole number"))]
    max_pixels: u64,

    /// How long a client may take to send the head of a request, then its body, and to read on, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = number(1..=3600u64, "a whole number"))]
    timeout: u64,

    /// Most connections at a time
    #[arg(long, value_name = "N", default_value = "1024", value_parser = number(1..=65_536usize, "a whole number"))]
    connections: usize,

    /// A secret that clients of the API have to send as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN", env = "SHADETELL_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// A web site whose pages may use the API, as in https://example.org; none may if not given
    #[arg(long, value_name = "ORIGIN", value_parser = guard::site)]
    allow_origin: Vec<guard::Site>,

    /// How requests are logged on standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    log: LogFormat,
}

/// Ways to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line a request
    Text,
    /// A JSON object a request
    Json,
    /// Nothing
    None,
}

/// Serves until it is told to stop.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let token = args.token.as_deref().map(guard::token).transpose().map_err(Failure::Usage)?;
    start_log(args.log);
    let models = Models::open(&args.models)?;
    let options = CaptionOptions::default();
    let engine = Engine::prepare(models.get(0), &options, args.device, &args.adapter)?;
    engine.device.introduce();
    let system = |what: &str, error: std::io::Error| Failure::System(format!("{what}: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // They decode photos, each with memory of its own that the allocator keeps.
        .max_blocking_threads(service::decoders() + 1)
        .build()
        .map_err(|error| system("cannot start threads", error))?;
    let ended = runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await;
        let listener = listener.map_err(|error| {
            Failure::Usage(format!("cannot listen on {}: {error}; choose another --listen", args.listen))
        })?;
        let address = listener.local_addr().map_err(|error| system("cannot listen", error))?;
        // A server that began on a GPU does not go on, slowly and unnoticed, on the CPU.
        let cpu = Some(engine.device.clone()).filter(|device| device.gpu.is_none());
        let adapter = args.adapter.clone();
        let reopen = move || cpu.clone().map_or_else(|| Device::open(DeviceChoice::Gpu, &adapter), Ok);
        let service = Service::start(models, engine, Box::new(reopen), args.limits())?;
        note(&format!("listening on http://{address}/"));
        let access = guard::Access::new(token, &args.allow_origin, address.ip());
        let router = service::router(&service, access);
        let stop = async {
            stop_signal().await;
        };
        let second_signal = async {
            stop_signal().await;
            stop_signal().await
        };
        tokio::select! {
            is_finished = listen::serve(listener, router, &service, stop) => match is_finished {
                true => {
                    note("stopped: all that was accepted is answered");
                    Ok(ExitCode::SUCCESS)
                }
                false => {
                    let seconds = listen::GRACE.as_secs();
                    note(&format!("stopped: what was not answered within {seconds} s is given up"));
                    Ok(ExitCode::from(PHOTOS_FAILED))
                }
            },
            code = second_signal => {
                note("stopped: what was not answered is given up");
                Ok(ExitCode::from(code))
            }
        }
    });
    // Does not wait for photos that are being decoded for nobody.
    runtime.shutdown_background();
    ended
}

impl ServeArgs {
    fn limits(&self) -> service::Limits {
        service::Limits {
            max_batch: self.max_batch,
            max_wait: Duration::from_millis(self.max_wait),
            queue: self.queue,
            max_body: self.max_body << 20,
            max_pixels: self.max_pixels * 1_000_000,
            timeout: Duration::from_secs(self.timeout),
            connections: self.connections,
        }
    }
}

fn start_log(format: LogFormat) {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    // There is no other subscriber in this process that could be in the way.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::None => Ok(()),
    };
}

/// Waits for Ctrl-C, or SIGTERM where there are signals. Gives the exit code of a program that it ends.
async fn stop_signal() -> u8 {
    const INTERRUPTED: u8 = 130;
    const TERMINATED: u8 = 143;
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = tokio::signal::ctrl_c() => INTERRUPTED,
            _ = terminate.recv() => TERMINATED,
        };
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    INTERRUPTED
}
