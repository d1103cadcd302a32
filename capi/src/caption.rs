//! Captions.

use crate::{c_text, free};
use shadetell::Caption;
use std::ffi::{CString, c_char};

/// A sentence about a picture. Pointers that its functions return are valid until it is freed.
pub struct ShadetellCaption {
    text: CString,
    log_prob: f32,
    confidence: f32,
    words: Vec<Word>,
    grid: [usize; 2],
}

struct Word {
    text: CString,
    log_prob: f32,
    attention: Vec<f32>,
}

impl ShadetellCaption {
    pub(crate) fn new(caption: &Caption, grid: Option<[usize; 2]>) -> ShadetellCaption {
        let word = |token: &shadetell::Token| Word {
            text: c_text(&token.word),
            log_prob: token.log_prob,
            attention: token.attention.clone(),
        };
        ShadetellCaption {
            text: c_text(&caption.text),
            log_prob: caption.log_prob,
            confidence: caption.confidence.unwrap_or(-1.0),
            words: caption.tokens.iter().map(word).collect(),
            grid: grid.unwrap_or_default(),
        }
    }
}

/// The word with this number.
unsafe fn word<'a>(caption: *const ShadetellCaption, index: usize) -> Option<&'a Word> {
    // SAFETY: null, or a handle that this library made.
    unsafe { caption.as_ref() }?.words.get(index)
}

/// The sentence, in UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_text(caption: *const ShadetellCaption) -> *const c_char {
    // SAFETY: null, or a handle that this library made.
    unsafe { caption.as_ref() }.map_or(c"".as_ptr(), |caption| caption.text.as_ptr())
}

/// The natural logarithm of its probability.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_log_prob(caption: *const ShadetellCaption) -> f32 {
    // SAFETY: null, or a handle that this library made.
    unsafe { caption.as_ref() }.map_or(0.0, |caption| caption.log_prob)
}

/// The probability that its main subject is right, from 0 to 1; -1 for a model whose sentences were not judged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_confidence(caption: *const ShadetellCaption) -> f32 {
    // SAFETY: null, or a handle that this library made.
    unsafe { caption.as_ref() }.map_or(-1.0, |caption| caption.confidence)
}

/// The number of its words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_word_count(caption: *const ShadetellCaption) -> usize {
    // SAFETY: null, or a handle that this library made.
    unsafe { caption.as_ref() }.map_or(0, |caption| caption.words.len())
}

/// A word, in UTF-8; null if no word has this number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_word(
    caption: *const ShadetellCaption,
    index: usize,
) -> *const c_char {
    // SAFETY: null, or a handle that this library made.
    unsafe { word(caption, index) }.map_or(std::ptr::null(), |word| word.text.as_ptr())
}

/// The natural logarithm of a word's probability after the words before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_word_log_prob(
    caption: *const ShadetellCaption,
    index: usize,
) -> f32 {
    // SAFETY: null, or a handle that this library made.
    unsafe { word(caption, index) }.map_or(0.0, |word| word.log_prob)
}

/// The attention of a word on each cell of a grid, row by row; the cells sum to 1. Null for a decoder without attention.
/// `rows` and `columns` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_attention(
    caption: *const ShadetellCaption,
    index: usize,
    rows: *mut usize,
    columns: *mut usize,
) -> *const f32 {
    // SAFETY: null, or a handle that this library made.
    let grid = unsafe { caption.as_ref() }.map_or([0, 0], |caption| caption.grid);
    for (place, sides) in [rows, columns].into_iter().zip(grid) {
        if !place.is_null() {
            // SAFETY: not null, so it points to a number.
            unsafe { place.write(sides) };
        }
    }
    // SAFETY: null, or a handle that this library made.
    let attention = unsafe { word(caption, index) }.map(|word| &word.attention);
    attention.filter(|cells| !cells.is_empty()).map_or(std::ptr::null(), |cells| cells.as_ptr())
}

/// Frees a caption.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_free(caption: *mut ShadetellCaption) {
    // SAFETY: null, or a handle that this library made.
    unsafe { free(caption) };
}
