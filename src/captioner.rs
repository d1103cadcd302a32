//! From a photo to its caption: the one place that knows the whole way.

use crate::embed::Recorder;
use crate::engine::cpu;
use crate::engine::gpu::{DeviceMemory, Executor, Gpu, Progress};
use crate::engine::graph::{Data, Graph};
use crate::engine::ops::BeamStep;
use crate::engine::plan::{AdapterClass, Plan, Target};
use crate::error::Error;
use crate::image::{ImageError, Rgb8};
use crate::models::{self, SearchOptions};
use crate::text::{Hypothesis, SearchSizes, SearchTrace};
use crate::weights::{DecoderFamily, Model, ModelErrorKind, Preprocessing, Special};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How captions are searched; what is `None` is the model's own choice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CaptionOptions {
    /// Which of the model's decoders speaks.
    pub decoder: Option<DecoderFamily>,
    /// Hypotheses that are followed at a time; 1 is greedy search.
    pub beam: Option<usize>,
    /// Exponent of the length by which log-probabilities are divided.
    pub length_penalty: Option<f32>,
    /// Most words in a caption, the end token included.
    pub max_length: Option<usize>,
    /// Photos that are captioned at a time; 1 if not given. Captions do not depend on it.
    pub batch: Option<usize>,
    /// How photos are prepared.
    pub preprocessing: Option<Preprocessing>,
    /// Whether captions keep the tokens that mark their start, their end and padding.
    pub keep_special: bool,
}

impl CaptionOptions {
    /// The widest beam.
    pub const MAX_BEAM: usize = BeamStep::MAX;
    /// The longest caption.
    pub const MAX_LENGTH: usize = 200;
    /// Most photos at a time.
    pub const MAX_BATCH: usize = 64;
}

/// Where captions are computed.
#[derive(Clone, Copy, Debug)]
pub enum Backend<'a> {
    /// On a GPU, or a driver that stands in for one.
    Gpu(&'a Gpu),
    /// By the reference twins.
    Cpu,
}

/// A sentence about a photo.
#[derive(Clone, Debug)]
pub struct Caption {
    /// The sentence.
    pub text: String,
    /// Its tokens, without those that mark start and end, unless they were asked for.
    pub tokens: Vec<Token>,
    /// The natural logarithm of its probability, the end token included.
    pub log_prob: f32,
    /// Whether the model ended the sentence itself, rather than being cut off at the greatest length.
    pub finished: bool,
    /// The other sentences that the search found, best first.
    pub alternatives: Vec<Alternative>,
    /// Where the time went.
    pub timings: Timings,
}

/// A word of a caption.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its id in the vocabulary.
    pub id: u32,
    /// The word.
    pub word: String,
    /// The natural logarithm of its probability after the words before it.
    pub log_prob: f32,
    /// How strongly each cell of the grid was looked at, row by row; they sum to 1. Empty without attention.
    pub attention: Vec<f32>,
}

/// A sentence that the search found but did not choose.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// The sentence.
    pub text: String,
    /// The natural logarithm of its probability.
    pub log_prob: f32,
}

/// Where the time of a caption went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Resizing the photo.
    pub preprocess: Duration,
    /// The encoder, from the upload of the pixels on.
    pub encode: Duration,
    /// The decoder, to the end of the readback.
    pub generate: Duration,
}

/// A model made ready for one kind of search on one device.
#[derive(Debug)]
pub struct Captioner {
    engine: Engine,
    constant_inputs: Vec<Data>,
    preprocessing: Preprocessing,
    images: usize,
    speaker: Arc<Speaker>,
    /// Made when it is needed first.
    recorder: OnceLock<Recorder>,
    /// Where the driver may keep what the recorder compiles.
    pipeline_cache: Option<wgpu::PipelineCache>,
}

/// The executor of the graph.
#[derive(Debug)]
enum Engine {
    Gpu(Arc<Executor>),
    Cpu(Box<Graph>),
}

/// What turns the results of a search into sentences.
#[derive(Debug)]
pub(crate) struct Speaker {
    vocabulary: Vec<String>,
    special: Special,
    keep_special: bool,
    sizes: SearchSizes,
    length_penalty: f32,
    grid: Option<[usize; 2]>,
}

