//! Tests of a lost device, over real connections. The tests of `shadetell serve` cover the rest.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use crate::config::Limits;
use crate::device::Device;
use crate::guard::Access;
use crate::models::Models;
use crate::service::Service;
use crate::{listen, routes, worker};
use shadetell::engine::gpu::{AdapterChoice, Gpu, GpuError};
use shadetell::weights::Model;
use shadetell::{CaptionOptions, Captioner};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

fn limits() -> Limits {
    Limits {
        max_batch: 4,
        max_wait: Duration::ZERO,
        queue: 64,
        max_body: 1 << 20,
        max_pixels: 1_000_000,
        timeout: Duration::from_secs(10),
        connections: 64,
    }
}

/// A server in this process.
struct Server {
    service: Arc<Service>,
    url: String,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<bool>,
    runtime: Runtime,
}

impl Server {
    /// A server that opens its device again with `reopen`. The argument of `reopen` opens a device.
    fn start(
        reopen: impl Fn(&dyn Fn() -> Result<Device, GpuError>) -> Result<Device, GpuError> + Send + 'static,
    ) -> Server {
        let models =
            Models::new(vec![Model::from_static("flickr8k", shadetell_flickr8k::MODEL).unwrap()]).unwrap();
        let open = || Gpu::open(&AdapterChoice::default()).map(Device::from);
        let device = open().expect("an adapter, such as `cargo xtask test` brings");
        let captioner = Captioner::new(models.first(), device.backend(), &CaptionOptions::default()).unwrap();
        let reopen = Box::new(move || reopen(&open));
        let service = worker::start(models, captioner, device, reopen, limits()).unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/v1/caption", listener.local_addr().unwrap());
        let router = routes::router(&service, Access::new(None, Vec::new()));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = {
            let service = Arc::clone(&service);
            runtime.spawn(async move {
                listen::serve(listener, router, &service, async { stopped.await.unwrap() }).await
            })
        };
        Server { service, url, stop, served, runtime }
    }

    fn lose_device(&self) {
        self.service.device().gpu().unwrap().device.destroy();
    }

    fn becomes_ready(&self) {
        wait_for("the server is ready", || self.service.is_ready());
    }

    fn metrics(&self) -> String {
        self.service.metrics.text(0, 0, true)
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        assert!(self.runtime.block_on(self.served).unwrap(), "all is finished");
        assert!(!self.service.is_ready());
    }
}

/// Waits for a condition, up to a limit.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let clock = Instant::now();
    while !is_so() {
        assert!(clock.elapsed() < Duration::from_secs(300), "expected that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An answer of the server.
#[derive(Debug)]
struct Answer {
    status: u16,
    retry_after: Option<String>,
    json: serde_json::Value,
}

fn ask(url: &str) -> Answer {
    let photo = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../photos/camera.jpg")).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(url).content_type("image/jpeg").send(&photo[..]).unwrap();
    Answer {
        status: answer.status().as_u16(),
        retry_after: answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned()),
        json: serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap(),
    }
}

#[test]
fn a_lost_device_is_opened_again() {
    let server = Server::start(|open| open());
    let before = ask(&server.url);
    assert_eq!(before.status, 200, "{before:?}");
    let caption = &before.json["caption"];

    // A batch in flight may still complete when the device is lost, so a failure may take several attempts.
    let mut lost = 0;
    for _ in 0..20 {
        let answers: Vec<_> = (0..8)
            .map(|_| {
                let url = server.url.clone();
                thread::spawn(move || ask(&url))
            })
            .collect();
        while server.service.queue.len() < 2 && !answers.iter().all(JoinHandle::is_finished) {
            thread::yield_now();
        }
        server.lose_device();
        for answer in answers.into_iter().map(|answer| answer.join().unwrap()) {
            match answer.status {
                200 => assert_eq!(answer.json["caption"], *caption),
                503 => assert_eq!(answer.json["code"], "device_lost"),
                _ => panic!("{answer:?}"),
            }
            lost += usize::from(answer.status == 503);
        }
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0, "a batch on a lost device cannot be answered");
    let after = ask(&server.url);
    assert_eq!((after.status, &after.json["caption"]), (200, caption));
    let metrics = server.metrics();
    assert!(!metrics.contains("shadetell_device_reopened_total 0\n"), "{metrics}");

    // A loss between requests is repaired without an error.
    server.lose_device();
    let again = ask(&server.url);
    assert_eq!((again.status, &again.json["caption"]), (200, caption));
    server.stop();
}

#[test]
fn a_failure_to_open_the_device_again_is_reported_and_retried() {
    /// The result of opening the device.
    #[derive(Clone, Copy)]
    enum Turn {
        Opens,
        Fails,
        Panics,
    }
    let turn = Arc::new(Mutex::new(Turn::Fails));
    let failures = Arc::new(AtomicUsize::new(0));
    let server = {
        let (turn, failures) = (Arc::clone(&turn), Arc::clone(&failures));
        Server::start(move |open| {
            let turn = *turn.lock().unwrap();
            match turn {
                Turn::Opens => return open(),
                Turn::Fails => failures.fetch_add(1, Ordering::AcqRel),
                Turn::Panics => panic!("as a driver may"),
            };
            Err(GpuError::NoDevice { adapter: "any".to_owned(), reason: "it is not back yet".to_owned() })
        })
    };
    server.becomes_ready();
    server.lose_device();
    let refused = ask(&server.url);
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("2")), "{refused:?}");
    assert_eq!(refused.json["code"], "device_lost");
    assert!(refused.json["detail"].as_str().unwrap().contains("it is not back yet"), "{refused:?}");
    assert!(!server.service.is_ready());
    wait_for("it is tried again", || failures.load(Ordering::Acquire) >= 2);

    *turn.lock().unwrap() = Turn::Panics;
    let mut panicked = ask(&server.url);
    // The previous attempt may have been under way.
    if panicked.status == 503 {
        panicked = ask(&server.url);
    }
    assert_eq!((panicked.status, &panicked.json["code"]), (500, &"internal".into()), "{panicked:?}");

    // The device is opened again without any request.
    *turn.lock().unwrap() = Turn::Opens;
    server.becomes_ready();
    let served = ask(&server.url);
    assert_eq!(served.status, 200, "{served:?}");
    let metrics = server.metrics();
    assert!(metrics.contains("shadetell_device_reopened_total 1\n"), "{metrics}");

    server.lose_device();
    wait_for("the loss is noticed", || server.metrics().contains("shadetell_device_reopened_total 2\n"));
    server.becomes_ready();
    server.stop();
}
