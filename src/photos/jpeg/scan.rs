//! Scans: from entropy-coded data to the samples of each component (T.81, annexes F and G).

use super::JpegError;
use super::bits::{BitReader, HuffmanTable};
use super::dct::{self, Factors};
use super::header::{Component, DHT, DQT, DRI, EOI, Header, SOS, Segment, next_segment};

/// Most scans of one file. Encoders write about ten; each may cost as much as decoding the image,
/// however few bytes it has.
const MOST_SCANS: u32 = 100;

/// Natural positions of the coefficients in the order of the file.
#[rustfmt::skip]
const ZIGZAG: [usize; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

type Block = [i16; 64];

/// The samples of a component, reduced, in whole blocks.
pub(super) struct Plane {
    pub(super) samples: Vec<u8>,
    pub(super) stride: usize,
    /// Samples that belong to the image.
    pub(super) width: usize,
    pub(super) height: usize,
}

/// A component while it is decoded.
struct State<'a> {
    component: &'a Component,
    /// Blocks of an interleaved scan.
    blocks_x: usize,
    blocks_y: usize,
    /// Blocks of a scan of this component alone.
    own_x: usize,
    own_y: usize,
    scale: (usize, usize),
    plane: Plane,
    /// All coefficients of a progressive image; empty otherwise.
    coefficients: Vec<Block>,
    /// Bits of the coefficients that are complete.
    complete: u64,
    has_dc: bool,
}

struct Decoder<'a> {
    header: &'a Header,
    states: Vec<State<'a>>,
    quantisation: [Option<Factors>; 4],
    dc_tables: [Option<HuffmanTable>; 4],
    ac_tables: [Option<HuffmanTable>; 4],
    restart_interval: usize,
}

/// The parameters of one scan.
struct Scan {
    /// Indices of the components, and of their tables for DC and AC.
    components: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    first: usize,
    last: usize,
    /// Bit positions of successive approximation.
    high: u32,
    low: u32,
}

/// Decodes all scans.
pub(super) fn decode_planes(
    header: &Header,
    bytes: &[u8],
    scale: u32,
) -> Result<Vec<Plane>, JpegError> {
    let mut decoder = Decoder {
        header,
        states: header
            .components
            .iter()
            .map(|component| State::new(header, component, scale))
            .collect(),
        quantisation: [None; 4],
        dc_tables: [const { None }; 4],
        ac_tables: [const { None }; 4],
        restart_interval: 0,
    };
    let mut at = 2;
    let mut scans = 0;
    let mut has_end = false;
    while let Some(segment) = next_segment(bytes, at)? {
        at = segment.end;
        match segment.marker {
            DQT => decoder.read_quantisation(segment.content)?,
            DHT => decoder.read_huffman(segment.content)?,
            DRI => {
                let [high, low] = *segment.content.first_chunk().ok_or(MALFORMED)?;
                decoder.restart_interval = u16::from_be_bytes([high, low]).into();
            }
            SOS => {
                scans += 1;
                if scans > MOST_SCANS {
                    return Err(JpegError("there are too many scans"));
                }
                at = decoder.decode_scan(&segment, bytes)?;
            }
            EOI => {
                has_end = true;
                break;
            }
            _ => {}
        }
    }
    decoder.finish(has_end)
}

const MALFORMED: JpegError = JpegError("a segment is malformed");

impl<'a> State<'a> {
    fn new(header: &Header, component: &'a Component, scale: u32) -> Self {
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (max_h, max_v) = header.max_sampling();
        let (mcus_x, mcus_y) = header.mcus();
        let (scale_x, scale_y) = header.reduction(component, scale);
        let width = (header.size.width * component.h).div_ceil(max_h);
        let height = (header.size.height * component.v).div_ceil(max_v);
        let blocks_x = index(mcus_x * component.h);
        let blocks_y = index(mcus_y * component.v);
        let (scale_x, scale_y) = (index(scale_x), index(scale_y));
        let stride = blocks_x * 8 / scale_x;
        Self {
            component,
            blocks_x,
            blocks_y,
            own_x: index(width.div_ceil(8)),
            own_y: index(height.div_ceil(8)),
            scale: (scale_x, scale_y),
            plane: Plane {
                samples: vec![0; stride * (blocks_y * 8 / scale_y)],
                stride,
                width: index(width).div_ceil(scale_x),
                height: index(height).div_ceil(scale_y),
            },
            coefficients: if header.is_progressive {
                vec![[0; 64]; blocks_x * blocks_y]
            } else {
                Vec::new()
            },
            complete: 0,
            has_dc: false,
        }
    }

