//! A device that is lost in service, over real connections. The commands' own tests are in `tests/serve`.

use super::*;
use crate::cli::args::AdapterArgs;
use std::thread;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

fn limits() -> service::Limits {
    service::Limits {
        max_batch: 4,
        max_wait: Duration::ZERO,
        queue: 64,
        max_body: 1 << 20,
        max_pixels: 1_000_000,
        timeout: Duration::from_secs(10),
        connections: 64,
    }
}

fn ask(url: &str) -> (u16, String) {
    let photo = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/photos/camera.jpg")).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(url).content_type("image/jpeg").send(&photo[..]).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

#[test]
fn a_lost_device_is_opened_again() {
    let adapter = AdapterArgs { adapter: None, backend: None };
    let open = move || Device::open(DeviceChoice::Gpu, &adapter);
    let device = open().expect("an adapter, such as `cargo xtask test` brings");
    let models = Models::open(&[]).unwrap();
    let service = Service::start(models, device, Box::new(open), limits()).unwrap();

    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/v1/caption", listener.local_addr().unwrap());
    let router = service::router(&service, guard::Access::new(None, &[]));
    let (stop, stopped) = oneshot::channel::<()>();
    let served = {
        let service = Arc::clone(&service);
        runtime.spawn(async move {
            let stopped = async { stopped.await.unwrap() };
            listen::serve(listener, router, &service.limits, stopped).await;
        })
    };

    let (status, before) = ask(&url);
    assert_eq!(status, 200, "{before}");
    let caption = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["caption"].clone();

    // What is in flight when a device goes may still come back: it takes a few attempts to hit a batch.
    let mut lost = 0;
    for _ in 0..20 {
        let answers: Vec<_> = (0..8)
            .map(|_| {
                let url = url.clone();
                thread::spawn(move || ask(&url))
            })
            .collect();
        while service.queue.len() < 2 && !answers.iter().all(thread::JoinHandle::is_finished) {
            thread::yield_now();
        }
        service.device().gpu.unwrap().device.destroy();
        for (status, text) in answers.into_iter().map(|answer| answer.join().unwrap()) {
            match status {
                200 => assert_eq!(caption(&text), caption(&before)),
                503 => assert!(text.contains("\"code\":\"device_lost\""), "{text}"),
                _ => panic!("{status}: {text}"),
            }
            lost += usize::from(status == 503);
        }
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0, "a batch on a lost device cannot be answered");
    let (status, after) = ask(&url);
    assert_eq!((status, caption(&after)), (200, caption(&before)));
    let metrics = service.metrics.text(0, 0, true);
    assert!(!metrics.contains("shadetell_device_reopened_total 0\n"), "{metrics}");

    // While nobody asks, nobody has to hear of it.
    service.device().gpu.unwrap().device.destroy();
    let (status, again) = ask(&url);
    assert_eq!((status, caption(&again)), (200, caption(&before)));

    stop.send(()).unwrap();
    runtime.block_on(async {
        served.await.unwrap();
        service.finish().await;
    });
}
