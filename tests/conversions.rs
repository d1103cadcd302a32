//! Checkpoints as people have them: the same weights under other names and in other wrappers give the same model, and what
//! would change captions is refused.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use safetensors::tensor::{Dtype, TensorView, serialize, serialize_to_file};
use shadetell::checkpoint::{ConvertOptions, Converted, TensorFile, Vocabulary, convert};
use shadetell::weights::{Cell, Model};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(name)
}

/// A tensor as f32.
#[derive(Clone, PartialEq)]
struct Values {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Without the values, of which there are thousands.
impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.name, self.shape)
    }
}

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> Values {
    Values { name: name.to_owned(), shape: shape.to_vec(), values: values.to_vec() }
}

/// The tensors of a fixture.
fn read(name: &str) -> Vec<Values> {
    let file = TensorFile::open(&fixture(name)).unwrap();
    let dicts = file.state_dicts().unwrap();
    dicts[0].tensors().iter().map(|(name, t)| tensor(name, t.shape(), &t.to_f32())).collect()
}

/// A safetensors file of the tensors.
fn file(name: &str, tensors: &[Values]) -> TensorFile {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let view = |(t, bytes): (&Values, &'_ Vec<u8>)| {
        (t.name.clone(), TensorView::new(Dtype::F32, t.shape.clone(), bytes).unwrap().dtype(), bytes.clone())
    };
    let owned: Vec<_> = tensors.iter().zip(&bytes).map(view).collect();
    let views = owned.iter().zip(tensors).map(|((name, dtype, bytes), t)| {
        (name.clone(), TensorView::new(*dtype, t.shape.clone(), bytes).unwrap())
    });
    TensorFile::from_bytes(name, serialize(views, None).unwrap()).unwrap()
}

/// The tensors under other names.
fn renamed(tensors: &[Values], rename: impl Fn(&str) -> String) -> Vec<Values> {
    tensors.iter().map(|t| Values { name: rename(&t.name), ..t.clone() }).collect()
}

fn vocabulary() -> Vocabulary {
    Vocabulary::open(&fixture("pair-vocab.pkl")).unwrap()
}

