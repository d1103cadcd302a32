//! Checks every variant of every shader with naga. No adapter is needed.
//!
//! All complaints are reported at once, each with its file and line.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod browser;
mod files;
mod module;
mod zoo;

use files::{folder, stems};
use module::{Variant, variants};
use shadetell::engine::ops::SHADERS;
use shadetell::engine::plan::Binding;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Fails with all complaints.
#[track_caller]
fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}

/// Collects the complaints of `check` about every valid variant.
#[track_caller]
fn each(check: impl Fn(&Variant, &mut Vec<String>)) {
    let mut complaints = Vec::new();
    for variant in variants().iter().filter_map(|v| v.as_ref().ok()) {
        check(variant, &mut complaints);
    }
    report(&complaints);
}

#[test]
fn every_variant_is_valid() {
    let complaints: Vec<String> = variants().into_iter().filter_map(Result::err).collect();
    report(&complaints);
}

#[test]
fn complaints_state_the_line_of_the_file() {
    static BROKEN: shadetell::engine::plan::Shader = shadetell::engine::plan::Shader {
        name: "broken",
        source: "#import flat\n#ifdef X\nfn unused() {}\n#endif\n@compute @workgroup_size(1)\nfn main() { let a = 1u + 1.0f; }\n",
        params: &[],
        variants: &[&["X"]],
    };
    let complaint = Variant::read(&BROKEN, &["X"]).err().unwrap();
    assert!(complaint.starts_with("broken.wgsl:6: "), "{complaint}");
}

#[test]
fn params_match_the_words_that_the_planner_writes() {
    each(|variant, complaints| {
        let declared = variant.params();
        let expected: Vec<(String, u32)> =
            variant.shader.params.iter().zip(0..).map(|(name, i)| ((*name).to_owned(), 4 * i)).collect();
        if declared.as_ref() != Ok(&expected) {
            complaints.push(format!("{variant}: Params are {declared:?}, the planner writes {expected:?}"));
        }
    });
}

#[test]
fn bindings_follow_the_rules() {
    each(|variant, complaints| {
        if let Err(complaint) = variant.check_bindings() {
            complaints.push(format!("{variant}: {complaint}"));
        }
    });
}

/// Every WebGPU device has 16 KiB of workgroup memory and 8 storage buffers.
#[test]
fn resources_stay_below_the_default_limits() {
    each(|variant, complaints| {
        if variant.workgroup_bytes() > 16 << 10 {
            complaints.push(format!("{variant}: {} bytes of workgroup memory", variant.workgroup_bytes()));
        }
        let buffers = variant.storage().len();
        if buffers > 8 {
            complaints.push(format!("{variant}: {buffers} storage buffers"));
        }
    });
}

#[test]
fn overrides_are_the_known_ones() {
    each(|variant, complaints| {
        for name in variant.overrides() {
            if !["KERNEL", "LANES", "RESIDUAL", "ROWS", "SPREAD", "TILES"].contains(&name.as_str()) {
                complaints.push(format!("{variant}: unknown override {name}"));
            }
        }
    });
}

