//! Signals that stop the server.

const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Waits for Ctrl-C, or for SIGTERM on systems with signals. Returns the exit code that shells use for this signal.
pub(crate) async fn stop() -> u8 {
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
