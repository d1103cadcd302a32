//! Recurrent decoders: Show and Tell by the shapes of its tensors, Show, Attend and Tell by their names.

use super::{Collection, Renaming, StateDict, expect_setting, listed, names, unknown};
use crate::checkpoint::CheckpointErrorKind;
use crate::weights::{Cell, DecoderFamily};
use std::fmt;

/// A decoder in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// Its architecture.
    pub family: DecoderFamily,
    /// Its recurrent cell.
    pub cell: Cell,
    /// What the names of its tensors begin with, such as `decoder.`.
    pub prefix: String,
    /// Rows of its embedding.
    pub words: usize,
    /// Rows of its last layer.
    pub outputs: usize,
    /// Width of its embedding.
    pub embedding: usize,
    /// Units of each recurrent layer.
    pub hidden: usize,
    /// Recurrent layers.
    pub layers: usize,
    /// Units of the attention layer; 0 without attention.
    pub attention: usize,
    /// Channels of the grid that attention reads; 0 without attention.
    pub channels: usize,
    /// Most words in a caption, if a pickled module states it (`max_seg_length`).
    pub max_length: Option<usize>,
    /// Its tensors.
    pub tensors: Renaming,
}

impl fmt::Display for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decoder { family, words, embedding, hidden, layers, .. } = self;
        write!(f, "{family} decoder: {words} words, embedding {embedding}, hidden {hidden}")?;
        let cell = self.cell.name().to_uppercase();
        if family.attends() {
            write!(f, ", attention {} over {} channels, {cell}", self.attention, self.channels)
        } else {
            write!(f, ", {layers} {cell} layers")
        }
    }
}

/// The decoders in a state dict: each has a recurrent layer.
pub(super) fn find(dict: &StateDict<'_>) -> impl Iterator<Item = Result<Decoder, CheckpointErrorKind>> {
    let decoder = |name: &str| {
        let (module, suffix) = match name.rsplit_once('.').unwrap_or(("", name)) {
            (module, "weight_hh_l0") => (module, true),
            (module, "weight_hh") => (module, false),
            _ => return None,
        };
        Some(Recurrent::read(dict, module, suffix).and_then(|recurrent| decoder(dict, &recurrent)))
    };
    dict.tensors().iter().filter_map(move |(name, _)| decoder(name))
}

/// A recurrent layer, or a stack of such layers.
struct Recurrent<'a> {
    /// Its path, such as `decoder.lstm`.
    module: &'a str,
    /// Whether its tensors are numbered by layer (`nn.LSTM`), or not (`nn.LSTMCell`).
    is_numbered: bool,
    cell: Cell,
    hidden: usize,
    inputs: usize,
    layers: usize,
}

impl<'a> Recurrent<'a> {
    fn read(
        dict: &StateDict<'_>,
        module: &'a str,
        is_numbered: bool,
    ) -> Result<Recurrent<'a>, CheckpointErrorKind> {
        let mut recurrent =
            Recurrent { module, is_numbered, cell: Cell::Lstm, hidden: 0, inputs: 0, layers: 1 };
        let sizes = |part| dict.sizes::<2>(&recurrent.tensor(part, 0));
        let (Some([rows, hidden]), Some([_, inputs])) = (sizes("weight_hh"), sizes("weight_ih")) else {
            return unknown(format!(
                "expected weights of input and state in `{module}`, found {}",
                names(dict)
            ));
        };
        let has = |ending: &str| dict.get(&recurrent.tensor(ending, 0)).is_some();
        if dict.get(&format!("{}_reverse", recurrent.tensor("weight_hh", 0))).is_some() {
            return unknown(format!(
                "expected layers that read from left to right, found `{module}` in both directions"
            ));
        }
        if has("weight_hr") {
            return unknown(format!(
                "expected layers whose state is their output, found `{module}` with a projection"
            ));
        }
        let cells = [Cell::Lstm, Cell::Gru];
        let Some(cell) = cells.into_iter().find(|cell| hidden > 0 && rows == cell.gates() * hidden) else {
            return unknown(format!(
                "expected an LSTM or a GRU, with 4 or 3 rows for each of its {hidden} units, found {rows} rows in `{module}`"
            ));
        };
        let layers = if is_numbered {
            (0..).take_while(|&layer| dict.get(&recurrent.tensor("weight_ih", layer)).is_some()).count()
        } else {
            1
        };
        recurrent.layers = layers;
        Ok(Recurrent { cell, hidden, inputs, ..recurrent })
    }

    fn tensor(&self, part: &str, layer: usize) -> String {
        let dot = if self.module.is_empty() { "" } else { "." };
        let layer = if self.is_numbered { format!("_l{layer}") } else { String::new() };
        format!("{}{dot}{part}{layer}", self.module)
    }

    /// Takes the tensors of all layers; those without biases get zeros.
    fn collect(&self, tensors: &mut Collection<'_, '_>, to: impl Fn(&str, usize) -> String) {
        for layer in 0..self.layers {
            for part in ["weight_ih", "weight_hh"] {
                tensors.take(&to(part, layer), &self.tensor(part, layer));
            }
            let biases = ["bias_ih", "bias_hh"];
            let has = |part: &&str| tensors.dict.get(&self.tensor(part, layer)).is_some();
            let any = biases.iter().any(has);
            for part in biases {
                if any {
                    tensors.take(&to(part, layer), &self.tensor(part, layer));
                } else {
                    let shape = [self.cell.gates() * self.hidden];
                    tensors.take_or_zeros(&to(part, layer), &self.tensor(part, layer), &shape);
                }
            }
        }
    }
}

