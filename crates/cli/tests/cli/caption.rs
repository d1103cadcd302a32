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
            .chain(["adapter", "confidence", "sure", "tags", "timings_ms", "score", "mean_log_prob"])
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
        assert_eq!(keys(alternative), ["caption", "log_prob", "mean_log_prob", "score"]);
        assert_ne!(alternative["caption"], record["caption"]);
    }
    let ranked = std::iter::once(record).chain(record["alternatives"].as_array().unwrap());
    let scores: Vec<f64> = ranked.map(|sentence| sentence["score"].as_f64().unwrap()).collect();
    assert!(scores.len() > 1 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let length = record["log_prob"].as_f64().unwrap() / record["mean_log_prob"].as_f64().unwrap();
    assert!([0.0, 1.0].iter().any(|end| (length - tokens.len() as f64 - end).abs() < 1e-3), "{length}");
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
    let sentence = said(&["--min-confidence", "0"]);
    assert!(!sentence.starts_with("not sure"), "{sentence}");
    assert_eq!(said(&["--min-confidence", "1"]), format!("not sure: {sentence}"));
    assert_eq!(said(&["--min-confidence", "1", "--unsure", "omit"]), "\n");
    assert_eq!(said(&["--min-confidence", "0", "--unsure", "omit"]), sentence);
    assert_eq!(said(&["--min-confidence", "1", "--unsure", "omit", &path]), format!("{path}\t\n{path}\t\n"));
    let record = on_cpu(&["--json", "--max-length", "6", "--min-confidence", "1", &path]).expect(0).records();
    assert_eq!(record[0]["sure"], false);
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

#[test]
fn an_empty_argument_is_a_photo_that_is_missing() {
    let folder = Folder::new();
    let path = folder.photo("dog.jpg", ImageFormat::Jpeg);
    let said = on_cpu(&["--max-length", "2", "", &path]).expect(1);
    assert_eq!(said.lines().len(), 1);
    assert!(said.stderr.starts_with("error: '': expected the path of a photo"), "{said:#?}");
}

#[test]
fn the_size_of_batches_does_not_change_captions() {
    let folder = Folder::new();
    let paths: Vec<String> = (10..20)
        .map(|size| folder.write(&format!("{size}.png"), photo(size, 30, ImageFormat::Png)))
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let said = |batch: &[&str]| on_cpu(&[&["--max-length", "3"], batch, &paths].concat()).expect(0).stdout;
    assert_eq!(said(&[]), said(&["--batch", "1"]));
}

#[cfg(unix)]
mod on_unix {
    use super::*;
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    fn caption(args: &[&str], paths: &[&OsStr], folder: &Folder) -> Outcome {
        let options = ["caption", "--device", "cpu", "--beam", "1", "--max-length", "2"];
        let mut command = shadetell(&[&options, args].concat());
        outcome(command.args(paths).current_dir(folder.path("")))
    }

    #[test]
    fn any_name_is_one_line_of_text_and_recoverable_from_json() {
        let folder = Folder::new();
        let names = [&b"a\tb\nc.jpg"[..], b"\x1b[31mred.jpg", b"caf\xe9.jpg", b"back\\slash.jpg"]
            .map(OsStr::from_bytes);
        for name in names {
            fs::write(folder.path("").join(name), photo(40, 30, ImageFormat::Jpeg)).unwrap();
        }
        let missing = OsStr::from_bytes(b"missing\n\xff");
        let paths = [&names[..], &[missing]].concat();
        let text = caption(&[], &paths, &folder).expect(1);
        let shown: Vec<&str> = text.lines().iter().map(|line| line.split_once('\t').unwrap().0).collect();
        assert_eq!(shown, ["a\\tb\\nc.jpg", "\\u{1b}[31mred.jpg", "caf\\xe9.jpg", "back\\\\slash.jpg"]);
        assert!(text.stderr.starts_with("error: missing\\n\\xff: "), "{text:#?}");
        assert_eq!(text.stderr.lines().count(), 1);

        let json = caption(&["--json"], &paths, &folder).expect(1).records();
        let whole = |record: &Value| match &record["path_bytes"] {
            Value::String(bytes) => OsString::from_vec(base64(bytes)),
            _ => record["path"].as_str().unwrap().into(),
        };
        assert_eq!(json.iter().map(whole).collect::<Vec<_>>(), paths);
        assert_eq!(json.iter().filter(|record| !record["path_bytes"].is_null()).count(), 2);
    }

    /// Decodes base64.
    fn base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = text.trim_end_matches('=').bytes();
        let bits: String = digits
            .map(|digit| format!("{:06b}", DIGITS.iter().position(|&other| other == digit).unwrap()))
            .collect();
        let bytes = bits.as_bytes().chunks_exact(8).map(|byte| std::str::from_utf8(byte).unwrap());
        bytes.map(|byte| u8::from_str_radix(byte, 2).unwrap()).collect()
    }

    #[test]
    fn a_pipe_is_read_alone_or_as_the_shell_opens_it() {
        let folder = Folder::new();
        let path = folder.photo("dog.jpg", ImageFormat::Jpeg);
        assert!(Command::new("mkfifo").arg(folder.path("pipe")).status().unwrap().success());
        let [pipe, device] = ["pipe", "/dev/zero"].map(OsStr::new);
        let text = caption(&[], &[pipe, OsStr::new(&path), device], &folder).expect(1);
        assert_eq!(text.lines().len(), 1);
        for (line, name) in text.stderr.lines().zip(["pipe", "/dev/zero"]) {
            assert!(
                line.starts_with(&format!("error: {name}: expected a photo file, found a pipe")),
                "{line}"
            );
        }
        let mut shell = Command::new("bash");
        let script = "cat \"$1\" | \"$0\" caption --device cpu --max-length 2 /dev/stdin \
                      && \"$0\" caption --device cpu --max-length 2 <(cat \"$1\") <(cat \"$1\")";
        let said = outcome(shell.args(["-c", script, env!("CARGO_BIN_EXE_shadetell"), &path])).expect(0);
        assert_eq!(said.lines().len(), 3, "{said:#?}");
    }
}
