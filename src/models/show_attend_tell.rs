//! Show, Attend and Tell (Xu et al., arXiv 1502.03044) with soft attention and its gate.

use super::{Decoder, Recurrent, State, Step, TensorScope};
use crate::engine::graph::{Graph, TensorId};
use crate::error::Error;
use crate::weights::Cell;

/// The network's weights in a graph.
pub(super) struct ShowAttendTell<'a> {
    tensors: TensorScope<'a>,
    pooled: TensorId,
    /// `[N, P, C]`.
    grid: TensorId,
    /// The attention keys of the grid, `[N, P, A]`.
    keys: TensorId,
    embedding: TensorId,
    /// Weight `[A + C, H]` and bias `[A + C]` of one linear layer of the state that gives the attention query and the context gate.
    query: [TensorId; 2],
    score: [TensorId; 2],
    cell: Cell,
    layer: Recurrent,
    output: [TensorId; 2],
    hidden: usize,
    words: usize,
}

impl<'a> ShowAttendTell<'a> {
    /// Reads the weights. `grid [N, P, C]` and its mean `pooled [N, C]` come from the encoder.
    pub(super) fn new(
        graph: &mut Graph,
        tensors: TensorScope<'a>,
        cell: Cell,
        grid: TensorId,
        pooled: TensorId,
    ) -> Result<Self, Error> {
        let channels = graph.shape(grid).last();
        let [words, width] = tensors.sizes("embedding.weight")?;
        let [_, hidden] = tensors.sizes("decode_step.weight_hh")?;
        let [attention, _] = tensors.sizes("attention.decoder_att.weight")?;
        let layer = Recurrent::new(
            graph,
            &tensors,
            cell,
            ["decode_step.weight_ih", "decode_step.weight_hh", "decode_step.bias_ih", "decode_step.bias_hh"],
            [width + channels, hidden],
        )?;
        let mut query = tensors.values("attention.decoder_att.weight", &[attention, hidden])?;
        query.extend(tensors.values("f_beta.weight", &[channels, hidden])?);
        let mut query_bias = tensors.values("attention.decoder_att.bias", &[attention])?;
        query_bias.extend(tensors.values("f_beta.bias", &[channels])?);
        Ok(ShowAttendTell {
            tensors,
            pooled,
            grid,
            keys: tensors.linear(graph, "attention.encoder_att", grid, attention)?,
            embedding: tensors.constant(graph, "embedding.weight", [words, width])?,
            query: [
                graph.constant("query", [attention + channels, hidden], query)?,
                graph.constant("query", [attention + channels], query_bias)?,
            ],
            score: [
                tensors.constant(graph, "attention.full_att.weight", [1, attention])?,
                tensors.constant(graph, "attention.full_att.bias", [1])?,
            ],
            cell,
            layer,
            output: [
                tensors.constant(graph, "fc.weight", [words, hidden])?,
                tensors.constant(graph, "fc.bias", [words])?,
            ],
            hidden,
            words,
        })
    }
}

impl Decoder for ShowAttendTell<'_> {
    fn start(&mut self, graph: &mut Graph) -> Result<State, Error> {
        let h = self.tensors.linear(graph, "init_h", self.pooled, self.hidden)?;
        let mut state = vec![h];
        if self.cell == Cell::Lstm {
            state.push(self.tensors.linear(graph, "init_c", self.pooled, self.hidden)?);
        }
        Ok(vec![state])
    }

    fn step(&mut self, graph: &mut Graph, tokens: TensorId, state: State) -> Result<Step, Error> {
        let query = graph.linear("attend.query", state[0][0], self.query[0], self.query[1])?;
        let alpha = graph.attention_weights("attend.weights", self.keys, query, self.score)?;
        let context = graph.attention_context("attend.context", self.grid, alpha, query)?;
        let word = graph.embedding("attend.embedding", tokens, self.embedding)?;
        let next = self.layer.step(graph, "attend.layer", &[word, context], &state[0])?;
        let logits = graph.linear("attend.fc", next[0], self.output[0], self.output[1])?;
        Ok(Step { logits, state: vec![next], attention: Some(alpha) })
    }

    fn vocabulary(&self) -> usize {
        self.words
    }
}