/// The prefixes that enclose a module, the innermost first.
fn scopes(module: &str) -> impl Iterator<Item = &str> {
    let ends = module.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]);
    ends.map(|end| &module[..end])
}

fn decoder(dict: &StateDict<'_>, recurrent: &Recurrent<'_>) -> Result<Decoder, CheckpointErrorKind> {
    let attends = |scope: &&str| dict.get(&format!("{scope}attention.encoder_att.weight")).is_some();
    match scopes(recurrent.module).find(attends) {
        Some(scope) => show_attend_tell(dict, recurrent, scope),
        None => show_tell(dict, recurrent),
    }
}

/// The layers of a scope whose weight has two dimensions and is read by a role, as `(path, rows)`.
fn layers<'a>(
    dict: &'a StateDict<'_>,
    scope: &str,
    recurrent: &Recurrent<'_>,
    is_it: impl Fn([usize; 2], bool) -> bool,
) -> Vec<(&'a str, usize)> {
    let layer = |name: &'a str| {
        let path = name.strip_suffix(".weight")?;
        let sizes = dict.sizes::<2>(name)?;
        let has_bias = dict.get(&format!("{path}.bias")).is_some();
        let fits = path.starts_with(scope) && path != recurrent.module && is_it(sizes, has_bias);
        fits.then_some((path, sizes[0]))
    };
    dict.tensors().iter().filter_map(|(name, _)| layer(name)).collect()
}

