//! `inspect`, `vocab`, `convert` and `synth`.

use super::*;

fn fixture(name: &str) -> String {
    format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The arguments that convert the small pair of checkpoints into a file.
fn convert_pair(output: &str) -> Vec<String> {
    let files =
        ["encoder.pkl", "decoder.pkl", "vocab.pkl"].map(|name| fixture(&format!("parity/pair-{name}")));
    let [encoder, decoder, vocabulary] = files;
    ["convert", "--encoder", &encoder, "--decoder", &decoder, "--vocab", &vocabulary, "-o", output]
        .map(str::to_owned)
        .to_vec()
}

fn run_owned(args: &[String], more: &[&str]) -> Outcome {
    let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    run(&args)
}

/// The JSON object that a command prints.
fn json(args: &[&str]) -> Value {
    serde_json::from_str(&run(args).expect(0).stdout).unwrap()
}

#[test]
fn a_pair_of_checkpoints_becomes_a_usable_model() {
    let folder = Folder::new();
    let model = folder.name("model.safetensors");
    let args = convert_pair(&model);
    let converted = run_owned(&args, &["--licence", "MIT", "--name", "mine"]).expect(0);
    assert_eq!(converted.stdout, "", "nothing is printed to standard output");
    assert!(converted.stderr.contains("mine, 60 words"), "{converted:?}");

    let again = run_owned(&args, &[]).expect(USAGE);
    assert!(again.stderr.contains("replace it with `--force`"), "{again:?}");
    run_owned(&args, &["--force", "--half", "--preset", "resize256-crop224"]).expect(0);
    let record = json(&["inspect", "--json", &model]);
    assert_eq!(record["manifest"]["encoder"]["family"], "resnet18");
    assert_eq!(record["manifest"]["preprocess"]["resize"], serde_json::json!({"shorter-side": 256}));
    assert_eq!(record["manifest"]["sources"][2]["name"], "pair-vocab.pkl");
    assert_eq!(record["manifest"]["sources"][2]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(record["vocabulary"]["size"], 60);
    let tensors = record["parts"][0]["tensors"].as_array().unwrap();
    let dtype = |name: &str| tensors.iter().find(|t| t["name"] == name).unwrap()["dtype"].clone();
    assert_eq!(dtype("encoder.conv1.weight"), "f16");
    assert_eq!(dtype("encoder.bn1.running_var"), "f32");

    run_owned(&args, &["--force"]).expect(0);
    let photo = folder.photo("a.png", ImageFormat::Png);
    let ids = |more: &[&str]| -> Vec<u64> {
        let said = on_cpu(&[&["--model", &model, "--json", &photo], more].concat()).expect(0);
        let tokens = said.records()[0]["tokens"].clone();
        tokens.as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect()
    };
    let (hidden, kept) = (ids(&[]), ids(&["--keep-special"]));
    assert_eq!(hidden, kept.iter().copied().filter(|id| *id > 2).collect::<Vec<_>>());
    assert!(kept.len() <= 20 && kept.len() > hidden.len() || kept.len() == 20, "{kept:?}");
    assert_ne!(ids(&["--preset", "squash-bilinear-256"]), Vec::<u64>::new());
}

#[test]
fn a_single_checkpoint_of_whole_modules_is_converted() {
    let folder = Folder::new();
    let model = folder.name("model.safetensors");
    let (checkpoint, words) = (fixture("parity/whole.pth.tar"), fixture("parity/whole-wordmap.json"));
    run(&["convert", &checkpoint, "--vocab", &words, "-o", &model]).expect(0);
    let photos = [folder.photo("a.png", ImageFormat::Png), folder.photo("b.bmp", ImageFormat::Bmp)];
    let [a, b] = photos.each_ref().map(String::as_str);
    let alone = on_cpu(&["--model", &model, a, b]).expect(0);
    let together = on_cpu(&["--model", &model, "--batch", "2", a, b]).expect(0);
    assert_eq!(alone.stdout, together.stdout);
    // The model's own search already compares sums.
    assert_eq!(on_cpu(&["--model", &model, "--beam-rule", "sat", a, b]).expect(0).stdout, alone.stdout);
}

#[test]
fn a_failed_conversion_is_reported_and_leaves_no_file() {
    let folder = Folder::new();
    let model = folder.name("model.safetensors");
    let pair = |name: &str| fixture(&format!("parity/pair-{name}.pkl"));
    let text = folder.write("text.pkl", "a dog\nruns\n");
    let page = folder.write("page.pth", "<!DOCTYPE html><html><body>Sign in</body></html>");
    let cut = folder.write("cut.pkl", &fs::read(pair("encoder")).unwrap()[..70_000]);
    let (encoder, decoder, vocab) = (pair("encoder"), pair("decoder"), pair("vocab"));
    let cases: [(&str, &str, &str, &[&str]); 6] = [
        (&decoder, &encoder, &vocab, &["pair-decoder.pkl", "expected an encoder", "show-tell decoder"]),
        (&encoder, &text, &vocab, &["text.pkl", "found text"]),
        (&page, &decoder, &vocab, &["page.pth", "web page"]),
        (&cut, &decoder, &vocab, &["cut.pkl", "ends"]),
        (&encoder, &decoder, &text, &["text.pkl", "2 words here", "60 rows in its embedding"]),
        (&encoder, &decoder, "/nowhere/vocab.pkl", &["/nowhere/vocab.pkl", "cannot be read"]),
    ];
    for (encoder, decoder, vocab, parts) in cases {
        let args = ["convert", "--encoder", encoder, "--decoder", decoder, "--vocab", vocab, "-o", &model];
        let failed = run(&args).expect(NO_MODEL);
        assert!(parts.iter().all(|part| failed.stderr.contains(part)), "{parts:?}: {failed:?}");
        assert_eq!(failed.stdout, "");
    }
    run(&["convert", "--encoder", &encoder, "--vocab", &vocab, "-o", &model]).expect(USAGE);
    let left: Vec<_> = fs::read_dir(folder.0.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn vocabularies_are_printed_in_three_ways() {
    let vocab = fixture("checkpoints/vocab-2.pkl");
    assert_eq!(run(&["vocab", &vocab]).expect(0).lines()[4..], ["4\tdog", "5\tcafé"]);
    let text = run(&["vocab", "--text", &vocab]).expect(0).stdout;
    let record = json(&["vocab", "--json", &vocab]);
    assert_eq!(record["special"], serde_json::json!({"pad": 0, "start": 1, "end": 2, "unk": 3}));
    let folder = Folder::new();
    let written = folder.write("words.txt", &text);
    assert_eq!(run(&["vocab", "--text", &written]).expect(0).stdout, text, "printed text can be read again");
}

#[test]
fn inspect_shows_the_contents_of_a_checkpoint() {
    let said = run(&["inspect", &fixture("checkpoints/modules-legacy.pth.tar")]).expect(0).stdout;
    for part in [
        "PyTorch legacy",
        "sha256",
        "encoder: resnet18 (__main__.Encoder)",
        "show-attend-tell decoder: 7 words",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let row = said.lines().find(|line| line.contains(" fc.weight")).unwrap();
    assert!(row.contains("f32") && row.contains("[7, 4]"), "{row}");
}

#[test]
fn synthetic_models_repeat_and_depend_on_the_seed() {
    let folder = Folder::new();
    let make = |name: &str, seed: &str| {
        let path = folder.name(name);
        let args = ["synth", "--arch", "resnet18", "--decoder", "show-tell", "--words", "20", "--seed", seed];
        run(&[&args[..], &["-o", &path]].concat()).expect(0);
        fs::read(path).unwrap()
    };
    let first = make("a", "7");
    assert!(first == make("b", "7") && first != make("c", "8"));
}

#[test]
fn an_encoder_alone_embeds_and_tags() {
    let folder = Folder::new();
    let (model, photo) = (folder.name("encoder.safetensors"), folder.photo("a.png", ImageFormat::Png));
    let encoder = fixture("parity/pair-encoder.pkl");
    // The projection of its captioner is no part of it.
    let refused = run(&["convert", "--encoder", &encoder, "-o", &model]).expect(NO_MODEL);
    assert!(
        refused.stderr.contains("`linear.weight`") && refused.stderr.contains("--ignore-unused"),
        "{refused:?}"
    );
    let written = run(&["convert", "--encoder", &encoder, "--ignore-unused", "-o", &model]).expect(0);
    assert!(written.stderr.contains("left out") && written.stderr.contains("wrote "), "{written:?}");

    let on_cpu = |command: &[&str]| run(&[command, &["--device", "cpu", "--model", &model, &photo]].concat());
    let record = &on_cpu(&["embed"]).expect(0).records()[0];
    assert_eq!(
        (&record["shape"], record["features"].as_array().unwrap().len()),
        (&serde_json::json!([32]), 32)
    );
    let length = |values: &Value| {
        let values = values.as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
        values.map(|v| v * v).sum::<f64>().sqrt()
    };
    let unit = &on_cpu(&["embed", "--normalize"]).expect(0).records()[0];
    assert!(
        (length(&unit["features"]) - 1.0).abs() < 1e-6 && (length(&record["features"]) - 1.0).abs() > 1e-3
    );
    let array = folder.name("grid.npy");
    let missing = folder.name("missing.png");
    let args = ["embed", "--spatial", "--format", "npy", "-o", &array, &missing];
    let partly = on_cpu(&args).expect(1);
    assert!(partly.stderr.contains("missing.png") && partly.stdout.is_empty(), "{partly:?}");
    let bytes = fs::read(&array).unwrap();
    let values = &bytes[bytes.len() - 2 * 7 * 7 * 32 * 4..];
    assert!(bytes.starts_with(b"\x93NUMPY"));
    let value = |at: usize| f32::from_le_bytes(values[4 * at..4 * at + 4].try_into().unwrap());
    assert!(value(0).is_nan() && value(7 * 7 * 32).is_finite());

    let without = on_cpu(&["tag"]).expect(NO_MODEL);
    assert!(without.stderr.contains("a model with a classifier"), "{without:?}");
    let captions = on_cpu(&["caption"]).expect(NO_MODEL);
    assert!(captions.stderr.contains("an encoder alone"), "{captions:?}");
    let tags = run(&["tag", "--device", "cpu", "--top", "3", "--json", &photo]).expect(0).records();
    let classes = tags[0]["classes"].as_array().unwrap();
    assert!(
        classes.len() == 3 && classes[0]["name"].is_string() && tags[0]["model"] == "everyday",
        "{tags:?}"
    );
    let lines = run(&["tag", "--device", "cpu", "--top", "1", &photo, &missing]).expect(1);
    assert_eq!(lines.lines().len(), 1, "{lines:?}");
    assert_eq!(lines.lines()[0].split('\t').count(), 3, "{lines:?}");
}

/// Options that state what a file does not.
#[test]
fn grids_and_prefixes_are_options_of_a_conversion() {
    let folder = Folder::new();
    let model = folder.name("model.safetensors");
    let (checkpoint, words) = (fixture("parity/gru-whole.pth.tar"), fixture("parity/gru-whole-wordmap.json"));
    let args = ["convert", &checkpoint, "--vocab", &words, "-o", &model, "--force"];
    run(&[&args[..], &["--grid", "7x5"]].concat()).expect(0);
    let manifest = &json(&["inspect", "--json", &model])["manifest"];
    assert_eq!(manifest["encoder"]["grid"], serde_json::json!([7, 5]));
    assert_eq!(manifest["decoders"][0]["cell"], "gru");
    run(&[&args[..], &["--grid", "0"]].concat()).expect(USAGE);
    let none = run(&[&args[..], &["--prefix", "elsewhere"]].concat()).expect(NO_MODEL);
    assert!(none.stderr.contains("expected an encoder, found"), "{none:?}");
    // The words of a model file, and of what `inspect` knows of it.
    let listed = run(&["vocab", "--text", &model]).expect(0);
    assert_eq!(listed.lines().len(), 60);
    assert!(run(&["inspect", &model]).expect(0).stdout.contains("the tensors of the model"));
    let there = run(&["synth", "--arch", "resnet18", "--decoder", "show-tell", "--words", "8", "-o", &model]);
    assert!(there.expect(USAGE).stderr.contains("`--force`"));
}
