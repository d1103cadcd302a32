//! Hostile clients.

use super::*;
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of requests of the quick test; `cargo test --test serve -- --ignored` sends 10,000.
const FEW: usize = 600;
const MANY: usize = 10_000;

/// Random numbers (xorshift, Marsaglia 2003), the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// A PNG file that declares 60,000 by 60,000 pixels.
fn bomb() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(1, 1).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let mut png = png.into_inner();
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    // The checksum of this header.
    png[29..33].copy_from_slice(&[0x0f, 0xb0, 0xe2, 0x15]);
    png
}

/// Sends one hostile request, whose kind depends on its number, and expects it to be refused. The refusal may be lost if the
/// server closes the connection while the client is still sending.
fn attack(server: &Server, number: usize, camera: &[u8]) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let head = |path: &str, media_type: &str, length: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n{length}\r\n\r\n")
            .into_bytes()
    };
    let with_body = |media_type: &str, body: &[u8]| {
        let mut request = head(
            "/v1/caption?beam=1",
            media_type,
            &format!("Connection: close\r\nContent-Length: {}", body.len()),
        );
        request.extend_from_slice(body);
        request
    };
    const CLOSED: &str = "";
    let (answer, expected): (String, &[&str]) = match number % 10 {
        0 => {
            let count = 1 + random.below(400);
            let mut bytes = random.bytes(count);
            bytes.extend_from_slice(b"\r\n\r\n");
            (server.raw(&bytes), &["400", CLOSED])
        }
        1 => {
            let count = 1 + random.below(5000);
            (server.raw(&with_body("image/jpeg", &random.bytes(count))), &["415"])
        }
        2 => {
            // Truncated by more than the last bytes, which decoders tolerate.
            let end = 2 + random.below(camera.len() / 2);
            (server.raw(&with_body("image/jpeg", &camera[..end])), &["415", "422"])
        }
        3 => (server.raw(&with_body("image/png", &bomb())), &["413"]),
        4 => {
            let count = random.below(300);
            (server.raw(&with_body("multipart/form-data; boundary=x", &random.bytes(count))), &["400"])
        }
        5 => {
            // Closes the connection without sending the rest.
            let mut stream = server.connect();
            let request = head("/v1/caption", "image/jpeg", "Content-Length: 100000");
            stream.write_all(&request[..1 + random.below(request.len())]).unwrap();
            return;
        }
        6 => {
            // Sends no byte of the body.
            let mut stream = server.connect();
            stream.write_all(&head("/v1/caption", "image/jpeg", "Content-Length: 99999999999")).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            (read_all(&mut stream), &["413"])
        }
        7 => {
            // An endless body.
            let mut stream = server.connect();
            stream.write_all(&head("/v1/caption", "image/jpeg", "Transfer-Encoding: chunked")).unwrap();
            let chunk = [b"10000\r\n", &[0; 0x10000][..], b"\r\n"].concat();
            let sent = (0..400).take_while(|_| stream.write_all(&chunk).is_ok()).count();
            assert!(sent < 400, "the server read more than 25 MB");
            (read_all(&mut stream), &["413", CLOSED])
        }
        8 => {
            let path = format!("/v1/caption?{}", "beam=1&".repeat(random.below(2000)));
            let head = head(&path, "image/jpeg", "Connection: close\r\nContent-Length: 1");
            (server.raw(&[&head[..], b"x"].concat()), &["415"])
        }
        _ => {
            let name = "x".repeat(random.below(70_000));
            let request =
                format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n{name}: y\r\nConnection: close\r\n\r\n");
            (server.raw(request.as_bytes()), &["400", "404", "414", "431", CLOSED])
        }
    };
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or(&answer);
    assert!(expected.contains(&status), "{number}: expected {expected:?}, found {answer:?}");
}

fn attack_many(count: usize) {
    let mut server = Server::start(&["--max-body", "1", "--timeout", "3"]);
    let camera = photo("camera.jpg");
    let expected = comparable(command_line("camera.jpg", &[]));
    let right =
        || assert_eq!(comparable(server.post("/v1/caption", "image/jpeg", &camera).record()), expected);
    right();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    attack(&server, number, &camera);
                }
            });
        }
        // Other clients are served meanwhile.
        (0..5).for_each(|_| right());
    });
    right();
    assert_eq!(server.metric("shadetell_device_reopened_total"), 0.0);
    assert!(server.process.try_wait().unwrap().is_none(), "the server is up");
}

#[test]
fn hostile_requests_are_refused_and_others_served() {
    attack_many(FEW);
}

#[test]
#[ignore = "takes minutes"]
fn ten_thousand_hostile_requests() {
    attack_many(MANY);
}
