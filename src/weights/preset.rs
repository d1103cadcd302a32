//! Named presets of preprocessing, as used in the training of well-known models.

use super::{EncoderFamily, Preprocessing};
use crate::image::{Filter, Resize};
use std::fmt;

/// The preprocessing that a family of models was trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// To 224x224 with Lanczos, without keeping the aspect ratio: `sample.py` of yunjey's tutorial.
    SquashLanczos224,
    /// The shorter side to 256, bilinear, then the middle 224x224: torchvision's usual transform.
    Resize256Crop224,
    /// To 256x256, bilinear, without keeping the aspect ratio: the Show, Attend and Tell tutorial.
    SquashBilinear256,
    /// To 224x224, bilinear, without keeping the aspect ratio, with values from -1 to 1: the model flickr8k.
    Bundled,
}

/// Mean and standard deviation of ImageNet's channels.
const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// EfficientNet-Lite's, `(pixel - 127) / 128` for pixels from 0 to 255, rounded.
const LITE: [[f32; 3]; 2] = [[0.498; 3], [0.502; 3]];

impl Preset {
    /// All presets.
    pub const ALL: [Preset; 4] =
        [Preset::SquashLanczos224, Preset::Resize256Crop224, Preset::SquashBilinear256, Preset::Bundled];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Preset::SquashLanczos224 => "squash-lanczos-224",
            Preset::Resize256Crop224 => "resize256-crop224",
            Preset::SquashBilinear256 => "squash-bilinear-256",
            Preset::Bundled => "bundled",
        }
    }

    /// The preprocessing that it stands for.
    pub fn preprocessing(self) -> Preprocessing {
        let (side, resize, filter, [mean, std]) = match self {
            Preset::SquashLanczos224 => (224, Resize::Squash, Filter::Lanczos, IMAGENET),
            Preset::Resize256Crop224 => (224, Resize::ShorterSide(256), Filter::Bilinear, IMAGENET),
            Preset::SquashBilinear256 => (256, Resize::Squash, Filter::Bilinear, IMAGENET),
            Preset::Bundled => (224, Resize::Squash, Filter::Bilinear, LITE),
        };
        Preprocessing { width: side, height: side, resize, filter, mean, std }
    }
}

impl EncoderFamily {
    /// The preprocessing of the published weights that classify: those of torchvision, or of EfficientNet-Lite, whose larger networks read
    /// larger photos.
    pub fn preprocessing(self) -> Preprocessing {
        let side = match self {
            EncoderFamily::EfficientnetLite0 => 224,
            EncoderFamily::EfficientnetLite1 => 240,
            EncoderFamily::EfficientnetLite2 => 260,
            EncoderFamily::EfficientnetLite3 => 280,
            EncoderFamily::EfficientnetLite4 => 300,
            _ => return Preset::Resize256Crop224.preprocessing(),
        };
        // The middle 7 / 8 of the shorter side.
        let [mean, std] = LITE;
        let resize = Resize::ShorterSide((side * 8u32).div_ceil(7));
        Preprocessing { width: side, height: side, resize, filter: Filter::Bicubic, mean, std }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Model;

    #[test]
    fn the_model_flickr8k_has_its_preset() {
        assert_eq!(
            Model::from_static("flickr8k", shadetell_flickr8k::MODEL).unwrap().manifest().preprocess,
            Preset::Bundled.preprocessing()
        );
    }
}
