//! `shadetell tag`: the classes that a model's classifier sees in photos.

use super::args::number;
use super::encoder::{EncoderArgs, Prepared};
use super::failure::Failure;
use super::names::{shown, visible};
use super::output;
use clap::Args;
use serde::Serialize;
use shadetell_server::record::PhotoName;
use std::process::ExitCode;

/// Prints the most probable classes of photos
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell tag photos/cat.jpg            `probability<TAB>class`, a line each
  shadetell tag --top 1 photos/*.jpg      `path<TAB>probability<TAB>class`
  shadetell tag --json photos/*.jpg       a JSON object a line
  shadetell convert --encoder resnet50.pth -o resnet50.safetensors
  shadetell tag --model resnet50.safetensors photos/cat.jpg

The built-in model knows the 1,000 classes of ImageNet. Exit codes are those
of `shadetell caption`; 3 also if the model has no classifier.")]
pub(crate) struct TagArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    /// How many classes
    #[arg(long, value_name = "N", default_value = "5", value_parser = number(1..=1000usize, "a whole number"))]
    top: usize,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    name: PhotoName,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<Row>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    model: &'a str,
}

#[derive(Serialize)]
struct Row {
    index: usize,
    name: String,
    probability: f32,
}

/// Prints the classes.
pub(crate) fn run(args: &TagArgs) -> Result<ExitCode, Failure> {
    let Prepared { model, file, encoder } = args.encoder.prepare(false)?;
    if !encoder.has_classifier() {
        return Err(Failure::Model(format!(
            "{file}: expected a model with a classifier, found none: convert its encoder from a checkpoint with one"
        )));
    }
    let is_single = args.encoder.paths.len() == 1;
    args.encoder.run(&encoder, |path, result| {
        let classes = result.map(|features| encoder.classes(features, args.top));
        let text = if args.json {
            let row = |class: shadetell::Class| Row {
                index: class.index,
                name: class.name,
                probability: class.probability,
            };
            let error = classes.as_ref().err().copied();
            let classes = classes.ok().map(|classes| classes.into_iter().map(row).collect());
            let record = Record { name: PhotoName::of(path), classes, error, model: &model };
            serde_json::to_string(&record).unwrap_or_default() + "\n"
        } else {
            let start = if is_single { String::new() } else { format!("{}\t", shown(path)) };
            let line = |class: &shadetell::Class| {
                format!("{start}{:.4}\t{}\n", class.probability, visible(&class.name))
            };
            classes.unwrap_or_default().iter().map(line).collect()
        };
        Ok(output::print(&text)?)
    })
}
