//! Show and Tell (Vinyals et al., arXiv 1411.4555): the pooled image is the first input of an LSTM, or
//! of a GRU.

use super::resnet::EPSILON;
use super::{Decoder, Recurrent, State, Step, TensorScope};
use crate::engine::graph::{Constant, DType, Graph, TensorId};
use crate::error::Error;
use crate::weights::Cell;

/// Most recurrent layers: each is a node of the graph at every step.
const MAX_LAYERS: usize = 16;

/// The parts of the batch norm after the projection.
const NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// The network's weights in a graph.
pub(super) struct ShowTell {
    /// The image as the first input, `[N, E]`.
    image: TensorId,
    zeros: TensorId,
    embedding: TensorId,
    cell: Cell,
    layers: Vec<Recurrent>,
    output: [TensorId; 2],
    /// Units of a recurrent layer.
    pub(super) hidden: usize,
    words: usize,
}

impl ShowTell {
    /// Reads the weights. `pooled` is the encoder's vector `[N, C]`.
    pub(super) fn new(
        graph: &mut Graph,
        tensors: &TensorScope<'_>,
        cell: Cell,
        pooled: TensorId,
    ) -> Result<Self, Error> {
        let [words, width] = tensors.sizes("embed.weight")?;
        let [_, hidden] = tensors.sizes(&format!("{}.weight_hh_l0", cell.name()))?;
        let mut layers = Vec::new();
        for layer in 0.. {
            let inputs = if layer == 0 { width } else { hidden };
            let names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
            let names = names.map(|name| format!("{}.{name}_l{layer}", cell.name()));
            let names = names.each_ref().map(String::as_str);
            // The first layer has to exist. A layer with any of its tensors must have all of them.
            if layer > 0 && !names.iter().any(|name| tensors.has(name)) {
                break;
            }
            if layer == MAX_LAYERS {
                return Err(tensors
                    .inconsistent(format!("expected at most {MAX_LAYERS} recurrent layers, found more")));
            }
            layers.push(Recurrent::new(graph, tensors, cell, names, [inputs, hidden])?);
        }
        let images = graph.shape(pooled).rows();
        Ok(ShowTell {
            image: project(graph, tensors, pooled, width)?,
            zeros: graph.input("zeros", [images, hidden], DType::F32)?,
            embedding: tensors.constant(graph, "embed.weight", [words, width])?,
            cell,
            layers,
            output: [
                tensors.constant(graph, "linear.weight", [words, hidden])?,
                tensors.constant(graph, "linear.bias", [words])?,
            ],
            hidden,
            words,
        })
    }

    /// Takes an input `[R, E]` through all layers.
    fn advance(&self, graph: &mut Graph, name: &str, input: TensorId, state: &State) -> Result<State, Error> {
        let mut input = input;
        let mut next = Vec::with_capacity(state.len());
        for (before, layer) in state.iter().zip(&self.layers) {
            let after = layer.step(graph, name, &[input], before)?;
            input = after[0];
            next.push(after);
        }
        Ok(next)
    }
}

/// Projects the pooled image to the width of the embedding, by a linear layer. Some models have a batch norm after it, which
/// is folded into the layer.
fn project(
    graph: &mut Graph,
    tensors: &TensorScope<'_>,
    pooled: TensorId,
    width: usize,
) -> Result<TensorId, Error> {
    if !NORM.iter().any(|part| tensors.has(&format!("project_norm.{part}"))) {
        return tensors.linear(graph, "project", pooled, width);
    }
    let channels = graph.shape(pooled).last();
    let (scale, shift) = tensors.batch_norm("project_norm", width, EPSILON)?;
    let weight: Constant = tensors.stored("project.weight", &[width, channels])?.into();
    let bias = tensors.values("project.bias", &[width])?;
    let bias: Vec<f32> = bias.iter().zip(scale.iter().zip(&shift)).map(|(b, (s, t))| b * s + t).collect();
    let name = format!("{}project", tensors.prefix);
    let weight = graph.constant(&name, [width, channels], weight.scaled(&scale))?;
    let bias = graph.constant(&name, [width], bias)?;
    Ok(graph.linear(&name, pooled, weight, bias)?)
}

impl Decoder for ShowTell {
    fn start(&mut self, graph: &mut Graph) -> Result<State, Error> {
        let zeros = vec![vec![self.zeros; self.cell.states()]; self.layers.len()];
        self.advance(graph, "show_tell.image", self.image, &zeros)
    }

    fn logits(&mut self, graph: &mut Graph, state: State) -> Result<Step, Error> {
        // There is at least one layer: the first one has been read.
        let top = state.last().map_or(self.zeros, |layer| layer[0]);
        let logits = graph.linear("show_tell.linear", top, self.output[0], self.output[1])?;
        Ok(Step { logits, state, attention: None })
    }

    fn step(&mut self, graph: &mut Graph, tokens: TensorId, state: State) -> Result<Step, Error> {
        let word = graph.embedding("show_tell.embed", tokens, self.embedding)?;
        let state = self.advance(graph, "show_tell.layer", word, &state)?;
        self.logits(graph, state)
    }

    fn vocabulary(&self) -> usize {
        self.words
    }
}
