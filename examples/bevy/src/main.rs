//! A scene without a window: a photo drifts past a camera, and the camera's picture is captioned.
//!
//! ```sh
//! cd examples/bevy && cargo run --release -- [CAPTIONS]
//! ```

use bevy::app::ScheduleRunnerPlugin;
use bevy::asset::RenderAssetUsages;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};
use bevy::render::settings::{RenderCreation, WgpuSettings};
use bevy::window::ExitCondition;
use shadetell::host::Budget;
use shadetell::image::{DecodeOptions, Rgb8, read};
use shadetell::weights::Model;
use shadetell::{CaptionOptions, required_limits};
use shadetell_bevy::{CaptionCamera, CaptionPlugin, Captioned};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../photos/camera.jpg");

/// How far the photo drifts, in pixels.
#[derive(Resource)]
struct Drift(f32);

/// Captions until the end.
#[derive(Resource)]
struct Remaining(usize);

fn main() -> Result<AppExit, BevyError> {
    let captions = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let mut app = scene(Drift(40.0), Budget::micros(8000))?;
    app.insert_resource(Remaining(captions)).add_observer(say);
    Ok(app.run())
}

/// An app with a photo in front of a camera that is captioned as often as possible.
fn scene(drift: Drift, budget: Budget) -> Result<App, BevyError> {
    let model = Arc::new(Model::from_static("bundled model", shadetell_everyday::MODEL)?);
    let options = CaptionOptions { beam: Some(1), ..CaptionOptions::default() };
    let photo = read(Path::new(PHOTO), &DecodeOptions::default())?;
    // Bevy requests higher limits where the adapter has them.
    let settings =
        WgpuSettings { limits: required_limits(&model, &options, &Default::default())?, ..default() };
    let mut app = App::new();
    app.add_plugins(
        DefaultPlugins
            .set(WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() })
            .set(RenderPlugin {
                render_creation: RenderCreation::Automatic(Box::new(settings)),
                ..default()
            }),
    )
    .add_plugins(ScheduleRunnerPlugin::run_loop(Duration::from_millis(16)))
    .add_plugins(CaptionPlugin { model, options, budget })
    .insert_resource(drift)
    .add_systems(Startup, move |commands: Commands, images: ResMut<Assets<Image>>| {
        place(&photo, commands, images)
    })
    .add_systems(
        Update,
        |time: Res<Time>, drift: Res<Drift>, mut photos: Query<&mut Transform, With<Sprite>>| {
            for mut photo in &mut photos {
                photo.translation.x = drift.0 * time.elapsed_secs().sin();
            }
        },
    );
    Ok(app)
}

/// The photo, and a camera that draws it into an image of its size.
fn place(photo: &Rgb8, mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let size = Extent3d { width: photo.width(), height: photo.height(), depth_or_array_layers: 1 };
    let pixels = photo.data().chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    let format = TextureFormat::Rgba8UnormSrgb;
    let usage = RenderAssetUsages::RENDER_WORLD;
    let picture = images.add(Image::new(size, TextureDimension::D2, pixels, format, usage));
    let target = images.add(Image::new_target_texture(size.width, size.height, format, None));
    commands.spawn(Sprite::from_image(picture));
    commands.spawn((Camera2d, Msaa::Off, RenderTarget::from(target), CaptionCamera { every: 1 }));
}

fn say(captioned: On<Captioned>, mut remaining: ResMut<Remaining>, mut exit: MessageWriter<AppExit>) {
    #[expect(clippy::print_stdout, reason = "the captions are the output of the example")]
    {
        println!("{}", captioned.caption.text);
    }
    remaining.0 = remaining.0.saturating_sub(1);
    if remaining.0 == 0 {
        exit.write(AppExit::Success);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use shadetell::engine::gpu::{AdapterChoice, Gpu};
    use shadetell::{Backend, Captioner};
    use std::sync::Mutex;
    use std::time::Instant;

    #[test]
    fn cameras_take_turns_and_get_the_caption_of_the_photo() {
        let options = CaptionOptions { beam: Some(1), ..CaptionOptions::default() };
        let gpu = Gpu::open(&AdapterChoice::default()).unwrap();
        let captioner = Captioner::new(
            &Model::from_static("bundled model", shadetell_everyday::MODEL).unwrap(),
            Backend::Gpu(&gpu),
            &options,
        )
        .unwrap();
        let photo = read(Path::new(PHOTO), &DecodeOptions::default()).unwrap();
        let expected = captioner.caption(&photo).unwrap();

        // The photo does not move and is drawn pixel for pixel, so the camera's picture equals the photo.
        let mut app = scene(Drift(0.0), Budget::dispatches(20)).unwrap();
        let found: Arc<Mutex<Vec<Captioned>>> = Arc::default();
        let list = Arc::clone(&found);
        app.add_observer(move |captioned: On<Captioned>| {
            list.lock().unwrap().push(captioned.event().clone())
        });
        app.finish();
        app.cleanup();
        app.update();
        let world = app.world_mut();
        let (first, target) =
            world.query_filtered::<(Entity, &RenderTarget), With<CaptionCamera>>().single(world).unwrap();
        let target = target.clone();
        let camera = Camera { order: 1, ..default() };
        let second = world.spawn((Camera2d, camera, Msaa::Off, target, CaptionCamera { every: 1 })).id();
        let start = Instant::now();
        while found.lock().unwrap().len() < 5 {
            app.update();
            assert!(start.elapsed() < Duration::from_secs(180), "{} captions", found.lock().unwrap().len());
        }
        let found = found.lock().unwrap();
        // The first caption may have begun before the photo was loaded.
        for captioned in &found[1..] {
            assert_eq!(captioned.caption.text, expected.text);
            assert_eq!(captioned.caption.log_prob, expected.log_prob);
        }
        for pair in found[1..].windows(2) {
            let entities = [pair[0].entity, pair[1].entity];
            assert!(entities == [first, second] || entities == [second, first], "{entities:?}");
        }
    }
}