impl Captioner {
    /// Builds the model's graph and prepares it on a device: weights are uploaded and kernels compiled, where other captioners on
    /// the same [`Gpu`] do not have them there.
    ///
    /// # Errors
    /// The model lacks a tensor or the decoder asked for, an option is out of range, or the device is not up to it.
    pub fn new(model: &Model, backend: Backend<'_>, options: &CaptionOptions) -> Result<Captioner, Error> {
        Captioner::prepared(model, backend, options, Arc::default())
    }

    /// The same, and tells how far it is.
    pub(crate) fn prepared(
        model: &Model,
        backend: Backend<'_>,
        options: &CaptionOptions,
        progress: Arc<Progress>,
    ) -> Result<Captioner, Error> {
        let search = Search::of(model, options)?;
        let built = models::build(model, search.decoder, &search.preprocessing, search.options)?;
        let engine = match backend {
            Backend::Cpu => Engine::Cpu(Box::new(built.graph)),
            Backend::Gpu(gpu) => {
                let plan = gpu.plan(&built.graph)?;
                let mut pipelines = gpu.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
                pipelines.cache = gpu.pipeline_cache.clone();
                pipelines.progress = progress;
                Engine::Gpu(Arc::new(Executor::prepared(gpu, &mut pipelines, plan)?))
            }
        };
        let manifest = model.manifest();
        Ok(Captioner {
            engine,
            constant_inputs: built.constant_inputs,
            preprocessing: search.preprocessing,
            images: search.options.images,
            speaker: Arc::new(Speaker {
                vocabulary: manifest.vocabulary.clone(),
                special: manifest.special,
                keep_special: options.keep_special,
                sizes: SearchSizes {
                    images: search.options.images,
                    beams: search.options.beams,
                    words: manifest.vocabulary.len(),
                    cells: built.grid.map(|[rows, columns]| rows * columns),
                },
                length_penalty: search.length_penalty,
                grid: built.grid,
            }),
            recorder: OnceLock::new(),
            pipeline_cache: match backend {
                Backend::Gpu(gpu) => gpu.pipeline_cache.clone(),
                Backend::Cpu => None,
            },
        })
    }

    /// Captions a photo. Of several threads that ask, one waits for the other. What tickets of this captioner have recorded has to be
    /// submitted before.
    ///
    /// # Errors
    /// The device was lost, or a ticket is not recorded to its end.
    pub fn caption(&self, photo: &Rgb8) -> Result<Caption, Error> {
        let clock = Instant::now();
        let input = self.preprocessing.fit(photo)?;
        let preprocess = clock.elapsed();
        let (outputs, timings) = self.run(&[&input])?;
        self.speaker.speak(&outputs, 0, Timings { preprocess, ..timings })
    }

    /// Captions photos in their order, as many at a time as [`CaptionOptions::batch`] says. The times of a caption are
    /// those of all that were captioned with it.
    ///
    /// # Errors
    /// The device was lost.
    pub fn caption_all(&self, photos: &[&Rgb8]) -> Result<Vec<Caption>, Error> {
        let mut captions = Vec::with_capacity(photos.len());
        for group in photos.chunks(self.images) {
            let clock = Instant::now();
            let fitted: Vec<Rgb8> =
                group.iter().map(|photo| self.preprocessing.fit(photo)).collect::<Result<_, _>>()?;
            let preprocess = clock.elapsed();
            let mut spoken = self.caption_fitted(&fitted.iter().collect::<Vec<_>>())?;
            spoken.iter_mut().for_each(|caption| caption.timings.preprocess = preprocess);
            captions.append(&mut spoken);
        }
        Ok(captions)
    }

    /// The same for photos that [`Preprocessing::fit`] has brought to the input's size: for programs in which many wait, where
    /// the photos themselves would take too much memory.
    ///
    /// # Errors
    /// A photo has another size than the input; the device was lost.
    pub fn caption_fitted(&self, inputs: &[&Rgb8]) -> Result<Vec<Caption>, Error> {
        let mut captions = Vec::with_capacity(inputs.len());
        for group in inputs.chunks(self.images) {
            let (outputs, timings) = self.run(group)?;
            for image in 0..group.len() {
                captions.push(self.speaker.speak(&outputs, image, timings)?);
            }
        }
        Ok(captions)
    }

