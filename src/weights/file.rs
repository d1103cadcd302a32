//! Writing model files.

use super::{Manifest, ModelError, ModelErrorKind};
use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::tensor::{Dtype, SafeTensorError, View, serialize_to_file};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;

/// Passes the values of a tensor to a sink in row-major order, a piece at a time.
pub(crate) type Values<'a> = Box<dyn Fn(&mut dyn FnMut(&[f32])) + 'a>;

/// A model to be written. While it is written, its values are read or computed one tensor at a time.
pub struct ModelFile<'a> {
    manifest: Manifest,
    tensors: Vec<FileTensor<'a>>,
    /// Whether weights are written as f16; vectors, such as biases and batch norms, stay f32.
    half: bool,
}

impl std::fmt::Debug for ModelFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelFile").field("name", &self.manifest.name).finish_non_exhaustive()
    }
}

struct FileTensor<'a> {
    name: String,
    shape: Vec<usize>,
    is_half: bool,
    values: Values<'a>,
    /// The first value that cannot be written, and its index: the methods of `View` cannot return an error.
    bad: Cell<Option<(usize, f32)>>,
}

impl<'a> ModelFile<'a> {
    pub(crate) fn new(manifest: Manifest, half: bool) -> ModelFile<'a> {
        ModelFile { manifest, tensors: Vec::new(), half }
    }

    pub(crate) fn push(&mut self, name: String, shape: Vec<usize>, values: Values<'a>) {
        let is_half = self.half && shape.len() > 1;
        self.tensors.push(FileTensor { name, shape, is_half, values, bad: Cell::new(None) });
    }

    /// The description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes the file: first to a temporary file in the same folder, which is renamed when it is complete.
    ///
    /// # Errors
    /// The file exists already and `replace` is not set; it cannot be written; a value is NaN, infinite, or too large for f16.
    pub fn write(&self, path: &Path, replace: bool) -> Result<(), ModelError> {
        self.write_checked(path, replace, |_| Ok(()))
    }

    /// As [`ModelFile::write`], if `check` accepts the complete temporary file.
    ///
    /// # Errors
    /// As [`ModelFile::write`], and those of `check`.
    pub fn write_checked<E: From<ModelError>>(
        &self,
        path: &Path,
        replace: bool,
        check: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let error = |kind| ModelError { file: path.display().to_string(), kind };
        let unwritable = |e: std::io::Error| error(ModelErrorKind::Unwritable(e.to_string()));
        if !replace && path.exists() {
            return Err(error(ModelErrorKind::Exists).into());
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".shadetell-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The mode of any new file, reduced by the user's umask.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let part = builder.tempfile_in(folder).map_err(unwritable)?;
        let permissions = part.as_file().metadata().map_err(unwritable)?.permissions();
        let description = serde_json::to_string(&self.manifest)
            .map_err(|e| error(ModelErrorKind::Unwritable(e.to_string())))?;
        let metadata = HashMap::from([("shadetell".to_owned(), description)]);
        let tensors = self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
        serialize_to_file(tensors, Some(metadata), part.path()).map_err(|e| match e {
            SafeTensorError::IoError(e) => unwritable(e),
            other => error(ModelErrorKind::Unwritable(other.to_string())),
        })?;
        for tensor in &self.tensors {
            if let Some((index, value)) = tensor.bad.get() {
                let name = tensor.name.clone();
                return Err(error(if value.is_finite() {
                    ModelErrorKind::TooLarge { name, value, index }
                } else {
                    ModelErrorKind::NotFinite { name, value, index }
                })
                .into());
            }
        }
        check(part.path())?;
        // The serializer replaces our temporary file by one that only its owner can read.
        std::fs::set_permissions(part.path(), permissions).map_err(unwritable)?;
        let persisted = if replace { part.persist(path) } else { part.persist_noclobber(path) };
        persisted.map_err(|e| unwritable(e.error))?;
        Ok(())
    }
}

impl View for &FileTensor<'_> {
    fn dtype(&self) -> Dtype {
        if self.is_half { Dtype::F16 } else { Dtype::F32 }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        let mut halves: Vec<f16> = Vec::new();
        let mut count = 0;
        (self.values)(&mut |piece| {
            let limit = if self.is_half { f16::MAX.to_f32() } else { f32::MAX };
            // A loop with an early exit is not vectorised, so the bad value is searched for only if there is one.
            let is_bad = |value: &f32| value.is_nan() || value.abs() > limit;
            if self.bad.get().is_none() && piece.iter().fold(false, |bad, value| bad | is_bad(value)) {
                let found = piece.iter().enumerate().find(|(_, value)| is_bad(value));
                self.bad.set(found.map(|(index, &value)| (count + index, value)));
            }
            count += piece.len();
            // Little-endian, as all machines with a GPU are.
            if self.is_half {
                halves.resize(piece.len(), f16::ZERO);
                halves.convert_from_f32_slice(piece);
                bytes.extend_from_slice(bytemuck::cast_slice(&halves));
            } else {
                bytes.extend_from_slice(bytemuck::cast_slice(piece));
            }
        });
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * if self.is_half { 2 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{DecoderFamily, EncoderFamily, Model, SynthOptions, synth};

    fn synthetic(half: bool) -> ModelFile<'static> {
        let options = SynthOptions {
            words: 50,
            half,
            ..SynthOptions::new(EncoderFamily::Resnet18, DecoderFamily::ShowTell)
        };
        synth(&options)
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_written_model_can_be_read_and_is_replaced_only_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        synthetic(false).write(&path, false).unwrap();
        let model = Model::open(&path).unwrap();
        assert_eq!(model.manifest(), synthetic(false).manifest());
        let whole = model.tensor("show_tell.embed.weight", &[50, 256]).unwrap();
        assert!(whole.iter().all(|v| v.abs() <= 1.0) && whole.iter().any(|v| v.abs() > 0.9));
        let error = synthetic(true).write(&path, false).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        synthetic(true).write(&path, true).unwrap();
        let halves = Model::open(&path).unwrap().tensor("show_tell.embed.weight", &[50, 256]).unwrap();
        assert!(whole.iter().zip(&halves).all(|(a, b)| (a - b).abs() < 1e-3) && whole != halves);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing temporary stays: {left:?}");
        let other = folder.path().join("other");
        std::fs::write(&other, "").unwrap();
        let permissions = |path| std::fs::metadata(path).unwrap().permissions();
        assert_eq!(permissions(path), permissions(other), "as any new file");
    }

    #[test]
    #[cfg_attr(miri, ignore = "a whole model takes Miri hours")]
    fn values_that_cannot_be_stored_are_refused_and_no_file_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        for (value, half, word) in
            [(f32::NAN, false, "finite"), (1e6, true, "65504"), (f32::INFINITY, true, "finite")]
        {
            let mut file = synthetic(half);
            file.push("bad".to_owned(), vec![2, 2], Box::new(move |sink| sink(&[0.0, 0.0, 1.0, value])));
            let error = file.write(&path, false).unwrap_err().to_string();
            assert!(error.contains("`bad`") && error.contains("index 3") && error.contains(word), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
