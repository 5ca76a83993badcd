//! Bits of entropy-coded data, and Huffman tables (T.81, annexes C and F).

use super::JpegError;

const TRUNCATED: JpegError = JpegError("a scan ends early");

/// Bits that the fast lookup of a Huffman code covers.
const FAST_BITS: usize = 9;

/// Reads bits up to the next marker.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The next bits, left-aligned, of which the first `count` are data.
    buffer: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self {
            bytes,
            position,
            buffer: 0,
            count: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.position..) {
                // A byte 0xff of data is followed by a zero; anything else begins a marker.
                Some([0xff, 0, ..]) => {
                    self.position += 2;
                    0xff
                }
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => {
                    self.position += 1;
                    *byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next 16 bits; zeros follow the end of the data.
    fn peek(&mut self) -> usize {
        if self.count < 16 {
            self.fill();
        }
        usize::try_from(self.buffer >> 48).unwrap_or_default()
    }

    fn consume(&mut self, bits: u32) -> Result<(), JpegError> {
        self.count = self.count.checked_sub(bits).ok_or(TRUNCATED)?;
        self.buffer <<= bits;
        Ok(())
    }

    /// Reads up to 16 bits as a number.
    pub(super) fn read(&mut self, bits: u32) -> Result<i32, JpegError> {
        if bits == 0 {
            return Ok(0);
        }
        let value = self.peek() >> (16 - bits);
        self.consume(bits)?;
        Ok(i32::try_from(value).unwrap_or_default())
    }

    /// Reads a value of that category (T.81, figure F.12).
    pub(super) fn read_signed(&mut self, category: u32) -> Result<i32, JpegError> {
        let value = self.read(category)?;
        Ok(if category > 0 && value < 1 << (category - 1) {
            value - (1 << category) + 1
        } else {
            value
        })
    }

    /// Drops the rest of the current byte and expects the restart marker of that number (0 to 7).
    pub(super) fn restart(&mut self, number: u8) -> Result<(), JpegError> {
        // Bytes that were read ahead cannot be behind the marker.
        self.buffer = 0;
        self.count = 0;
        let mut at = self.position;
        while self.bytes.get(at..at + 2) == Some(&[0xff, 0xff]) {
            at += 1;
        }
        if self.bytes.get(at..at + 2) != Some(&[0xff, 0xd0 + number]) {
            return Err(JpegError("a restart marker is missing"));
        }
        self.position = at + 2;
        Ok(())
    }

    /// Where the data ends: at a marker or the end of the file.
    pub(super) fn end(mut self) -> usize {
        loop {
            self.buffer = 0;
            self.count = 0;
            let before = self.position;
            self.fill();
            if self.position == before {
                return before;
            }
        }
    }
}

/// A Huffman table, ready for decoding.
pub(super) struct HuffmanTable {
    /// Length and value of each code of up to [`FAST_BITS`] bits, by the bits that begin with it.
    fast: Vec<(u8, u8)>,
    /// By length: the first code, the number of codes, and the index of the first value.
    lengths: [(usize, usize, usize); 17],
    values: Vec<u8>,
}

impl HuffmanTable {
    /// Builds the table of the codes whose numbers by length are `counts` (T.81, annex C).
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Result<Self, JpegError> {
        let mut lengths = [(0, 0, 0); 17];
        let mut fast = vec![(0, 0); 1 << FAST_BITS];
        let (mut code, mut index) = (0, 0);
        for (bits, count) in (1..).zip(counts) {
            let count = usize::from(*count);
            code <<= 1;
            if code + count > 1 << bits {
                return Err(JpegError("a Huffman table has too many codes"));
            }
            lengths[bits] = (code, count, index);
            if bits <= FAST_BITS {
                for number in 0..count {
                    let first = (code + number) << (FAST_BITS - bits);
                    let entry = (
                        u8::try_from(bits).unwrap_or_default(),
                        values[index + number],
                    );
                    fast[first..first + (1 << (FAST_BITS - bits))].fill(entry);
                }
            }
            code += count;
            index += count;
        }
        Ok(Self {
            fast,
            lengths,
            values: values.to_vec(),
        })
    }

    /// Reads one code and returns its value.
    pub(super) fn decode(&self, bits: &mut BitReader<'_>) -> Result<u8, JpegError> {
        let next = bits.peek();
        let (length, value) = self.fast[next >> (16 - FAST_BITS)];
        if length > 0 {
            bits.consume(length.into())?;
            return Ok(value);
        }
        for length in FAST_BITS + 1..=16 {
            let (first, count, index) = self.lengths[length];
            let code = next >> (16 - length);
            if (first..first + count).contains(&code) {
                bits.consume(u32::try_from(length).unwrap_or_default())?;
                return Ok(self.values[index + code - first]);
            }
        }
        Err(if bits.count < 16 {
            TRUNCATED
        } else {
            JpegError("a Huffman code is unknown")
        })
    }
}
