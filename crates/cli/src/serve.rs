//! `shadetell serve`: the server with options of the command line.

use super::args::{AdapterArgs, bundled_model, number};
use super::engine::{self, DeviceChoice, Engine};
use super::failure::{Failure, PHOTOS_FAILED};
use super::output::note;
use clap::{Args, ValueEnum, ValueHint};
use shadetell::CaptionOptions;
use shadetell::weights::Model;
use shadetell_server::{
    Config, GRACE, Limits, Models, ModelsError, Outcome, Server, Site, StartError, Token,
};
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// Serves a web page and an API that caption photos
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell serve                   then open http://127.0.0.1:8000/
  curl --data-binary @dog.jpg http://127.0.0.1:8000/v1/caption
  curl -F a=@dog.jpg -F b=@cat.jpg -F beam=5 http://127.0.0.1:8000/v1/caption
  shadetell serve --port 9000
  shadetell serve --model mine.safetensors --model other.safetensors
  SHADETELL_TOKEN=secret shadetell serve --listen 0.0.0.0:8000

The API is described at /docs and /openapi.json; /healthz, /readyz and
/metrics are for monitoring. Photos are kept only in memory, while they are
captioned. On SIGTERM or Ctrl-C the server answers accepted photos, then
exits; a second signal ends it at once.")]
pub(crate) struct ServeArgs {
    /// Address or name, and port, as in 0.0.0.0:8000, localhost:8000 or 8000; port 0 takes a free one. Only this machine can
    /// connect unless another address is given
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    listen: Listen,

    /// The address alone
    #[arg(long, value_name = "ADDRESS", conflicts_with = "listen")]
    host: Option<String>,

    /// The port alone
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,

    /// A model file to offer instead of the built-in model; can be given more than once, the first is the default
    #[arg(long = "model", value_name = "FILE", value_hint = ValueHint::FilePath)]
    models: Vec<PathBuf>,

    /// The device to use
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// Most photos in a batch
    #[arg(long, value_name = "N", default_value = "8", value_parser = number(1..=CaptionOptions::MAX_BATCH, "a whole number"))]
    max_batch: usize,

    /// How long a photo waits for others to be captioned with it, in milliseconds
    #[arg(long, value_name = "MS", default_value = "2", value_parser = number(0..=10_000u64, "a whole number"))]
    max_wait: u64,

    /// Most photos that are accepted and not captioned yet; further photos are answered with 429
    #[arg(long, value_name = "N", default_value = "64", value_parser = number(1..=100_000usize, "a whole number"))]
    queue: usize,

    /// The largest request body, in MiB
    #[arg(long, value_name = "MIB", default_value = "20", value_parser = number(1..=4096usize, "a whole number"))]
    max_body: usize,

    /// The largest photo to decode, in millions of pixels
    #[arg(long, value_name = "MEGAPIXELS", default_value = "100", value_parser = number(1..=10_000u64, "a whole number"))]
    max_pixels: u64,

    /// How long a client may take to send the head of a request, then its body, and to read the answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = number(1..=3600u64, "a whole number"))]
    timeout: u64,

    /// Most connections at a time
    #[arg(long, value_name = "N", default_value = "1024", value_parser = number(1..=65_536usize, "a whole number"))]
    connections: usize,

    /// A secret that clients of the API have to send as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN", env = "SHADETELL_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// A web site whose pages may use the API, as in https://example.org; none may if not given. The origin `null` cannot be allowed
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<Site>,

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

/// Serves until a signal stops it.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let config = args.config()?;
    start_log(args.log);
    let models = open_models(&args.models)?;
    let engine = Engine::prepare(models.first(), &CaptionOptions::default(), args.device, &args.adapter)?;
    engine.device.introduce();
    // A server that started on a GPU never continues on the CPU, which would be slow and unnoticed.
    let cpu = Some(engine.device.clone()).filter(|device| device.gpu.is_none());
    let adapter = args.adapter.clone();
    let reopen = move || {
        let device = match &cpu {
            Some(device) => device.clone(),
            None => engine::Device::open(DeviceChoice::Gpu, &adapter)?,
        };
        device.introduce();
        Ok(served(device))
    };
    let server = Server::start(config, models, engine.captioner, served(engine.device), Box::new(reopen));
    let server = server.map_err(|error| match error {
        StartError::Listen { .. } => Failure::System(format!("{error}; choose another --listen")),
        StartError::Threads(_) => Failure::System(error.to_string()),
    })?;
    note(&format!("listening on http://{}/", server.address()));
    Ok(match server.run() {
        Outcome::Finished => {
            note("stopped: all accepted photos were answered");
            ExitCode::SUCCESS
        }
        Outcome::TimedOut => {
            note(&format!(
                "stopped: photos that were not answered within {} s were dropped",
                GRACE.as_secs()
            ));
            ExitCode::from(PHOTOS_FAILED)
        }
        Outcome::Interrupted(code) => {
            note("stopped: photos that were not answered were dropped");
            ExitCode::from(code)
        }
    })
}