    /// Runs the graph on at most as many photos as it has places for.
    fn run(&self, fitted: &[&Rgb8]) -> Result<(Vec<Data>, Timings), Error> {
        let clock = Instant::now();
        let inputs = self.inputs(fitted)?;
        let (outputs, phases) = match &self.engine {
            Engine::Gpu(executor) => {
                let run = executor.run(&inputs)?;
                (run.outputs, run.phases)
            }
            Engine::Cpu(graph) => cpu::run_timed(graph, &inputs)?,
        };
        let encode = phases.first().copied().unwrap_or_default();
        let generate = clock.elapsed().saturating_sub(encode);
        Ok((outputs, Timings { preprocess: Duration::ZERO, encode, generate }))
    }

    /// All inputs of the graph.
    pub(crate) fn inputs(&self, fitted: &[&Rgb8]) -> Result<Vec<Data>, Error> {
        let Preprocessing { width, height, .. } = self.preprocessing;
        let mut pixels = Vec::new();
        for photo in fitted {
            if [photo.width(), photo.height()] != [width, height] {
                let [width, height] = [photo.width(), photo.height()];
                return Err(ImageError::InvalidSize { width, height, bytes: None }.into());
            }
            pixels.extend_from_slice(photo.data());
        }
        // Places that are left over see black.
        pixels.resize(self.images * 3 * width as usize * height as usize, 0);
        let mut inputs = vec![Data::U8(pixels)];
        inputs.extend(self.constant_inputs.iter().cloned());
        Ok(inputs)
    }

    /// Rows and columns of the grid that attention is given on, or `None` for a decoder without attention.
    pub fn attention_grid(&self) -> Option<[usize; 2]> {
        self.speaker.grid
    }

    /// How photos are brought to the model's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// How the model runs on a GPU, if it does.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.engine {
            Engine::Gpu(executor) => Some(executor.plan()),
            Engine::Cpu(_) => None,
        }
    }

    /// What it takes of the memory of a GPU, if it runs on one.
    pub fn memory(&self) -> Option<DeviceMemory> {
        self.executor().map(|executor| executor.memory())
    }

    /// What runs the graph on a device.
    pub(crate) fn executor(&self) -> Option<&Arc<Executor>> {
        match &self.engine {
            Engine::Gpu(executor) => Some(executor),
            Engine::Cpu(_) => None,
        }
    }

    pub(crate) fn recorder(&self, executor: &Executor) -> Result<&Recorder, Error> {
        if let Some(recorder) = self.recorder.get() {
            return Ok(recorder);
        }
        let recorder = Recorder::new(self, executor, self.pipeline_cache.as_ref())?;
        Ok(self.recorder.get_or_init(|| recorder))
    }

    pub(crate) fn speaker(&self) -> Arc<Speaker> {
        Arc::clone(&self.speaker)
    }

    /// All inputs of the graph but the photo.
    pub(crate) fn constants(&self) -> &[Data] {
        &self.constant_inputs
    }
}

impl Speaker {
    /// How many of the results, in their order, make whole steps of the search.
    pub(crate) fn whole_steps(&self, outputs: usize) -> usize {
        outputs / self.sizes.results() * self.sizes.results()
    }

    /// Where the dispatches end that find the next word after so many; all are taken after the last word.
    pub(crate) fn next_word(&self, plan: &Plan, recorded: usize) -> usize {
        let there = plan.outputs().iter().take_while(|port| port.ready <= recorded).count();
        let first = self.whole_steps(there);
        let step = plan.outputs().get(first..first + self.sizes.results()).unwrap_or_default();
        step.iter().map(|port| port.ready).max().unwrap_or(plan.steps().len())
    }

    /// The caption of an image, from what the search left behind.
    ///
    /// # Errors
    /// The device returned what no search returns; no sentence has a probability that is a number.
    pub(crate) fn speak(&self, outputs: &[Data], image: usize, timings: Timings) -> Result<Caption, Error> {
        let outputs = &outputs[..self.whole_steps(outputs.len())];
        let trace = SearchTrace::new(&self.sizes, outputs).ok_or_else(|| {
            Error::refused(
                "expected words of the vocabulary, found other results: the device's driver is broken",
            )
        })?;
        let mut found = trace.hypotheses(image, self.special.end, self.length_penalty).into_iter();
        let Some(best) = found.next() else {
            return Err(Error::refused(
                "expected a sentence with a probability, found none: the model's numbers overflow on this photo",
            ));
        };
        let alternatives =
            found.map(|h| Alternative { text: self.sentence(&h), log_prob: h.log_prob }).collect();
        Ok(Caption {
            text: self.sentence(&best),
            log_prob: best.log_prob,
            finished: best.finished,
            alternatives,
            timings,
            tokens: best
                .words
                .into_iter()
                .filter(|w| self.is_shown(w.id))
                .map(|w| Token {
                    id: w.id,
                    word: self.word(w.id).to_owned(),
                    log_prob: w.log_prob,
                    attention: w.attention,
                })
                .collect(),
        })
    }

