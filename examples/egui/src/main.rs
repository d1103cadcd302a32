//! A window with the picture of a camera, the words of its caption as they are found, and the attention of each word.
//!
//! The camera pans over a photo. A captioner on egui's own device captions its picture in slices over several frames, so that the
//! window stays smooth.
//!
//! ```sh
//! cd examples/egui && cargo run --release -- [PHOTO]
//! ```

mod looking;

use eframe::egui::{self, Color32, Rect, RichText, Sense, TextureId, Vec2, pos2, vec2};
use eframe::egui_wgpu::{RenderState, WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};
use eframe::wgpu;
use looking::{Looking, View};
use shadetell::engine::gpu::Gpu;
use shadetell::image::{DecodeOptions, Rgb8, read};
use shadetell::weights::Model;
use shadetell::{Caption, CaptionOptions, required_limits};
use std::error::Error;
use std::sync::Arc;
use wgpu::util::DeviceExt;

type Failure = Box<dyn Error + Send + Sync>;

const BUNDLED_PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../photos/astronaut.jpg");
const OPTIONS: CaptionOptions = CaptionOptions {
    decoder: None,
    beam: Some(1),
    length_penalty: None,
    max_length: None,
    batch: None,
    threads: None,
    preprocessing: None,
    keep_special: false,
};
/// The part of the photo's sides that the camera sees.
const ZOOM: f32 = 0.8;

fn main() -> eframe::Result {
    let wrong = |problem: Failure| eframe::Error::AppCreation(problem);
    let photo = std::env::args().nth(1).unwrap_or_else(|| BUNDLED_PHOTO.to_owned());
    let photo = read(photo.as_ref(), &DecodeOptions::default()).map_err(|problem| wrong(problem.into()))?;
    let model = Model::from_static("bundled model", shadetell_everyday::MODEL)
        .map_err(|problem| wrong(problem.into()))?;
    let limits =
        required_limits(&model, &OPTIONS, &Default::default()).map_err(|problem| wrong(problem.into()))?;
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default().with_inner_size([1000.0, 620.0]),
        wgpu_options: WgpuConfiguration { wgpu_setup: setup(limits), ..Default::default() },
        ..Default::default()
    };
    let window = |context: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, Failure> {
        let state = context.wgpu_render_state.as_ref().ok_or("expected egui to draw with wgpu")?;
        Ok(Box::new(Window::new(state, &photo, model)?))
    };
    eframe::run_native("Shade & Tell", options, Box::new(window))
}

/// The device limits of egui, merged with those of the captioner.
fn setup(limits: wgpu::Limits) -> WgpuSetup {
    let base = WgpuSetupCreateNew::without_display_handle();
    let egui = Arc::clone(&base.device_descriptor);
    let device_descriptor = Arc::new(move |adapter: &wgpu::Adapter| {
        let descriptor = egui(adapter);
        wgpu::DeviceDescriptor {
            required_features: descriptor.required_features | Gpu::helpful_features(adapter),
            required_limits: descriptor.required_limits.or_better_values_from(&limits),
            ..descriptor
        }
    });
    WgpuSetup::CreateNew(WgpuSetupCreateNew { device_descriptor, ..base })
}

struct Window {
    photo: wgpu::TextureView,
    texture: TextureId,
    size: [u32; 2],
    looking: Looking,
}

