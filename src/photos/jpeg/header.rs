//! What a JPEG says of itself before its first scan.

use super::JpegError;
use crate::photos::size::Size;

/// Largest colour profile that is collected, in bytes. Those of cameras have a few hundred, those
/// of printers up to two million.
const LARGEST_PROFILE: usize = 3 * 1024 * 1024;

/// One of the components (channels) of a JPEG.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors (1 to 4).
    pub(super) h: u32,
    pub(super) v: u32,
    /// Index of the quantisation table.
    pub(super) table: usize,
}

/// How the components encode colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColorModel {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// A segment: its marker, its content, and where the next one begins.
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    pub(super) content: &'a [u8],
    pub(super) end: usize,
}

/// The header of a JPEG.
pub(in crate::photos) struct Header {
    pub(in crate::photos) size: Size,
    pub(super) components: Vec<Component>,
    pub(super) is_progressive: bool,
    pub(super) model: ColorModel,
    /// Whether four components store what is left without ink, as Adobe's programs do.
    pub(super) is_inverted: bool,
    /// The EXIF data without its prefix.
    pub(in crate::photos) exif: Option<Vec<u8>>,
    /// The colour profile.
    pub(in crate::photos) profile: Option<Vec<u8>>,
}

pub(super) const SOI: u8 = 0xd8;
pub(super) const EOI: u8 = 0xd9;
pub(super) const SOS: u8 = 0xda;
pub(super) const DQT: u8 = 0xdb;
pub(super) const DHT: u8 = 0xc4;
pub(super) const DRI: u8 = 0xdd;

/// Finds the next segment. Bytes between segments are skipped, as other decoders do. `None` at the
/// end of the file.
pub(super) fn next_segment(bytes: &[u8], mut at: usize) -> Result<Option<Segment<'_>>, JpegError> {
    loop {
        let Some(rest) = bytes.get(at..) else {
            return Ok(None);
        };
        match rest {
            // Bytes of data, restart markers, and what has no length and no meaning.
            [0xff, 0x00 | 0x01 | 0xd0..=SOI, ..] => at += 2,
            [0xff, 0xff, ..] => at += 1,
            [0xff, EOI, ..] => {
                return Ok(Some(Segment {
                    marker: EOI,
                    content: &[],
                    end: at + 2,
                }));
            }
            [0xff, marker, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let content = rest
                    .get(4..2 + length)
                    .ok_or(JpegError("a segment is cut off"))?;
                return Ok(Some(Segment {
                    marker: *marker,
                    content,
                    end: at + 2 + length,
                }));
            }
            [] | [_] | [0xff, ..] => return Ok(None),
            _ => at += 1,
        }
    }
}