    /// Transforms a block of coefficients to samples.
    fn write(&mut self, (x, y): (usize, usize), block: &Block, factors: &Factors) {
        let (scale_x, scale_y) = self.scale;
        let stride = self.plane.stride;
        let start = y * (8 / scale_y) * stride + x * (8 / scale_x);
        let samples = dct::inverse(block, factors);
        let plane = &mut self.plane.samples[start..];
        dct::write_reduced(&samples, self.scale, plane, stride);
    }
}

impl Decoder<'_> {
    fn read_quantisation(&mut self, mut content: &[u8]) -> Result<(), JpegError> {
        while let [kind, rest @ ..] = content {
            let (bytes, index) = (usize::from(kind >> 4) + 1, usize::from(kind & 15));
            let (values, rest) = rest.split_at_checked(64 * bytes).ok_or(MALFORMED)?;
            if bytes > 2 || index > 3 {
                return Err(MALFORMED);
            }
            let mut table = [0; 64];
            for (place, value) in ZIGZAG.iter().zip(values.chunks_exact(bytes)) {
                table[*place] = value
                    .iter()
                    .fold(0, |number, byte| number << 8 | u16::from(*byte));
            }
            self.quantisation[index] = Some(dct::factors(&table));
            content = rest;
        }
        Ok(())
    }

    fn read_huffman(&mut self, mut content: &[u8]) -> Result<(), JpegError> {
        while let [kind, rest @ ..] = content {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(MALFORMED)?;
            let codes = counts.iter().map(|count| usize::from(*count)).sum();
            let (values, rest) = rest.split_at_checked(codes).ok_or(MALFORMED)?;
            let tables = match kind >> 4 {
                0 => &mut self.dc_tables,
                1 => &mut self.ac_tables,
                _ => return Err(MALFORMED),
            };
            let table = tables.get_mut(usize::from(kind & 15)).ok_or(MALFORMED)?;
            *table = Some(HuffmanTable::new(counts, values)?);
            content = rest;
        }
        Ok(())
    }

    fn read_scan(&self, content: &[u8]) -> Result<Scan, JpegError> {
        let (count, rest) = content.split_first().ok_or(MALFORMED)?;
        let (parts, rest) = rest
            .split_at_checked(2 * usize::from(*count))
            .ok_or(MALFORMED)?;
        let [first, last, approximation] = *rest.first_chunk().ok_or(MALFORMED)?;
        let mut components = Vec::new();
        for part in parts.chunks_exact(2) {
            let index = self
                .states
                .iter()
                .position(|state| state.component.id == part[0])
                .ok_or(MALFORMED)?;
            if components.iter().any(|(other, _, _)| *other == index) {
                return Err(MALFORMED);
            }
            components.push((index, usize::from(part[1] >> 4), usize::from(part[1] & 15)));
        }
        let scan = if self.header.is_progressive {
            Scan {
                components,
                first: first.into(),
                last: last.into(),
                high: u32::from(approximation >> 4),
                low: u32::from(approximation & 15),
            }
        } else {
            Scan {
                components,
                first: 0,
                last: 63,
                high: 0,
                low: 0,
            }
        };
        let is_band = scan.first > 0;
        let is_sound = !scan.components.is_empty()
            && scan.first <= scan.last
            && scan.last < 64
            && scan.low < 14
            && (scan.high == 0 || scan.high == scan.low + 1)
            && (!is_band || scan.components.len() == 1)
            && (is_band || !self.header.is_progressive || scan.last == 0);
        is_sound.then_some(scan).ok_or(MALFORMED)
    }

    /// Decodes one scan, and returns where its data ends.
    fn decode_scan(&mut self, segment: &Segment<'_>, bytes: &[u8]) -> Result<usize, JpegError> {
        let scan = self.read_scan(segment.content)?;
        let mut bits = BitReader::new(bytes, segment.end);
        let mut coding = Coding::default();
        // The units of the scan, each of them the blocks of some components.
        let (units_x, units_y) = if let [(index, _, _)] = scan.components[..] {
            let state = &self.states[index];
            (state.own_x, state.own_y)
        } else {
            let (x, y) = self.header.mcus();
            (
                usize::try_from(x).unwrap_or(usize::MAX),
                usize::try_from(y).unwrap_or(usize::MAX),
            )
        };
        let is_interleaved = scan.components.len() > 1;
        let mut unit = 0;
        for unit_y in 0..units_y {
            for unit_x in 0..units_x {
                if self.restart_interval > 0 && unit > 0 && unit % self.restart_interval == 0 {
                    let number = (unit / self.restart_interval - 1) % 8;
                    bits.restart(u8::try_from(number).unwrap_or_default())?;
                    coding = Coding::default();
                }
                unit += 1;
                for (place, tables) in scan.components.iter().enumerate() {
                    let component = self.states[tables.0].component;
                    let (h, v) = if is_interleaved {
                        (component.h as usize, component.v as usize)
                    } else {
                        (1, 1)
                    };
                    for y in 0..v {
                        for x in 0..h {
                            let at = (unit_x * h + x, unit_y * v + y);
                            self.decode_block(&scan, place, at, &mut bits, &mut coding)?;
                        }
                    }
                }
            }
        }
        for (index, _, _) in &scan.components {
            let state = &mut self.states[*index];
            state.has_dc |= scan.first == 0;
            if scan.low == 0 {
                state.complete |= (u64::MAX >> (63 - scan.last)) & (u64::MAX << scan.first);
            }
        }
        Ok(bits.end())
    }

    fn decode_block(
        &mut self,
        scan: &Scan,
        place: usize,
        at: (usize, usize),
        bits: &mut BitReader<'_>,
        coding: &mut Coding,
    ) -> Result<(), JpegError> {
        const NO_TABLE: JpegError = JpegError("a table is missing");
        let (index, dc, ac) = scan.components[place];
        let dc_table = || {
            self.dc_tables
                .get(dc)
                .and_then(Option::as_ref)
                .ok_or(NO_TABLE)
        };
        let ac_table = || {
            self.ac_tables
                .get(ac)
                .and_then(Option::as_ref)
                .ok_or(NO_TABLE)
        };
        let state = &mut self.states[index];
        let predictor = &mut coding.predictors[place];
        if !self.header.is_progressive {
            let mut block = [0; 64];
            block[0] = read_dc(bits, dc_table()?, predictor)?;
            read_ac(bits, ac_table()?, &mut block)?;
            let factors = self.quantisation[state.component.table]
                .as_ref()
                .ok_or(NO_TABLE)?;
            state.write(at, &block, factors);
            return Ok(());
        }
        let block = &mut state.coefficients[at.1 * state.blocks_x + at.0];
        match (scan.first, scan.high) {
            (0, 0) => block[0] = read_dc(bits, dc_table()?, predictor)? << scan.low,
            (0, _) => {
                if bits.read(1)? == 1 {
                    block[0] |= 1 << scan.low;
                }
            }
            (_, 0) => read_band(bits, ac_table()?, block, scan, &mut coding.end_of_band)?,
            _ => refine_band(bits, ac_table()?, block, scan, &mut coding.end_of_band)?,
        }
        Ok(())
    }

    fn finish(mut self, has_end: bool) -> Result<Vec<Plane>, JpegError> {
        // Encoders may leave out the last scans of a progressive image, but only a file that says
        // so itself is known to be whole.
        let is_whole = |state: &State<'_>| state.has_dc && (has_end || state.complete == u64::MAX);
        if !self.states.iter().all(is_whole) {
            return Err(JpegError("scans are missing"));
        }
        for state in &mut self.states {
            let coefficients = std::mem::take(&mut state.coefficients);
            if coefficients.is_empty() {
                continue;
            }
            let factors = self.quantisation[state.component.table]
                .as_ref()
                .ok_or(JpegError("a table is missing"))?;
            for y in 0..state.blocks_y {
                for x in 0..state.blocks_x {
                    state.write((x, y), &coefficients[y * state.blocks_x + x], factors);
                }
            }
        }
        Ok(self.states.into_iter().map(|state| state.plane).collect())
    }
}