impl Window {
    fn new(state: &RenderState, photo: &Rgb8, model: Model) -> Result<Window, Failure> {
        let pixels: Vec<u8> = photo.data().chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        let descriptor = wgpu::TextureDescriptor {
            label: Some("photo"),
            size: wgpu::Extent3d { width: photo.width(), height: photo.height(), depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::TEXTURE_BINDING,
            view_formats: &[],
        };
        let order = wgpu::util::TextureDataOrder::LayerMajor;
        let texture = state.device.create_texture_with_data(&state.queue, &descriptor, order, &pixels);
        let view = texture.create_view(&Default::default());
        let filter = wgpu::FilterMode::Linear;
        let texture = state.renderer.write().register_native_texture(&state.device, &view, filter);
        let looking = Looking::new(Gpu::from_host(&state.device, &state.queue), model, OPTIONS)?;
        Ok(Window { photo: view, texture, size: [photo.width(), photo.height()], looking })
    }

    /// The camera's part of the photo at a time in seconds: left, top, width and height in pixels of the photo.
    fn part(&self, time: f64) -> [u32; 4] {
        let sides = self.size.map(|side| (side as f32 * ZOOM).max(1.0) as u32);
        let along = |axis: usize, phase: f64| {
            let room = f64::from(self.size[axis] - sides[axis]);
            (room * (0.5 + 0.5 * phase)) as u32
        };
        [along(0, (0.3 * time).sin()), along(1, (0.2 * time).cos()), sides[0], sides[1]]
    }

    /// Draws a part of the photo at the available width.
    fn picture(&self, ui: &mut egui::Ui, [left, top, width, height]: [u32; 4]) -> Rect {
        let room = ui.available_width().min(460.0);
        let size = vec2(room, room * height as f32 / width as f32);
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        let at = |x: u32, y: u32| pos2(x as f32 / self.size[0] as f32, y as f32 / self.size[1] as f32);
        let uv = Rect::from_min_max(at(left, top), at(left + width, top + height));
        ui.painter().image(self.texture, rect, uv, Color32::WHITE);
        rect
    }

    /// Draws the captioned part, dark where the shown word has little attention, and the words, with the shown one highlighted.
    fn looked_at(&self, ui: &mut egui::Ui, View { part, caption, grid }: View<'_>) {
        let rect = self.picture(ui, part);
        let shown = caption.tokens.len().saturating_sub(1);
        let mut hovered = None;
        ui.horizontal_wrapped(|ui| {
            for (index, token) in caption.tokens.iter().enumerate() {
                let text = RichText::new(&token.word).size(20.0);
                let text = if index == shown { text.strong() } else { text };
                let label = ui.label(text).on_hover_text(format!("{:.0} %", 100.0 * token.log_prob.exp()));
                if label.hovered() {
                    hovered = Some(index);
                }
            }
        });
        if let Some(token) = caption.tokens.get(hovered.unwrap_or(shown)) {
            shade(ui, rect, &token.attention, grid);
        }
    }
}

/// Darkens the cells of a grid with little attention.
fn shade(ui: &egui::Ui, rect: Rect, attention: &[f32], [rows, columns]: [usize; 2]) {
    let most = attention.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let cell = vec2(rect.width() / columns as f32, rect.height() / rows as f32);
    for (index, share) in attention.iter().enumerate() {
        let corner = rect.min + Vec2::new((index % columns) as f32, (index / columns) as f32) * cell;
        let darkness = 200.0 * (1.0 - share / most);
        let colour = Color32::from_black_alpha(darkness as u8);
        ui.painter().rect_filled(Rect::from_min_size(corner, cell), 0.0, colour);
    }
}

impl eframe::App for Window {
    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        let part = self.part(ui.input(|input| input.time));
        if let Some(state) = frame.wgpu_render_state() {
            self.looking.frame(&state.device, &state.queue, &self.photo, part);
        }
        egui::CentralPanel::default().show(ui, |ui| {
            ui.columns_const(|[left, right]| {
                left.heading("The camera");
                self.picture(left, part);
                match self.looking.said() {
                    Some(Caption { text, .. }) => left.label(RichText::new(text).size(20.0)),
                    None => left.label(self.looking.state()),
                };
                right.heading("What it looked at, word by word");
                match self.looking.view() {
                    Some(view) => self.looked_at(right, view),
                    None => {
                        right.add(egui::ProgressBar::new(self.looking.progress()).desired_width(460.0));
                    }
                }
            });
        });
        // The camera moves on.
        ui.ctx().request_repaint();
    }
}
