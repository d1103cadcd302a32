//! Answers of the API.

use super::*;

/// The file of a model with several decoders, in a folder.
fn classic(folder: &Path) -> String {
    let path = folder.join("flickr8k.safetensors");
    fs::write(&path, shadetell_flickr8k::MODEL).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_photo_gets_the_caption_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let classic = classic(folder.path());
    let servers = [Server::start(&[]), Server::start(&["--model", &classic])];
    for (server, name, args, query) in [
        (0, "camera.jpg", &[][..], ""),
        (0, "astronaut.jpg", &["--beam", "1"], "?beam=1"),
        (1, "astronaut.jpg", &["--model", &classic], ""),
        (
            1,
            "camera.jpg",
            &["--model", &classic, "--decoder", "show-tell", "--beam", "5"],
            "?decoder=show-tell&beam=5",
        ),
    ] {
        let server = &servers[server];
        let record = server.post(&format!("/v1/caption{query}"), "image/jpeg", &photo(name)).record();
        assert_eq!(record["path"], "-");
        assert!(record["timings_ms"]["encode"].as_f64().unwrap() > 0.0);
        assert_eq!(comparable(record), comparable(command_line(name, args)));
    }
}

#[test]
fn a_photo_is_recognised_by_its_content() {
    let server = Server::start(&[]);
    let expected = comparable(command_line("camera.jpg", &[]));
    for media_type in [
        "image/png",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "binary/octet-stream",
        "",
        "; charset=binary",
        "*/*",
        "text/plain",
    ] {
        let record = server.post("/v1/caption", media_type, &photo("camera.jpg")).record();
        assert_eq!(comparable(record), expected, "{media_type}");
    }
}

#[test]
fn several_photos_get_an_array_in_their_order() {
    let server = Server::start(&[]);
    let [camera, astronaut] = [photo("camera.jpg"), photo("astronaut.jpg")];
    let answer = server.post_form(
        "/v1/caption?beam=9",
        &[
            ("a", Some("camera.jpg"), &camera),
            ("beam", None, b"1"),
            ("b", Some("broken.jpg"), &camera[..4000]),
            ("image", None, &astronaut),
            ("alternatives", None, b"false"),
        ],
    );
    let records = answer.record();
    let paths: Vec<_> = records.as_array().unwrap().iter().map(|record| &record["path"]).collect();
    assert_eq!(paths, ["camera.jpg", "broken.jpg", "-"]);
    for (index, name) in [(0, "camera.jpg"), (2, "astronaut.jpg")] {
        let mut expected = comparable(command_line(name, &["--beam", "1"]));
        expected.as_object_mut().unwrap().remove("alternatives");
        assert_eq!(
            comparable(records[index].clone()),
            expected,
            "the beam of the form overrides that of the query"
        );
    }
    assert_eq!(records[1]["error"]["code"], "corrupt");
    assert_eq!(records[1].get("caption"), None);

    let one = [("image", Some("x.jpg"), &camera[..]), ("decoder", None, b""), ("beam", None, b"")];
    let one = server.post_form("/v1/caption", &one).record();
    assert_eq!(one.as_array().unwrap().len(), 1);
    let none =
        server.post_form("/v1/caption", &[("a", Some("a"), b"text"), ("b", Some("b"), b"\xff\xd8\xff")]);
    none.problem(415, "not_an_image");
    // An empty parameter in a query is an error.
    server.post("/v1/caption?decoder=", "image/jpeg", &camera).problem(400, "bad_request");
}

#[test]
fn attention_is_included_on_request() {
    let server = Server::start(&[]);
    let record = server.post("/v1/caption?attention=true", "image/jpeg", &photo("camera.jpg")).record();
    let grid = &record["attention_grid"];
    assert_eq!((&grid["rows"], &grid["columns"]), (&6.into(), &6.into()));
    assert_eq!(grid["area"], serde_json::json!([0.0, 0.0, 420.0, 400.0]), "the whole photo is squashed");
    for token in record["tokens"].as_array().unwrap() {
        let weights = token["attention"].as_array().unwrap();
        let sum: f64 = weights.iter().map(|weight| weight.as_f64().unwrap()).sum();
        assert_eq!(weights.len(), 36);
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["--model", &classic(folder.path())]);
    let without =
        server.post("/v1/caption?attention=true&decoder=show-tell", "image/jpeg", &photo("camera.jpg"));
    assert_eq!(without.record().get("attention_grid"), None);
}

