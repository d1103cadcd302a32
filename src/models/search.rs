//! Encoder, decoder and beam search as one graph: all steps of the search follow each other, so that a device runs them
//! without a readback between words.

use super::semantic_attention::{Classified, SemanticAttention};
use super::show_attend_tell::ShowAttendTell;
use super::show_tell::ShowTell;
use super::{Decoder, LayerState, State, Step, TensorScope, encoder};
use crate::engine::graph::{DType, Data, Graph, TensorId};
use crate::engine::ops::TopK;
use crate::engine::scores::NOTHING;
use crate::error::Error;
use crate::weights::{DecoderFamily, DecoderManifest, Manifest, Model, Preprocessing, Rules, Special};

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
    /// Its results are, for each step: totals, tokens, parents, and, if the decoder attends, attention; then, if it reads tags, their
    /// numbers and scores, `[N, T]`.
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
    let tensors_of_encoder = TensorScope { model, prefix: &manifest.encoder.prefix };
    let architecture = manifest.encoder.family.architecture();
    let features = encoder::encode(g, &tensors_of_encoder, architecture, preprocessing, images)?;
    let grid = match manifest.encoder.grid {
        Some(grid) => g.adaptive_avg_pool2d("grid", features, grid)?,
        None => features,
    };
    let [_, grid_height, grid_width, _] = g.shape(grid).sizes().unwrap_or_default();

    g.phase("generate");
    let mut constant_inputs = Vec::new();
    let tensors = TensorScope { model, prefix: &decoder.prefix };
    let DecoderManifest { family, cell, forced_start, .. } = *decoder;
    let (rules, tags) = (decoder.rules.as_ref(), decoder.tags.as_ref());
    let mut decoder: Box<dyn Decoder> = match family {
        DecoderFamily::ShowTell => {
            let pooled = encoder::mean(g, grid)?;
            let decoder = ShowTell::new(g, &tensors, cell, pooled)?;
            constant_inputs.push(Data::F32(vec![0.0; images * decoder.hidden]));
            Box::new(decoder)
        }
        DecoderFamily::ShowAttendTell => {
            let pooled = encoder::mean(g, grid)?;
            Box::new(ShowAttendTell::new(g, tensors, cell, grid, pooled)?)
        }
        DecoderFamily::SemanticAttention => {
            let classifier = architecture.classifier().ok_or_else(|| {
                tensors.inconsistent(format!(
                    "expected an encoder with a classifier of one layer, found {}",
                    manifest.encoder.family
                ))
            })?;
            let classified = Classified::new(g, &tensors_of_encoder, classifier, features)?;
            Box::new(SemanticAttention::new(g, &tensors, tags, &classified, grid)?)
        }
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
        decoder.expand(g, image_of_row)?;
    }
    let mut constraints = match rules {
        Some(rules) => Some(Constraints::new(g, manifest, rules, rows, &mut constant_inputs)?),
        None => None,
    };
    let mut suppressed = [TopK::NONE; 4];
    for (place, &id) in suppressed.iter_mut().zip(&manifest.suppress) {
        *place = id;
    }
    let top = TopK { k: beams, suppressed, log_probs: false };
    for step in 0..max_length {
        let is_unasked = step == 0 && !forced_start;
        let Step { logits, state: next, attention } =
            if is_unasked { decoder.logits(g, state)? } else { decoder.step(g, tokens, state)? };
        let log_probs = g.log_softmax("log_softmax", logits)?;
        let best = match &constraints {
            Some(constraints) => g.top_k_without("top_k", log_probs, constraints.excluded, top)?,
            None => g.top_k("top_k", log_probs, top)?,
        };
        let beam = g.beam_step("beam_step", scores, best, manifest.special.end)?;
        for id in [beam.totals, beam.tokens, beam.parents].into_iter().chain(attention) {
            g.output(id)?;
        }
        (scores, tokens, state) = (beam.scores, beam.tokens, next);
        if step + 1 < max_length {
            if beams > 1 {
                state = gather(g, state, beam.parents)?;
            }
            if let Some(constraints) = &mut constraints {
                constraints.follow(g, [beam.parents, beam.tokens])?;
            }
        }
    }
    for id in decoder.tags().into_iter().flatten() {
        g.output(id)?;
    }
    graph.fuse();
    Ok(SearchGraph { graph, constant_inputs, grid: family.attends().then_some([grid_height, grid_width]) })
}

/// The rules of a model in a graph.
struct Constraints {
    /// The words that come once at most, and those that no sentence ends on, as sets of bits `[W]`.
    sets: [TensorId; 2],
    /// The words that each row may not continue with, `[R, W]`.
    excluded: TensorId,
    end: u32,
}

impl Constraints {
    /// Before the first word, which is not the end.
    fn new(
        g: &mut Graph,
        manifest: &Manifest,
        rules: &Rules,
        rows: usize,
        constant_inputs: &mut Vec<Data>,
    ) -> Result<Constraints, Error> {
        let Special { end, pad, start, unk } = manifest.special;
        let words = manifest.vocabulary.len();
        let width = words.div_ceil(32);
        let set = |ids: &mut dyn Iterator<Item = u32>| {
            let mut bits = vec![0u32; width];
            ids.for_each(|id| bits[id as usize / 32] |= 1 << (id % 32));
            bits
        };
        let is_once = |id: &u32| ![end, pad, start, unk].contains(id) && !rules.often.contains(id);
        let once = set(&mut (0..words as u32).filter(is_once));
        let unfinished = set(&mut rules.unfinished.iter().copied());
        let first = set(&mut [end].into_iter());
        constant_inputs.extend([once, unfinished, first.repeat(rows)].map(Data::U32));
        Ok(Constraints {
            sets: [g.input("once", [width], DType::U32)?, g.input("unfinished", [width], DType::U32)?],
            excluded: g.input("excluded", [rows, width], DType::U32)?,
            end,
        })
    }

    /// After a step that appended `tokens` to `parents`.
    fn follow(&mut self, g: &mut Graph, parents_and_tokens: [TensorId; 2]) -> Result<(), Error> {
        self.excluded = g.token_mask("token_mask", self.excluded, parents_and_tokens, self.sets, self.end)?;
        Ok(())
    }
}

fn gather(g: &mut Graph, state: State, rows: TensorId) -> Result<State, Error> {
    let layer = |layer: LayerState| {
        let tensors = layer.into_iter().map(|tensor| Ok(g.gather_rows("gather.state", tensor, rows)?));
        tensors.collect()
    };
    state.into_iter().map(layer).collect()
}
