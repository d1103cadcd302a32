//! Encoder, decoder and beam search as one graph: all steps of the search follow each other, so that a device runs them
//! without a readback between words.

use super::show_attend_tell::ShowAttendTell;
use super::show_tell::ShowTell;
use super::{Decoder, State, Step, TensorScope, efficientnet_lite, resnet};
use crate::engine::graph::{DType, Data, Graph, TensorId};
use crate::engine::ops::TopK;
use crate::engine::scores::NOTHING;
use crate::error::Error;
use crate::weights::{Architecture, DecoderFamily, DecoderManifest, Model, Preprocessing};

/// Sizes of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SearchOptions {
    /// Photos at a time.
    pub(crate) images: usize,
    /// Hypotheses for each photo; 1 is greedy.
    pub(crate) beams: usize,
    /// Most words in a caption, the end token included.
    pub(crate) max_length: usize,
}

/// The graph, its constant inputs, and the size of the attention grid.
pub(crate) struct SearchGraph {
    /// Its results are, for each step: totals, tokens, parents, and, if the decoder attends, attention.
    pub(crate) graph: Graph,
    /// All inputs but the photos' pixels, which come first.
    pub(crate) constant_inputs: Vec<Data>,
    /// Rows and columns of the attention grid.
    pub(crate) grid: Option<[usize; 2]>,
}

/// Builds the graph of encoder and search for a decoder of the model.
pub(crate) fn build(
    model: &Model,
    decoder: &DecoderManifest,
    preprocessing: &Preprocessing,
    options: SearchOptions,
) -> Result<SearchGraph, Error> {
    let manifest = model.manifest();
    let SearchOptions { images, beams, max_length } = options;
    let rows = images * beams;
    let mut graph = Graph::new();
    let g = &mut graph;

    g.phase("encode");
    let &Preprocessing { width, height, mean, std, .. } = preprocessing;
    let (height, width) = (height as usize, width as usize);
    let pixels = g.input("photo", [images, height, width, 3], DType::U8)?;
    let x = g.preprocess("preprocess", pixels, mean, std)?;
    let tensors = TensorScope { model, prefix: &manifest.encoder.prefix };
    let mut features = match manifest.encoder.family.architecture() {
        Architecture::Resnet(blocks) => resnet::build(g, &tensors, x, blocks)?,
        Architecture::EfficientNetLite(scale) => efficientnet_lite::build(g, &tensors, x, scale)?,
    };
    if let Some(grid) = manifest.encoder.grid {
        features = g.adaptive_avg_pool2d("grid", features, grid)?;
    }
    let [_, grid_height, grid_width, _] = g.shape(features).sizes().unwrap_or_default();
    let pooled = g.adaptive_avg_pool2d("pooled", features, [1, 1])?;

    g.phase("generate");
    let mut constant_inputs = Vec::new();
    let tensors = TensorScope { model, prefix: &decoder.prefix };
    let attends = decoder.family == DecoderFamily::ShowAttendTell;
    let forced_start = decoder.forced_start;
    let mut decoder: Box<dyn Decoder> = match decoder.family {
        DecoderFamily::ShowTell => {
            let decoder = ShowTell::new(g, &tensors, pooled)?;
            constant_inputs.push(Data::F32(vec![0.0; images * decoder.hidden]));
            Box::new(decoder)
        }
        DecoderFamily::ShowAttendTell => Box::new(ShowAttendTell::new(g, tensors, features, pooled)?),
    };
    if decoder.vocabulary() != manifest.vocabulary.len() {
        let message = format!(
            "expected as many words as embeddings, found {} words and {} embeddings",
            manifest.vocabulary.len(),
            decoder.vocabulary()
        );
        return Err(tensors.inconsistent(message));
    }
    let mut state = decoder.start(g)?;
    // Each image begins with one live hypothesis: the start token.
    let mut scores = g.input("scores", [images, beams], DType::F32)?;
    let mut tokens = g.input("start", [rows], DType::U32)?;
    let first = |row: usize| if row.is_multiple_of(beams) { 0.0 } else { NOTHING };
    constant_inputs.push(Data::F32((0..rows).map(first).collect()));
    constant_inputs.push(Data::U32(vec![manifest.special.start; rows]));
    if beams > 1 {
        let image_of_row = g.input("images", [rows], DType::U32)?;
        constant_inputs.push(Data::U32((0..rows).map(|row| (row / beams) as u32).collect()));
        state = gather(g, state, image_of_row)?;
    }
    let mut suppressed = [TopK::NONE; 4];
    for (place, &id) in suppressed.iter_mut().zip(&manifest.suppress) {
        *place = id;
    }
    for step in 0..max_length {
        let is_unasked = step == 0 && !forced_start;
        let Step { logits, state: next, attention } =
            if is_unasked { decoder.logits(g, state)? } else { decoder.step(g, tokens, state)? };
        let log_probs = g.log_softmax("log_softmax", logits)?;
        let top = g.top_k("top_k", log_probs, TopK { k: beams, suppressed, log_probs: false })?;
        let beam = g.beam_step("beam_step", scores, top, manifest.special.end)?;
        for id in [beam.totals, beam.tokens, beam.parents].into_iter().chain(attention) {
            g.output(id)?;
        }
        (scores, tokens, state) = (beam.scores, beam.tokens, next);
        if beams > 1 && step + 1 < max_length {
            state = gather(g, state, beam.parents)?;
        }
    }
    graph.fuse();
    Ok(SearchGraph { graph, constant_inputs, grid: attends.then_some([grid_height, grid_width]) })
}

fn gather(g: &mut Graph, state: State, rows: TensorId) -> Result<State, Error> {
    let layer = |[h, c]: [TensorId; 2]| {
        Ok([g.gather_rows("gather.h", h, rows)?, g.gather_rows("gather.c", c, rows)?])
    };
    state.into_iter().map(layer).collect()
}
