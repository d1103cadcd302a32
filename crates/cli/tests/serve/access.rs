//! Access to the server, and timeouts.

use super::*;

#[test]
fn the_api_requires_the_token() {
    let server = Server::start(&["--token", "open-sesame"]);
    let camera = photo("camera.jpg");
    let refused = server.post("/v1/caption", "image/jpeg", &camera);
    refused.problem(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    server.get("/metrics").problem(401, "unauthorized");
    assert_eq!(server.get("/").status, 200);
    let request = agent().post(server.url("/v1/caption")).header("Authorization", "Bearer open-sesame");
    Answer::of(request.content_type("image/jpeg").send(&camera[..]).unwrap()).record();
}

#[test]
fn pages_of_other_sites_are_refused_unless_they_are_named() {
    let server = Server::start(&["--allow-origin", "https://example.org"]);
    let from = |origin: &str| {
        let request = agent().post(server.url("/v1/caption")).header("Origin", origin);
        Answer::of(request.content_type("image/jpeg").send(&photo("camera.jpg")[..]).unwrap())
    };
    from("https://evil.example").problem(403, "cross_origin");
    from("null").problem(403, "cross_origin");
    let allowed = from("https://example.org");
    allowed.record();
    assert_eq!(allowed.header("access-control-allow-origin"), "https://example.org");
    assert_eq!(allowed.header("access-control-expose-headers"), "Retry-After");
    let preflight = server.raw(
        b"OPTIONS /v1/caption HTTP/1.1\r\nHost: localhost\r\nOrigin: https://example.org\r\n\
          Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n",
    );
    assert!(preflight.starts_with("HTTP/1.1 204 No Content\r\n"), "{preflight}");
    for header in [
        "access-control-allow-origin: https://example.org\r\n",
        "access-control-allow-methods: GET, POST\r\n",
        "access-control-allow-headers: authorization, content-type\r\n",
    ] {
        assert!(preflight.contains(header), "{header} in {preflight}");
    }
    let own = from(&server.url(""));
    own.record();
    assert_eq!(own.header("access-control-allow-origin"), "");
}

/// The status and the body of a raw answer.
fn parts(answer: &str) -> (&str, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn requests_with_an_unknown_host_name_are_refused() {
    let called = |server: &Server, host: &str| {
        server.raw(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
    };
    let open = Server::start(&["--allow-origin", "https://example.org"]);
    for known in ["localhost", "example.org", "[::1]:8000"] {
        assert_eq!(parts(&called(&open, known)).0, "200", "{known}");
    }
    let answer = called(&open, "evil.example:8000");
    let (status, problem) = parts(&answer);
    assert_eq!((status, &problem["code"]), ("421", &"unknown_host".into()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("allow its site") && detail.contains("ask for a token"), "{detail}");
    assert_eq!(parts(&open.raw(b"GET /healthz HTTP/1.0\r\n\r\n")).0, "200", "without any name");
    let open_to_all = Server::start(&["--listen", "0.0.0.0:0"]);
    assert_eq!(parts(&called(&open_to_all, "evil.example:8000")).0, "421", "on any address");
    assert_eq!(parts(&called(&open_to_all, "192.168.0.7:8000")).0, "200");
    let guarded = Server::start(&["--token", "open-sesame"]);
    assert_eq!(parts(&called(&guarded, "evil.example:8000")).0, "200");
}

#[test]
fn unusable_sites_and_tokens_are_refused_at_the_start() {
    for (args, message) in [
        (["--allow-origin", "*"], "'*' for '--allow-origin <ORIGIN>': expected scheme://host"),
        (["--allow-origin", "https://example.org/page"], "expected scheme://host"),
        (["--token", " "], "--token: expected a secret, found nothing"),
        (["--token", "open sesame"], "--token: expected visible ASCII characters alone, found ' '"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_shadetell")).arg("serve").args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(message) && !said.contains("sesame"), "{said}");
    }
}

#[test]
fn the_page_may_load_nothing_from_other_servers() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(!page.text.contains("http"), "no address of another server");
}

#[test]
fn slow_clients_time_out() {
    let server = Server::start(&["--timeout", "1"]);
    let mut head = server.connect();
    head.write_all(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let mut body = server.connect();
    body.write_all(
        b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\nabc",
    )
    .unwrap();
    let mut idle = server.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(read_all(&mut body).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(
        read_all(&mut idle).starts_with("HTTP/1.1 200 OK\r\n"),
        "the connection is closed when no request follows"
    );
    read_all(&mut head);
}

#[test]
fn clients_that_do_not_read_time_out() {
    const REQUESTS: usize = 4000;
    let server = Server::start(&["--connections", "1", "--timeout", "1"]);
    let mut idle = server.connect();
    // The server stops reading when it cannot write answers.
    idle.set_nonblocking(true).unwrap();
    let _ = idle.write_all(&b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(REQUESTS));
    idle.set_nonblocking(false).unwrap();
    assert_eq!(server.get("/healthz").status, 200, "another client gets the place");
    let answers = read_all(&mut idle);
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers:.100}");
    assert!(answers.matches("HTTP/1.1 200 OK\r\n").count() < REQUESTS);
}

#[test]
fn the_number_of_connections_is_limited() {
    let server = Server::start(&["--connections", "2", "--timeout", "2"]);
    let [_first, _second] = [server.connect(), server.connect()];
    let clock = Instant::now();
    assert_eq!(server.get("/healthz").status, 200, "the third one waits until the others time out");
    assert!(clock.elapsed() > Duration::from_millis(500));
}

#[cfg(unix)]
#[test]
fn accepted_photos_are_answered_before_the_server_ends() {
    let mut server = Server::start(&[]);
    let answers: Vec<_> = (0..12)
        .map(|_| {
            let url = server.url("/v1/caption?beam=32");
            thread::spawn(move || {
                let answer = agent().post(url).content_type("image/jpeg").send(&photo("camera.jpg")[..]);
                answer.ok().map(|answer| Answer::of(answer).status)
            })
        })
        .collect();
    let clock = Instant::now();
    // A finished photo may keep its place for a moment, so finished photos are counted first.
    let accepted = || {
        let done = answers.iter().filter(|answer| answer.is_finished()).count();
        done + server.metric("shadetell_accepted_photos") as usize
    };
    while accepted() < 12 {
        assert!(clock.elapsed() < Duration::from_secs(60), "not all are accepted");
        thread::sleep(Duration::from_millis(5));
    }
    let id = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.join().unwrap()).collect();
    assert_eq!(answers, [Some(200); 12]);
    assert!(server.process.wait().unwrap().success());
    assert!(TcpStream::connect(&server.address).is_err());
}

#[test]
fn a_port_in_use_is_reported() {
    let server = Server::start(&[]);
    let output = Command::new(env!("CARGO_BIN_EXE_shadetell"))
        .args(["serve", "--listen", &server.address, "--device", "cpu"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "the command line is right");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&server.address) && said.contains("choose another --listen"), "{said}");
}