/// The tensors of a converted model, ordered by name.
fn model(converted: &Converted<'_>) -> Vec<Values> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    converted.model.write(&path, false).unwrap();
    let file = TensorFile::open(&path).unwrap();
    let dicts = file.state_dicts().unwrap();
    let mut found: Vec<Values> =
        dicts[0].tensors().iter().map(|(name, t)| tensor(name, t.shape(), &t.to_f32())).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The model of encoder and decoder, or the message.
fn converted(
    encoder: &[Values],
    decoder: &[Values],
    options: &ConvertOptions,
) -> Result<Vec<Values>, String> {
    let (encoder, decoder) = (file("encoder", encoder), file("decoder", decoder));
    let result = convert(&encoder, &decoder, ("words", &vocabulary()), options);
    result.map(|converted| model(&converted)).map_err(|error| error.to_string())
}

fn plain() -> (Vec<Values>, Vec<Values>, Vec<Values>) {
    let (encoder, decoder) = (read("pair-encoder.pkl"), read("pair-decoder.pkl"));
    let model = converted(&encoder, &decoder, &ConvertOptions::default()).unwrap();
    (encoder, decoder, model)
}

/// torchvision's names of the parts of a trunk in an `nn.Sequential`.
fn torchvision(name: &str) -> String {
    let parts = [
        ("0.", "conv1."),
        ("1.", "bn1."),
        ("4.", "layer1."),
        ("5.", "layer2."),
        ("6.", "layer3."),
        ("7.", "layer4."),
    ];
    let Some(rest) = name.strip_prefix("resnet.") else { return name.to_owned() };
    let part = parts.iter().find(|(from, _)| rest.starts_with(from));
    format!("resnet.{}", part.map_or(rest.to_owned(), |(from, to)| rest.replacen(from, to, 1)))
}

#[test]
fn names_do_not_matter_where_shapes_leave_one_reading() {
    let (encoder, decoder, model) = plain();
    type Rename = fn(&str) -> String;
    let same: [(&str, Rename, Rename); 6] = [
        (
            "courses",
            |n| n.replacen("linear", "embed", 1),
            |n| n.replacen("embed", "word_embeddings", 1).replacen("linear", "hidden2tag", 1),
        ),
        (
            "other layers",
            |n| n.replacen("linear", "visual", 1),
            |n| n.replacen("embed", "lookup", 1).replacen("lstm", "rnn", 1).replacen("linear", "to_vocab", 1),
        ),
        ("in place", |n| torchvision(n).replacen("linear", "resnet.fc", 1), str::to_owned),
        ("compiled and parallel", |n| format!("_orig_mod.module.{n}"), |n| format!("module._orig_mod.{n}")),
        (
            "parallel parts",
            |n| n.replacen("resnet.", "resnet.module.", 1),
            |n| n.replacen("lstm.", "lstm.module.", 1),
        ),
        ("deep", |n| format!("a.b.encoder.{n}"), |n| format!("net.decoder.{n}")),
    ];
    for (name, of_encoder, of_decoder) in same {
        let found = converted(
            &renamed(&encoder, of_encoder),
            &renamed(&decoder, of_decoder),
            &ConvertOptions::default(),
        );
        assert_eq!(found.as_ref(), Ok(&model), "{name}");
    }
    // Both in one file, as Lightning writes them.
    let both = [
        renamed(&encoder, |n| format!("model.encoder.{n}")),
        renamed(&decoder, |n| format!("model.decoder.{n}")),
    ]
    .concat();
    let both = file("both", &both);
    let found = convert(&both, &both, ("words", &vocabulary()), &ConvertOptions::default()).unwrap();
    assert_eq!(self::model(&found), model);
}

#[test]
fn one_of_several_copies_is_chosen_by_its_prefix() {
    let (encoder, decoder, model) = plain();
    let halved = |tensors: &[Values]| -> Vec<Values> {
        let half = |t: &Values| Values { values: t.values.iter().map(|v| v / 2.0).collect(), ..t.clone() };
        tensors.iter().map(half).collect()
    };
    let copy = |prefix: &str, encoder: &[Values], decoder: &[Values]| {
        let under = |part: &str, tensors: &[Values]| renamed(tensors, |n| format!("{prefix}.{part}.{n}"));
        [under("encoder", encoder), under("decoder", decoder)].concat()
    };
    let both =
        [copy("model", &halved(&encoder), &halved(&decoder)), copy("model_ema", &encoder, &decoder)].concat();
    let both = file("both", &both);
    let with = |prefix: Option<&str>| {
        let options = ConvertOptions { prefix: prefix.map(str::to_owned), ..ConvertOptions::default() };
        convert(&both, &both, ("words", &vocabulary()), &options)
            .map(|found| self::model(&found))
            .map_err(|error| error.to_string())
    };
    assert_eq!(with(Some("model_ema")), Ok(model.clone()));
    let halves = with(Some("model.")).unwrap();
    assert!(halves != model && halves.len() == model.len());
    let several = with(None).unwrap_err();
    assert!(
        several.contains("`model.encoder.resnet`") && several.contains("`model_ema.encoder.resnet`"),
        "{several}"
    );
    let none = with(Some("mod")).unwrap_err();
    assert!(none.contains("expected an encoder"), "{none}");
}

#[test]
fn layers_that_nothing_uses_are_refused_unless_asked_for() {
    let (encoder, decoder, model) = plain();
    let square = tensor("extra.weight", &[24, 24], &[0.5; 576]);
    let cases: [(&str, bool, Vec<Values>); 5] = [
        ("a layer more", false, vec![square.clone(), tensor("extra.bias", &[24], &[0.0; 24])]),
        ("a first state", false, vec![tensor("init_h.weight", &[24, 12], &[0.0; 288])]),
        ("layer normalisation", false, vec![tensor("norm.weight", &[24], &[1.0; 24])]),
        ("attention in the encoder", true, vec![tensor("gate.weight", &[32, 32], &[0.0; 1024])]),
        ("a parameter without a module", true, vec![tensor("scale", &[1], &[2.0])]),
    ];
    for (name, is_in_encoder, more) in cases {
        let (mut encoder, mut decoder) = (encoder.clone(), decoder.clone());
        if is_in_encoder { &mut encoder } else { &mut decoder }.extend(more.clone());
        let refused = converted(&encoder, &decoder, &ConvertOptions::default()).unwrap_err();
        assert!(refused.contains(&format!("`{}`", more[0].name)), "{name}: {refused}");
        let options = ConvertOptions { ignore_unused: true, ..ConvertOptions::default() };
        assert_eq!(converted(&encoder, &decoder, &options).as_ref(), Ok(&model), "{name}");
    }
    // What changes no caption is left out without a word.
    let mut bare = renamed(&encoder, |n| torchvision(n).trim_start_matches("resnet.").to_owned());
    bare.retain(|t| !t.name.starts_with("linear") && !t.name.starts_with("bn."));
    bare.push(tensor("fc.weight", &[1000, 32], &[0.0; 32000]));
    bare.push(tensor("fc.bias", &[1000], &[0.0; 1000]));
    let moved: Vec<Values> = encoder
        .iter()
        .filter(|t| t.name.starts_with("linear") || t.name.starts_with("bn."))
        .cloned()
        .collect();
    let moved = renamed(&moved, |n| n.replacen("linear", "visual", 1));
    let found = converted(&bare, &[decoder, moved].concat(), &ConvertOptions::default());
    assert_eq!(found, Ok(model));
}

#[test]
fn weight_normalisation_is_computed() {
    let (encoder, decoder, model) = plain();
    for [magnitude, direction] in [["_g", "_v"], ["original0", "original1"]] {
        let mut normed = Vec::new();
        for t in &decoder {
            if t.name != "linear.weight" {
                normed.push(t.clone());
                continue;
            }
            let stem = if magnitude == "_g" { "linear.weight" } else { "linear.parametrizations.weight." };
            let rows = t.values.chunks(t.shape[1]);
            let norms: Vec<f32> = rows.map(|row| row.iter().map(|v| v * v).sum::<f32>().sqrt()).collect();
            // The length of the direction does not matter.
            let doubled: Vec<f32> = t.values.iter().map(|v| 2.0 * v).collect();
            normed.push(tensor(&format!("{stem}{magnitude}"), &[t.shape[0], 1], &norms));
            normed.push(tensor(&format!("{stem}{direction}"), &t.shape, &doubled));
        }
        let found = converted(&encoder, &normed, &ConvertOptions::default()).unwrap();
        for (a, b) in found.iter().zip(&model) {
            assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
            assert!(
                a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()),
                "{}",
                a.name
            );
        }
    }
}

