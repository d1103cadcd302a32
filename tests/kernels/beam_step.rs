//! A step of beam search.

use crate::common::{Case, Random, Tolerance};
use shadetell::engine::ops::BeamStep;
use shadetell::engine::scores::{ENDED, NOTHING};

const END: u32 = 2;

fn check(label: &str, scores: Vec<f32>, values: Vec<f32>, ids: Vec<u32>, beams: usize) {
    let images = scores.len() / beams;
    let mut case = Case::new(0);
    let operands = vec![
        case.input([images, beams], scores),
        case.input([images * beams, beams], values),
        case.ids([images * beams, beams], ids),
    ];
    case.last(BeamStep { end: END }, operands);
    // Sums are rounded once, so ties are exact and have to be resolved in the same order.
    case.check(label, Tolerance::Exact);
}

/// A row of log-probabilities as returned by `top_k`: descending, sometimes with empty places at the end.
fn continuations(random: &mut Random, beams: usize, step: f32) -> Vec<f32> {
    let mut row: Vec<f32> = (0..beams).map(|_| -(random.below(12) as f32) * step).collect();
    row.sort_by(|a, b| b.total_cmp(a));
    let empty = random.pick(&[0, 0, 0, 1, beams]);
    row[beams - empty..].fill(NOTHING);
    row
}

#[test]
fn random_states_agree_with_the_reference() {
    let mut random = Random::new(77);
    for round in 0..60 {
        let (images, beams) = (random.pick(&[1, 2, 3, 70]), random.pick(&[1, 2, 3, 5, 8]));
        // Multiples of a power of two cause ties, other values do not.
        let step = random.pick(&[0.25, 0.37]);
        let rows = images * beams;
        let live = |random: &mut Random| -(random.below(20) as f32) * step;
        let scores = (0..rows)
            .map(|_| match random.below(6) {
                0 => ENDED,
                1 => NOTHING,
                _ => live(&mut random),
            })
            .collect();
        let values = (0..rows).flat_map(|_| continuations(&mut random, beams, step)).collect();
        let ids = (0..rows * beams).map(|_| random.below(6) as u32).collect();
        check(&format!("round {round}, {images} images, {beams} beams"), scores, values, ids, beams);
    }
}

#[test]
fn the_first_step_has_one_hypothesis() {
    let scores = vec![0.0, NOTHING, NOTHING, 0.0, NOTHING, NOTHING];
    let values = [-0.5, -1.0, -1.0].repeat(6);
    check("first", scores, values, (0..18).collect(), 3);
}

/// The widest beam.
#[test]
fn the_widest_beam_agrees_with_the_reference() {
    let beams = BeamStep::MAX;
    let mut random = Random::new(3);
    let scores = (0..beams).map(|_| -(random.below(40) as f32)).collect();
    let values = (0..beams).flat_map(|_| continuations(&mut random, beams, 0.5)).collect();
    let ids = (0..beams * beams).map(|_| random.below(6) as u32).collect();
    check("64 beams", scores, values, ids, beams);
}

#[test]
fn finished_images_agree_with_the_reference() {
    check("all ended", vec![ENDED; 4], vec![-1.0; 8], vec![3; 8], 2);
    check("nothing left", vec![NOTHING; 4], vec![-1.0; 8], vec![3; 8], 2);
    check("nothing to continue with", vec![-1.0; 4], vec![NOTHING; 8], vec![0; 8], 2);
    check("minus infinity", vec![-1.0, -2.0], vec![f32::NEG_INFINITY; 4], vec![0; 4], 2);
    check("all end here", vec![-1.0, -2.0], vec![-1.0, -2.0, -1.0, -2.0], vec![END; 4], 2);
    check("very unlikely", vec![-1e4, -9e37], vec![-1e4, -9e37, -1.0, -2.0], vec![3; 4], 2);
}
