//! Bevy cameras that say what they see.
//!
//! Add [`CaptionPlugin`] to an app and [`CaptionCamera`] to a camera; observe [`Captioned`]. Everything happens on Bevy's own
//! device: what a camera drew is looked at where it lies, a slice in each frame.

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

/// Gives the app's cameras the power of speech.
#[derive(Clone)]
pub struct CaptionPlugin {
    /// Who speaks.
    pub model: Arc<Model>,
    /// How captions are searched.
    pub options: CaptionOptions,
    /// What a frame may spend on it.
    pub budget: Budget,
}

/// A camera that is asked what it sees. Whatever it draws to, a window or an image.
#[derive(Component, ExtractComponent, Clone, Copy, Debug)]
#[extract_app(RenderApp)]
pub struct CaptionCamera {
    /// Frames from one look to the next. Cameras take turns: with several, or a small budget, it may take more.
    pub every: u32,
}

/// A camera has said what it sees: triggered on the camera.
#[derive(EntityEvent, Clone, Debug)]
pub struct Captioned {
    /// The camera.
    pub entity: Entity,
    /// What it said.
    pub caption: Caption,
}

/// What the renderer says to the app: errors in words.
type Said = (Entity, Result<Caption, String>);

#[derive(Resource)]
struct Heard(Mutex<Receiver<Said>>);

/// The renderer's side.
#[derive(Resource)]
struct Captioning {
    plugin: CaptionPlugin,
    state: State,
    /// The caption that is on its way, and whose it is.
    current: Option<(Entity, Ticket)>,
    /// Frames since the start.
    now: u64,
    /// The frames in which cameras looked last.
    looked: HashMap<Entity, u64>,
    said: Sender<Said>,
}

enum State {
    /// Before there is a device, or after an error that was told.
    Idle,
    Preparing(Prewarm),
    Ready(Box<Captioner>),
}

impl Plugin for CaptionPlugin {
    fn build(&self, app: &mut App) {
        let (said, heard) = channel();
        app.add_plugins(ExtractComponentPlugin::<CaptionCamera>::default());
        app.insert_resource(Heard(Mutex::new(heard))).add_systems(PreUpdate, tell);
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

/// Hands on what the renderer said.
fn tell(heard: Res<Heard>, mut commands: Commands) {
    for (entity, said) in heard.0.lock().unwrap_or_else(PoisonError::into_inner).try_iter() {
        match said {
            Ok(caption) => commands.trigger(Captioned { entity, caption }),
            Err(message) => error!("no caption: {message}"),
        }
    }
}

/// Begins to make the model ready on the device, which is new: at the start, or after the one before was lost.
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

/// Once a frame, after the cameras have drawn.
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
    // Of those whose time has come, the one that has waited longest.
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
        // The app is gone when nobody listens.
        let _ = said.send((camera, caption.map_err(|problem| problem.to_string())));
    }
}
