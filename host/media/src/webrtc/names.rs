//! The names by which checks find their session (`a=ice-ufrag`): which worker has it, and a number that nobody guesses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use callbox_webrtc::IceCredentials;

/// Bytes of randomness in our credentials.
pub(crate) const RANDOM: usize = 6 + PASSWORD;
/// Of these, in the password: 144 bits.
const PASSWORD: usize = 18;

/// A name. Eight bytes, written as eleven characters that ICE allows: letters, digits, `+` and `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Who has the session.
    pub(crate) worker: u16,
    /// Which one it is: 48 random bits.
    pub(crate) number: u64,
}

impl Name {
    /// Reads what stands before the colon of a check's USERNAME.
    pub(crate) fn read(ufrag: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        // Exactly what eight bytes are written as; nothing is allocated for anything else either.
        let fits = ufrag.len() == 11 && STANDARD_NO_PAD.decode_slice(ufrag, &mut bytes) == Ok(8);
        let all = u64::from_be_bytes(bytes);
        fits.then_some(Self { worker: (all >> 48) as u16, number: all & ((1 << 48) - 1) })
    }

    fn write(self) -> String {
        STANDARD_NO_PAD.encode((u64::from(self.worker) << 48 | self.number).to_be_bytes())
    }
}

/// Credentials of a session on that worker.
pub(crate) fn credentials(worker: u16, random: &[u8; RANDOM]) -> (Name, IceCredentials) {
    let (number, password) = random.split_at(RANDOM - PASSWORD);
    let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let name = Name { worker, number };
    (name, IceCredentials { ufrag: name.write(), pwd: STANDARD_NO_PAD.encode(password) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_read_as_they_are_written(worker: u16, random: [u8; RANDOM]) {
            let (name, credentials) = credentials(worker, &random);
            prop_assert_eq!(Name::read(&credentials.ufrag), Some(name));
            prop_assert_eq!(name.worker, worker);
            prop_assert_eq!((credentials.ufrag.len(), credentials.pwd.len()), (11, 24));
        }

        #[test]
        fn any_text_is_survived(text: String) {
            let _ = Name::read(&text);
        }
    }
}
