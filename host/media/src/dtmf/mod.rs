//! Keys as telephone-events (RFC 4733) and as tones in the audio, both ways.

mod detect;
mod receive;
mod send;

pub use detect::Detector;
pub use receive::Receiver;
pub use send::{Sender, Step};

/// Digits and pauses one command may carry.
pub const MAX_DIGITS: usize = 64;
/// The 16 keys in the order of their event codes (RFC 4733 §3.2).
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// One event of a payload (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// 0 to 15 are keys.
    pub code: u8,
    /// It is over.
    pub end: bool,
    /// 0 to 63, in -dBm0.
    pub volume: u8,
    /// In samples, since the packet's timestamp.
    pub duration: u16,
}

impl Event {
    /// Bytes of one.
    pub const LENGTH: usize = 4;

    /// Reads four bytes.
    #[must_use]
    pub const fn read(bytes: [u8; 4]) -> Self {
        Self {
            code: bytes[0],
            end: bytes[1] & 0x80 != 0,
            volume: bytes[1] & 0x3F,
            duration: u16::from_be_bytes([bytes[2], bytes[3]]),
        }
    }

    /// Writes four bytes.
    #[must_use]
    pub const fn write(self) -> [u8; 4] {
        let duration = self.duration.to_be_bytes();
        [self.code, (self.end as u8) << 7 | (self.volume & 0x3F), duration[0], duration[1]]
    }

    /// The key, where it is one.
    #[must_use]
    pub fn key(self) -> Option<char> {
        KEYS.get(usize::from(self.code)).copied()
    }
}

/// The event code of a key; lower-case letters are taken too.
#[must_use]
pub fn code(key: char) -> Option<u8> {
    let key = key.to_ascii_uppercase();
    KEYS.iter().position(|known| *known == key).map(|code| code as u8)
}

/// Whether a command may carry these digits.
#[must_use]
pub fn sendable(digits: &str) -> bool {
    digits.chars().count() <= MAX_DIGITS && digits.chars().all(|digit| digit == ',' || code(digit).is_some())
}

/// The lower tones of the keys in a row (ITU-T Q.23), in hertz.
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// The upper tones of the keys in a column.
const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// One sample of a key's two tones (ITU-T Q.23), `at` samples after it began.
#[must_use]
pub fn tone(code: u8, at: u32) -> i16 {
    let (row, column) = match code {
        0 => (3, 1),
        10 => (3, 0),
        11 => (3, 2),
        1..=9 => (usize::from(code - 1) / 3, usize::from(code - 1) % 3),
        _ => (usize::from(code.saturating_sub(12)).min(3), 3),
    };
    let time = at as f32 * std::f32::consts::TAU / crate::SAMPLE_RATE as f32;
    (((time * ROWS[row]).sin() + (time * COLUMNS[column]).sin()) * 7_000.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_codes() {
        for (n, key) in KEYS.into_iter().enumerate() {
            assert_eq!(code(key), Some(n as u8));
            assert_eq!(
                Event::read(Event { code: n as u8, end: n % 2 == 0, volume: 10, duration: 800 }.write()).key(),
                Some(key)
            );
        }
        assert_eq!(code('a'), Some(12));
        assert_eq!(code(','), None);
        assert!(sendable("0123456789*#ABCDabcd,,"));
        assert!(!sendable("1 2"));
        assert!(!sendable(&"1".repeat(MAX_DIGITS + 1)));
    }

    /// Power at a frequency, by the Goertzel recurrence.
    fn power(samples: &[i16], hertz: f32) -> f32 {
        let factor = 2.0 * (std::f32::consts::TAU * hertz / 8_000.0).cos();
        let (mut one, mut two) = (0.0, 0.0);
        for sample in samples {
            (one, two) = (f32::from(*sample) + factor * one - two, one);
        }
        one * one + two * two - factor * one * two
    }

    #[test]
    fn tones_are_those_of_the_key() {
        for (key, low, high) in [
            ('1', 697.0, 1_209.0),
            ('0', 941.0, 1_336.0),
            ('#', 941.0, 1_477.0),
            ('9', 852.0, 1_477.0),
            ('*', 941.0, 1_209.0),
            ('B', 770.0, 1_633.0),
        ] {
            let samples: Vec<i16> = (0..800).map(|at| tone(code(key).expect("a key"), at)).collect();
            for other in [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0] {
                let strong = power(&samples, other) > power(&samples, low) / 10.0;
                assert_eq!(strong, other == low || other == high, "{key} at {other} Hz");
            }
        }
    }
}
