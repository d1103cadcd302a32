//! An LSTM that attends to the grid of a photo and, as in You et al. (arXiv 1603.03925), to what a classifier sees in it: the likeliest tags,
//! and attributes of the whole photo. `tools/train/README.md` has the formulas and the tensors.

use super::{Decoder, Recurrent, State, Step, TensorScope};
use crate::engine::graph::{Graph, TensorId};
use crate::engine::ops::{Activation, Matmul, Pool2d, TopK};
use crate::error::Error;
use crate::weights::{Cell, Tags};

/// The smallest score of a tag that the decoder tells from none.
const LEAST_SCORE: f32 = 0.001;

/// What the encoder's classifier sees.
pub(super) struct Classified {
    /// Logits of the whole photo, `[N, K]`.
    photo: TensorId,
    /// Logits of windows of the photo, `[N, H, W, K]`.
    windows: TensorId,
}

impl Classified {
    /// The classifier on the mean of the features `[N, H, W, C]`, and on windows of three by three places that overlap by one. `name` is
    /// that of its layer.
    pub(super) fn new(
        g: &mut Graph,
        tensors: &TensorScope<'_>,
        name: &str,
        features: TensorId,
    ) -> Result<Classified, Error> {
        let channels = g.shape(features).last();
        let [classes, _] = tensors.sizes(&format!("{name}.weight"))?;
        let weight = tensors.constant(g, &format!("{name}.weight"), [classes, channels])?;
        let bias = tensors.constant(g, &format!("{name}.bias"), [classes])?;
        let images = g.shape(features).first().copied().unwrap_or_default();
        let pooled = g.adaptive_avg_pool2d("classifier.pooled", features, [1, 1])?;
        let photo = g.linear("classifier.photo", pooled, weight, bias)?;
        let photo = g.reshape("classifier.photo", photo, [images, classes])?;
        let window = Pool2d { kernel: [3; 2], stride: [2; 2], padding: [0; 2], count_include_pad: true };
        let windows = g.avg_pool2d("classifier.windows", features, window)?;
        Ok(Classified { photo, windows: g.linear("classifier.windows", windows, weight, bias)? })
    }
}

/// The network's weights in a graph, and what it reads of the photos.
pub(super) struct SemanticAttention {
    /// The grid of the photo, `[N, P, G]`.
    places: TensorId,
    /// The same, scaled for the product with queries.
    place_keys: TensorId,
    /// Tags and attributes, `[N, S, E]`.
    slots: TensorId,
    /// The same, scaled for the product with queries.
    slot_keys: TensorId,
    /// The photo as a whole, `[N, E]`; `[R, E]` once there are several rows for each image.
    whole: TensorId,
    /// The first state, `[N, H]` twice.
    start: [TensorId; 2],
    embedding: TensorId,
    lstm: Recurrent,
    /// Weight and bias of the queries of the grid, of the gate of what is found there, and of the queries of the slots.
    queries: [[TensorId; 2]; 3],
    mix: [TensorId; 2],
    out: [TensorId; 2],
    /// The share of the slots in the word, `[1]`.
    slot_share: TensorId,
    output: [TensorId; 2],
    /// Numbers and scores of the tags that are read, `[N, T]`.
    tags: [TensorId; 2],
    images: usize,
    words: usize,
}

