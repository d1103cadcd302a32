//! Pictures of a host.

use crate::image::Rgb8;

/// A picture for a captioner.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A texture, such as the one that a camera renders to.
    Texture(TextureInput<'a>),
    /// A buffer of RGBA8.
    Buffer(BufferInput<'a>),
    /// A photo in memory.
    Photo(&'a Rgb8),
    /// A photo in memory that [`Preprocessing::fit`](crate::weights::Preprocessing::fit) has resized to the input's size.
    Preprocessed(&'a Rgb8),
}

/// A view of one layer and one mip level of a two-dimensional texture whose samples are floats: any colour format of 8, 16 or
/// 32 bits except integer formats; a format of one channel is grey. The texture needs `TEXTURE_BINDING`. Write it with
/// `..TextureInput::new(view)`.
#[derive(Clone, Copy, Debug)]
pub struct TextureInput<'a> {
    /// The view.
    pub view: &'a wgpu::TextureView,
    /// Width and height of the view; required unless the view is of the first mip level.
    pub size: Option<[u32; 2]>,
    /// The meaning of its values.
    pub colour: Colour,
    /// The part to caption.
    pub window: Window,
}

impl<'a> TextureInput<'a> {
    /// The whole view, with colours according to its format.
    pub fn new(view: &'a wgpu::TextureView) -> TextureInput<'a> {
        TextureInput { view, size: None, colour: Colour::default(), window: Window::default() }
    }

    /// Width and height, or the reason why the texture cannot be used.
    pub(super) fn checked_size(&self) -> Result<[u32; 2], String> {
        let texture = self.view.texture();
        if !texture.usage().contains(wgpu::TextureUsages::TEXTURE_BINDING) {
            return Err("expected a texture with TEXTURE_BINDING among its usages".to_owned());
        }
        let format = texture.format();
        if format.has_depth_aspect() || format.has_stencil_aspect() {
            return Err(format!("expected a texture of colours, found {format:?}"));
        }
        let full = [texture.width(), texture.height()];
        let size = self.size.unwrap_or(full);
        let levels = 0..texture.mip_level_count();
        if !levels.clone().any(|level| full.map(|side| (side >> level).max(1)) == size) {
            let ([width, height], [w, h]) = (full, size);
            return Err(format!(
                "expected the size of one of {} mip levels of {width}x{height}, found {w}x{h}",
                levels.end
            ));
        }
        Ok(size)
    }
}

/// RGBA8 pixels, row by row from the start of the buffer. The buffer needs `STORAGE`.
#[derive(Clone, Copy, Debug)]
pub struct BufferInput<'a> {
    /// The pixels.
    pub buffer: &'a wgpu::Buffer,
    /// Pixels in a row that are part of the picture.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next, a multiple of four; `4 * width` if rows have no padding.
    pub bytes_per_row: u32,
    /// The part to caption.
    pub window: Window,
}

/// The colour encoding of a texture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// According to the texture's format: samples of sRGB and float formats are linear, samples of other formats are encoded. A
    /// view whose format differs from its texture's needs `Linear` or `Encoded`.
    #[default]
    ByFormat,
    /// Linear light, for any format.
    Linear,
    /// Encoded as in a photo (sRGB), for any format.
    Encoded,
}

impl Colour {
    /// Whether samples are linear, so that the shader has to encode them.
    pub(super) fn is_linear(self, format: wgpu::TextureFormat) -> bool {
        let is_float = || {
            use wgpu::TextureFormat as F;
            matches!(
                format,
                F::R16Float
                    | F::Rg16Float
                    | F::Rgba16Float
                    | F::R32Float
                    | F::Rg32Float
                    | F::Rgba32Float
                    | F::Rg11b10Ufloat
                    | F::Rgb9e5Ufloat
                    | F::Bc6hRgbUfloat
                    | F::Bc6hRgbFloat
                    | F::Astc { channel: wgpu::AstcChannel::Hdr, .. }
            )
        };
        match self {
            Colour::ByFormat => format.is_srgb() || is_float(),
            Colour::Linear => true,
            Colour::Encoded => false,
        }
    }
}

/// Which part of a picture to caption, and how to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// Left, top, width and height of the part, in pixels; the whole picture if not given. Counted from the first row in memory,
    /// also if the picture is flipped.
    pub part: Option<[u32; 4]>,
    /// Whether the first row in memory is the lowest of the picture.
    pub flipped: bool,
    /// The encoded colour behind transparent pixels; alpha is ignored if not given.
    pub background: Option<[f32; 3]>,
}

impl Window {
    /// Left, top, width and height within a picture of this size, or the reason why the part cannot be used.
    pub(super) fn within(&self, [width, height]: [u32; 2]) -> Result<[u32; 4], String> {
        let [left, top, w, h] = self.part.unwrap_or([0, 0, width, height]);
        let fits = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        if fits(left, w, width) && fits(top, h, height) {
            return Ok([left, top, w, h]);
        }
        Err(format!(
            "expected a part of at least a pixel within {width}x{height}, found {w}x{h} at ({left}, {top})"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_within_their_picture() {
        let within = |part| Window { part, ..Window::default() }.within([8, 4]);
        assert_eq!(within(None), Ok([0, 0, 8, 4]));
        assert_eq!(within(Some([6, 1, 2, 3])), Ok([6, 1, 2, 3]));
        for part in [[7, 0, 2, 1], [0, 0, 0, 1], [0, 4, 1, 1], [u32::MAX, 0, 2, 1]] {
            assert!(within(Some(part)).unwrap_err().contains("8x4"), "{part:?}");
        }
    }

    #[test]
    fn formats_decide_whether_samples_are_linear() {
        use wgpu::TextureFormat::{Bgra8UnormSrgb, R8Unorm, R32Float, Rgb10a2Unorm, Rgba8Unorm, Rgba16Float};
        let linear = |format| Colour::ByFormat.is_linear(format);
        assert_eq!([Rgba8Unorm, R8Unorm, Rgb10a2Unorm].map(linear), [false; 3]);
        assert_eq!([Bgra8UnormSrgb, Rgba16Float, R32Float].map(linear), [true; 3]);
        assert!(Colour::Linear.is_linear(Rgba8Unorm) && !Colour::Encoded.is_linear(Rgba16Float));
    }
}
