//! Pictures of attention, one file per photo.

use super::failure::Failure;
use super::names::shown;
use super::photos::is_stdin;
use shadetell::image::{ImageError, Rgb8, attention_sheet, write_png};
use shadetell::weights::Preprocessing;
use shadetell::{Caption, Captioner};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The folder that pictures are written to.
#[derive(Debug)]
pub(crate) struct Pictures {
    folder: PathBuf,
    preprocessing: Preprocessing,
    grid: [usize; 2],
    /// Names used so far, in lower case, since not every file system distinguishes cases.
    taken: HashSet<String>,
}

impl Pictures {
    /// Creates the folder if it does not exist.
    pub(crate) fn new(folder: &Path, captioner: &Captioner) -> Result<Pictures, Failure> {
        let Some(grid) = captioner.attention_grid() else {
            let advice =
                "this decoder has no attention to draw: use another decoder, or leave out --attention";
            return Err(Failure::Usage(advice.to_owned()));
        };
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::Usage(format!("--attention: cannot create the folder {}: {error}", shown(folder)))
        })?;
        let (folder, preprocessing) = (folder.to_owned(), *captioner.preprocessing());
        Ok(Pictures { folder, preprocessing, grid, taken: HashSet::new() })
    }

    /// Draws the attention of a photo's caption.
    pub(crate) fn write(
        &mut self,
        source: &Path,
        photo: &Rgb8,
        caption: &Caption,
    ) -> Result<PathBuf, ImageError> {
        let path = self.folder.join(free_name(source, &mut self.taken));
        let words: Vec<_> = caption.tokens.iter().map(|t| (t.word.clone(), t.attention.clone())).collect();
        let seen = self.preprocessing.seen(photo)?;
        write_png(&path, &attention_sheet(&seen, &words, self.grid))?;
        Ok(path)
    }
}

/// A name that no picture of this run has. It differs from the names of photos, which may be in the same folder.
fn free_name(source: &Path, taken: &mut HashSet<String>) -> String {
    let stem = match source.file_stem() {
        Some(stem) if !is_stdin(source) => stem.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    };
    let mut name = format!("{stem}.attention.png");
    let mut number = 2;
    while !taken.insert(name.to_lowercase()) {
        name = format!("{stem}-{number}.attention.png");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_collide_get_a_number() {
        let mut taken = HashSet::new();
        let names = ["a/dog.jpg", "b/dog.png", "dog-2.jpg", "DOG.jpg", "-", "cat"]
            .map(|p| free_name(Path::new(p), &mut taken));
        let expected =
            ["dog", "dog-2", "dog-2-2", "DOG-3", "stdin", "cat"].map(|n| format!("{n}.attention.png"));
        assert_eq!(names, expected);
    }
}
