//! An HTTP server that captions photos: a web page, a JSON API and metrics.
//!
//! ```text
//! connection (listen) -> routes: observe, guard -> v1 or max -> upload: body, photos
//!   -> service: a place in the queue -> photo: decode and resize, on blocking threads
//!   -> queue -> worker: batches on the device -> request or stream: answers
//! ```
//!
//! [`Server::start`] takes the models, a device with a captioner on it, and a function that opens another device if this one is
//! lost. [`Server::run`] serves until the process receives a signal to stop. Requests are logged with `tracing`.

mod budget;
mod config;
mod device;
mod drain;
mod features;
mod guard;
mod listen;
mod max;
mod metrics;
mod models;
mod observe;
mod openapi;
mod page;
mod photo;
mod problem;
mod queue;
pub mod record;
mod request;
mod routes;
mod service;
mod signal;
mod stream;
#[cfg(test)]
mod tests;
mod upload;
mod v1;
mod worker;

pub use config::{Config, InvalidSetting, Limits, Site, Token};
pub use device::{Device, Reopen};
pub use listen::GRACE;
pub use models::{Models, ModelsError};

use axum::Router;
use guard::Access;
use service::Service;
use shadetell::Captioner;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server that is bound to its address.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    service: Arc<Service>,
    router: Router,
}

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        #[source]
        error: io::Error,
    },
    /// The system cannot start threads.
    #[error("cannot start threads: {0}")]
    Threads(#[source] io::Error),
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All photos that were accepted are answered.
    Finished,
    /// Some photos were not answered within [`GRACE`] after the signal to stop.
    TimedOut,
    /// A second signal ended the server at once. Contains the exit code that shells use for this signal.
    Interrupted(u8),
}

impl Server {
    /// Binds the address, and starts the thread that owns the device. The thread compiles the kernels for the default search.
    /// `captioner` is on `device`, for the default search and a single photo.
    ///
    /// # Errors
    /// The address is in use or does not belong to this machine, or the system cannot start threads.
    pub fn start(
        config: Config,
        models: Models,
        captioner: Captioner,
        device: Device,
        reopen: Reopen,
    ) -> Result<Server, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            // The threads decode photos. Their number is limited, since the allocator keeps memory for each. One more waits for the worker
            // at the end.
            .max_blocking_threads(available_parallelism().map_or(1, usize::from) + 1)
            .build()
            .map_err(StartError::Threads)?;
        let listen = |error| StartError::Listen { address: config.listen, error };
        let listener = runtime.block_on(TcpListener::bind(config.listen)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let service =
            worker::start(models, captioner, device, reopen, config.limits).map_err(StartError::Threads)?;
        let router = routes::router(&service, Access::new(config.token, config.sites));
        Ok(Server { runtime, listener, address, service, router })
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until Ctrl-C or SIGTERM, then answers the accepted photos. A second signal ends it at once.
    pub fn run(self) -> Outcome {
        let Server { runtime, listener, service, router, .. } = self;
        let first_signal = async {
            signal::stop().await;
        };
        let second_signal = async {
            signal::stop().await;
            signal::stop().await
        };
        let outcome = runtime.block_on(async {
            tokio::select! {
                is_finished = listen::serve(listener, router, &service, first_signal) => match is_finished {
                    true => Outcome::Finished,
                    false => Outcome::TimedOut,
                },
                code = second_signal => Outcome::Interrupted(code),
            }
        });
        // Does not wait for threads that are still decoding photos.
        runtime.shutdown_background();
        outcome
    }
}
