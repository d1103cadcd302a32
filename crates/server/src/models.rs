//! The available models, and the choice of a request among them.

use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use shadetell::CaptionOptions;
use shadetell::weights::{DecoderFamily, Model};
use utoipa::ToSchema;

/// The models that a server offers, at least one; the first one is the default.
pub struct Models(Vec<Model>);

/// The models cannot be offered together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelsError {
    /// There is no model.
    #[error("expected at least one model, found none")]
    Empty,
    /// Two models have the same name.
    #[error("{} and {} are both called {name}", files[0], files[1])]
    SameName {
        /// The name.
        name: String,
        /// The files of the models.
        files: [String; 2],
    },
}

/// Settings of a search. Photos with equal settings are captioned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Search {
    /// Index of the model.
    pub(crate) model: usize,
    /// Decoder of the model.
    pub(crate) decoder: DecoderFamily,
    /// Width of the beam.
    pub(crate) beam: usize,
}

/// What is to be done with a photo. Photos with equal work are processed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// A sentence.
    Caption(Search),
    /// Features, and classes if the model has a classifier.
    Encode {
        /// Index of the model.
        model: usize,
        /// Whether the grid of features is wanted.
        grid: bool,
    },
}

impl Work {
    /// Index of the model.
    pub(crate) fn model(self) -> usize {
        match self {
            Work::Caption(search) => search.model,
            Work::Encode { model, .. } => model,
        }
    }
}

impl Models {
    /// Offers models under the names in their manifests; the first one is the default.
    ///
    /// # Errors
    /// There is no model, or two have the same name.
    pub fn new(models: Vec<Model>) -> Result<Models, ModelsError> {
        if models.is_empty() {
            return Err(ModelsError::Empty);
        }
        for (index, model) in models.iter().enumerate() {
            let name = &model.manifest().name;
            if let Some(other) = models[..index].iter().find(|other| other.manifest().name == *name) {
                let files = [other.file().to_owned(), model.file().to_owned()];
                return Err(ModelsError::SameName { name: name.clone(), files });
            }
        }
        Ok(Models(models))
    }

    /// The default model.
    pub fn first(&self) -> &Model {
        &self.0[0]
    }

    pub(crate) fn get(&self, index: usize) -> &Model {
        &self.0[index]
    }

    /// The index of the model with a name; the first model without one.
    pub(crate) fn index(&self, name: Option<&str>) -> Result<usize, Problem> {
        let Some(name) = name else { return Ok(0) };
        let position = self.0.iter().position(|model| model.manifest().name == name);
        position.ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|model| model.manifest().name.as_str()).collect();
            Problem::bad_request(format!(
                "model: expected one of {}, found {}",
                names.join(", "),
                truncated(name)
            ))
        })
    }

    /// The settings of a request. Defaults: the first model, its first decoder, and the beam of that decoder.
    pub(crate) fn search(
        &self,
        name: Option<&str>,
        decoder: Option<DecoderFamily>,
        beam: Option<usize>,
    ) -> Result<Search, Problem> {
        let model = self.index(name)?;
        let manifest = self.0[model].manifest();
        let found = match decoder {
            None => manifest.decoders.first(),
            Some(family) => manifest.decoders.iter().find(|decoder| decoder.family == family),
        };
        if manifest.decoders.is_empty() {
            let detail = format!(
                "model: {} is an encoder alone, which makes no sentences; choose another",
                manifest.name
            );
            return Err(Problem::bad_request(detail));
        }
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

    /// The answer of `/v1/models`.
    pub(crate) fn list(&self) -> Vec<ModelInfo> {
        let decoder = |decoder: &shadetell::weights::DecoderManifest| DecoderInfo {
            name: decoder.family.name(),
            beam: decoder.beam,
            max_length: decoder.max_length,
            attention: decoder.family.attends(),
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

/// The first characters of a client's text, in quotes, for a message.
pub(crate) fn truncated(text: &str) -> String {
    const MOST: usize = 60;
    let short: String = text.chars().take(MOST).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{more}")
}

/// Decoders by name.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code, reason = "describes names")]
pub(crate) enum Decoder {
    ShowTell,
    ShowAttendTell,
    SemanticAttention,
}

/// An available model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelInfo {
    pub(crate) name: String,
    /// Whether it is the default of requests without a model.
    default: bool,
    /// Its decoders; the first one is the default.
    decoders: Vec<DecoderInfo>,
    /// The number of words in its vocabulary.
    words: usize,
    pub(crate) licence: Option<String>,
    /// The widest beam.
    max_beam: usize,
}

/// A decoder.
#[derive(Debug, Serialize, ToSchema)]
struct DecoderInfo {
    #[schema(value_type = Decoder)]
    name: &'static str,
    /// The default width of the beam.
    beam: usize,
    /// The most words in a caption.
    max_length: usize,
    /// Whether it has attention.
    attention: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_the_api_has_all_decoders() {
        for family in DecoderFamily::ALL {
            let found = serde_json::from_value::<Decoder>(family.name().into());
            assert!(found.is_ok(), "{family}");
        }
    }
}