impl SemanticAttention {
    /// Reads the weights. `grid [N, GH, GW, C]` comes from the encoder.
    pub(super) fn new(
        g: &mut Graph,
        tensors: &TensorScope<'_>,
        tags: Option<&Tags>,
        classified: &Classified,
        grid: TensorId,
    ) -> Result<Self, Error> {
        let Some(tags) = tags else {
            return Err(tensors.inconsistent("expected tags for semantic attention, found none".to_owned()));
        };
        let [words, width] = tensors.sizes("embedding.weight")?;
        let [_, hidden] = tensors.sizes("lstm.weight_hh")?;
        let [places_width, _] = tensors.sizes("grid.weight")?;
        let [images, height, columns, _] = g.shape(grid).sizes().unwrap_or_default();
        let TagSlots { slots: tag_slots, mean: mean_tag, tags } =
            tag_slots(g, tensors, tags, classified, width)?;
        let (attribute_slots, attributes) = attribute_slots(g, tensors, classified.photo, width)?;
        let slots = g.concat("semantic.slots", &[tag_slots, attribute_slots], 1)?;
        let places = tensors.linear(g, "grid", grid, places_width)?;
        let places = g.activation("semantic.places", places, Activation::Relu)?;
        let mean_place = g.adaptive_avg_pool2d("semantic.mean_place", places, [1, 1])?;
        let mean_place = g.reshape("semantic.mean_place", mean_place, [images, places_width])?;
        let places = g.reshape("semantic.places", places, [images, height * columns, places_width])?;
        let read = g.concat("semantic.read", &[mean_place, mean_tag, attributes], 1)?;
        let whole = whole(g, tensors, read, width)?;
        let first = tensors.linear(g, "first", whole, 2 * hidden)?;
        let first = g.activation("semantic.first", first, Activation::Tanh)?;
        let half = |g: &mut Graph, from: usize| {
            g.slice("semantic.first", first, &[0..images, from..from + hidden], &[1, 1])
        };
        let names = ["lstm.weight_ih", "lstm.weight_hh", "lstm.bias_ih", "lstm.bias_hh"];
        let embedding = tensors.constant(g, "embedding.weight", [words, width])?;
        Ok(SemanticAttention {
            place_keys: scaled(g, places, places_width)?,
            slot_keys: scaled(g, slots, width)?,
            places,
            slots,
            whole,
            start: [half(g, 0)?, half(g, hidden)?],
            embedding,
            lstm: Recurrent::new(g, tensors, Cell::Lstm, names, [2 * width, hidden])?,
            queries: queries(g, tensors, [places_width, places_width, width], hidden)?,
            mix: [
                tensors.constant(g, "mix.weight", [hidden, hidden + places_width + 2 * width])?,
                tensors.constant(g, "mix.bias", [hidden])?,
            ],
            out: [
                tensors.constant(g, "out.weight", [width, hidden])?,
                tensors.constant(g, "out.bias", [width])?,
            ],
            slot_share: tensors.constant(g, "slot_share", [1])?,
            // Words are scored by the table that they are read from (Press and Wolf, arXiv 1608.05859).
            output: [embedding, tensors.constant(g, "bias", [words])?],
            tags,
            images,
            words,
        })
    }
}

/// The tags with the highest scores.
struct TagSlots {
    /// `[N, T, E]`.
    slots: TensorId,
    /// Their mean, `[N, E]`.
    mean: TensorId,
    /// Numbers and scores, `[N, T]`.
    tags: [TensorId; 2],
}

/// The slots of the tags with the highest scores.
fn tag_slots(
    g: &mut Graph,
    tensors: &TensorScope<'_>,
    tags: &Tags,
    classified: &Classified,
    width: usize,
) -> Result<TagSlots, Error> {
    let &Tags { given, tail, window_share, ref table, .. } = tags;
    let [images, classes] = g.shape(classified.photo).sizes().unwrap_or_default();
    if let Some(tag) = table.iter().find(|tag| tag.classes.iter().any(|&class| class >= classes)) {
        let message =
            format!("expected classes of tags below {classes}, found {:?} of `{}`", tag.classes, tag.name);
        return Err(tensors.inconsistent(message));
    }
    let tail = g.constant("tail", [1], vec![tail])?;
    let zeros = g.constant("zeros", [table.len()], vec![0.0; table.len()])?;
    let sums = |g: &mut Graph, logits: TensorId, share: f32| {
        let mut members = vec![0.0; table.len() * classes];
        for (row, tag) in members.chunks_exact_mut(classes).zip(table) {
            tag.classes.iter().for_each(|&class| row[class] = share);
        }
        let members = g.constant("tags", [table.len(), classes], members)?;
        let p = g.softmax("tags.softmax", logits)?;
        let p = g.sub("tags.tail", p, tail)?;
        let p = g.activation("tags.tail", p, Activation::Relu)?;
        g.linear("tags", p, members, zeros)
    };
    let photo = sums(g, classified.photo, 1.0)?;
    let windows = sums(g, classified.windows, window_share)?;
    let [_, rows, columns, _] = g.shape(windows).sizes().unwrap_or_default();
    let all = Pool2d { kernel: [rows, columns], stride: [1; 2], padding: [0; 2], count_include_pad: true };
    let best = g.max_pool2d("tags.best_window", windows, all)?;
    let best = g.reshape("tags.best_window", best, [images, table.len()])?;
    let scores = g.add("tags.scores", photo, best)?;
    let top = TopK { k: given, suppressed: [TopK::NONE; 4], log_probs: false };
    let [scores, top] = g.top_k("tags.top", scores, top)?;
    let values = tag_values(g, scores)?;
    let table = tensors.constant(g, "tag.weight", [table.len(), width])?;
    let numbers = g.reshape("tags.numbers", top, [images * given])?;
    let names = g.embedding("tags.embedding", numbers, table)?;
    let names = g.reshape("tags.embedding", names, [images, given, width])?;
    let values = g.reshape("tags.values", values, [images, given, 1])?;
    let weight = tensors.constant(g, "tag_score", [width])?;
    let slots = g.mul("tags.slots", values, weight)?;
    let slots = g.add("tags.slots", slots, names)?;
    let image = g.reshape("tags.mean", slots, [images, given, 1, width])?;
    let mean = g.adaptive_avg_pool2d("tags.mean", image, [1, 1])?;
    Ok(TagSlots { slots, mean: g.reshape("tags.mean", mean, [images, width])?, tags: [top, scores] })
}

