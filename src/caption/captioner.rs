//! The captioner: builds a model's graph, runs it on photos, and formats the results.

use super::formatter::{Caption, CaptionFormatter, Timings};
use super::hypotheses::SearchSizes;
use super::options::{CaptionOptions, ResolvedOptions};
use super::planning::search_graph;
use super::prewarm::Prewarm;
use super::ticket::Ticket;
use crate::engine::cpu;
use crate::engine::gpu::{DeviceMemory, Executor, Gpu, Progress};
use crate::engine::graph::Data;
use crate::engine::plan::Plan;
use crate::error::Error;
use crate::host::{Budget, Input, Recorder};
use crate::image::Rgb8;
use crate::models::SearchGraph;
use crate::weights::{Model, Preprocessing};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Where captions are computed.
#[derive(Clone, Copy, Debug)]
pub enum Backend<'a> {
    /// On a GPU, or on a software driver.
    Gpu(&'a Gpu),
    /// On the CPU, on as many threads as [`CaptionOptions::threads`] says.
    Cpu,
}

/// A model that is prepared for one kind of search on one device.
#[derive(Debug)]
pub struct Captioner {
    engine: Engine,
    constant_inputs: Vec<Data>,
    preprocessing: Preprocessing,
    /// Photos at a time.
    images: usize,
    formatter: Arc<CaptionFormatter>,
    /// Made by the first call that needs it.
    recorder: OnceLock<Recorder>,
    /// Where the driver may keep the compiled pipelines of the recorder.
    pipeline_cache: Option<wgpu::PipelineCache>,
}

/// The executor of the graph.
#[derive(Debug)]
enum Engine {
    Gpu(Arc<Executor>),
    Cpu(cpu::Executor),
}

impl Captioner {
    /// Builds the model's graph and prepares it on a device: uploads weights and compiles kernels, except those that another
    /// captioner on the same [`Gpu`] has there already.
    ///
    /// # Errors
    /// The model lacks a tensor or the requested decoder, an option is out of range, or the device's limits are too low.
    pub fn new(model: &Model, backend: Backend<'_>, options: &CaptionOptions) -> Result<Captioner, Error> {
        Captioner::prepared(model, backend, options, Arc::default())
    }

    fn prepared(
        model: &Model,
        backend: Backend<'_>,
        options: &CaptionOptions,
        progress: Arc<Progress>,
    ) -> Result<Captioner, Error> {
        let resolved = ResolvedOptions::of(model, options)?;
        let SearchGraph { graph, constant_inputs, grid } = search_graph(model, &resolved)?;
        let engine = match backend {
            Backend::Cpu => Engine::Cpu(cpu::Executor::new(&graph, options.threads)),
            Backend::Gpu(gpu) => {
                let plan = gpu.plan(&graph)?;
                Engine::Gpu(Arc::new(Executor::with_progress(gpu, plan, progress)?))
            }
        };
        let manifest = model.manifest();
        let tags = resolved.decoder.tags.as_ref();
        Ok(Captioner {
            engine,
            constant_inputs,
            preprocessing: resolved.preprocessing,
            images: resolved.search.images,
            formatter: Arc::new(CaptionFormatter {
                vocabulary: manifest.vocabulary.clone(),
                special: manifest.special,
                keep_special: options.keep_special,
                sizes: SearchSizes {
                    images: resolved.search.images,
                    beams: resolved.search.beams,
                    words: manifest.vocabulary.len(),
                    cells: grid.map(|[rows, columns]| rows * columns),
                    tags: tags.map(|tags| [tags.given, tags.table.len()]),
                },
                length_penalty: resolved.length_penalty,
                tags: tags.into_iter().flat_map(|tags| &tags.table).map(|tag| tag.name.clone()).collect(),
                confidence: resolved.decoder.confidence,
                grid,
            }),
            recorder: OnceLock::new(),
            pipeline_cache: match backend {
                Backend::Gpu(gpu) => gpu.pipeline_cache.clone(),
                Backend::Cpu => None,
            },
        })
    }