/// What is carried from block to block, and starts over at a restart marker.
#[derive(Default)]
struct Coding {
    predictors: [i16; 4],
    /// Blocks of which the rest of the band is empty.
    end_of_band: u32,
}

/// Reads the constant coefficient.
fn read_dc(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    predictor: &mut i16,
) -> Result<i16, JpegError> {
    let category = table.decode(bits)?;
    if category > 11 {
        return Err(JpegError("a coefficient is out of range"));
    }
    let difference = i16::try_from(bits.read_signed(category.into())?).unwrap_or_default();
    *predictor = predictor.wrapping_add(difference);
    Ok(*predictor)
}

/// Reads all other coefficients of a sequential image.
fn read_ac(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    block: &mut Block,
) -> Result<(), JpegError> {
    let mut place = 1;
    while place < 64 {
        let symbol = table.decode(bits)?;
        let (run, category) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if category == 0 {
            if run < 15 {
                break;
            }
            place += 16;
            continue;
        }
        place += run;
        let value = bits.read_signed(category)?;
        *block
            .get_mut(*ZIGZAG.get(place).ok_or(BEYOND)?)
            .ok_or(BEYOND)? = i16::try_from(value).unwrap_or_default();
        place += 1;
    }
    Ok(())
}

const BEYOND: JpegError = JpegError("a block has too many coefficients");