/// Names and data of events.
fn events(text: &str) -> Vec<(String, Value)> {
    let event = |block: &str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Some((field("event")?.to_owned(), serde_json::from_str(field("data")?).unwrap()))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[test]
fn words_are_streamed_as_they_are_found() {
    let server = Server::start(&[]);
    let request = agent().post(server.url("/v1/caption?beam=1")).header("Accept", "text/event-stream");
    let answer = Answer::of(request.content_type("image/jpeg").send(&photo("camera.jpg")[..]).unwrap());
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    let events = events(&answer.text);
    let (last, words) = events.split_last().unwrap();
    assert_eq!(last.0, "caption");
    let expected = command_line("camera.jpg", &["--beam", "1"]);
    assert_eq!(comparable(last.1.clone()), comparable(expected.clone()));
    let sentences: Vec<&str> = words.iter().map(|(_, data)| data["caption"].as_str().unwrap()).collect();
    let caption = expected["caption"].as_str().unwrap();
    assert!(words.iter().all(|(name, data)| name == "words" && data["photo"] == 0));
    for (count, words) in (1..).zip(caption.split(' ')) {
        assert!(
            sentences[count - 1].split(' ').count() == count && sentences[count - 1].ends_with(words),
            "{sentences:?}"
        );
    }
}

#[test]
fn photos_get_the_classes_and_features_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let classic = classic(folder.path());
    let server = Server::start(&["--model", &classic]);
    let (camera, cat) = (photo("camera.jpg"), photo("cat.jpg"));
    let said = |command: &str, args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_shadetell"))
            .args([command, "--quiet", "--device", "gpu"])
            .args(args)
            .arg(format!("{}/../../photos/camera.jpg", env!("CARGO_MANIFEST_DIR")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    // The first model of the server has no classifier, but features.
    let classes = server.post("/v1/tag?top=2", "image/jpeg", &camera);
    assert!(classes.problem(422, "no_classifier").contains("flickr8k"));
    let embedded = server.post("/v1/embed", "image/jpeg", &camera).record();
    assert_eq!(embedded["features"], said("embed", &["--model", &classic])["features"]);
    assert_eq!(embedded["shape"], serde_json::json!([1280]));
    let grid = server.post("/v1/embed?spatial=true", "image/jpeg", &camera).record();
    assert_eq!(grid["shape"], serde_json::json!([7, 7, 1280]));

    let server = Server::start(&[]);
    let tagged = server.post("/v1/tag?top=2", "image/jpeg", &camera).record();
    assert_eq!(tagged["classes"], said("tag", &["--top", "2", "--json"])["classes"]);
    assert_eq!(tagged["model"], "everyday");
    let several = server.post_form(
        "/v1/tag",
        &[("a", Some("cat.jpg"), &cat), ("b", Some("cut.jpg"), &camera[..900]), ("top", None, b"1")],
    );
    let records = several.record();
    assert_eq!(records[0]["classes"].as_array().unwrap().len(), 1);
    assert_eq!((&records[0]["path"], &records[1]["path"]), (&"cat.jpg".into(), &"cut.jpg".into()));
    assert!(records[1]["error"]["code"].is_string(), "{records}");
    for (path, part) in
        [("/v1/tag?top=0", "1 to 1000"), ("/v1/tag?beam=3", "model or top"), ("/v1/embed?top=3", "spatial")]
    {
        let detail = server.post(path, "image/jpeg", &camera).problem(400, "bad_request");
        assert!(detail.contains(part), "{detail}");
    }
}

#[test]
fn a_stream_of_several_photos_has_an_event_for_each() {
    let server = Server::start(&[]);
    let mut body = Vec::new();
    for content in [&photo("camera.jpg")[..], b"text"] {
        body.extend_from_slice(
            b"--cut\r\nContent-Disposition: form-data; name=\"image\"; filename=\"f\"\r\n\r\n",
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--cut--\r\n");
    let request = agent().post(server.url("/v1/caption")).header("Accept", "text/event-stream");
    let answer =
        Answer::of(request.content_type("multipart/form-data; boundary=cut").send(&body[..]).unwrap());
    let mut ends: Vec<_> = events(&answer.text).into_iter().filter(|(name, _)| name != "words").collect();
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(ends.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["caption", "error"]);
    assert_eq!(comparable(ends[0].1.clone()), comparable(command_line("camera.jpg", &[])));
    assert_eq!(ends[1].1["error"]["code"], "not_an_image");
}

#[test]
fn answers_for_max_clients_have_the_shape_of_the_max_service() {
    let server = Server::start(&[]);
    let answer = server.post_form("/model/predict", &[("image", Some("camera.jpg"), &photo("camera.jpg"))]);
    let expected = command_line("camera.jpg", &[]);
    let found = answer.record();
    assert_eq!(found["status"], "ok");
    let predictions = found["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 3);
    assert_eq!((&predictions[0]["index"], &predictions[0]["caption"]), (&"0".into(), &expected["caption"]));
    let probability = expected["log_prob"].as_f64().unwrap().exp();
    assert!((predictions[0]["probability"].as_f64().unwrap() - probability).abs() < 1e-6);
    assert_eq!(predictions[2]["caption"], expected["alternatives"][1]["caption"]);

    let wrong = server.post_form("/model/predict", &[("image", Some("a.txt"), b"text")]);
    let detail = wrong.problem(400, "not_an_image");
    assert_eq!(wrong.json()["message"], detail.as_str());
    let two = [("image", Some("a"), &b"1"[..]), ("image", Some("b"), b"2")];
    server.post_form("/model/predict", &two).problem(400, "bad_request");

    let metadata = server.get("/model/metadata").record();
    for field in ["id", "name", "description", "type", "license", "source"] {
        assert!(metadata[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
}

#[test]
fn unusable_requests_get_an_error() {
    let server = Server::start(&["--max-pixels", "1", "--max-body", "1"]);
    let caption = |media_type, body: &[u8]| server.post("/v1/caption", media_type, body);
    caption("image/jpeg", b"").problem(422, "empty_file");
    caption("image/jpeg", b"hello").problem(415, "not_an_image");
    caption("image/jpeg", &photo("camera.jpg")[..9000]).problem(422, "corrupt");
    caption("multipart/mixed; boundary=x", b"--x--").problem(415, "unsupported_media_type");
    for json in [
        "{}",
        "[]",
        "{\"image\": 1}",
        "{\"image\": \"https://example.org/a.jpg\"}",
        "{\"images\": [7]}",
        "{\"image\"",
    ] {
        let detail = caption("application/json", json.as_bytes()).problem(400, "bad_request");
        assert!(detail.contains("base64"), "{json}: {detail}");
    }
    for name in ["", "picture"] {
        let detail = server
            .post_form("/v1/caption", &[(name, None, &photo("camera.jpg"))])
            .problem(400, "bad_request");
        assert!(
            detail.contains("neither a file name nor a type") && detail.contains("image=@dog.jpg"),
            "{detail}"
        );
    }
    let detail = caption("image/jpeg", &vec![0; (1 << 20) + 1]).problem(413, "too_large");
    assert!(detail.contains("at most 1048576 bytes, found 1048577"), "{detail}");
    let bomb = image::RgbImage::new(1001, 1000);
    let mut png = std::io::Cursor::new(Vec::new());
    bomb.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let detail = caption("image/png", png.get_ref()).problem(413, "too_large");
    assert!(detail.contains("at most 1000000 pixels, found 1001 x 1000"), "{detail}");

    for (query, detail) in [
        ("beam=0", "beam: expected a whole number from 1 to 32, found \"0\""),
        ("model=none", "model: expected one of everyday, found \"none\""),
        (
            "beems=3",
            "expected model, decoder, beam, min_confidence, alternatives or attention, found \"beems\"",
        ),
    ] {
        let answer = server.post(&format!("/v1/caption?{query}"), "image/jpeg", b"");
        assert_eq!(answer.problem(400, "bad_request"), detail);
    }
    server.post("/v1/caption", "multipart/form-data", b"").problem(400, "bad_request");
    server.post_form("/v1/caption", &[("beam", None, b"1")]).problem(400, "bad_request");
    server.get("/nothing").problem(404, "no_such_route");
    let wrong_method = server.get("/v1/caption");
    wrong_method.problem(405, "method_not_allowed");
    assert_eq!(wrong_method.header("allow"), "POST");
}

#[test]
fn metrics_count_requests_and_contain_no_captions() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz").record()["status"], "ok");
    assert!(server.get("/readyz").record()["adapter"].as_str().is_some_and(|name| !name.is_empty()));
    let before = server.metric("shadetell_photos_total");
    let caption = server.post("/v1/caption", "image/jpeg", &photo("camera.jpg")).record();
    // Other tests use the same server.
    assert!(server.metric("shadetell_photos_total") >= before + 1.0);
    server.raw(b"BREW /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = server.get("/metrics").text;
    assert!(!text.contains("BREW"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for series in [
        "shadetell_http_requests_total{method=\"POST\",route=\"/v1/caption\",status=\"200\"}",
        "shadetell_http_requests_total{method=\"OTHER\",route=\"/healthz\",status=\"405\"}",
        "shadetell_stage_duration_seconds_count{stage=\"encode\"}",
        "shadetell_stage_duration_seconds_count{stage=\"decode\"}",
        "shadetell_batch_photos_count",
        "shadetell_accepted_photos",
    ] {
        assert!(text.contains(series), "{series} in\n{text}");
    }
    assert!(!text.contains(caption["caption"].as_str().unwrap()));
}

#[test]
fn the_description_lists_every_route_of_the_api() {
    let server = Server::start(&[]);
    let api = server.get("/openapi.json").record();
    let paths: Vec<&str> = api["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/healthz",
            "/metrics",
            "/model/metadata",
            "/model/predict",
            "/readyz",
            "/v1/caption",
            "/v1/embed",
            "/v1/models",
            "/v1/tag"
        ]
    );
    let beam = api["paths"]["/v1/caption"]["post"]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .find(|parameter| parameter["name"] == "beam")
        .unwrap();
    assert_eq!(beam["schema"]["maximum"], 32);
    let models = server.get("/v1/models").record();
    assert_eq!((&models[0]["name"], &models[0]["decoders"][0]["beam"]), (&"everyday".into(), &3.into()));
}

/// Encodes base64.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits =
            group.iter().chain([0, 0].iter()).take(3).fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        let digit = |place: usize| {
            if place > group.len() { '=' } else { DIGITS[bits >> (18 - 6 * place) & 63].into() }
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn photos_may_be_base64_in_json() {
    let server = Server::start(&[]);
    let expected = comparable(command_line("camera.jpg", &["--beam", "1"]));
    let text = base64(&photo("camera.jpg"));
    let url = format!("data:image/jpeg;base64,{text}");
    for image in [&text, &url] {
        let body = serde_json::json!({ "image": image, "beam": 1, "model": null }).to_string();
        for media_type in
            ["application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"]
        {
            let record = server.post("/v1/caption", media_type, body.as_bytes()).record();
            assert_eq!(comparable(record), expected, "{media_type}");
        }
    }
    let body = serde_json::json!({ "images": [url, "dGV4dA=="], "beam": "1" }).to_string();
    let records = server.post("/v1/caption", "application/json", body.as_bytes()).record();
    assert_eq!(comparable(records[0].clone()), expected);
    assert_eq!(records[1]["error"]["code"], "not_an_image");
}

#[test]
fn sentences_below_a_confidence_are_not_sure() {
    let server = Server::start(&[]);
    for (least, sure) in [("0", true), ("1", false)] {
        let path = format!("/v1/caption?min_confidence={least}");
        assert_eq!(server.post(&path, "image/jpeg", &photo("camera.jpg")).record()["sure"], sure);
    }
}

#[test]
fn slashes_at_the_end_of_a_path_are_ignored() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz/").record()["status"], "ok");
    server.post("/v1/caption/?beam=0", "image/jpeg", b"").problem(400, "bad_request");
    server.get("/v1/models//").record();
    server.get("/nothing/").problem(404, "no_such_route");
    // The page moves to the address that its relative links belong to.
    let redirect = server.raw(b"GET /docs/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(redirect.starts_with("HTTP/1.1 308") && redirect.contains("location: ../docs\r\n"), "{redirect}");
}

#[test]
fn the_page_has_relative_addresses_only() {
    let server = Server::start(&[]);
    let mut files = vec!["".to_owned(), "docs".to_owned()];
    let mut seen = 0;
    while let Some(file) = files.get(seen).cloned() {
        seen += 1;
        let answer = server.get(&format!("/{file}"));
        assert_eq!(answer.status, 200, "{file}");
        let text = answer.text;
        for absolute in ["href=\"/", "src=\"/", "fetch(\"/", "ask(\"/", "ask(`/", "from \"/", "url(/"] {
            assert!(!text.contains(absolute), "{file}: {absolute}");
        }
        for start in ["href=\"", "src=\"", "from \"./"] {
            let found = text.split(start).skip(1).filter_map(|rest| rest.split('"').next());
            let found =
                found.filter(|found| found.contains('.') && !found.contains('/') && !found.contains('$'));
            for found in found.map(str::to_owned) {
                if !files.contains(&found) {
                    files.push(found);
                }
            }
        }
    }
    for file in ["style.css", "app.js", "icon.svg", "docs.js", "camera.js", "openapi.json"] {
        assert!(files.iter().any(|found| found == file), "{file}: {files:?}");
    }
}

#[test]
fn a_head_beyond_the_limit_is_refused() {
    let server = Server::start(&[]);
    let get = |filler: usize| {
        let filler = "x".repeat(filler);
        let head =
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {filler}\r\nConnection: close\r\n\r\n");
        server.raw(head.as_bytes())
    };
    assert!(get(60_000).starts_with("HTTP/1.1 200"));
    for filler in [66_000, 70_000, 100_000, 130_000, 200_000] {
        let answer = get(filler);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{filler}: {answer}");
    }
}