impl Header {
    /// Reads everything before the first scan.
    ///
    /// # Errors
    /// When the header is damaged, or the JPEG is not of a supported kind.
    pub(in crate::photos) fn parse(bytes: &[u8]) -> Result<Self, JpegError> {
        let mut frame = None;
        let (mut exif, mut is_jfif, mut adobe) = (None, false, None);
        let mut profile: Vec<(u8, &[u8])> = Vec::new();
        let mut at = 2;
        while let Some(segment) = next_segment(bytes, at)? {
            at = segment.end;
            let content = segment.content;
            match segment.marker {
                0xc0..=0xc2 => {
                    if frame.is_some() {
                        return Err(JpegError("there are several frames"));
                    }
                    frame = Some((read_frame(content)?, segment.marker == 0xc2));
                }
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    return Err(JpegError("the coding is not supported"));
                }
                0xe0 if content.starts_with(b"JFIF\0") => is_jfif = true,
                0xe1 => exif = exif.or(content.strip_prefix(b"Exif\0\0")),
                0xe2 => {
                    if let Some([number, _, part @ ..]) = content.strip_prefix(b"ICC_PROFILE\0") {
                        profile.push((*number, part));
                    }
                }
                0xee if content.starts_with(b"Adobe") => {
                    adobe = content.get(11).copied().or(adobe);
                }
                SOS | EOI => break,
                _ => {}
            }
        }
        let ((size, components), is_progressive) =
            frame.ok_or(JpegError("there is no frame before the first scan"))?;
        profile.sort_by_key(|(number, _)| *number);
        let profile_bytes: usize = profile.iter().map(|(_, part)| part.len()).sum();
        let profile = (1..=LARGEST_PROFILE).contains(&profile_bytes).then(|| {
            profile
                .iter()
                .flat_map(|(_, part)| *part)
                .copied()
                .collect()
        });
        Ok(Self {
            size,
            model: color_model(&components, is_jfif, adobe)?,
            is_inverted: adobe.is_some(),
            components,
            is_progressive,
            exif: exif.map(<[u8]>::to_vec),
            profile,
        })
    }

    /// The number of channels of the decoded image.
    pub(in crate::photos) fn channels(&self) -> u64 {
        u64::try_from(self.components.len()).unwrap_or(4)
    }

    /// The largest sampling factors.
    pub(super) fn max_sampling(&self) -> (u32, u32) {
        let max = |factor: fn(&Component) -> u32| self.components.iter().map(factor).max();
        (max(|c| c.h).unwrap_or(1), max(|c| c.v).unwrap_or(1))
    }

    /// The number of MCUs of an interleaved scan in each direction.
    pub(super) fn mcus(&self) -> (u32, u32) {
        let (h, v) = self.max_sampling();
        (
            self.size.width.div_ceil(8 * h),
            self.size.height.div_ceil(8 * v),
        )
    }

    /// The bytes that [`super::decode`] allocates at that scale.
    pub(in crate::photos) fn memory(&self, scale: u32) -> u64 {
        let (mcus_x, mcus_y) = self.mcus();
        let mut total = 0;
        for component in &self.components {
            let (scale_x, scale_y) = self.reduction(component, scale);
            let samples = 64 * u64::from(mcus_x * component.h) * u64::from(mcus_y * component.v);
            total += samples / u64::from(scale_x * scale_y);
            if self.is_progressive {
                // Coefficients of 16 bits.
                total += 2 * samples;
            }
        }
        let pixels = self.size.reduced(scale).pixels();
        total + pixels * self.channels()
    }

    /// By how much the samples of a component are reduced in each direction. Components with fewer
    /// samples are reduced less, so that all of them have the same resolution if possible.
    pub(super) fn reduction(&self, component: &Component, scale: u32) -> (u32, u32) {
        let (max_h, max_v) = self.max_sampling();
        let reduced = |factor: u32, max: u32| match scale * factor {
            samples if samples % max == 0 && (samples / max).is_power_of_two() => samples / max,
            samples if samples < max => 1,
            _ => scale,
        };
        (reduced(component.h, max_h), reduced(component.v, max_v))
    }
}

fn read_frame(content: &[u8]) -> Result<(Size, Vec<Component>), JpegError> {
    let [precision, h1, h0, w1, w0, count, rest @ ..] = content else {
        return Err(JpegError("the frame header is cut off"));
    };
    let size = Size {
        width: u16::from_be_bytes([*w1, *w0]).into(),
        height: u16::from_be_bytes([*h1, *h0]).into(),
    };
    if *precision != 8 {
        return Err(JpegError("samples do not have 8 bits"));
    }
    if size.width == 0 || size.height == 0 {
        return Err(JpegError("the image has no pixels"));
    }
    if !matches!(count, 1 | 3 | 4) || rest.len() != 3 * usize::from(*count) {
        return Err(JpegError("the number of components is not supported"));
    }
    let mut components: Vec<Component> = rest
        .chunks_exact(3)
        .map(|part| Component {
            id: part[0],
            h: u32::from(part[1] >> 4),
            v: u32::from(part[1] & 15),
            table: part[2].into(),
        })
        .collect();
    for (place, component) in components.iter().enumerate() {
        let is_sound =
            (1..=4).contains(&component.h) && (1..=4).contains(&component.v) && component.table < 4;
        if !is_sound || components[..place].iter().any(|c| c.id == component.id) {
            return Err(JpegError("a component is malformed"));
        }
    }
    if let [only] = &mut components[..] {
        // A single component is never interleaved, whatever its sampling factors.
        (only.h, only.v) = (1, 1);
    }
    Ok((size, components))
}

/// The colour model, by the rules of libjpeg.
fn color_model(
    components: &[Component],
    is_jfif: bool,
    adobe: Option<u8>,
) -> Result<ColorModel, JpegError> {
    let ids: Vec<u8> = components.iter().map(|c| c.id).collect();
    Ok(match (&ids[..], adobe) {
        ([_], _) => ColorModel::Grey,
        ([_, _, _], _) if is_jfif => ColorModel::YCbCr,
        ([_, _, _], Some(0)) | ([b'R', b'G', b'B'], None) => ColorModel::Rgb,
        ([_, _, _], _) => ColorModel::YCbCr,
        ([_, _, _, _], Some(2)) => ColorModel::Ycck,
        ([_, _, _, _], _) => ColorModel::Cmyk,
        _ => return Err(JpegError("the number of components is not supported")),
    })
}
