//! The models that are offered, and what a request may choose of them.

use super::problem::Problem;
use crate::cli::args::bundled_model;
use crate::cli::failure::Failure;
use serde::Serialize;
use shadetell::CaptionOptions;
use shadetell::weights::{DecoderFamily, Model};
use std::path::PathBuf;
use utoipa::ToSchema;

/// Models in their order; the first one is the default.
pub(super) struct Models(Vec<Model>);

/// A way to search: what is captioned together has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Search {
    /// Which model, by its place.
    pub(super) model: usize,
    /// Which of its decoders.
    pub(super) decoder: DecoderFamily,
    /// Hypotheses that are followed.
    pub(super) beam: usize,
}

impl Models {
    /// Opens model files, or the model that is built in.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Models, Failure> {
        let models = if paths.is_empty() {
            vec![bundled_model()?]
        } else {
            paths.iter().map(|path| Model::open(path)).collect::<Result<_, _>>()?
        };
        for (index, model) in models.iter().enumerate() {
            let name = &model.manifest().name;
            if let Some(other) = models[..index].iter().find(|other| other.manifest().name == *name) {
                let (a, b) = (other.file(), model.file());
                return Err(Failure::Usage(format!(
                    "{a} and {b} are both called {name}: give one of them another name with `shadetell convert --name`"
                )));
            }
        }
        Ok(Models(models))
    }

    pub(super) fn get(&self, index: usize) -> &Model {
        &self.0[index]
    }

    /// What a request searches with: the first model, its first decoder and that one's beam, where it does not say otherwise.
    pub(super) fn search(
        &self,
        name: Option<&str>,
        decoder: Option<DecoderFamily>,
        beam: Option<usize>,
    ) -> Result<Search, Problem> {
        let position = |name: &str| self.0.iter().position(|model| model.manifest().name == name);
        let model = match name {
            None => 0,
            Some(name) => position(name).ok_or_else(|| {
                let names: Vec<_> = self.0.iter().map(|model| model.manifest().name.as_str()).collect();
                Problem::bad_request(format!(
                    "model: expected one of {}, found {}",
                    names.join(", "),
                    shown(name)
                ))
            })?,
        };
        let manifest = self.0[model].manifest();
        let found = match decoder {
            None => manifest.decoders.first(),
            Some(family) => manifest.decoders.iter().find(|decoder| decoder.family == family),
        };
        let Some(found) = found else {
            let families: Vec<_> = manifest.decoders.iter().map(|decoder| decoder.family.name()).collect();
            return Err(Problem::bad_request(format!(
                "decoder: the model {} has {}; choose one of these",
                manifest.name,
                families.join(", ")
            )));
        };
        let beam = beam.unwrap_or(found.beam).min(manifest.vocabulary.len());
        Ok(Search { model, decoder: found.family, beam })
    }

    /// What `/v1/models` lists.
    pub(super) fn list(&self) -> Vec<ModelInfo> {
        let decoder = |decoder: &shadetell::weights::DecoderManifest| DecoderInfo {
            name: decoder.family.name(),
            beam: decoder.beam,
            max_length: decoder.max_length,
            attention: decoder.family == DecoderFamily::ShowAttendTell,
        };
        let model = |(index, model): (usize, &Model)| ModelInfo {
            name: model.manifest().name.clone(),
            default: index == 0,
            decoders: model.manifest().decoders.iter().map(decoder).collect(),
            words: model.manifest().vocabulary.len(),
            licence: model.manifest().licence.clone(),
            max_beam: CaptionOptions::MAX_BEAM,
        };
        self.0.iter().enumerate().map(model).collect()
    }
}

/// At most so much of what a client sent, for a message.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let short: String = text.chars().take(MOST).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{more}")
}

/// A model that is offered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelInfo {
    pub(super) name: String,
    /// Whether it is taken where a request names none.
    default: bool,
    /// Its decoders; the first one is the default.
    decoders: Vec<DecoderInfo>,
    /// How many words it knows.
    words: usize,
    pub(super) licence: Option<String>,
    /// The widest beam.
    max_beam: usize,
}

/// What speaks.
#[derive(Debug, Serialize, ToSchema)]
struct DecoderInfo {
    #[schema(value_type = super::v1::Decoder)]
    name: &'static str,
    /// Hypotheses that it follows where a request does not say.
    beam: usize,
    /// The most words in a caption.
    max_length: usize,
    /// Whether it tells where it looked.
    attention: bool,
}
