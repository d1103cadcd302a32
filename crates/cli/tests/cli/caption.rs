//! `caption`: the output for photos of all kinds.

use super::*;

#[test]
fn for_one_photo_only_the_sentence_is_printed() {
    let folder = Folder::new();
    let said = on_cpu(&[&folder.photo("dog.jpg", ImageFormat::Jpeg)]).expect(0);
    assert_eq!(said.lines().len(), 1, "{said:?}");
    assert!(!said.stdout.trim().is_empty() && !said.stdout.contains('\t'), "{said:?}");
    assert_eq!(said.stderr, "");
}

#[test]
fn photos_that_fail_do_not_stop_the_others() {
    let folder = Folder::new();
    let whole = photo(40, 30, ImageFormat::Jpeg);
    let first = folder.write("first.jpg", &whole);
    let bad = [
        (folder.name("missing.jpg"), "not_found", "nothing at this path"),
        (folder.0.path().to_str().unwrap().to_owned(), "is_directory", "*.jpg"),
        (folder.write("empty.jpg", ""), "empty_file", "0 bytes"),
        (folder.write("text.jpg", "a dog runs"), "not_an_image", "text"),
        (folder.write("cut.jpg", &whole[..whole.len() - 60]), "corrupt", "JPEG"),
        (folder.write("large.png", photo(1001, 1000, ImageFormat::Png)), "too_large", "--max-pixels"),
    ];
    let wrong_name = folder.photo("a png.jpg", ImageFormat::Png);
    let paths: Vec<&str> = [first.as_str()]
        .into_iter()
        .chain(bad.iter().map(|(path, ..)| path.as_str()))
        .chain([wrong_name.as_str()])
        .collect();
    let options = ["--beam", "1", "--max-length", "3", "--max-pixels", "1"];

    let text = on_cpu(&[&options, paths.as_slice()].concat()).expect(1);
    let named: Vec<_> = text.lines().iter().map(|line| line.split_once('\t').expect("a tab").0).collect();
    assert_eq!(named, [&first, &wrong_name]);
    let errors: Vec<&str> = text.stderr.lines().collect();
    assert_eq!(errors.len(), bad.len(), "{text:#?}");
    for (line, (path, _, words)) in errors.iter().zip(&bad) {
        assert!(line.starts_with(&format!("error: {path}: ")) && line.contains(words), "{line}");
    }

    let json = on_cpu(&[&options, ["--json"].as_slice(), paths.as_slice()].concat()).expect(1);
    assert_eq!(json.stderr, "");
    let records = json.records();
    let found: Vec<&str> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
    assert_eq!(found, paths);
    for (record, (_, code, words)) in records[1..].iter().zip(&bad) {
        assert_eq!(keys(record), ["error", "path"]);
        assert_eq!(keys(&record["error"]), ["code", "message"]);
        assert_eq!(record["error"]["code"], *code);
        assert!(record["error"]["message"].as_str().unwrap().contains(words), "{record}");
    }
}

