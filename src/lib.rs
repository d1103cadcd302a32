//! Shade & Tell says what is in a photo, with hand-written WGSL compute shaders on any GPU: Vulkan, Metal, DX12, OpenGL, WebGPU, and
//! software adapters.
//!
//! Three ways to use it:
//!
//! # Caption a photo
//!
//! Needs the feature `image`, and a model: [`shadetell-everyday`](https://docs.rs/shadetell-everyday) brings one as bytes, `shadetell convert`
//! makes one from PyTorch checkpoints.
//!
//! ```no_run
//! # #[cfg(feature = "image")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use shadetell::engine::gpu::Gpu;
//! use shadetell::{Backend, CaptionOptions, Captioner, image, weights::Model};
//!
//! let gpu = Gpu::open(&Default::default())?;
//! let model = Model::from_static("everyday", shadetell_everyday::MODEL)?;
//! let captioner = Captioner::new(&model, Backend::Gpu(&gpu), &CaptionOptions::default())?;
//! let photo = image::read("dog.jpg".as_ref(), &Default::default())?;
//! println!("{}", captioner.caption(&photo)?.text);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "image"))]
//! # fn main() {}
//! ```
//!
//! # Caption a texture inside a program that draws
//!
//! On the program's own device, in its own encoders, a bounded slice of work a frame. Nothing blocks; see [`host`].
//!
//! ```no_run
//! use shadetell::engine::gpu::Gpu;
//! use shadetell::host::{Budget, Input, TextureInput};
//! use shadetell::{Captioner, Error, Ticket, wgpu};
//!
//! /// Called once a frame, before the encoder is submitted.
//! fn frame(
//!     captioner: &Captioner,
//!     ticket: &mut Option<Ticket>,
//!     camera: &wgpu::TextureView,
//!     encoder: &mut wgpu::CommandEncoder,
//! ) -> Result<(), Error> {
//!     let Some(going_on) = ticket else {
//!         let input = Input::Texture(TextureInput::new(camera));
//!         *ticket = Some(captioner.encode(encoder, input, Budget::micros(4000))?);
//!         return Ok(());
//!     };
//!     going_on.record(encoder)?;
//!     if let Some(caption) = going_on.poll() {
//!         println!("{}", caption?.text);
//!         *ticket = None;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Run a network of your own
//!
//! The [`engine`] runs any graph of its operations, and operations of your own ([`engine::ops::CustomOperation`]).
//!
//! ```no_run
//! use shadetell::engine::gpu::Gpu;
//! use shadetell::engine::graph::{DType, Graph};
//! use shadetell::engine::ops::{Activation, Conv2d, Padding};
//! use shadetell::engine::{EngineError, Session};
//!
//! # fn main() -> Result<(), EngineError> {
//! let mut graph = Graph::new();
//! let x = graph.input("x", [1, 32, 32, 3], DType::F32)?;
//! let weight = graph.constant("weight", [8, 3, 3, 3], vec![0.1; 8 * 3 * 3 * 3])?;
//! let bias = graph.constant("bias", [8], vec![0.0; 8])?;
//! let y = graph.conv2d("conv", x, weight, bias, Conv2d { padding: Padding::uniform(1), ..Conv2d::default() })?;
//! let y = graph.activation("y", y, Activation::Relu)?;
//! graph.output(y)?;
//!
//! let session = Session::new(&Gpu::open(&Default::default())?, &graph)?;
//! let results = session.run(&[("x", vec![0.5; 32 * 32 * 3].into())])?;
//! println!("{:?}", results.get("y"));
//! # Ok(())
//! # }
//! ```
//!
//! Features: none by default; `image` decodes photo files and draws attention pictures.

mod caption;
pub mod checkpoint;
pub mod engine;
mod error;
mod features;
pub mod host;
pub mod image;
mod models;
pub mod weights;
pub mod workloads;

pub use caption::{
    Alternative, Backend, Caption, CaptionOptions, Captioner, Prewarm, SeenTag, Ticket, Timings, Token,
    caption_graph, caption_plan, required_limits,
};
pub use engine::Cause;
pub use error::Error;
pub use features::{Class, EncoderOptions, Features, ImageEncoder};
pub use wgpu;
