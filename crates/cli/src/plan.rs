//! `shadetell plan`: shows what would run on a device, without needing one.

use super::args::SearchArgs;
use super::failure::Failure;
use super::output::{self, table};
use clap::{Args, ValueEnum};
use serde::Serialize;
use shadetell::engine::plan::{AdapterClass, Cost, Plan, Step};
use shadetell::weights::DecoderFamily;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;
use std::process::ExitCode;

/// Shows what runs on a GPU for a photo: kernels, workgroups, arithmetic, memory; needs no GPU
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell plan
      a table of kernels; steps that repeat are shown once
  shadetell plan --class software --beam 1
      for a driver that runs shaders on the CPU
  shadetell plan --json | jq .totals
      for programs; all steps")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    search: SearchArgs,

    /// The kind of adapter to plan for
    #[arg(long, value_enum, default_value_t = Class::Hardware)]
    class: Class,

    /// Print whole tables, also where they are wider than the terminal
    #[arg(long)]
    wide: bool,

    /// Show every step, also those that repeat
    #[arg(long)]
    full: bool,

    /// Print JSON
    #[arg(long, conflicts_with = "full")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    /// A GPU
    Hardware,
    /// A driver that runs shaders on the CPU
    Software,
}

impl From<Class> for AdapterClass {
    fn from(class: Class) -> AdapterClass {
        match class {
            Class::Hardware => AdapterClass::Hardware,
            Class::Software => AdapterClass::Software,
        }
    }
}

/// Prints the plan.
pub(crate) fn run(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let model = args.search.open_model()?;
    let options = args.search.options();
    let plan = shadetell::caption_plan(&model, &options, args.class.into())?;
    let phases = plan.phases().iter().map(|(name, range)| Phase {
        name,
        steps: plan.steps()[range.clone()].iter().map(Row::of).collect(),
    });
    let mut decoders = model.manifest().decoders.iter();
    let decoder = decoders.find(|decoder| options.decoder.is_none_or(|family| decoder.family == family));
    let report = Report {
        model: &model.manifest().name,
        decoder: decoder.map(|decoder| decoder.family),
        class: args.class,
        phases: phases.collect(),
        totals: Summary::of(&plan),
    };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.text(args.full, output::width(args.wide)))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    decoder: Option<DecoderFamily>,
    class: Class,
    phases: Vec<Phase<'a>>,
    totals: Summary,
}

#[derive(Serialize)]
struct Phase<'a> {
    name: &'a str,
    steps: Vec<Row<'a>>,
}

/// One dispatch.
#[derive(PartialEq, Serialize)]
struct Row<'a> {
    op: &'static str,
    node: &'a str,
    kernel: String,
    workgroups: [u32; 3],
    flops: u64,
    bytes: u64,
}

impl Row<'_> {
    fn of(step: &Step) -> Row<'_> {
        Row {
            op: step.op,
            node: &step.node,
            kernel: step.dispatch.kernel.label(),
            workgroups: step.dispatch.workgroups,
            flops: step.cost.flops,
            bytes: step.cost.bytes,
        }
    }

    fn cells(&self) -> [String; 6] {
        let workgroups: Vec<String> = match self.workgroups {
            [x, 1, 1] => vec![x.to_string()],
            [x, y, 1] => vec![x.to_string(), y.to_string()],
            all => all.iter().map(u32::to_string).collect(),
        };
        let (op, node) = (self.op.to_owned(), self.node.to_owned());
        [op, node, self.kernel.clone(), workgroups.join(" x "), gflop(self.flops), mb(self.bytes)]
    }
}

fn gflop(flops: u64) -> String {
    format!("{:.4}", flops as f64 / 1e9)
}

fn mb(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

impl Report<'_> {
    /// A table for each phase, and the totals.
    fn text(&self, full: bool, width: Option<usize>) -> String {
        const TITLES: [&str; 6] = ["op", "node", "kernel", "workgroups", "GFLOP", "MB"];
        let class = match self.class {
            Class::Hardware => "a GPU",
            Class::Software => "a driver that runs shaders on the CPU",
        };
        // All phases share one table, so that their columns line up; notes between rows are stored separately.
        let mut cells = vec![TITLES.map(str::to_owned)];
        let mut notes: Vec<(usize, String)> = Vec::new();
        for phase in &self.phases {
            notes.push((cells.len(), format!("\n{}", phase.describe())));
            let runs = if full { vec![Run::once(phase.steps.len())] } else { runs(&phase.steps) };
            let mut at = 0;
            for run in runs {
                cells.extend(phase.steps[at..at + run.length].iter().map(Row::cells));
                notes.extend(run.describe().map(|note| (cells.len(), format!("  {note}"))));
                at += run.covers();
            }
        }
        let decoder = self.decoder.map(|family| format!(", {family}")).unwrap_or_default();
        let mut text = format!("{}{decoder}: one photo on {class}\n\n", self.model);
        let mut notes = notes.into_iter().peekable();
        // Two spaces are before each row.
        let rows = table(&cells, 2, &["op", "workgroups"], width.map(|width| width.saturating_sub(2)));
        for place in 0..=rows.len() {
            while let Some((_, note)) = notes.next_if(|(at, _)| *at == place) {
                text += &format!("{note}\n");
            }
            if let Some(row) = rows.get(place) {
                text += &format!("  {row}\n");
            }
        }
        text + &format!("\n{}\n", self.totals)
    }
}

