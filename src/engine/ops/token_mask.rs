//! The tokens that hypotheses may not continue with.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader, params};
use crate::engine::reference::{self, token_mask::TokenSets};

/// After a step of a search, the tokens that each hypothesis may not continue with: a set `[R, W]` of bits, `W = ceil(V / 32)`, for
/// [`Graph::top_k_without`].
///
/// Operands, all u32: `excluded [R, W]`, the sets before the step; `parents [R]`, the rows that the rows continue; `tokens [R]`, what they
/// append; `once [W]` and `unfinished [W]`, sets of tokens. A row has the set of its parent, its own token if that may come once only, and
/// the end token if no sentence ends after its own token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenMask {
    /// The token that ends a sentence.
    pub end: u32,
}

params! { count: usize, width: usize, rows: usize, end: u32 }

pub(super) const SHADER: Shader = Shader {
    name: "token_mask",
    source: include_str!("../../../shaders/token_mask.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

impl Operation for TokenMask {
    fn name(&self) -> &'static str {
        "token_mask"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(
            const {
                &[
                    Operand::u32("excluded"),
                    Operand::u32("parents"),
                    Operand::u32("tokens"),
                    Operand::u32("once"),
                    Operand::u32("unfinished"),
                ]
            },
        )
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [excluded, parents, tokens, once, unfinished] = exactly(inputs)?;
        let Some([rows, width]) = excluded.shape.sizes() else {
            return Err(format!("expected excluded [R, W], found {}", excluded.shape));
        };
        if [parents, tokens].iter().any(|x| x.shape.elements() != rows)
            || [once, unfinished].iter().any(|x| x.shape.elements() != width)
        {
            return Err(format!(
                "expected {rows} parents and tokens and sets of {width} words, found {}, {}, {} and {}",
                parents.shape, tokens.shape, once.shape, unfinished.shape
            ));
        }
        Ok(vec![(excluded.shape.clone(), DType::U32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [excluded, parents, tokens, once, unfinished] = [0, 1, 2, 3, 4].map(|i| inputs[i].1.u32());
        let sets = TokenSets { once, unfinished };
        vec![Data::U32(reference::token_mask::token_mask(excluded, parents, tokens, sets, self.end))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let [rows, width] = node.inputs[0].shape.sizes().unwrap_or_default();
        let params = Params { count: rows * width, width, rows, end: self.end };
        let bindings = (0..5).map(|i| node.input(i)).chain([node.output(0)]).collect();
        Ok(node.flat(&SHADER, bindings, params.words(), rows * width))
    }

    fn flops(&self, _: &Lowering<'_>) -> u64 {
        0
    }
}

impl Graph {
    /// Appends a [`TokenMask`] node: the sets after a step that appended `tokens` to `parents`. `sets` are the tokens that come once at
    /// most, and those that no sentence ends after.
    ///
    /// # Errors
    /// The operands are not u32, or their sizes do not fit together.
    pub fn token_mask(
        &mut self,
        name: &str,
        excluded: TensorId,
        [parents, tokens]: [TensorId; 2],
        [once, unfinished]: [TensorId; 2],
        end: u32,
    ) -> Result<TensorId, GraphError> {
        self.append(name, TokenMask { end }, vec![excluded, parents, tokens, once, unfinished])
    }
}
