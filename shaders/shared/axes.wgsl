// Copies between a tensor that lies in one piece and places of another that are far apart: its axes lie in any order, or a part
// of each is left out.
//
// Up to six axes of the first tensor, neighbours joined where the second allows it (src/engine/ops/axes.rs), with their steps in the
// second. Sizes and steps count words, or with FOURS vectors of four along the innermost axis. Words are copied as they are,
// whatever their type.
//
// FOURS  four words at a time

struct Params {
    count: u32, start: u32, inner: u32,
    size0: u32, size1: u32, size2: u32, size3: u32, size4: u32,
    step0: u32, step1: u32, step2: u32, step3: u32, step4: u32, step_outer: u32,
}

#ifdef FOURS
alias Words = vec4<u32>;
#else
alias Words = u32;
#endif

@group(0) @binding(0) var<uniform> p: Params;

// Where element i of the first tensor lies in the second.
fn place(i: u32) -> u32 {
    // The outermost axis takes what the inner ones, the innermost first, leave of the number.
    var rest = i;
    var at = p.start;
#for AXIS in 0..5
    if $AXISu < p.inner {
        at += rest % p.size$AXIS * p.step$AXIS;
        rest /= p.size$AXIS;
    }
#endfor
    return at + rest * p.step_outer;
}
