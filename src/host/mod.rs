//! Captioning inside a program that draws (the host): on the host's device, in its command encoders, within its frames.
//!
//! ```text
//! Captioner::prewarm -> Prewarm                        once, on threads of its own
//! Captioner::encode(encoder, input, budget) -> Ticket  resample, and the first slice where it is not timed
//!   each frame: ticket.record(encoder)                 the next slices
//!   each frame: ticket.poll() -> Caption               when the results have come back
//! ```
//!
//! Nothing here blocks, requests a device, or installs a handler.

mod input;
mod readback;
mod resample;
mod run;
mod scheduler;

pub use input::{BufferInput, Colour, Input, TextureInput, Window};
pub(crate) use run::FrameRun;
pub use scheduler::Budget;

use crate::engine::gpu::{Executor, filled_buffer};
use crate::engine::graph::Data;
use crate::error::Error;
use crate::image::Rgb8;
use crate::weights::Preprocessing;
use resample::Resampler;
use scheduler::FrameScheduler;
use std::sync::Arc;

/// Records the runs of an executor whose first input is a picture.
#[derive(Debug)]
pub(crate) struct Recorder {
    executor: Arc<Executor>,
    resampler: Resampler,
    preprocessing: Preprocessing,
    scheduler: Arc<FrameScheduler>,
    /// All inputs but the first.
    constants: wgpu::Buffer,
    /// [`MARKER`](readback::MARKER) on the device.
    marker: wgpu::Buffer,
    /// Number of results in a group: those of one step of the search.
    group: usize,
}

impl Recorder {
    /// A recorder for an executor whose first input is pixels `[N, H, W, 3]` of the preprocessing's size. `constants` are all other
    /// inputs. Partial results are read back in groups of `group`.
    ///
    /// # Errors
    /// The device is out of memory or lost.
    pub(crate) fn new(
        executor: Arc<Executor>,
        preprocessing: Preprocessing,
        constants: &[Data],
        group: usize,
        cache: Option<&wgpu::PipelineCache>,
    ) -> Result<Recorder, Error> {
        let device = &executor.device;
        Ok(Recorder {
            resampler: Resampler::new(device, preprocessing, cache)?,
            preprocessing,
            scheduler: Arc::new(FrameScheduler::new(executor.plan())),
            constants: executor.staged(constants)?,
            marker: filled_buffer(device, "marker", &readback::MARKER, wgpu::BufferUsages::COPY_SRC)?,
            group,
            executor,
        })
    }

    /// Records the picture into the first place of the input and black into the other places. Unless the budget is a time, also
    /// records the first slice of the work.
    ///
    /// # Errors
    /// The input cannot be used, the executor is busy, or the device is out of memory or lost. The encoder remains usable.
    pub(crate) fn start(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: Input<'_>,
        budget: Budget,
    ) -> Result<FrameRun, Error> {
        let arena = self.executor.try_lock_arena()?;
        match input {
            Input::Photo(photo) => self.record_photo(encoder, &self.preprocessing.fit(photo)?)?,
            Input::Preprocessed(photo) => self.record_photo(encoder, photo)?,
            on_device => self.record_picture(encoder, on_device)?,
        }
        self.executor.record_inputs(encoder, 1, &self.constants);
        let mut run = FrameRun::new(self, budget, arena);
        // With a time budget, the first frame only resizes the picture.
        if !matches!(budget, Budget::Micros(_)) {
            run.record(encoder)?;
        }
        Ok(run)
    }

    fn record_photo(&self, encoder: &mut wgpu::CommandEncoder, photo: &Rgb8) -> Result<(), Error> {
        let mut pixels = self.preprocessing.pixels(&[photo])?;
        pixels.resize(self.executor.plan().inputs()[0].shape.elements(), 0);
        let staged = self.executor.staged(&[Data::U8(pixels)])?;
        self.executor.record_inputs(encoder, 0, &staged);
        Ok(())
    }

