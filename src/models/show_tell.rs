//! Show and Tell (Vinyals et al., arXiv 1411.4555): the pooled image is the first input of an LSTM.

use super::{Decoder, Step};
use crate::error::Error;
use crate::graph::{DType, Graph, TensorId};
use crate::ops::LstmWeights;
use crate::weights::Section;

/// The network's weights in a graph.
pub(super) struct ShowTell<'a> {
    section: Section<'a>,
    pooled: TensorId,
    start: TensorId,
    embedding: TensorId,
    lstm: LstmWeights,
    output: [TensorId; 2],
    /// Units of the LSTM.
    pub(super) hidden: usize,
    words: usize,
}

impl<'a> ShowTell<'a> {
    /// Reads the weights. `pooled` is the encoder's vector `[N, C]`.
    pub(super) fn new(graph: &mut Graph, section: Section<'a>, pooled: TensorId) -> Result<Self, Error> {
        let [words, width] = section.sizes("embed.weight")?;
        let [_, hidden] = section.sizes("lstm.weight_hh_l0")?;
        let lstm = LstmWeights::read(
            graph,
            &section,
            ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.bias_ih_l0", "lstm.bias_hh_l0"],
            [width, hidden],
        )?;
        let images = graph.shape(pooled).rows();
        Ok(ShowTell {
            section,
            pooled,
            start: graph.input("zeros", [images, hidden], DType::F32),
            embedding: section.constant(graph, "embed.weight", [words, width])?,
            lstm,
            output: [
                section.constant(graph, "linear.weight", [words, hidden])?,
                section.constant(graph, "linear.bias", [words])?,
            ],
            hidden,
            words,
        })
    }
}

impl Decoder for ShowTell<'_> {
    fn start(&mut self, graph: &mut Graph) -> Result<[TensorId; 2], Error> {
        let width = graph.shape(self.embedding).last();
        let image = self.section.linear(graph, "project", self.pooled, width)?;
        let state = [self.start, self.start];
        Ok(graph.lstm_cell("show_tell.image", &[image], state, self.lstm)?)
    }

    fn step(&mut self, graph: &mut Graph, tokens: TensorId, state: [TensorId; 2]) -> Result<Step, Error> {
        let word = graph.embedding("show_tell.embed", tokens, self.embedding)?;
        let state = graph.lstm_cell("show_tell.lstm", &[word], state, self.lstm)?;
        let logits = graph.linear("show_tell.linear", state[0], self.output[0], self.output[1])?;
        Ok(Step { logits, state, attention: None })
    }

    fn vocabulary(&self) -> usize {
        self.words
    }
}