/// The only candidate, or the only one whose last name has one of the usual parts.
fn only<'a>(
    role: &str,
    candidates: &[(&'a str, usize)],
    usual: &[&str],
) -> Result<Option<(&'a str, usize)>, CheckpointErrorKind> {
    if let &[] | &[_] = candidates {
        return Ok(candidates.first().copied());
    }
    let is_usual = |path: &str| {
        let last = path.rsplit('.').next().unwrap_or(path).to_lowercase();
        usual.iter().any(|part| last.contains(part))
    };
    let named: Vec<_> = candidates.iter().copied().filter(|(path, _)| is_usual(path)).collect();
    if let &[one] = named.as_slice() {
        return Ok(Some(one));
    }
    let paths: Vec<String> = candidates.iter().map(|(path, _)| format!("`{path}`")).collect();
    unknown(format!("expected one layer that can be {role}, found {}", listed(&paths, 6)))
}

/// Show and Tell: an embedding as wide as the input of the recurrent layer, and a layer from its state to the words.
fn show_tell(dict: &StateDict<'_>, recurrent: &Recurrent<'_>) -> Result<Decoder, CheckpointErrorKind> {
    let &Recurrent { module, cell, hidden, inputs, layers: count, .. } = recurrent;
    let mut found = None;
    for scope in scopes(module) {
        // An embedding has no bias.
        let embeddings = layers(dict, scope, recurrent, |[_, width], has_bias| width == inputs && !has_bias);
        let Some((embedding, words)) = only("the embedding of words", &embeddings, &["emb"])? else {
            continue;
        };
        let reads = |[_, width]: [usize; 2], _| width == hidden;
        let mut outputs = layers(dict, scope, recurrent, reads);
        outputs.retain(|(path, _)| *path != embedding);
        if outputs.iter().any(|&(_, rows)| rows == words) {
            outputs.retain(|&(_, rows)| rows == words);
        }
        let usual = ["linear", "fc", "out", "vocab", "logit", "class", "tag", "pred"];
        if let Some(output) = only("the last one, from state to words", &outputs, &usual)? {
            found = Some((scope, embedding, words, output));
            break;
        }
    }
    let Some((scope, embedding, words, (output, outputs))) = found else {
        let unread: Vec<String> =
            dict.unsupported().iter().map(|(_, reason)| format!("; {reason}")).collect();
        return unknown(format!(
            "is nearest to a Show and Tell decoder, but lacks an embedding [words, {inputs}] without bias, or a last layer \
             [words, {hidden}]; it has {}{}",
            names(dict),
            unread.first().map_or("", String::as_str)
        ));
    };
    let mut tensors = Collection::new(dict);
    tensors.take("embed.weight", &format!("{embedding}.weight"));
    tensors.take("linear.weight", &format!("{output}.weight"));
    tensors.take_or_zeros("linear.bias", &format!("{output}.bias"), &[outputs]);
    recurrent.collect(&mut tensors, |part, layer| format!("{}.{part}_l{layer}", cell.name()));
    expect_setting(dict, module, "bidirectional", 0.0)?;
    // Its owner has the number of words that its search ends after.
    let owner = dict.modules().iter().find(|m| m.path == scope.trim_end_matches('.'));
    let max_length = owner.and_then(|m| m.setting("max_seg_length")).and_then(|values| values.first());
    Ok(Decoder {
        family: DecoderFamily::ShowTell,
        cell,
        prefix: scope.to_owned(),
        words,
        outputs,
        embedding: inputs,
        hidden,
        layers: count,
        attention: 0,
        channels: 0,
        max_length: max_length.map(|&length| length as usize),
        tensors: tensors.finish("a Show and Tell decoder")?,
    })
}

fn show_attend_tell(
    dict: &StateDict<'_>,
    recurrent: &Recurrent<'_>,
    scope: &str,
) -> Result<Decoder, CheckpointErrorKind> {
    let what = "a Show, Attend and Tell decoder";
    let &Recurrent { cell, hidden, inputs, .. } = recurrent;
    let name = |part: &str| format!("{scope}{part}");
    let mut tensors = Collection::new(dict);
    tensors.take("embedding.weight", &name("embedding.weight"));
    let attention = ["attention.encoder_att", "attention.decoder_att", "attention.full_att", "f_beta", "fc"];
    let initial: &[&str] = match cell {
        Cell::Lstm => &["init_h", "init_c"],
        Cell::Gru => &["init_h"],
    };
    for part in attention.iter().chain(initial) {
        tensors.linear(part, &name(part));
    }
    recurrent.collect(&mut tensors, |part, _| format!("decode_step.{part}"));
    let tensors = tensors.finish(what)?;
    let sizes = |part: &str| dict.sizes::<2>(&name(part));
    match (sizes("embedding.weight"), sizes("attention.encoder_att.weight"), sizes("fc.weight")) {
        (Some([words, embedding]), Some([attention, channels]), Some([outputs, width]))
            if inputs == embedding + channels && width == hidden && recurrent.layers == 1 =>
        {
            Ok(Decoder {
                family: DecoderFamily::ShowAttendTell,
                cell,
                prefix: scope.to_owned(),
                words,
                outputs,
                embedding,
                hidden,
                layers: 1,
                attention,
                channels,
                max_length: None,
                tensors,
            })
        }
        _ => unknown(format!("is nearest to {what}, but its shapes do not fit each other: {}", names(dict))),
    }
}