/// A device as a type of the server.
fn served(device: engine::Device) -> shadetell_server::Device {
    device.gpu.map_or(shadetell_server::Device::CPU, shadetell_server::Device::from)
}

/// Opens model files, or the built-in model.
fn open_models(paths: &[PathBuf]) -> Result<Models, Failure> {
    let models = match paths {
        [] => vec![bundled_model()?],
        paths => paths.iter().map(|path| Model::open(path)).collect::<Result<_, _>>()?,
    };
    Models::new(models).map_err(|error| match error {
        ModelsError::SameName { .. } => {
            Failure::Usage(format!("{error}: give one of them another name with `shadetell convert --name`"))
        }
        ModelsError::Empty => Failure::Usage(error.to_string()),
    })
}

/// Where to listen: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listen {
    host: String,
    port: u16,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let expected = || format!("expected ADDRESS:PORT, as in 127.0.0.1:8000, or a port, found {text:?}");
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without a port.
            _ if text.parse::<Ipv6Addr>().is_ok() || text.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => ("", Some(text)),
            None => (text, None),
        };
        let port = port.map_or(Ok(Listen::PORT), |port| port.parse().map_err(|_| expected()))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte));
        if text.is_empty() || !is_name {
            return Err(expected());
        }
        Ok(Listen { host: if host.is_empty() { Listen::HOST } else { host }.to_owned(), port })
    }
}

impl Listen {
    const HOST: &str = "127.0.0.1";
    const PORT: u16 = 8000;

    /// The address of the name, the one of IPv4 if there are several.
    fn address(&self) -> Result<SocketAddr, Failure> {
        let Listen { host, port } = self;
        let failed = |reason: String| Failure::System(format!("cannot find the address of {host}: {reason}"));
        let found = (host.as_str(), *port).to_socket_addrs().map_err(|error| failed(error.to_string()))?;
        found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| failed("it has none".to_owned()))
    }
}

impl ServeArgs {
    /// The address to listen on.
    fn address(&self) -> Result<SocketAddr, Failure> {
        let host: Listen = match &self.host {
            Some(host) => host.parse().map_err(|error| Failure::Usage(format!("--host: {error}")))?,
            None => self.listen.clone(),
        };
        Listen { port: self.port.unwrap_or(host.port), ..host }.address()
    }

    fn config(&self) -> Result<Config, Failure> {
        let token = self.token.as_deref().map(str::parse::<Token>).transpose();
        Ok(Config {
            listen: self.address()?,
            limits: Limits {
                max_batch: self.max_batch,
                max_wait: Duration::from_millis(self.max_wait),
                queue: self.queue,
                max_body: self.max_body << 20,
                max_pixels: self.max_pixels * 1_000_000,
                timeout: Duration::from_secs(self.timeout),
                connections: self.connections,
            },
            token: token.map_err(|error| Failure::Usage(format!("--token: {error}")))?,
            sites: self.allow_origin.clone(),
        })
    }
}

fn start_log(format: LogFormat) {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    // This process has no other subscriber, so this cannot fail.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::None => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_names_ports_or_both() {
        for (text, host, port) in [
            ("127.0.0.1:9000", "127.0.0.1", 9000),
            ("localhost:9000", "localhost", 9000),
            (":9000", "127.0.0.1", 9000),
            ("9000", "127.0.0.1", 9000),
            ("0", "127.0.0.1", 0),
            ("0.0.0.0", "0.0.0.0", 8000),
            ("[::1]:9000", "::1", 9000),
            ("::1", "::1", 8000),
            ("[::]", "::", 8000),
        ] {
            assert_eq!(text.parse(), Ok(Listen { host: host.to_owned(), port }), "{text}");
        }
        for wrong in ["", "localhost:", "a:b", "65536", ":-1", "http://localhost:8000", "a b:1"] {
            assert!(wrong.parse::<Listen>().unwrap_err().starts_with("expected ADDRESS:PORT"), "{wrong}");
        }
        let found = "localhost:9000".parse::<Listen>().unwrap().address().unwrap();
        assert!(found.ip().is_loopback() && found.port() == 9000);
    }
}