    /// Begins to prepare a captioner on another thread and returns at once.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn prewarm(model: Arc<Model>, gpu: Gpu, options: CaptionOptions) -> Result<Prewarm, Error> {
        Prewarm::start(move |progress| {
            let captioner = Captioner::prepared(&model, Backend::Gpu(&gpu), &options, progress)?;
            captioner.recorder()?;
            Ok(captioner)
        })
    }

    /// Captions a photo. Several threads may call this method: they take turns. Work that was recorded by tickets of this captioner
    /// has to be submitted first.
    ///
    /// # Errors
    /// A ticket is not recorded to its end ([`Cause::Busy`](crate::engine::Cause::Busy)); the device was lost.
    pub fn caption(&self, photo: &Rgb8) -> Result<Caption, Error> {
        let clock = Instant::now();
        let input = self.preprocessing.fit(photo)?;
        let preprocess = clock.elapsed();
        let (outputs, timings) = self.run(&[&input])?;
        self.formatter.format(&outputs, 0, Timings { preprocess, ..timings })
    }

    /// Captions photos in their order, in batches of [`CaptionOptions::batch`]. The timings of a caption are those of its whole
    /// batch.
    ///
    /// # Errors
    /// As [`Captioner::caption`].
    pub fn caption_all(&self, photos: &[&Rgb8]) -> Result<Vec<Caption>, Error> {
        let mut captions = Vec::with_capacity(photos.len());
        for group in photos.chunks(self.images) {
            let clock = Instant::now();
            let fitted: Vec<Rgb8> =
                group.iter().map(|photo| self.preprocessing.fit(photo)).collect::<Result<_, _>>()?;
            let preprocess = clock.elapsed();
            let mut spoken = self.caption_preprocessed(&fitted.iter().collect::<Vec<_>>())?;
            spoken.iter_mut().for_each(|caption| caption.timings.preprocess = preprocess);
            captions.append(&mut spoken);
        }
        Ok(captions)
    }

    /// Captions photos that [`Preprocessing::fit`] has brought to the input's size: for programs with a queue of photos, which
    /// would take too much memory at their full size.
    ///
    /// # Errors
    /// A photo has another size than the input; otherwise as [`Captioner::caption`].
    pub fn caption_preprocessed(&self, inputs: &[&Rgb8]) -> Result<Vec<Caption>, Error> {
        let mut captions = Vec::with_capacity(inputs.len());
        for group in inputs.chunks(self.images) {
            let (outputs, timings) = self.run(group)?;
            for image in 0..group.len() {
                captions.push(self.formatter.format(&outputs, image, timings)?);
            }
        }
        Ok(captions)
    }

    /// Runs the graph on photos, at most as many as its batch holds.
    fn run(&self, preprocessed: &[&Rgb8]) -> Result<(Vec<Data>, Timings), Error> {
        let inputs = self.inputs(preprocessed)?;
        let (outputs, phases, whole) = match &self.engine {
            Engine::Gpu(executor) => {
                let run = executor.run(&inputs)?;
                (run.outputs, run.phases, run.elapsed)
            }
            Engine::Cpu(executor) => {
                let clock = Instant::now();
                let run = executor.run(&inputs)?;
                (run.outputs, run.phases, clock.elapsed())
            }
        };
        let encode = phases.first().copied().unwrap_or_default();
        let generate = whole.saturating_sub(encode);
        Ok((outputs, Timings { preprocess: Duration::ZERO, encode, generate }))
    }

    /// All inputs of the graph; unused places of the batch are black.
    fn inputs(&self, preprocessed: &[&Rgb8]) -> Result<Vec<Data>, Error> {
        let mut pixels = self.preprocessing.pixels(preprocessed)?;
        pixels.resize(self.images * self.preprocessing.bytes(), 0);
        let mut inputs = vec![Data::U8(pixels)];
        inputs.extend(self.constant_inputs.iter().cloned());
        Ok(inputs)
    }

    /// Records the captioning of one picture into a command encoder of the captioner's device, as much of the work as the budget
    /// allows; [`Ticket::record`] continues in later frames. If the captioner's batch is larger than one, the other places are
    /// black.
    ///
    /// # Errors
    /// The captioner runs on the CPU, or the input cannot be used ([`Cause::InvalidInput`](crate::engine::Cause::InvalidInput)); another
    /// ticket is not recorded to its end, or a thread waits for a caption ([`Cause::Busy`](crate::engine::Cause::Busy)); the device is
    /// out of memory or lost. The encoder remains usable.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: Input<'_>,
        budget: Budget,
    ) -> Result<Ticket, Error> {
        let Some(recorder) = self.recorder()? else {
            return Err(Error::invalid("expected a captioner on a device, found one on the CPU"));
        };
        Ok(Ticket::new(recorder.start(encoder, input, budget)?, Arc::clone(&self.formatter)))
    }

    /// The recorder of the graph for a host, if the captioner runs on a GPU.
    fn recorder(&self) -> Result<Option<&Recorder>, Error> {
        let Engine::Gpu(executor) = &self.engine else { return Ok(None) };
        if let Some(recorder) = self.recorder.get() {
            return Ok(Some(recorder));
        }
        let recorder = Recorder::new(
            Arc::clone(executor),
            self.preprocessing,
            &self.constant_inputs,
            self.formatter.sizes.results(),
            self.pipeline_cache.as_ref(),
        )?;
        Ok(Some(self.recorder.get_or_init(|| recorder)))
    }

    /// Rows and columns of the attention grid, or `None` for a decoder without attention.
    pub fn attention_grid(&self) -> Option<[usize; 2]> {
        self.formatter.grid
    }

    /// How photos become the model's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The plan of the model on a GPU, if it runs on one.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.engine {
            Engine::Gpu(executor) => Some(executor.plan()),
            Engine::Cpu(_) => None,
        }
    }

    /// The GPU memory that the captioner takes, if it runs on a GPU.
    pub fn memory(&self) -> Option<DeviceMemory> {
        match &self.engine {
            Engine::Gpu(executor) => Some(executor.memory()),
            Engine::Cpu(_) => None,
        }
    }
}
