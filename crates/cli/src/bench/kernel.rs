//! `shadetell bench kernel`: a user's shader instead of a built-in one.

use super::report::{Setting, Times, print_table};
use super::speed::{self, Speed};
use super::{Format, Look, ReportArgs, RunArgs};
use crate::failure::{Failure, PHOTOS_FAILED};
use crate::names::shown;
use crate::output;
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};
use serde::Serialize;
use shadetell::engine::gpu::source::assemble;
use shadetell::engine::gpu::{BoundsChecks, Clock, Executor, Peaks};
use shadetell::engine::graph::Data;
use shadetell::engine::plan::{Plan, Step, UserShader};
use shadetell::engine::reference;
use shadetell::workloads::{CASES, Case, OPS};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Checks your shader against the reference on the CPU and times it and the built-in one in turns
#[derive(Debug, Args)]
#[command(after_help = "\
Your shader needs the interface of the built-in one: entry point `main`, the
same `Params`, bindings and number of workgroups. --source prints the built-in
shader of a shape, as a start. Imports and `#ifdef`s work as in its own files;
`enable subgroups;`, which browsers want, may be there. A workgroup may have
as many invocations as the adapter allows. Both shaders run with bounds checks
on every index and loop.

Sizes:
  conv2d SIDE,INPUTS,OUTPUTS,WINDOW,STRIDE
  linear ROWS,INPUTS,OUTPUTS
  lstm_cell ROWS,UNITS")]
pub(crate) struct KernelArgs {
    /// A shape by its name (`shadetell bench kernels` lists them), or its sizes together with --op
    #[arg(long, value_name = "NAME|SIZES")]
    shape: String,

    /// The operation that the sizes are of
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(OPS))]
    op: Option<String>,

    /// The kernel to replace, if the shape needs several
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,

    /// Your shader
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "source")]
    shader: Option<PathBuf>,

    /// Print the built-in shader instead of measuring yours
    #[arg(long, conflicts_with = "shader")]
    source: bool,

    #[command(flatten)]
    runs: RunArgs,

    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    clock: &'static str,
    shape: String,
    /// The kernel that is replaced.
    kernel: String,
    /// The greatest difference between the results of the user's shader and the reference, relative to the largest value.
    error: f32,
    ours: Speed,
    /// Absent if the result is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    yours: Option<Speed>,
    /// The ratio of medians: how many times as fast as the built-in shader.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

/// Checks the shader, measures both in turns, prints the report.
pub(crate) fn run(args: &KernelArgs) -> Result<ExitCode, Failure> {
    let case = args.case()?;
    let (graph, inputs) = case.graph().map_err(shadetell::Error::from)?;
    let gpu = args.report.adapter.open_for_user_shaders()?;
    let plan = gpu.plan(&graph).map_err(shadetell::Error::from)?;
    let place = args.place(&plan)?;
    let step = &plan.steps()[place];
    let Some(path) = &args.shader else {
        return source(step);
    };
    let theirs = plan.clone().with_shader(place, user_shader(path)?).map_err(shadetell::Error::from)?;

    let clock = Clock::of(&gpu.device);
    let peaks = Peaks::measure(&gpu.device, &gpu.queue)?;
    let kernel = step.dispatch.kernel.label();
    let setting = Setting::of(&gpu, &[&plan, &theirs])?;
    // Both run with bounds checks, or the comparison would measure the checks.
    let checked = gpu.with_checks(BoundsChecks::All);
    let ours = Executor::new(&checked, plan)?;
    let theirs = Executor::new(&checked, theirs).map_err(|error| {
        Failure::Usage(format!(
            "{}: {error}\nIt has to have the interface of {kernel}, which `shadetell bench kernel --shape {} --source` prints.",
            shown(path),
            args.shape
        ))
    })?;
    let expected = reference::run(&graph, &inputs).map_err(shadetell::Error::from)?;
    let error = speed::error(&theirs.run(&inputs)?.outputs, &expected);
    let is_wrong = speed::is_wrong(error);
    let (our_times, their_times) = args.times(&ours, (!is_wrong).then_some(&theirs), &inputs, clock)?;
    let speed = |ms: Times| Speed::of(ms, ours.plan().cost(), ours.plan().steps().len(), &peaks);
    let report = Report {
        setting,
        clock: clock.name(),
        shape: args.shape.clone(),
        kernel,
        error,
        ours: speed(our_times),
        yours: their_times.map(speed),
        ratio: their_times.map(|times| our_times.median / times.median),
    };
    report.print(args.report.look())?;
    if !is_wrong {
        return Ok(ExitCode::SUCCESS);
    }
    let path = shown(path);
    output::error(&format!(
        "{path}: expected the reference's result, found one that differs by {error:.1e} of its largest value \
         (at most {:.0e} is allowed): not timed",
        speed::TOLERANCE
    ));
    Ok(ExitCode::from(PHOTOS_FAILED))
}

