//! Signals that stop the server.

const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Waits for Ctrl-C, or for SIGTERM where there are signals. Gives the exit code that shells give to a program ended by it.
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