#[test]
fn networks_of_other_families_are_refused() {
    let (encoder, decoder, _) = plain();
    let message = |encoder: &[Values], decoder: &[Values]| {
        converted(encoder, decoder, &ConvertOptions::default()).unwrap_err()
    };
    // A ResNeXt.
    let mut grouped = encoder.clone();
    let conv = grouped.iter_mut().find(|t| t.name == "resnet.4.0.conv2.weight").unwrap();
    (conv.shape[1], conv.values) = (2, conv.values[..conv.values.len() / 2].to_vec());
    assert!(
        message(&grouped, &decoder).contains("grouped convolutions (2 groups)"),
        "{}",
        message(&grouped, &decoder)
    );
    // An LSTM that reads in both directions, and one that reads the photo beside each word.
    let reverse = decoder.iter().find(|t| t.name == "lstm.weight_hh_l0").unwrap();
    let reverse = Values { name: "lstm.weight_hh_l0_reverse".to_owned(), ..reverse.clone() };
    let both = [decoder.clone(), vec![reverse]].concat();
    assert!(message(&encoder, &both).contains("both directions"), "{}", message(&encoder, &both));
    let mut wide = decoder.clone();
    let weight = wide.iter_mut().find(|t| t.name == "lstm.weight_ih_l0").unwrap();
    (weight.shape[1], weight.values) = (20, vec![0.0; weight.shape[0] * 20]);
    assert!(message(&encoder, &wide).contains("an embedding [words, 20]"), "{}", message(&encoder, &wide));
    // Two layers that can be the last.
    let mut two = decoder.clone();
    two.push(tensor("fc.weight", &[60, 24], &[0.0; 1440]));
    assert!(message(&encoder, &two).contains("found `fc`, `linear`"), "{}", message(&encoder, &two));
}

