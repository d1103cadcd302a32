//! Connections: their number, timeouts and end.

use crate::guard::MAX_HEAD;
use crate::service::Service;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// The time for accepted photos after the signal to stop. Later, the remaining ones are dropped.
pub const GRACE: Duration = Duration::from_secs(60);
/// The pause after a failure to accept a connection, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// Most bytes that are read for the head of a request. The parser accepts a head that is complete with the read that exceeds its
/// limit, so `guard` checks the size of complete heads.
const MAX_READ: usize = MAX_HEAD;

/// Accepts connections until `stop`, then waits for connections with a request and for the worker; `false` if they take too long.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    service: &Service,
    stop: impl Future<Output = ()>,
) -> bool {
    let limits = &service.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // An idle connection that is kept alive has the same timeout as the head of a request.
    http.timer(TokioTimer::new()).header_read_timeout(limits.timeout).max_buf_size(MAX_READ);
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Send small answers without delay. An error is ignored.
        let _ = stream.set_nodelay(true);
        // A client that does not read its answers times out too.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let connection = http.serve_connection(stream, TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // Clients may close connections at any time.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    service.stop();
    let finish = async {
        graceful.shutdown().await;
        service.finish().await;
    };
    tokio::time::timeout(GRACE, finish).await.is_ok()
}