/// Scores as the decoder reads them: `ln(max(score, 0.001)) / 3 + 1.2`.
fn tag_values(g: &mut Graph, scores: TensorId) -> Result<TensorId, Error> {
    let mut number = |value: f32| g.constant("tags.values", [1], vec![value]);
    let (least, three, shift) = (number(LEAST_SCORE)?, number(3.0)?, number(1.2)?);
    let scores = g.max("tags.values", scores, least)?;
    let logs = g.activation("tags.values", scores, Activation::Log)?;
    let logs = g.div("tags.values", logs, three)?;
    Ok(g.add("tags.values", logs, shift)?)
}

/// The slots of the attributes, `[N, A + 1, E]`, and their values `[N, A + 1]`. The last slot is the one for nothing, whose value is 0.
fn attribute_slots(
    g: &mut Graph,
    tensors: &TensorScope<'_>,
    logits: TensorId,
    width: usize,
) -> Result<(TensorId, TensorId), Error> {
    let [images, classes] = g.shape(logits).sizes().unwrap_or_default();
    let [count, _] = tensors.sizes("attribute.weight")?;
    // tanh(x / 2) = 2 sigmoid(x) - 1.
    let halves = |mut values: Vec<f32>, row: usize| {
        values.iter_mut().for_each(|value| *value *= 0.5);
        values.resize(values.len() + row, 0.0);
        values
    };
    let weight = halves(tensors.values("detector.weight", &[count, classes])?, classes);
    let bias = halves(tensors.values("detector.bias", &[count])?, 1);
    let weight = g.constant("detector.weight", [count + 1, classes], weight)?;
    let bias = g.constant("detector.bias", [count + 1], bias)?;
    let values = g.linear("detector", logits, weight, bias)?;
    let values = g.activation("detector", values, Activation::Tanh)?;
    let mut table = tensors.values("attribute.weight", &[count, width])?;
    table.extend(tensors.values("none", &[1, width])?);
    let mut weight = tensors.values("attribute_score", &[count, width])?;
    weight.resize(weight.len() + width, 0.0);
    let table = g.constant("attributes", [count + 1, width], table)?;
    let weight = g.constant("attributes", [count + 1, width], weight)?;
    let factors = g.reshape("attributes", values, [images, count + 1, 1])?;
    let slots = g.mul("attributes", factors, weight)?;
    Ok((g.add("attributes", slots, table)?, values))
}

/// The photo as a whole, from the means of grid and tags and from the attributes. The value of the slot for nothing has no weight.
fn whole(g: &mut Graph, tensors: &TensorScope<'_>, read: TensorId, width: usize) -> Result<TensorId, Error> {
    let inputs = g.shape(read).last();
    let stored = tensors.values("whole.weight", &[width, inputs - 1])?;
    let mut weight = Vec::with_capacity(width * inputs);
    for row in stored.chunks_exact(inputs - 1) {
        weight.extend_from_slice(row);
        weight.push(0.0);
    }
    let weight = g.constant("whole.weight", [width, inputs], weight)?;
    let bias = tensors.constant(g, "whole.bias", [width])?;
    let whole = g.linear("semantic.whole", read, weight, bias)?;
    Ok(g.activation("semantic.whole", whole, Activation::Relu)?)
}