/// What a pickled module states beside its tensors.
#[test]
fn settings_of_pickled_modules_are_taken() {
    let words = Vocabulary::open(&fixture("gru-whole-wordmap.json")).unwrap();
    let file = TensorFile::open(&fixture("gru-whole.pth.tar")).unwrap();
    let manifest = |options: &ConvertOptions| {
        convert(&file, &file, ("words", &words), options).unwrap().model.manifest().clone()
    };
    let stated = manifest(&ConvertOptions::default());
    assert_eq!((stated.encoder.grid, stated.decoders[0].cell), (Some([14, 14]), Cell::Gru));
    let own = manifest(&ConvertOptions { grid: Some([7, 5]), ..ConvertOptions::default() });
    assert_eq!(own.encoder.grid, Some([7, 5]));
    // Another side, in the bytes of the pickle: `(14, 14)` is `K\x0eK\x0e\x86`.
    let mut bytes = std::fs::read(fixture("gru-whole.pth.tar")).unwrap();
    let place = bytes.windows(5).position(|w| w == b"K\x0eK\x0e\x86").unwrap();
    (bytes[place + 1], bytes[place + 3]) = (7, 9);
    let other = TensorFile::from_bytes("other", bytes).unwrap();
    let other = convert(&other, &other, ("words", &words), &ConvertOptions::default()).unwrap();
    assert_eq!(other.model.manifest().encoder.grid, Some([7, 9]));
    // A stride that the ResNet does not have.
    let modules = file.state_dicts().unwrap();
    let encoder = modules.iter().find(|dict| dict.name == "encoder").unwrap();
    let conv = encoder.modules().iter().find(|module| module.path == "resnet.5.0.conv1").unwrap();
    assert_eq!((conv.kind(), conv.setting("stride")), ("Conv2d", Some(&[2.0, 2.0][..])));
}

#[test]
fn models_are_written_only_if_they_are_accepted() {
    let (encoder, decoder, _) = plain();
    let (encoder, decoder) = (file("encoder", &encoder), file("decoder", &decoder));
    let converted =
        convert(&encoder, &decoder, ("words", &vocabulary()), &ConvertOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let refused = converted.model.write_checked(&path, false, |part| {
        let model = Model::open(part)?;
        assert_eq!(model.manifest().vocabulary.len(), 60);
        Err(shadetell::weights::ModelError {
            file: "m".to_owned(),
            kind: shadetell::weights::ModelErrorKind::Inconsistent("no".to_owned()),
        })
    });
    assert!(refused.is_err() && std::fs::read_dir(folder.path()).unwrap().count() == 0);
}

/// Element types that are not read matter only if the tensor is needed.
#[test]
fn tensors_of_unknown_types_matter_only_if_they_are_needed() {
    let (encoder, decoder, model) = plain();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decoder.safetensors");
    let write = |complex: &str| {
        let bytes: Vec<Vec<u8>> =
            decoder.iter().map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
        let mut views: Vec<(String, TensorView<'_>)> = Vec::new();
        for (t, bytes) in decoder.iter().zip(&bytes).filter(|(t, _)| t.name != complex) {
            views.push((t.name.clone(), TensorView::new(Dtype::F32, t.shape.clone(), bytes).unwrap()));
        }
        views.push((complex.to_owned(), TensorView::new(Dtype::C64, vec![2], &[0; 16]).unwrap()));
        serialize_to_file(views, None, &path).unwrap();
        let (encoder, decoder) = (file("encoder", &encoder), TensorFile::open(&path).unwrap());
        convert(&encoder, &decoder, ("words", &vocabulary()), &ConvertOptions::default())
            .map(|converted| (self::model(&converted), converted.left_out))
            .map_err(|error| error.to_string())
    };
    assert_eq!(write("extra"), Ok((model, vec!["`extra`".to_owned()])));
    let needed = write("lstm.bias_ih_l0").unwrap_err();
    assert!(needed.contains("`lstm.bias_ih_l0`") && needed.contains("C64"), "{needed}");
}
