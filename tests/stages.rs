//! The model flickr8k against PyTorch: every stage of the encoder, the first logits, and a caption token by token.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::shared;
use serde_json::Value;
use shadetell::engine::graph::{Data, Graph, TensorId};
use shadetell::engine::plan::{AdapterClass, Target};
use shadetell::engine::reference;
use shadetell::image::Rgb8;
use shadetell::weights::{DecoderFamily, Model};
use shadetell::{Backend, CaptionOptions, Captioner, caption_graph};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/stages.json")).unwrap()
}

fn photo() -> Vec<u8> {
    include_bytes!("golden/photo.rgb").to_vec()
}

fn greedy(decoder: DecoderFamily) -> CaptionOptions {
    CaptionOptions { decoder: Some(decoder), beam: Some(1), ..CaptionOptions::default() }
}

/// The results of all nodes of this name, in order.
fn results(graph: &Graph, name: &str) -> Vec<TensorId> {
    graph.nodes().iter().filter(|node| node.name == name).map(|node| node.outputs[0]).collect()
}

/// The node whose result is a stage of the encoder.
fn node_of(stage: &str) -> String {
    match stage {
        "input" => "preprocess".to_owned(),
        "stem" => "encoder._conv_stem".to_owned(),
        "head" => "encoder._conv_head".to_owned(),
        "pooled" => "pooled".to_owned(),
        block => format!("encoder._blocks.{}._project_conv", &block["block".len()..]),
    }
}

/// Runs a graph with the reference kernels and on the adapter.
fn run_both(graph: &Graph, inputs: &[Data]) -> [(&'static str, Vec<Data>); 2] {
    let references = reference::run(graph, inputs).unwrap();
    let gpu = shared().run(graph, &Target::baseline(AdapterClass::Software), inputs);
    [("references", references), ("adapter", gpu)]
}

fn close(expected: f32, found: f32) -> bool {
    (expected - found).abs() <= 2e-3 + 2e-3 * expected.abs()
}

#[test]
fn stages_of_the_encoder() {
    let golden = golden();
    let stages = golden["encoder"].as_array().unwrap();
    let model = Model::from_static("flickr8k", shadetell_flickr8k::MODEL).unwrap();
    let options = CaptionOptions { max_length: Some(1), ..greedy(DecoderFamily::ShowAttendTell) };
    let (mut graph, constants) = caption_graph(&model, &options).unwrap();
    let before = graph.outputs().len();
    for stage in stages {
        let ids = results(&graph, &node_of(stage["stage"].as_str().unwrap()));
        assert_eq!(ids.len(), 1, "{} is one node", stage["stage"]);
        graph.output(ids[0]).unwrap();
    }
    let inputs: Vec<Data> = [Data::U8(photo())].into_iter().chain(constants).collect();
    for (who, outputs) in run_both(&graph, &inputs) {
        for (stage, found) in stages.iter().zip(&outputs[before..]) {
            // PyTorch's order is [N, C, H, W], ours [N, H, W, C].
            let sizes: Vec<usize> =
                stage["shape"].as_array().unwrap().iter().map(|s| s.as_u64().unwrap() as usize).collect();
            let [_, channels, height, width] = sizes[..] else { panic!("{sizes:?}") };
            // The engine gives the input a fourth channel.
            let stored = if stage["stage"] == "input" { channels + 1 } else { channels };
            assert_eq!(found.len(), stored * height * width, "{}", stage["stage"]);
            for sample in stage["samples"].as_array().unwrap() {
                let at = |i: usize| sample[i].as_u64().unwrap() as usize;
                let (expected, value) = (
                    sample[4].as_f64().unwrap() as f32,
                    found.f32()[(at(2) * width + at(3)) * stored + at(1)],
                );
                assert!(close(expected, value), "{who}, {} {sample}: found {value}", stage["stage"]);
            }
        }
    }
}

fn first_logits(decoder: DecoderFamily, node: &str) {
    let golden = golden();
    let steps = golden["decoders"][decoder.to_string()]["logits"].as_array().unwrap().clone();
    let model = Model::from_static("flickr8k", shadetell_flickr8k::MODEL).unwrap();
    let options = CaptionOptions { max_length: Some(steps.len()), ..greedy(decoder) };
    let (mut graph, constants) = caption_graph(&model, &options).unwrap();
    let before = graph.outputs().len();
    let logits = results(&graph, node);
    assert_eq!(logits.len(), steps.len());
    for id in logits {
        graph.output(id).unwrap();
    }
    let inputs: Vec<Data> = [Data::U8(photo())].into_iter().chain(constants).collect();
    for (who, outputs) in run_both(&graph, &inputs) {
        for (step, (expected, found)) in steps.iter().zip(&outputs[before..]).enumerate() {
            for sample in expected.as_array().unwrap() {
                let (word, value) =
                    (sample[0].as_u64().unwrap() as usize, sample[1].as_f64().unwrap() as f32);
                let found = found.f32()[word];
                assert!(
                    close(value, found),
                    "{who}, step {step}, word {word}: expected {value}, found {found}"
                );
            }
        }
    }
}

#[test]
fn first_logits_of_show_attend_tell() {
    first_logits(DecoderFamily::ShowAttendTell, "attend.fc");
}

#[test]
fn first_logits_of_show_tell() {
    first_logits(DecoderFamily::ShowTell, "show_tell.linear");
}

#[test]
fn captions_token_by_token() {
    let golden = golden();
    let model = Model::from_static("flickr8k", shadetell_flickr8k::MODEL).unwrap();
    let photo = Rgb8::new(224, 224, photo()).unwrap();
    for decoder in [DecoderFamily::ShowAttendTell, DecoderFamily::ShowTell] {
        let expected = &golden["decoders"][decoder.to_string()];
        let numbers = |key: &str| {
            expected[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>()
        };
        let shared = shared();
        for backend in [Backend::Cpu, Backend::Gpu(&shared.gpu)] {
            let caption = Captioner::new(&model, backend, &greedy(decoder)).unwrap().caption(&photo).unwrap();
            let ids: Vec<f64> = caption.tokens.iter().map(|t| f64::from(t.id)).collect();
            let tokens: Vec<f64> = numbers("tokens").into_iter().filter(|&id| id != 2.0).collect();
            assert_eq!(ids, tokens, "{decoder}: {}", caption.text);
            assert!(caption.finished);
            for (token, log_prob) in caption.tokens.iter().zip(numbers("log_probabilities")) {
                assert!(
                    (f64::from(token.log_prob) - log_prob).abs() < 2e-3,
                    "{token:?}: expected {log_prob}"
                );
            }
            if decoder == DecoderFamily::ShowAttendTell {
                let seen = numbers("attention_first_step");
                for (cell, (&found, expected)) in caption.tokens[0].attention.iter().zip(&seen).enumerate() {
                    assert!(
                        (f64::from(found) - expected).abs() < 1e-3,
                        "cell {cell}: {found}, expected {expected}"
                    );
                }
                assert_eq!(caption.tokens[0].attention.len(), seen.len());
            }
        }
    }
}