impl Phase<'_> {
    fn describe(&self) -> String {
        let sum = |part: fn(&Row<'_>) -> u64| self.steps.iter().map(part).sum();
        let (flops, bytes) = (gflop(sum(|row| row.flops)), mb(sum(|row| row.bytes)));
        format!("{}: {} dispatches, {flops} GFLOP, {bytes} MB", self.name, self.steps.len())
    }
}

/// A sequence of steps that occurs once or several times in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    length: usize,
    times: usize,
    /// How many of its steps follow once more at the end of the phase.
    tail: usize,
}

impl Run {
    fn once(length: usize) -> Run {
        Run { length, times: 1, tail: 0 }
    }

    /// How often the first `length` items repeat at the start of `items`.
    fn of<T: PartialEq>(items: &[T], length: usize) -> Run {
        let (first, after) = items.split_at(length);
        let more = after.chunks_exact(length).take_while(|&chunk| chunk == first).count();
        let rest = &after[more * length..];
        let tail = if more > 0 && first.starts_with(rest) { rest.len() } else { 0 };
        Run { length, times: 1 + more, tail }
    }

    fn covers(&self) -> usize {
        self.length * self.times + self.tail
    }

    /// A note on the steps that are not shown.
    fn describe(&self) -> Option<String> {
        let Run { length, times, tail } = *self;
        match (times - 1, tail) {
            (0, _) => None,
            (more, 0) => Some(format!("... x {more} more: the {length} dispatches above")),
            (more, _) => Some(format!(
                "... x {} more: the {length} dispatches above, the last time only the first {tail} of them",
                more + 1
            )),
        }
    }
}

/// Finds repetitions from the left: always the one that covers the most items, and of those the shortest.
fn runs<T: PartialEq>(items: &[T]) -> Vec<Run> {
    let mut found: Vec<Run> = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let candidates = (1..=rest.len() / 2).map(|length| Run::of(rest, length)).filter(|run| run.times > 1);
        let best = candidates.min_by_key(|run| Reverse(run.covers())).unwrap_or(Run::once(1));
        rest = &rest[best.covers()..];
        match found.last_mut() {
            Some(last) if last.times == 1 && best.times == 1 => last.length += 1,
            _ => found.push(best),
        }
    }
    found
}

/// A plan in numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    ops: usize,
    dispatches: usize,
    pipelines: usize,
    flops: u64,
    bytes: u64,
    weights: usize,
    weight_bytes: usize,
    arena_bytes: usize,
    naive_bytes: usize,
}

impl Summary {
    /// Summarises a plan.
    pub(crate) fn of(plan: &Plan) -> Summary {
        let Cost { flops, bytes } = plan.cost();
        let kernels: HashSet<_> = plan.steps().iter().map(|step| &step.dispatch.kernel).collect();
        Summary {
            // The cost of an operation is stated at its first dispatch.
            ops: plan.steps().iter().filter(|step| step.cost != Cost::default()).count(),
            dispatches: plan.steps().len(),
            pipelines: kernels.len(),
            flops,
            bytes,
            weights: plan.weights().len(),
            weight_bytes: plan.weight_bytes(),
            arena_bytes: plan.arena_bytes(),
            naive_bytes: plan.naive_bytes(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: usize| bytes as f64 / 1e6;
        writeln!(
            f,
            "plan: {} ops in {} dispatches of {} kernels, {} GFLOP, {} MB moved",
            self.ops,
            self.dispatches,
            self.pipelines,
            gflop(self.flops),
            mb(self.bytes)
        )?;
        write!(
            f,
            "memory: {:.2} MB for activations (one buffer each: {:.2} MB), {:.2} MB for {} weights",
            megabytes(self.arena_bytes),
            megabytes(self.naive_bytes),
            megabytes(self.weight_bytes),
            self.weights
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, usize, usize)> {
        runs(text.as_bytes()).iter().map(|run| (run.length, run.times, run.tail)).collect()
    }

    #[test]
    fn repetitions_are_found_between_single_steps() {
        assert_eq!(found(""), []);
        assert_eq!(found("abc"), [(3, 1, 0)]);
        assert_eq!(found("xyabcabcabcz"), [(2, 1, 0), (3, 3, 0), (1, 1, 0)]);
        assert_eq!(found("xabcabcab"), [(1, 1, 0), (3, 2, 2)]);
        assert_eq!(found("aaaa"), [(1, 4, 0)]);
        assert_eq!(found("aabaabaab"), [(3, 3, 0)]);
    }
}
