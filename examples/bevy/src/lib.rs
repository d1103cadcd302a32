//! Captions of the pictures of Bevy cameras.
//!
//! Add [`CaptionPlugin`] to an app and [`CaptionCamera`] to a camera, and observe [`Captioned`]. All work is done on Bevy's own
//! device, without copying the camera's picture to the CPU, in slices over several frames.

use bevy::ecs::schedule::IntoScheduleConfigs;
use bevy::prelude::*;
use bevy::render::camera::ExtractedCamera;
use bevy::render::extract_component::{ExtractComponent, ExtractComponentPlugin};
use bevy::render::renderer::{RenderDevice, RenderQueue, render_system};
use bevy::render::sync_world::MainEntity;
use bevy::render::view::ViewTarget;
use bevy::render::{Render, RenderApp, RenderStartup, RenderSystems};
use shadetell::engine::gpu::Gpu;
use shadetell::host::{Budget, Input, TextureInput};
use shadetell::weights::Model;
use shadetell::{Caption, CaptionOptions, Captioner, Prewarm, Ticket};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// A plugin that captions the pictures of cameras.
#[derive(Clone)]
pub struct CaptionPlugin {
    /// The model.
    pub model: Arc<Model>,
    /// How captions are searched.
    pub options: CaptionOptions,
    /// The budget of a frame.
    pub budget: Budget,
}

/// A camera whose picture is captioned. It may draw to a window or to an image.
#[derive(Component, ExtractComponent, Clone, Copy, Debug)]
#[extract_app(RenderApp)]
pub struct CaptionCamera {
    /// Least number of frames between two captions. Cameras take turns: with several cameras, or a small budget, it takes longer.
    pub every: u32,
}

/// An event with a caption, triggered on the camera.
#[derive(EntityEvent, Clone, Debug)]
pub struct Captioned {
    /// The camera.
    pub entity: Entity,
    /// The caption.
    pub caption: Caption,
}

/// Messages from the renderer to the app: captions, or errors as text.
type Said = (Entity, Result<Caption, String>);

#[derive(Resource)]
struct Heard(Mutex<Receiver<Said>>);

/// The state in the render world.
#[derive(Resource)]
struct Captioning {
    plugin: CaptionPlugin,
    state: State,
    /// The caption in progress, and its camera.
    current: Option<(Entity, Ticket)>,
    /// Frames since the start.
    now: u64,
    /// The frame of each camera's last caption.
    looked: HashMap<Entity, u64>,
    said: Sender<Said>,
}

enum State {
    /// Before there is a device, or after an error that was reported.
    Idle,
    Preparing(Prewarm),
    Ready(Box<Captioner>),
}

impl Plugin for CaptionPlugin {
    fn build(&self, app: &mut App) {
        let (said, heard) = channel();
        app.add_plugins(ExtractComponentPlugin::<CaptionCamera>::default());
        app.insert_resource(Heard(Mutex::new(heard))).add_systems(PreUpdate, report);
        let Some(renderer) = app.get_sub_app_mut(RenderApp) else {
            error!("captions need the renderer: add CaptionPlugin after RenderPlugin");
            return;
        };
        renderer
            .insert_resource(Captioning {
                plugin: self.clone(),
                state: State::Idle,
                current: None,
                now: 0,
                looked: HashMap::new(),
                said,
            })
            .add_systems(RenderStartup, prepare)
            .add_systems(Render, look.in_set(RenderSystems::Render).after(render_system));
    }
}

/// Triggers events for the messages of the renderer.
fn report(heard: Res<Heard>, mut commands: Commands) {
    for (entity, said) in heard.0.lock().unwrap_or_else(PoisonError::into_inner).try_iter() {
        match said {
            Ok(caption) => commands.trigger(Captioned { entity, caption }),
            Err(message) => error!("no caption: {message}"),
        }
    }
}

/// Begins to prepare the model on a new device: at the start, or after the previous device was lost.
fn prepare(mut captioning: ResMut<Captioning>, device: Res<RenderDevice>, queue: Res<RenderQueue>) {
    let gpu = Gpu::from_host(device.wgpu_device(), &queue);
    let CaptionPlugin { model, options, .. } = captioning.plugin.clone();
    captioning.current = None;
    captioning.state = match Captioner::prewarm(model, gpu, options) {
        Ok(prewarm) => State::Preparing(prewarm),
        Err(problem) => {
            error!("no captions: {problem}");
            State::Idle
        }
    };
}

/// Runs once a frame, after the cameras have drawn.
fn look(
    mut captioning: ResMut<Captioning>,
    cameras: Query<(&MainEntity, &CaptionCamera, &ViewTarget), With<ExtractedCamera>>,
    device: Res<RenderDevice>,
    queue: Res<RenderQueue>,
) {
    let Captioning { plugin, state, current, now, looked, said } = &mut *captioning;
    *now += 1;
    if let State::Preparing(prewarm) = state {
        match prewarm.poll() {
            None => return,
            Some(Ok(captioner)) => *state = State::Ready(Box::new(captioner)),
            Some(Err(problem)) => {
                error!("no captions: {problem}");
                *state = State::Idle;
            }
        }
    }
    let State::Ready(captioner) = state else { return };
    let mut encoder = device.create_command_encoder(&Default::default());
    // Of the cameras that are due, the one that has waited longest.
    let last = |camera: &MainEntity| looked.get(&camera.id()).copied();
    let is_due = |(camera, CaptionCamera { every }, _): &(&MainEntity, &CaptionCamera, &ViewTarget)| {
        last(camera).is_none_or(|frame| *now - frame >= u64::from(*every))
    };
    let next = cameras.iter().filter(is_due).min_by_key(|(camera, ..)| last(camera));
    let outcome = match current {
        Some((camera, ticket)) => ticket.record(&mut encoder).map_err(|problem| (*camera, problem)),
        None => next.map_or(Ok(()), |(camera, _, target)| {
            looked.insert(camera.id(), *now);
            let input = Input::Texture(TextureInput::new(target.main_texture_view()));
            captioner
                .encode(&mut encoder, input, plugin.budget)
                .map(|ticket| *current = Some((camera.id(), ticket)))
                .map_err(|problem| (camera.id(), problem))
        }),
    };
    queue.submit([encoder.finish()]);
    looked.retain(|camera, _| cameras.iter().any(|(known, ..)| known.id() == *camera));
    let found = match (outcome, &mut *current) {
        (Err((camera, problem)), _) => Some((camera, Err(problem))),
        (Ok(()), Some((camera, ticket))) => ticket.poll().map(|caption| (*camera, caption)),
        (Ok(()), None) => None,
    };
    if let Some((camera, caption)) = found {
        *current = None;
        // Sending fails only if the app has ended.
        let _ = said.send((camera, caption.map_err(|problem| problem.to_string())));
    }
}
