//! `shadetell embed`: the features that a model's encoder computes of photos.

use super::encoder::{EncoderArgs, Prepared};
use super::failure::Failure;
use super::names::shown;
use clap::{Args, ValueEnum, ValueHint};
use serde::Serialize;
use shadetell::Features;
use shadetell_server::record::PhotoName;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints the features of photos, for search and other models
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell embed photos/*.jpg > photos.jsonl    a JSON object a line
  shadetell embed --format npy -o photos.npy photos/*.jpg
  shadetell embed --normalize --format raw -o photos.f32 photos/*.jpg
  shadetell embed --spatial --format npy -o grids.npy photos/*.jpg

npy is an array of float32 [photos, channels], or with --spatial
[photos, rows, columns, channels]; raw is the same without a header, little
endian. Rows are in the order of the photos. The row of a photo that fails
is NaN in npy and raw, and has an `error` in JSON. Exit codes are those of
`shadetell caption`.")]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    encoder: EncoderArgs,

    /// The format
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,

    /// The grid of features instead of its mean
    #[arg(long)]
    spatial: bool,

    /// Divide features by their length, so that dot products are cosines
    #[arg(long)]
    normalize: bool,

    /// The file to write instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON, an object a line
    Jsonl,
    /// A numpy array
    Npy,
    /// Numbers alone
    Raw,
}

#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    name: PhotoName,
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<&'a [usize]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    model: &'a str,
}

/// Prints the features.
pub(crate) fn run(args: &EmbedArgs) -> Result<ExitCode, Failure> {
    if args.output.is_none() && args.format != Format::Jsonl && io::stdout().is_terminal() {
        return Err(Failure::Usage("numbers are not printed to a terminal: name a file with -o".to_owned()));
    }
    let Prepared { model, encoder, .. } = args.encoder.prepare(args.spatial)?;
    let [rows, columns, channels] = encoder.grid_shape();
    let shape = if args.spatial { vec![rows, columns, channels] } else { vec![channels] };
    let count: usize = shape.iter().product();
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => {
            let cannot = |error| Failure::System(format!("{}: cannot be written: {error}", shown(path)));
            Box::new(BufWriter::new(File::create(path).map_err(cannot)?))
        }
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    if args.format == Format::Npy {
        out.write_all(&npy_header(args.encoder.paths.len(), &shape))?;
    }
    let code = args.encoder.run(&encoder, |path, result| {
        let values = result.map(|features| args.values(features));
        if args.format == Format::Jsonl {
            let record = Record {
                name: PhotoName::of(path),
                shape: values.is_ok().then_some(&shape),
                features: values.as_ref().ok().map(Vec::as_slice),
                error: values.as_ref().err().copied(),
                model: &model,
            };
            serde_json::to_writer(&mut out, &record).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        } else {
            let values = values.unwrap_or_else(|_| vec![f32::NAN; count]);
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        Ok(out.flush()?)
    })?;
    Ok(code)
}

impl EmbedArgs {
    fn values(&self, features: &Features) -> Vec<f32> {
        let mut values = match &features.grid {
            Some(grid) if self.spatial => grid.clone(),
            _ => features.embedding.clone(),
        };
        if self.normalize {
            // A place of a grid is a vector of its own.
            for vector in values.chunks_exact_mut(features.embedding.len().max(1)) {
                let length = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                if length > 0.0 {
                    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
                }
            }
        }
        values
    }
}

/// The header of a `.npy` file, version 1.0 (NumPy Enhancement Proposal 1), for float32 `[photos, shape...]`.
fn npy_header(photos: usize, shape: &[usize]) -> Vec<u8> {
    let sizes: Vec<String> = [photos].iter().chain(shape).map(usize::to_string).collect();
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", sizes.join(", "));
    // Numbers begin at a multiple of 64 bytes.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text += &" ".repeat(length - text.len() - 1);
    text.push('\n');
    [b"\x93NUMPY\x01\x00", &(length as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_padded_to_64_bytes() {
        let header = npy_header(3, &[7, 7, 1280]);
        assert_eq!(header.len() % 64, 0);
        let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
        assert_eq!(header.len(), 10 + length);
        let text = std::str::from_utf8(&header[10..]).unwrap();
        assert!(text.contains("'shape': (3, 7, 7, 1280), ") && text.ends_with('\n'), "{text}");
    }
}