    fn is_shown(&self, id: u32) -> bool {
        let Special { pad, start, end, .. } = self.special;
        self.keep_special || ![pad, start, end].contains(&id)
    }

    fn word(&self, id: u32) -> &str {
        self.vocabulary.get(id as usize).map_or("", String::as_str)
    }

    fn sentence(&self, hypothesis: &Hypothesis) -> String {
        let ids = hypothesis.words.iter().map(|w| w.id).filter(|&id| self.is_shown(id));
        ids.map(|id| self.word(id)).collect::<Vec<_>>().join(" ")
    }
}

/// The graph of a model's encoder and search with all inputs but the first, the photo's pixels: for tools that look
/// inside. It is what a [`Captioner`] runs.
///
/// # Errors
/// As [`Captioner::new`].
pub fn graph(model: &Model, options: &CaptionOptions) -> Result<(Graph, Vec<Data>), Error> {
    let search = Search::of(model, options)?;
    let built = models::build(model, search.decoder, &search.preprocessing, search.options)?;
    Ok((built.graph, built.constant_inputs))
}

/// Plans a model without a device, as for a software or a hardware adapter with the WebGPU default limits.
///
/// # Errors
/// As [`Captioner::new`].
pub fn plan(model: &Model, options: &CaptionOptions, class: AdapterClass) -> Result<Plan, Error> {
    let (graph, _) = graph(model, options)?;
    Ok(Plan::new(&graph, &Target::baseline(class))?)
}

/// The limits that a device needs for a model: WebGPU's defaults, and more where the model takes more. For a host to merge with its
/// own before it makes its device.
///
/// # Errors
/// As [`Captioner::new`].
pub fn required_limits(model: &Model, options: &CaptionOptions) -> Result<wgpu::Limits, Error> {
    let (graph, _) = graph(model, options)?;
    let mut limits = wgpu::Limits::default();
    for class in [AdapterClass::Software, AdapterClass::Hardware] {
        let plan = Plan::new(&graph, &Target::baseline(class))?;
        let binding = plan.largest_binding() as u64;
        let buffer = binding.max(plan.arena_bytes() as u64);
        limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.max(binding);
        limits.max_buffer_size = limits.max_buffer_size.max(buffer);
    }
    Ok(limits)
}

/// Options with the model's own choices filled in.
struct Search<'a> {
    decoder: &'a crate::weights::DecoderManifest,
    preprocessing: Preprocessing,
    options: SearchOptions,
    length_penalty: f32,
}

impl<'a> Search<'a> {
    fn of(model: &'a Model, options: &CaptionOptions) -> Result<Search<'a>, Error> {
        let decoders = &model.manifest().decoders;
        let decoder = match options.decoder {
            None => decoders.first(),
            Some(family) => decoders.iter().find(|d| d.family == family),
        };
        let Some(decoder) = decoder else {
            let found = decoders.iter().map(|d| d.family.to_string()).collect::<Vec<_>>().join(", ");
            let wanted = options.decoder.unwrap_or(DecoderFamily::ShowTell);
            return Err(model.error(ModelErrorKind::NoDecoder { wanted, found }).into());
        };
        let largest = CaptionOptions::MAX_BEAM.min(model.manifest().vocabulary.len());
        let options_ = SearchOptions {
            images: options.batch.unwrap_or(1).clamp(1, CaptionOptions::MAX_BATCH),
            beams: options.beam.unwrap_or(decoder.beam).clamp(1, largest),
            max_length: options.max_length.unwrap_or(decoder.max_length).clamp(1, CaptionOptions::MAX_LENGTH),
        };
        let length_penalty = options.length_penalty.unwrap_or(decoder.length_penalty);
        let preprocessing = options.preprocessing.unwrap_or(model.manifest().preprocess);
        Ok(Search { decoder, preprocessing, options: options_, length_penalty })
    }
}