/// The dispatches of a graph with every operation match the declarations of the shaders.
#[test]
fn dispatches_fit_their_shaders() {
    let mut complaints = Vec::new();
    for plan in zoo::plans() {
        for step in plan.steps() {
            let dispatch = &step.dispatch;
            let kernel = &dispatch.kernel;
            let label = kernel.label();
            let shader = kernel.shader().unwrap();
            let variant = match Variant::read(shader, kernel.defines()) {
                Ok(variant) => variant,
                Err(complaint) => {
                    complaints.push(complaint);
                    continue;
                }
            };
            let overrides = variant.overrides();
            for (name, _) in kernel.constants() {
                if !overrides.iter().any(|o| o == name) {
                    complaints.push(format!("{label}: the shader has no override {name}"));
                }
            }
            let invocations = variant.invocations(kernel.constants());
            if !(1..=256).contains(&invocations) {
                complaints.push(format!("{label}: {invocations} invocations"));
            }
            if dispatch.params.len() != shader.params.len() {
                complaints.push(format!("{label}: {} words of Params", dispatch.params.len()));
            }
            let written: Vec<bool> =
                dispatch.bindings.iter().map(|b| !matches!(b, Binding::Weight(_))).collect();
            let declared: Vec<bool> = variant.storage().iter().map(|s| s.is_written).collect();
            if written != declared {
                complaints
                    .push(format!("{label}: read_write is {declared:?}, the planner binds {written:?}"));
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    report(&complaints);
}

#[test]
fn every_variant_is_planned_by_some_operation() {
    let used: HashSet<_> = zoo::plans()
        .iter()
        .flat_map(|plan| plan.steps())
        .map(|step| (step.dispatch.kernel.name().to_owned(), step.dispatch.kernel.defines()))
        .collect();
    let mut complaints = Vec::new();
    for shader in SHADERS {
        for &defines in shader.variants {
            if !used.contains(&(shader.name.to_owned(), defines)) {
                complaints.push(format!(
                    "shaders/{}.wgsl {defines:?} is not planned by any case of zoo.rs",
                    shader.name
                ));
            }
        }
    }
    report(&complaints);
}

#[test]
fn every_file_is_registered_and_every_snippet_imported() {
    let registered: BTreeSet<String> = SHADERS.iter().map(|s| s.name.to_owned()).collect();
    assert_eq!(registered.len(), SHADERS.len(), "a shader is registered twice");
    assert_eq!(stems("shaders", "wgsl"), registered, "files in shaders/ and ops::SHADERS");
    for shader in SHADERS {
        let file = std::fs::read_to_string(folder("shaders").join(format!("{}.wgsl", shader.name))).unwrap();
        assert_eq!(file, shader.source, "shaders/{}.wgsl and the text built in", shader.name);
    }
    let mut imported: BTreeSet<String> = SHADERS.iter().flat_map(|s| files::imports(s.source)).collect();
    for name in stems("shaders/shared", "wgsl") {
        let file = std::fs::read_to_string(folder("shaders/shared").join(format!("{name}.wgsl"))).unwrap();
        imported.extend(files::imports(&file));
    }
    assert_eq!(stems("shaders/shared", "wgsl"), imported, "files in shaders/shared/ and imports");
}

/// The same stem runs through `shaders/`, `src/engine/ops/`, `src/engine/reference/` and `tests/kernels/`.
#[test]
fn every_operation_has_a_file_in_each_folder() {
    let operations: BTreeSet<String> =
        zoo::plans().iter().flat_map(|plan| plan.steps()).map(|step| step.op.to_owned()).collect();
    // Files without an operation of their own.
    let helpers = BTreeMap::from([
        ("src/engine/ops", vec!["axes", "mod", "custom", "operation", "pool2d", "reshape"]),
        ("src/engine/reference", vec!["mod", "executor", "gemm", "positions", "test_data"]),
        ("tests/kernels", vec!["main", "custom", "executor", "fuse", "random_graphs", "reshape", "session"]),
    ]);
    let mut complaints = Vec::new();
    for (column, helpers) in &helpers {
        let found: BTreeSet<String> =
            stems(column, "rs").into_iter().filter(|s| !helpers.contains(&s.as_str())).collect();
        for stem in operations.symmetric_difference(&found) {
            let what = if found.contains(stem) { "is the file of no operation" } else { "is missing" };
            complaints.push(format!("{column}/{stem}.rs {what}"));
        }
    }
    let stem_of = |shader: &str| {
        operations
            .iter()
            .find(|op| shader.strip_prefix(op.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('_')))
    };
    let with_shader: BTreeSet<String> = SHADERS.iter().filter_map(|s| stem_of(s.name)).cloned().collect();
    for shader in SHADERS.iter().filter(|s| stem_of(s.name).is_none()) {
        complaints.push(format!("shaders/{}.wgsl is the file of no operation", shader.name));
    }
    for stem in operations.difference(&with_shader) {
        complaints.push(format!("{stem} has no shader"));
    }
    report(&complaints);
}