/// `x / sqrt(width)` (Vaswani et al., arXiv 1706.03762).
fn scaled(g: &mut Graph, x: TensorId, width: usize) -> Result<TensorId, Error> {
    let scale = g.constant("scale", [1], vec![(width as f32).sqrt().recip()])?;
    Ok(g.mul("semantic.keys", x, scale)?)
}

/// The layers of the queries, which one tensor has below each other.
fn queries(
    g: &mut Graph,
    tensors: &TensorScope<'_>,
    widths: [usize; 3],
    hidden: usize,
) -> Result<[[TensorId; 2]; 3], Error> {
    let all: usize = widths.iter().sum();
    let weight = tensors.values("query.weight", &[all, hidden])?;
    let bias = tensors.values("query.bias", &[all])?;
    let mut start = 0;
    let mut layer = |width: usize| -> Result<[TensorId; 2], Error> {
        let rows = start..start + width;
        start += width;
        let values = weight[rows.start * hidden..rows.end * hidden].to_vec();
        Ok([
            g.constant("query.weight", [width, hidden], values)?,
            g.constant("query.bias", [width], bias[rows].to_vec())?,
        ])
    };
    let [places, gate, slots] = widths;
    Ok([layer(places)?, layer(gate)?, layer(slots)?])
}

impl Decoder for SemanticAttention {
    fn start(&mut self, _: &mut Graph) -> Result<State, Error> {
        Ok(vec![self.start.to_vec()])
    }

    fn expand(&mut self, graph: &mut Graph, image_of_row: TensorId) -> Result<(), Error> {
        self.whole = graph.gather_rows("semantic.whole", self.whole, image_of_row)?;
        Ok(())
    }

    fn step(&mut self, g: &mut Graph, tokens: TensorId, state: State) -> Result<Step, Error> {
        let word = g.embedding("semantic.embedding", tokens, self.embedding)?;
        let next = self.lstm.step(g, "semantic.lstm", &[word, self.whole], &state[0])?;
        let [to_places, gate, to_slots] = self.queries;
        let rows = g.shape(tokens).elements();
        let attend = |g: &mut Graph, [weight, bias]: [TensorId; 2], keys: TensorId| {
            let query = g.linear("semantic.query", next[0], weight, bias)?;
            let query =
                g.reshape("semantic.query", query, [self.images, rows / self.images, g.shape(query).last()])?;
            let scores =
                g.matmul("semantic.scores", query, keys, Matmul { transpose_a: false, transpose_b: true })?;
            g.softmax("semantic.softmax", scores)
        };
        let alpha = attend(g, to_places, self.place_keys)?;
        let slot_weights = attend(g, to_slots, self.slot_keys)?;
        let alpha = g.reshape("semantic.alpha", alpha, [rows, g.shape(alpha).last()])?;
        let gate = g.linear("semantic.gate", next[0], gate[0], gate[1])?;
        let found = g.attention_context("semantic.context", self.places, alpha, gate)?;
        let slots = g.matmul("semantic.slot_context", slot_weights, self.slots, Matmul::default())?;
        let slots = g.reshape("semantic.slot_context", slots, [rows, g.shape(slots).last()])?;
        let mixed = g.concat("semantic.mix", &[next[0], found, slots, word], 1)?;
        let mixed = g.linear("semantic.mix", mixed, self.mix[0], self.mix[1])?;
        let mixed = g.activation("semantic.mix", mixed, Activation::Relu)?;
        let out = g.linear("semantic.out", mixed, self.out[0], self.out[1])?;
        let share = g.mul("semantic.slot_share", slots, self.slot_share)?;
        let out = g.add("semantic.out", out, share)?;
        let logits = g.linear("semantic.words", out, self.output[0], self.output[1])?;
        Ok(Step { logits, state: vec![next], attention: Some(alpha) })
    }

    fn tags(&self) -> Option<[TensorId; 2]> {
        Some(self.tags)
    }

    fn vocabulary(&self) -> usize {
        self.words
    }
}
