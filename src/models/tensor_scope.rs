//! Reads tensors of a model file into a graph.

use crate::engine::graph::{FileValues, Graph, TensorId};
use crate::engine::reference;
use crate::error::Error;
use crate::weights::{Model, ModelError, ModelErrorKind};

/// The tensors of a model whose names share a prefix, to be added to a graph.
#[derive(Clone, Copy)]
pub(super) struct TensorScope<'a> {
    pub(super) model: &'a Model,
    pub(super) prefix: &'a str,
}

impl TensorScope<'_> {
    /// The sizes of a tensor, which must have `RANK` dimensions, none of them 0.
    pub(super) fn sizes<const RANK: usize>(&self, name: &str) -> Result<[usize; RANK], ModelError> {
        let name = format!("{}{name}", self.prefix);
        let found = self.model.shape(&name)?;
        match found.try_into() {
            Ok(sizes) if !found.contains(&0) => Ok(sizes),
            _ => {
                let (expected, found) = (format!("of {RANK} sizes that are not 0"), format!("{found:?}"));
                Err(self.model.error(ModelErrorKind::Shape { name, expected, found }))
            }
        }
    }

    /// The error of a description that contradicts the tensors.
    pub(super) fn inconsistent(&self, message: String) -> Error {
        self.model.error(ModelErrorKind::Inconsistent(message)).into()
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.model.has(&format!("{}{name}", self.prefix))
    }

    /// The values of a tensor.
    pub(super) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.model.tensor(&format!("{}{name}", self.prefix), shape)
    }

    /// The statistics of a batch norm, as scale and shift `[C]`.
    pub(super) fn batch_norm(
        &self,
        name: &str,
        channels: usize,
        epsilon: f32,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let statistic = |part: &str| self.values(&format!("{name}.{part}"), &[channels]);
        let [weight, bias] = [statistic("weight")?, statistic("bias")?];
        let [mean, variance] = [statistic("running_mean")?, statistic("running_var")?];
        if let Some(index) = variance.iter().position(|&value| value < 0.0) {
            let (name, value) = (format!("{}{name}.running_var", self.prefix), variance[index]);
            return Err(self.model.error(ModelErrorKind::Variance { name, value, index }));
        }
        Ok(reference::batch_norm::fold(&weight, &bias, &mean, &variance, epsilon))
    }

    /// The values of a tensor, left in the file until they are needed.
    pub(super) fn stored(&self, name: &str, shape: &[usize]) -> Result<FileValues, ModelError> {
        self.model.stored(&format!("{}{name}", self.prefix), shape)
    }

    /// Adds a tensor to the graph.
    pub(super) fn constant<const RANK: usize>(
        &self,
        graph: &mut Graph,
        name: &str,
        shape: [usize; RANK],
    ) -> Result<TensorId, Error> {
        let name = format!("{}{name}", self.prefix);
        let values = self.model.stored(&name, &shape)?;
        Ok(graph.constant(&name, shape, values)?)
    }

    /// Adds the weight `[O, I]` and the bias `[O]` of a linear layer, and the layer itself.
    pub(super) fn linear(
        &self,
        graph: &mut Graph,
        name: &str,
        x: TensorId,
        outputs: usize,
    ) -> Result<TensorId, Error> {
        let inputs = graph.shape(x).last();
        let weight = self.constant(graph, &format!("{name}.weight"), [outputs, inputs])?;
        let bias = self.constant(graph, &format!("{name}.bias"), [outputs])?;
        Ok(graph.linear(&format!("{}{name}", self.prefix), x, weight, bias)?)
    }
}
