//! G.711: the two laws, by table. One byte a sample at 8 kHz, without state.

/// One of the two ways in which G.711 makes a byte of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law: North America, Japan.
    Mu,
    /// A-law: the rest of the world.
    A,
}

impl Law {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mu, Self::A];

    /// The byte of a sample of value 0.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xFF,
            Self::A => 0xD5,
        }
    }

    /// One sample to one byte.
    #[must_use]
    pub fn encode_sample(self, sample: i16) -> u8 {
        match self {
            Self::Mu => ULAW_ENCODE[usize::from((sample as u16) >> 2)],
            Self::A => ALAW_ENCODE[usize::from((sample as u16) >> 3)],
        }
    }

    /// One byte to one sample.
    #[must_use]
    pub fn decode_sample(self, byte: u8) -> i16 {
        match self {
            Self::Mu => ULAW_DECODE[usize::from(byte)],
            Self::A => ALAW_DECODE[usize::from(byte)],
        }
    }

    /// Encodes as many samples as both slices hold.
    pub fn encode(self, samples: &[i16], out: &mut [u8]) {
        for (byte, sample) in out.iter_mut().zip(samples) {
            *byte = self.encode_sample(*sample);
        }
    }

    /// Decodes as many bytes as both slices hold.
    pub fn decode(self, bytes: &[u8], out: &mut [i16]) {
        for (sample, byte) in out.iter_mut().zip(bytes) {
            *sample = self.decode_sample(*byte);
        }
    }
}

/// G.711 µ-law knows 14 bits, A-law 13: the tables are indexed by the upper bits of the sample's two's complement.
static ULAW_ENCODE: [u8; 1 << 14] = ulaw_encode_table();
static ALAW_ENCODE: [u8; 1 << 13] = alaw_encode_table();
static ULAW_DECODE: [i16; 256] = ulaw_decode_table();
static ALAW_DECODE: [i16; 256] = alaw_decode_table();

const fn ulaw_decode_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let bits = !(byte as u8);
        let segment = (bits >> 4) & 7;
        // Magnitudes are offset by 33 (of 14 bits) so that every segment starts at a power of two.
        let magnitude = ((((bits & 0x0F) as i16) << 3) + 0x84) << segment;
        table[byte] = if bits & 0x80 == 0 { magnitude - 0x84 } else { 0x84 - magnitude };
        byte += 1;
    }
    table
}

const fn alaw_decode_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let bits = (byte as u8) ^ 0x55;
        let segment = (bits >> 4) & 7;
        let step = ((bits & 0x0F) as i16) << 4;
        let magnitude = match segment {
            0 => step + 8,
            _ => (step + 0x108) << (segment - 1),
        };
        table[byte] = if bits & 0x80 == 0 { -magnitude } else { magnitude };
        byte += 1;
    }
    table
}

/// Sign-extends the upper `bits` bits of a sample from a table index.
const fn signed(index: usize, bits: u32) -> i32 {
    let value = index as i32;
    if value >= 1 << (bits - 1) { value - (1 << bits) } else { value }
}

const fn ulaw_encode_table() -> [u8; 1 << 14] {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < 1 << 14 {
        let value = signed(index, 14);
        let mask = if value < 0 { 0x7F } else { 0xFF };
        let mut magnitude = if value < 0 { -value } else { value };
        if magnitude > 8158 {
            magnitude = 8158;
        }
        magnitude += 33;
        let segment = 26 - (magnitude as u32).leading_zeros();
        let mantissa = ((magnitude >> (segment + 1)) & 0x0F) as u8;
        table[index] = (((segment as u8) << 4) | mantissa) ^ mask;
        index += 1;
    }
    table
}

const fn alaw_encode_table() -> [u8; 1 << 13] {
    let mut table = [0; 1 << 13];
    let mut index = 0;
    while index < 1 << 13 {
        let value = signed(index, 13);
        // Negative values are mirrored at -1/2: -1 has the magnitude of 0.
        let (magnitude, mask) = if value < 0 { (-value - 1, 0x55) } else { (value, 0xD5) };
        let bits = if magnitude < 32 {
            (magnitude >> 1) as u8
        } else {
            let segment = 27 - (magnitude as u32).leading_zeros();
            ((segment as u8) << 4) | ((magnitude >> segment) & 0x0F) as u8
        };
        table[index] = bits ^ mask;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for law in Law::ALL {
            for byte in 0..=255 {
                let again = law.encode_sample(law.decode_sample(byte));
                // µ-law has two zeros; the negative one comes back as the positive one.
                let expected = if law == Law::Mu && byte == 0x7F { 0xFF } else { byte };
                assert_eq!(again, expected, "{law:?} {byte:#04x} decodes to {}", law.decode_sample(byte));
            }
        }
    }

    /// Points of the ITU-T tables 1a/1b and 2a/2b: the ends of the segments, and silence.
    #[test]
    fn known_points() {
        assert_eq!(Law::Mu.decode_sample(0x80), 32_124);
        assert_eq!(Law::Mu.decode_sample(0x00), -32_124);
        assert_eq!(Law::Mu.decode_sample(0xFF), 0);
        assert_eq!(Law::Mu.decode_sample(0xFE), 8);
        assert_eq!(Law::Mu.decode_sample(0xEF), 132);
        assert_eq!(Law::A.decode_sample(0xD5), 8);
        assert_eq!(Law::A.decode_sample(0x55), -8);
        assert_eq!(Law::A.decode_sample(0xAA), 32_256);
        assert_eq!(Law::A.decode_sample(0x2A), -32_256);
        for law in Law::ALL {
            assert_eq!(law.encode_sample(0), law.silence());
            assert_eq!(law.encode_sample(i16::MAX), law.encode_sample(32_100));
            assert_eq!(law.encode_sample(i16::MIN), law.encode_sample(-32_100));
        }
    }

    #[test]
    fn no_sample_is_off_by_more_than_half_a_step() {
        for law in Law::ALL {
            let mut levels: Vec<i32> = (0..=255).map(|byte| i32::from(law.decode_sample(byte))).collect();
            levels.sort_unstable();
            levels.dedup();
            for sample in -32_000..=32_000 {
                let decoded = i32::from(law.decode_sample(law.encode_sample(sample)));
                let at = levels.binary_search(&decoded).expect("a level");
                let below = at.checked_sub(1).map_or(0, |lower| decoded - levels[lower]);
                let above = levels.get(at + 1).map_or(0, |upper| upper - decoded);
                // The laws cut off 2 or 3 bits first.
                let bound = below.max(above) / 2 + 8;
                assert!((decoded - i32::from(sample)).abs() <= bound, "{law:?} {sample} becomes {decoded}");
            }
        }
    }
}
