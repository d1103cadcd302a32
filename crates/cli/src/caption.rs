//! `shadetell caption`: a sentence for each photo.

use super::args::{AdapterArgs, Batches, SearchArgs, batch, named, number, photo_paths};
use super::engine::{DeviceChoice, Engine};
use super::failure::{Failure, NO_DEVICE, PHOTOS_FAILED, advice};
use super::names::{shown, visible};
use super::output::{self, Progress, note};
use super::photos::{Photo, is_stdin, read_ahead};
use super::pictures::Pictures;
use super::plan::Summary;
use clap::{Args, ValueEnum, ValueHint};
use shadetell::image::{DecodeOptions, ImageError, Rgb8};
use shadetell::weights::Preset;
use shadetell::{Caption, CaptionOptions, Error};
use shadetell_server::record::{FailedRecord, Origin, PhotoError, PhotoName, Record};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Captions photos: JPEG, PNG, WebP, GIF, BMP or TIFF, recognised by content
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell caption dog.jpg
      one photo: the sentence alone
  shadetell caption holiday/*.jpg > captions.tsv
      many photos: `path<TAB>sentence`, in this order
  curl -s https://example.org/a.jpg | shadetell caption -
  shadetell caption --json *.jpg | jq -r 'select(.error) | .path'
      those that failed
  shadetell caption --attention seen/ dog.jpg
      draws seen/dog.attention.png
  shadetell caption --beam 1 --device cpu dog.jpg
      greedy search, without a GPU
  find . -name '*.jpg' -print0 | xargs -0 shadetell caption --json

The error of a photo that fails is printed to standard error, or with --json
in its line; the others are still captioned. In text, control characters and
other bytes in names are escaped, as in \\n or \\xff; in JSON, `path_bytes` has
the base64 of a name that is not Unicode.

Exit codes: 0 all captioned, 1 some photos failed, 2 wrong usage, 3 the model
cannot be loaded, 4 there is no such adapter or the device was lost.")]
pub(crate) struct CaptionArgs {
    /// Photo files; `-` reads one from standard input
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::FilePath,
          value_parser = photo_paths())]
    paths: Vec<PathBuf>,

    /// Print a JSON object a line: caption, confidence, tags, words, probabilities, alternatives, timings
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    search: SearchArgs,

    /// The preference for long captions: log-probabilities are divided by this power of the length
    #[arg(long, value_name = "POWER", allow_negative_numbers = true,
          value_parser = number(0.0..=10.0f32, "a number"))]
    length_penalty: Option<f32>,

    /// How finished captions are compared: `sat` compares sums of log-probabilities, as the Show, Attend and Tell tutorial
    /// does; `length` compares sums divided by a power of the length, which is the model's choice or --length-penalty
    #[arg(long, value_name = "RULE", value_enum, conflicts_with = "length_penalty")]
    beam_rule: Option<BeamRule>,

    /// The confidence, from 0 to 1, below which a sentence is marked: printed as `not sure: SENTENCE`, with `"sure": false` in JSON.
    /// The model's threshold if not given; 0 marks none
    #[arg(long, alias = "sure", value_name = "CONFIDENCE", allow_negative_numbers = true,
          value_parser = number(0.0..=1.0f32, "a number"))]
    min_confidence: Option<f32>,

    /// What is printed of a sentence below this confidence, if not JSON
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Unsure::Mark, conflicts_with = "json")]
    unsure: Unsure,

    /// Photos in a batch; captions do not depend on it. `auto` takes up to 8
    #[arg(long, value_name = "N", default_value = "auto", allow_negative_numbers = true,
          value_parser = batch(CaptionOptions::MAX_BATCH))]
    batch: Batches,

    /// How photos are preprocessed, instead of the model's own way
    #[arg(long, value_name = "NAME", value_parser = named(&Preset::ALL, Preset::name))]
    preset: Option<Preset>,

    /// Keep the tokens for start, end and padding
    #[arg(long)]
    keep_special: bool,

    /// Write one picture per photo of where the model looked into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    attention: Option<PathBuf>,

    /// The device to use
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// The largest photo to decode, in millions of pixels
    #[arg(long, value_name = "MEGAPIXELS", default_value = "100", allow_negative_numbers = true,
          value_parser = number(1..=10_000u64, "a whole number"))]
    max_pixels: u64,

    /// Ignore the Exif orientation of photos
    #[arg(long)]
    no_exif_rotate: bool,

    /// Print to standard error what runs on the device, and the time of each stage
    #[arg(short, long)]
    verbose: bool,

    /// Print only captions and errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

/// What is printed of a sentence that the model is not sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unsure {
    /// `not sure: ` and the sentence
    Mark,
    /// Nothing: an empty line, or a path and a tab
    Omit,
}

/// Ways to compare captions of different lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BeamRule {
    /// The sum of log-probabilities
    Sat,
    /// The sum over a power of the length
    Length,
}

impl CaptionArgs {
    fn options(&self) -> CaptionOptions {
        let sum_alone = (self.beam_rule == Some(BeamRule::Sat)).then_some(0.0);
        CaptionOptions {
            length_penalty: self.length_penalty.or(sum_alone),
            batch: Some(self.batch_size()),
            preprocessing: self.preset.map(Preset::preprocessing),
            keep_special: self.keep_special,
            ..self.search.options()
        }
    }

    fn batch_size(&self) -> usize {
        self.batch.size(self.paths.len())
    }

    /// The caption, with the threshold of the command line.
    fn judged(&self, caption: Caption) -> Caption {
        let is_sure = match self.min_confidence {
            Some(least) => caption.confidence.is_none_or(|confidence| confidence >= least),
            None => caption.is_sure,
        };
        Caption { is_sure, ..caption }
    }

    /// Checks conditions that the parser cannot check.
    fn check(&self) -> Result<(), Failure> {
        let wrong = |message: &str| Err(Failure::Usage(message.to_owned()));
        if self.paths.iter().filter(|path| is_stdin(path)).count() > 1 {
            return wrong("`-` is given more than once, but standard input can be read only once");
        }
        if self.device == DeviceChoice::Cpu
            && (self.adapter.adapter.is_some() || self.adapter.backend.is_some())
        {
            return wrong("--device cpu uses no adapter: leave out --adapter and --backend");
        }
        Ok(())
    }

    fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            max_pixels: self.max_pixels * 1_000_000,
            apply_orientation: !self.no_exif_rotate,
            ..DecodeOptions::default()
        }
    }
}

/// Captions the photos in order.
pub(crate) fn run(args: &CaptionArgs) -> Result<ExitCode, Failure> {
    args.check()?;
    // The first photo is decoded while the model is being prepared.
    let photos = read_ahead(args.paths.clone(), args.decode_options(), args.batch_size())?;
    let clock = Instant::now();
    let model = args.search.open_model()?;
    let engine = Engine::prepare(&model, &args.options(), args.device, &args.adapter)?;
    if args.verbose || (engine.device.is_fallback && !args.quiet) {
        engine.device.introduce();
    }
    if args.verbose
        && let Some(plan) = engine.captioner.plan()
    {
        note(&Summary::of(plan).to_string());
        note(&format!("ready: model, device and kernels took {:.0} ms", clock.elapsed().as_secs_f64() * 1e3));
    }
    let folder = args.attention.as_deref();
    let mut batch = Batch {
        args,
        origin: Origin { model: &model.manifest().name, adapter: &engine.device.name },
        caption_all: &|photos| engine.captioner.caption_all(photos),
        pictures: folder.map(|folder| Pictures::new(folder, &engine.captioner)).transpose()?,
        print: &output::print,
        failed: 0,
        lost: None,
    };
    batch.run(photos)
}

/// Captions photos in their order.
type CaptionAll<'a> = dyn Fn(&[&Rgb8]) -> Result<Vec<Caption>, Error> + 'a;

/// Photos on their way to captions.
struct Batch<'a> {
    args: &'a CaptionArgs,
    origin: Origin<'a>,
    caption_all: &'a CaptionAll<'a>,
    pictures: Option<Pictures>,
    print: &'a dyn Fn(&str) -> io::Result<()>,
    failed: usize,
    /// The error of a lost device. Later photos cannot be captioned.
    lost: Option<PhotoError>,
}

/// A photo with its caption, or the error.
type Spoken<'p> = Result<(&'p Rgb8, Caption), PhotoError>;

impl Batch<'_> {
    fn run(&mut self, photos: impl Iterator<Item = Photo>) -> Result<ExitCode, Failure> {
        let progress = Progress::of(self.args.paths.len(), self.args.quiet);
        let mut photos = photos.peekable();
        let mut done = 0;
        while photos.peek().is_some() {
            let group: Vec<Photo> = photos.by_ref().take(self.args.batch_size()).collect();
            let captions = self.captions(&group);
            for (photo, caption) in group.iter().zip(captions) {
                let line = caption.and_then(|(image, caption)| self.line(photo, image, &caption));
                progress.step(|| self.deliver(photo, line))?;
                done += 1;
            }
        }
        progress.finish();
        if done < self.args.paths.len() {
            return Err(Failure::System(format!("decoding stopped after {done} photos")));
        }
        Ok(match (&self.lost, self.failed) {
            (Some(_), _) => ExitCode::from(NO_DEVICE),
            (None, 0) => ExitCode::SUCCESS,
            (None, _) => ExitCode::from(PHOTOS_FAILED),
        })
    }

    /// The line to print about a photo, and a note on its timings.
    fn line(
        &mut self,
        photo: &Photo,
        image: &Rgb8,
        caption: &Caption,
    ) -> Result<(String, String), PhotoError> {
        let path = &photo.path;
        let picture = match &mut self.pictures {
            Some(pictures) => Some(pictures.write(path, image, caption).map_err(|e| picture_error(&e))?),
            None => None,
        };
        let line = if self.args.json {
            let size = [image.width(), image.height()];
            let mut record = Record::new(PhotoName::of(path), size, caption, photo.took, self.origin);
            record.attention = picture.map(|picture| picture.display().to_string());
            json(&record)
        } else {
            let text = visible(&caption.text);
            let sentence = match (caption.is_sure, self.args.unsure) {
                (true, _) => text,
                (false, Unsure::Mark) => format!("not sure: {text}"),
                (false, Unsure::Omit) => String::new(),
            };
            if self.args.paths.len() == 1 { sentence } else { format!("{}\t{sentence}", shown(path)) }
        };
        Ok((line, timings(photo.took, caption)))
    }

    /// Captions the decoded photos of a group, unless the device is lost.
    fn captions<'p>(&mut self, group: &'p [Photo]) -> Vec<Spoken<'p>> {
        let images: Vec<&Rgb8> = group.iter().filter_map(|photo| photo.image.as_ref().ok()).collect();
        let spoken = match &self.lost {
            Some(lost) => Err(lost.clone()),
            None => (self.caption_all)(&images).map_err(|error| {
                let mut failure = PhotoError::of_engine(&error);
                if let Error::Gpu(error) = &error {
                    failure.message.push_str(advice(error));
                    self.lost = Some(failure.clone());
                }
                failure
            }),
        };
        let mut spoken = spoken.map(Vec::into_iter);
        let result = |photo: &'p Photo| match (&photo.image, &mut spoken) {
            (Err(error), _) => Some(Err(error.clone())),
            (Ok(_), Err(error)) => Some(Err(error.clone())),
            (Ok(image), Ok(captions)) => {
                captions.next().map(|caption| Ok((image, self.args.judged(caption))))
            }
        };
        group.iter().filter_map(result).collect()
    }

    /// Prints the result for a photo.
    fn deliver(&mut self, photo: &Photo, line: Result<(String, String), PhotoError>) -> io::Result<()> {
        match line {
            Ok((line, timings)) => {
                (self.print)(&(line + "\n"))?;
                if self.args.verbose {
                    note(&format!("{}: {timings}", shown(&photo.path)));
                }
            }
            Err(error) => {
                self.failed += 1;
                if self.args.json {
                    (self.print)(&(json(&FailedRecord::new(PhotoName::of(&photo.path), &error)) + "\n"))?;
                } else {
                    output::error(&format!("{}: {}", shown(&photo.path), error.message));
                }
            }
        }
        Ok(())
    }
}

/// One line of JSON. Records consist of text and numbers, which always serialise.
fn json(record: &impl serde::Serialize) -> String {
    serde_json::to_string(record).unwrap_or_default()
}

fn timings(decode: Duration, caption: &Caption) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let t = &caption.timings;
    format!(
        "decode {:.1} ms, preprocess {:.1} ms, encode {:.1} ms, generate {:.1} ms",
        ms(decode),
        ms(t.preprocess),
        ms(t.encode),
        ms(t.generate)
    )
}

/// An error of drawing attention.
fn picture_error(error: &ImageError) -> PhotoError {
    PhotoError { code: error.code(), message: format!("--attention: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use shadetell::engine::gpu::GpuError;
    use std::cell::{Cell, RefCell};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CaptionArgs,
    }

    fn caption() -> Caption {
        Caption {
            text: "a dog".to_owned(),
            tokens: Vec::new(),
            log_prob: -1.0,
            mean_log_prob: -1.0,
            score: -1.0,
            finished: true,
            alternatives: Vec::new(),
            tags: Vec::new(),
            confidence: None,
            is_sure: true,
            timings: Default::default(),
        }
    }

    #[test]
    fn captions_before_the_loss_of_the_device_are_printed() {
        let args = Line::parse_from(["caption", "--json", "--batch", "1", "1", "2", "3", "4"]).args;
        let photo = |path: &PathBuf| Photo {
            path: path.clone(),
            image: if path.as_os_str() == "3" {
                Err(PhotoError { code: "empty_file", message: String::new() })
            } else {
                Ok(Rgb8::filled(1, 1, [0; 3]).unwrap())
            },
            took: Duration::ZERO,
        };
        let calls = Cell::new(0);
        let printed = RefCell::new(String::new());
        let mut batch = Batch {
            args: &args,
            origin: Origin { model: "m", adapter: "a" },
            caption_all: &|_| {
                calls.set(calls.get() + 1);
                if calls.get() == 1 {
                    Ok(vec![caption()])
                } else {
                    Err(GpuError::DeviceLost("unplugged".to_owned()).into())
                }
            },
            pictures: None,
            print: &|text| {
                printed.borrow_mut().push_str(text);
                Ok(())
            },
            failed: 0,
            lost: None,
        };
        let code = batch.run(args.paths.iter().map(photo)).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(4)));
        assert_eq!(calls.get(), 2, "a lost device is not used again");
        let lines: Vec<serde_json::Value> =
            printed.borrow().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["caption"], "a dog");
        let codes: Vec<_> = lines[1..].iter().map(|line| line["error"]["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["device_lost", "empty_file", "device_lost"]);
    }
}