/// Reads the first bits of a band of coefficients.
fn read_band(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    block: &mut Block,
    scan: &Scan,
    end_of_band: &mut u32,
) -> Result<(), JpegError> {
    if *end_of_band > 0 {
        *end_of_band -= 1;
        return Ok(());
    }
    let mut place = scan.first;
    while place <= scan.last {
        let symbol = table.decode(bits)?;
        let (run, category) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if category == 0 {
            if run < 15 {
                *end_of_band = read_run(bits, run)? - 1;
                break;
            }
            place += 16;
            continue;
        }
        place += run;
        if place > scan.last {
            return Err(BEYOND);
        }
        let value = bits.read_signed(category)? << scan.low;
        block[ZIGZAG[place]] = i16::try_from(value).unwrap_or_default();
        place += 1;
    }
    Ok(())
}

/// Reads one more bit of a band of coefficients.
fn refine_band(
    bits: &mut BitReader<'_>,
    table: &HuffmanTable,
    block: &mut Block,
    scan: &Scan,
    end_of_band: &mut u32,
) -> Result<(), JpegError> {
    let bit = 1 << scan.low;
    let refine = |bits: &mut BitReader<'_>, value: &mut i16| -> Result<(), JpegError> {
        if bits.read(1)? == 1 && *value & bit == 0 {
            *value = value.wrapping_add(if *value > 0 { bit } else { -bit });
        }
        Ok(())
    };
    let mut place = scan.first;
    while *end_of_band == 0 && place <= scan.last {
        let symbol = table.decode(bits)?;
        let (mut run, category) = (usize::from(symbol >> 4), symbol & 15);
        let mut new = 0;
        match category {
            0 if run < 15 => {
                *end_of_band = read_run(bits, run)?;
                break;
            }
            0 => {}
            1 => new = if bits.read(1)? == 1 { bit } else { -bit },
            _ => return Err(JpegError("a coefficient is out of range")),
        }
        // The run counts coefficients that are zero still; those between them are refined.
        while place <= scan.last {
            let value = &mut block[ZIGZAG[place]];
            place += 1;
            if *value != 0 {
                refine(bits, value)?;
            } else if run == 0 {
                *value = new;
                break;
            } else {
                run -= 1;
            }
        }
    }
    if *end_of_band > 0 {
        for position in &ZIGZAG[place..=scan.last] {
            if block[*position] != 0 {
                refine(bits, &mut block[*position])?;
            }
        }
        *end_of_band -= 1;
    }
    Ok(())
}

/// Reads the number of blocks that a band ends for.
fn read_run(bits: &mut BitReader<'_>, exponent: usize) -> Result<u32, JpegError> {
    let exponent = u32::try_from(exponent).unwrap_or_default();
    let rest = bits.read(exponent)?;
    Ok((1 << exponent) + u32::try_from(rest).unwrap_or_default())
}
