//! A timeline for Perfetto (<https://ui.perfetto.dev>), in the trace event format that Chrome introduced.

use crate::failure::Failure;
use serde_json::{Value, json};
use shadetell::engine::plan::Plan;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// Spans of the host's work, by name, since the start of the command.
pub(super) type Events = Vec<(String, Range<Duration>)>;

const HOST: u32 = 1;
const DEVICE: u32 = 2;

fn event(thread: u32, name: &str, category: &str, span: &Range<Duration>, args: Value) -> Value {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    json!({
        "ph": "X", "pid": 1, "tid": thread, "name": name, "cat": category,
        "ts": us(span.start), "dur": us(span.end.saturating_sub(span.start)), "args": args,
    })
}

/// All events of the host and of the device. The steps of the device began at `start`.
fn timeline(host: &Events, plan: &Plan, start: Duration, spans: &[Range<Duration>]) -> Value {
    let thread = |number: u32, name: &str| json!({"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": name}});
    let mut events = vec![
        json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "shadetell bench model"}}),
        thread(HOST, "host"),
        thread(DEVICE, "device, step by step"),
    ];
    events.extend(host.iter().map(|(name, span)| event(HOST, name, "host", span, json!({}))));
    events.extend(plan.steps().iter().zip(spans).map(|(step, span)| {
        let span = start + span.start..start + span.end;
        let args = json!({
            "kernel": step.dispatch.kernel.label(),
            "workgroups": step.dispatch.workgroups,
            "flops": step.cost.flops,
            "bytes": step.cost.bytes,
        });
        event(DEVICE, &step.node, step.op, &span, args)
    }));
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

/// Writes the timeline.
pub(super) fn write(
    path: &Path,
    host: &Events,
    plan: &Plan,
    start: Duration,
    spans: &[Range<Duration>],
) -> Result<(), Failure> {
    std::fs::write(path, timeline(host, plan, start, spans).to_string())
        .map_err(|error| Failure::System(format!("{}: cannot be written: {error}", path.display())))
}