impl KernelArgs {
    fn case(&self) -> Result<Case, Failure> {
        let named = CASES.iter().find(|(name, _)| *name == self.shape).map(|(_, case)| *case);
        let found = match &self.op {
            Some(op) => Case::parse(op, &self.shape).or(named.filter(|case| case.op() == op)),
            None => named,
        };
        found.ok_or_else(|| {
            let names = CASES.map(|(name, _)| name).join(", ");
            Failure::Usage(format!(
                "no shape `{}`: expected sizes such as `--op conv2d --shape 14,256,256,3,1`, or one of {names}",
                self.shape
            ))
        })
    }

    /// The step whose kernel is replaced.
    fn place(&self, plan: &Plan) -> Result<usize, Failure> {
        let names: Vec<&str> = plan.steps().iter().map(|step| step.dispatch.kernel.name()).collect();
        let place = match &self.kernel {
            Some(wanted) => names.iter().position(|name| name == wanted),
            None => Some(0).filter(|_| names.len() == 1),
        };
        place.ok_or_else(|| {
            let names = names.join(", ");
            Failure::Usage(format!("{} takes {names}: name one of them with --kernel", self.shape))
        })
    }

    /// Times of the built-in shader and the user's, in alternating runs.
    fn times(
        &self,
        ours: &Executor,
        theirs: Option<&Executor>,
        inputs: &[Data],
        clock: Clock,
    ) -> Result<(Times, Option<Times>), Failure> {
        let turns = self.runs.repeat(|| {
            let mine = ours.time(inputs, clock)?;
            let their = theirs.map(|theirs| theirs.time(inputs, clock)).transpose()?;
            Ok((mine, their))
        })?;
        let ours: Vec<_> = turns.iter().map(|turn| turn.0).collect();
        let their: Vec<_> = turns.iter().filter_map(|turn| turn.1).collect();
        Ok((Times::of(&ours), theirs.map(|_| Times::of(&their))))
    }
}

/// The shader in a file. Its name in reports begins with "your".
fn user_shader(path: &Path) -> Result<UserShader, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{}: cannot be read: {error}", shown(path))))?;
    let name =
        path.file_stem().map_or_else(|| "shader".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(UserShader::new(format!("your {name}"), text))
}

/// Prints the built-in shader with the constants and parameters that it gets.
fn source(step: &Step) -> Result<ExitCode, Failure> {
    let dispatch = &step.dispatch;
    let kernel = &dispatch.kernel;
    let names = dispatch.kernel.shader().map_or(&[][..], |shader| shader.params);
    let mut text = format!("// {}, {:?} workgroups\n//\n", dispatch.kernel.label(), dispatch.workgroups);
    for (name, value) in dispatch.kernel.constants() {
        text += &format!("// override {name} is {value}\n");
    }
    for (name, value) in names.iter().zip(&dispatch.params) {
        text += &format!("// p.{name} is {value}\n");
    }
    text +=
        &format!("\n{}", assemble(kernel.name(), kernel.source(), kernel.defines()).map_err(Failure::Usage)?);
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn print(&self, look: Look) -> Result<(), Failure> {
        if look.format == Format::Json {
            return Ok(output::print_json(self)?);
        }
        let Report { setting, clock, shape, kernel, error, ours, yours, ratio } = self;
        output::print(&format!(
            "{}\n\n{shape}, {kernel} replaced;\ntimes of the {clock} clock, in turns\n\n",
            setting.text()
        ))?;
        let row = |name: &str, cells: [String; 8]| -> [String; 9] {
            let mut cells = [name.to_owned()].into_iter().chain(cells);
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        };
        let mut rows = vec![row("", Speed::TITLES.map(str::to_owned)), row("built-in", ours.cells())];
        rows.extend(yours.iter().map(|speed| row("yours", speed.cells())));
        print_table(&rows, 8, &["FLOP/B", "GB/s"], look)?;
        if let Some(ratio) = ratio {
            let line = format!(
                "Your shader differs by {error:.0e} from the reference and is {ratio:.2} times as fast\nas the built-in one.\n"
            );
            output::print(&line)?;
        }
        Ok(())
    }
}