#[test]
fn json_records_are_complete() {
    let folder = Folder::new();
    let path = folder.photo("a.webp", ImageFormat::WebP);
    let records = on_cpu(&["--json", "--beam", "3", "--max-length", "6", &path]).expect(0).records();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    let mut expected =
        ["path", "caption", "tokens", "log_prob", "finished", "alternatives", "image", "model"]
            .into_iter()
            .chain(["adapter", "confidence", "sure", "tags", "timings_ms"])
            .collect::<Vec<_>>();
    expected.sort_unstable();
    assert_eq!(keys(record), expected);

    let tokens = record["tokens"].as_array().unwrap();
    let words: Vec<&str> = tokens.iter().map(|token| token["word"].as_str().unwrap()).collect();
    assert_eq!(record["caption"], words.join(" "));
    for token in tokens {
        assert_eq!(keys(token), ["id", "log_prob", "word"]);
        assert!(token["id"].is_u64() && token["log_prob"].as_f64().unwrap() <= 0.0, "{token}");
    }
    let sum: f64 = tokens.iter().map(|token| token["log_prob"].as_f64().unwrap()).sum();
    assert!(record["log_prob"].as_f64().unwrap() <= sum + 1e-3, "the sum includes the end token");
    assert!(record["finished"].is_boolean());
    for alternative in record["alternatives"].as_array().unwrap() {
        assert_eq!(keys(alternative), ["caption", "log_prob"]);
        assert_ne!(alternative["caption"], record["caption"]);
    }
    let confidence = record["confidence"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&confidence) && record["sure"].is_boolean(), "{record}");
    let tags = record["tags"].as_array().unwrap();
    assert_eq!(tags.len(), 6);
    let scores: Vec<f64> = tags.iter().map(|tag| tag["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && tags.iter().all(|tag| keys(tag) == ["name", "score"]));
    assert_eq!(record["image"], serde_json::json!({ "width": 40, "height": 30 }));
    assert_eq!(record["adapter"], "cpu");
    assert!(record["model"].is_string());
    assert_eq!(keys(&record["timings_ms"]), ["decode", "encode", "generate", "preprocess"]);
    assert!(record["timings_ms"].as_object().unwrap().values().all(|time| time.as_f64().unwrap() >= 0.0));
}

#[test]
fn sentences_below_a_confidence_are_marked() {
    let folder = Folder::new();
    let path = folder.photo("a.png", ImageFormat::Png);
    let said = |options: &[&str]| on_cpu(&[options, &["--max-length", "6", &path]].concat()).expect(0).stdout;
    let sentence = said(&["--sure", "0"]);
    assert!(!sentence.starts_with("not sure"), "{sentence}");
    assert_eq!(said(&["--sure", "1"]), format!("not sure: {sentence}"));
    let classic = folder.write("classic.safetensors", shadetell_flickr8k::MODEL);
    let without = said(&["--model", &classic, "--sure", "1"]);
    assert!(!without.starts_with("not sure"), "this model has no confidence: {without}");
}

#[test]
fn a_photo_is_read_from_standard_input() {
    let folder = Folder::new();
    let path = folder.photo("dog.png", ImageFormat::Png);
    let options = ["caption", "--device", "cpu", "--max-length", "4"];
    let piped = |args: &[&str], bytes: &[u8]| {
        let mut command = shadetell(&[&options, args].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The command may close the pipe without reading to the end.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        let output = child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let bytes = fs::read(&path).unwrap();
    let file = run(&[&options, [path.as_str()].as_slice()].concat()).expect(0);
    assert_eq!(piped(&["-"], &bytes), (Some(0), file.stdout.clone(), String::new()));
    let (code, both, _) = piped(&[&path, "-"], &bytes);
    assert_eq!((code, both), (Some(0), format!("{path}\t{0}-\t{0}", file.stdout)));
    let (code, _, error) = piped(&["-"], b"");
    assert!(code == Some(1) && error.starts_with("error: -: "), "{code:?} {error}");
    let (code, _, error) = piped(&["-", "-"], &bytes);
    assert!(code == Some(USAGE) && error.contains("more than once"), "{code:?} {error}");
}

#[test]
fn orientation_is_applied_unless_an_option_disables_it() {
    let mut jpeg = photo(40, 30, ImageFormat::Jpeg);
    // Orientation 6: rotate by 90 degrees.
    let exif = b"\xFF\xE1\0\x22Exif\0\0II\x2A\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    let folder = Folder::new();
    let path = folder.write("turned.jpg", jpeg);
    let options: [(&[&str], u32); 2] = [(&[], 30), (&["--no-exif-rotate"], 40)];
    for (option, width) in options {
        let args = [&["--json", "--max-length", "1", &path], option].concat();
        assert_eq!(on_cpu(&args).expect(0).records()[0]["image"]["width"], width, "{option:?}");
    }
}