    fn record_picture(&self, encoder: &mut wgpu::CommandEncoder, input: Input<'_>) -> Result<(), Error> {
        let places = self.executor.input_binding(0);
        self.resampler.record(encoder, input, places.clone())?;
        // The resampler writes whole words; unused bytes of the last one are black.
        let used = self.preprocessing.bytes().next_multiple_of(4) as u64;
        let rest = places.size.map_or(0, |size| size.get().saturating_sub(used));
        if rest > 0 {
            encoder.clear_buffer(places.buffer, places.offset + used, Some(rest));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::gpu::{AdapterChoice, Gpu};
    use crate::engine::graph::{DType, Graph};
    use crate::engine::ops::Activation;
    use crate::image::{Filter, Resize};
    use wgpu::util::DeviceExt;

    /// Two pictures of 3 x 3 pixels, so that the second begins inside a word. The result is their values, from 0 to 1.
    fn values_of_two_pictures(gpu: &Gpu) -> (Arc<Executor>, Recorder) {
        let mut graph = Graph::new();
        let pixels = graph.input("photo", [2, 3, 3, 3], DType::U8).unwrap();
        let other = graph.input("other", [1], DType::F32).unwrap();
        let values = graph.preprocess("values", pixels, [0.0; 3], [1.0; 3]).unwrap();
        let other = graph.activation("relu", other, Activation::Relu).unwrap();
        graph.output(values).unwrap();
        graph.output(other).unwrap();
        let executor = Arc::new(Executor::new(gpu, gpu.plan(&graph).unwrap()).unwrap());
        let preprocessing = Preprocessing {
            width: 3,
            height: 3,
            resize: Resize::Squash,
            filter: Filter::Bilinear,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let constants = [Data::F32(vec![0.0])];
        let recorder = Recorder::new(Arc::clone(&executor), preprocessing, &constants, 1, None).unwrap();
        (executor, recorder)
    }

    fn recorded(gpu: &Gpu, recorder: &Recorder, input: Input<'_>) -> Vec<f32> {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut run = recorder.start(&mut encoder, input, Budget::Whole).unwrap();
        gpu.queue.submit([encoder.finish()]);
        run.wait().unwrap()[0].f32().to_vec()
    }

    #[test]
    fn places_without_a_picture_are_black_and_results_may_be_zero() {
        let gpu = Gpu::open(&AdapterChoice::default()).unwrap();
        let (executor, recorder) = values_of_two_pictures(&gpu);
        for byte in [51, 0] {
            let pixels = vec![byte; 36];
            let photo = Rgb8::new(3, 3, vec![byte; 27]).unwrap();
            let descriptor = wgpu::TextureDescriptor {
                label: None,
                size: wgpu::Extent3d { width: 3, height: 3, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba8Unorm,
                usage: wgpu::TextureUsages::TEXTURE_BINDING,
                view_formats: &[],
            };
            let order = wgpu::util::TextureDataOrder::LayerMajor;
            let texture = gpu.device.create_texture_with_data(&gpu.queue, &descriptor, order, &pixels);
            let view = texture.create_view(&Default::default());
            let buffer = filled_buffer(&gpu.device, "picture", &pixels, wgpu::BufferUsages::STORAGE).unwrap();
            let window = Window::default();
            let inputs = [
                Input::Texture(TextureInput::new(&view)),
                Input::Buffer(BufferInput {
                    buffer: &buffer,
                    width: 3,
                    height: 3,
                    bytes_per_row: 12,
                    window,
                }),
                Input::Photo(&photo),
                Input::Preprocessed(&photo),
            ];
            for input in inputs {
                // White in both places, for the next run to find.
                executor.run(&[Data::U8(vec![255; 54]), Data::F32(vec![0.0])]).unwrap();
                let found = recorded(&gpu, &recorder, input);
                let expected = f32::from(byte) / 255.0;
                assert!(
                    found[..27].iter().all(|value| (value - expected).abs() < 1e-6),
                    "{input:?}: {found:?}"
                );
                assert_eq!(found[27..], [0.0; 27], "{input:?}");
            }
        }
    }
}
