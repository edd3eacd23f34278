//! Session keys, and one packet sealed or opened with its index.

use super::keys::{SrtpKeys, SrtpSuite};
use super::{SrtpError, rtp_header, word};
use aes::cipher::{BlockCipherEncrypt, KeyInit as _};
use aes::{Aes128, Aes256, Block};
use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// What protection adds to a packet at most: the tag, the index of SRTCP, the longest master key identifier.
pub const OVERHEAD: usize = 16 + 4 + 16;
/// The readable header of RTCP: the first word and the SSRC (RFC 3711 §3.4).
const RTCP_HEADER: usize = 8;
/// The tag of Galois/counter mode (RFC 7714 §13).
const GCM_TAG: usize = 16;
/// The E bit: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;
/// Bytes of an authentication key (RFC 3711 §8.2).
const AUTH_KEY: usize = 20;

/// Both halves of a master key: for RTP and for RTCP.
pub(super) struct SessionKeys {
    rtp: Half,
    rtcp: Half,
    mki: [u8; 16],
    mki_length: usize,
}

/// The session key for RTP or for RTCP.
enum Half {
    Counter { cipher: Aes128, salt: [u8; 14], auth: Hmac<Sha1>, tag: usize },
    Galois128 { cipher: Aes128Gcm, salt: [u8; 12] },
    Galois256 { cipher: Box<Aes256Gcm>, salt: [u8; 12] },
}

impl SessionKeys {
    /// Derives the session keys (RFC 3711 §4.3, RFC 7714 §11); once, since no one derives them anew on the way.
    pub(super) fn derive(keys: &SrtpKeys) -> Self {
        let mut mki = [0; 16];
        mki[..keys.mki().len()].copy_from_slice(keys.mki());
        let rtp_tag = if keys.suite() == SrtpSuite::AesCm128HmacSha1_32 { 4 } else { 10 };
        Self { rtp: Half::derive(keys, 0, rtp_tag), rtcp: Half::derive(keys, 3, 10), mki, mki_length: keys.mki().len() }
    }

    fn mki(&self) -> &[u8] {
        &self.mki[..self.mki_length]
    }

    /// Seals the RTP packet in the first `length` bytes; there must be room behind. Returns its new length.
    pub(super) fn seal_rtp(&self, packet: &mut [u8], length: usize, index: u64) -> Result<usize, SrtpError> {
        let header = rtp_header(packet.get(..length).ok_or(SrtpError::Malformed)?)?;
        let ssrc = word(packet, 8)?;
        let mki = self.mki();
        let end = length + self.rtp.tag() + mki.len();
        let packet = packet.get_mut(..end).ok_or(SrtpError::Malformed)?;
        match &self.rtp {
            Half::Counter { cipher, salt, auth, tag } => {
                counter_mode(cipher, counter(salt, ssrc, index), &mut packet[header..length]);
                packet[length..][..mki.len()].copy_from_slice(mki);
                let full = rtp_tag(auth, &packet[..length], index);
                packet[end - tag..].copy_from_slice(&full[..*tag]);
            }
            half => {
                let (aad, body) = packet.split_at_mut(header);
                let (body, tail) = body.split_at_mut(length - header);
                half.gcm_seal(&half.gcm_nonce(ssrc, index), aad, body, &mut tail[..GCM_TAG])?;
                tail[GCM_TAG..].copy_from_slice(mki);
            }
        }
        Ok(end)
    }

    /// Opens an RTP packet; returns its length without what protected it. What is not authentic is left as it was.
    pub(super) fn open_rtp(&self, packet: &mut [u8], index: u64) -> Result<usize, SrtpError> {
        let header = rtp_header(packet)?;
        let ssrc = word(packet, 8)?;
        let mki = self.mki();
        let added = self.rtp.tag() + mki.len();
        let length = packet.len().checked_sub(added).filter(|length| *length >= header).ok_or(SrtpError::Malformed)?;
        match &self.rtp {
            Half::Counter { cipher, salt, auth, tag } => {
                let given = &packet[packet.len() - tag..];
                let full = rtp_tag(auth, &packet[..length], index);
                let known = packet[length..][..mki.len()] == *mki;
                if !known || !bool::from(full[..*tag].ct_eq(given)) {
                    return Err(SrtpError::Unauthentic);
                }
                counter_mode(cipher, counter(salt, ssrc, index), &mut packet[header..length]);
            }
            half => {
                let (aad, body) = packet.split_at_mut(header);
                let (body, tail) = body.split_at_mut(length - header);
                if tail[GCM_TAG..] != *mki {
                    return Err(SrtpError::Unauthentic);
                }
                half.gcm_open(&half.gcm_nonce(ssrc, index), aad, body, &tail[..GCM_TAG])?;
            }
        }
        Ok(length)
    }

    /// Seals the RTCP packet in the first `length` bytes; there must be room behind. Returns its new length.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], length: usize, index: u32) -> Result<usize, SrtpError> {
        let ssrc = word(packet.get(..length).ok_or(SrtpError::Malformed)?, 4)?;
        let mki = self.mki();
        let end = length + self.rtcp.tag() + 4 + mki.len();
        let packet = packet.get_mut(..end).ok_or(SrtpError::Malformed)?;
        let flagged = (index | ENCRYPTED).to_be_bytes();
        match &self.rtcp {
            Half::Counter { cipher, salt, auth, tag } => {
                counter_mode(cipher, counter(salt, ssrc, u64::from(index)), &mut packet[RTCP_HEADER..length]);
                packet[length..length + 4].copy_from_slice(&flagged);
                packet[length + 4..][..mki.len()].copy_from_slice(mki);
                let full = auth.clone().chain_update(&packet[..length + 4]).finalize().into_bytes();
                packet[end - tag..].copy_from_slice(&full[..*tag]);
            }
            half => {
                let aad = rtcp_aad(packet, flagged);
                let (body, tail) = packet[RTCP_HEADER..].split_at_mut(length - RTCP_HEADER);
                let (tag, tail) = tail.split_at_mut(GCM_TAG);
                half.gcm_seal(&half.gcm_nonce(ssrc, u64::from(index)), &aad, body, tag)?;
                tail[..4].copy_from_slice(&flagged);
                tail[4..].copy_from_slice(mki);
            }
        }
        Ok(end)
    }

    /// The index that an RTCP packet says it has.
    ///
    /// # Errors
    /// [`SrtpError::Malformed`], and [`SrtpError::Unauthentic`] for one that is not encrypted: that would have to be
    /// agreed on (RFC 4568 §6.3.2), and is not.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let behind = match &self.rtcp {
            Half::Counter { tag, .. } => *tag,
            _ => 0,
        };
        let at = packet.len().checked_sub(behind + self.mki_length + 4).ok_or(SrtpError::Malformed)?;
        let flagged = word(packet, at)?;
        if flagged & ENCRYPTED == 0 { Err(SrtpError::Unauthentic) } else { Ok(flagged & !ENCRYPTED) }
    }

    /// Opens an RTCP packet with the index it carries; returns its length without what protected it.
    pub(super) fn open_rtcp(&self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let index = self.rtcp_index(packet)?;
        let ssrc = word(packet, 4)?;
        let mki = self.mki();
        let added = self.rtcp.tag() + 4 + mki.len();
        let length = packet.len().checked_sub(added).filter(|length| *length >= RTCP_HEADER);
        let length = length.ok_or(SrtpError::Malformed)?;
        match &self.rtcp {
            Half::Counter { cipher, salt, auth, tag } => {
                let full = auth.clone().chain_update(&packet[..length + 4]).finalize().into_bytes();
                let known = packet[length + 4..][..mki.len()] == *mki;
                if !known || !bool::from(full[..*tag].ct_eq(&packet[packet.len() - tag..])) {
                    return Err(SrtpError::Unauthentic);
                }
                counter_mode(cipher, counter(salt, ssrc, u64::from(index)), &mut packet[RTCP_HEADER..length]);
            }
            half => {
                let aad = rtcp_aad(packet, (index | ENCRYPTED).to_be_bytes());
                let (body, tail) = packet[RTCP_HEADER..].split_at_mut(length - RTCP_HEADER);
                if tail[GCM_TAG + 4..] != *mki {
                    return Err(SrtpError::Unauthentic);
                }
                half.gcm_open(&half.gcm_nonce(ssrc, u64::from(index)), &aad, body, &tail[..GCM_TAG])?;
            }
        }
        Ok(length)
    }
}

impl Half {
    /// The keys behind three labels in a row: encryption, authentication, salt (RFC 3711 §4.3.2).
    fn derive(keys: &SrtpKeys, label: u8, tag: usize) -> Self {
        let mut key = [0; 32];
        let mut auth = [0; AUTH_KEY];
        let mut salt = [0; 14];
        let key_place = &mut key[..keys.suite().key_length()];
        derive(keys, label, key_place);
        derive(keys, label + 1, &mut auth);
        derive(keys, label + 2, &mut salt[..keys.suite().salt_length()]);
        let half = Self::new(keys.suite(), &key, &salt, &auth, tag);
        key.zeroize();
        auth.zeroize();
        half
    }

    fn new(suite: SrtpSuite, key: &[u8; 32], salt: &[u8; 14], auth: &[u8; AUTH_KEY], tag: usize) -> Self {
        let [short @ .., _, _] = *salt;
        let mut half_key = [0; 16];
        half_key.copy_from_slice(&key[..16]);
        let made = match suite {
            SrtpSuite::AesCm128HmacSha1_80 | SrtpSuite::AesCm128HmacSha1_32 => {
                // A key that is shorter than a block is filled up with zeros (RFC 2104 §2): the same as given so.
                let mut block = [0; 64];
                block[..AUTH_KEY].copy_from_slice(auth);
                let auth = Hmac::new(&block.into());
                block.zeroize();
                Self::Counter { cipher: Aes128::new(&half_key.into()), salt: *salt, auth, tag }
            }
            SrtpSuite::AeadAes128Gcm => Self::Galois128 { cipher: Aes128Gcm::new(&half_key.into()), salt: short },
            SrtpSuite::AeadAes256Gcm => {
                Self::Galois256 { cipher: Box::new(Aes256Gcm::new(&(*key).into())), salt: short }
            }
        };
        half_key.zeroize();
        made
    }

    const fn tag(&self) -> usize {
        match self {
            Self::Counter { tag, .. } => *tag,
            Self::Galois128 { .. } | Self::Galois256 { .. } => GCM_TAG,
        }
    }

    /// The nonce of a packet (RFC 7714 §8.1, §9.1). An index of RTP is 48 bits of it, one of RTCP the lower 31.
    fn gcm_nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let mut nonce = match self {
            Self::Counter { .. } => [0; 12],
            Self::Galois128 { salt, .. } | Self::Galois256 { salt, .. } => *salt,
        };
        mix(&mut nonce[2..6], &ssrc.to_be_bytes());
        mix(&mut nonce[6..], &index.to_be_bytes()[2..]);
        nonce
    }

    fn gcm_seal(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8], tag: &mut [u8]) -> Result<(), SrtpError> {
        let nonce = (*nonce).into();
        let made = match self {
            Self::Galois128 { cipher, .. } => cipher.encrypt_inout_detached(&nonce, aad, body.into()),
            Self::Galois256 { cipher, .. } => cipher.encrypt_inout_detached(&nonce, aad, body.into()),
            Self::Counter { .. } => return Err(SrtpError::Malformed),
        };
        tag.copy_from_slice(&made.map_err(|_| SrtpError::Malformed)?);
        Ok(())
    }

    fn gcm_open(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8], tag: &[u8]) -> Result<(), SrtpError> {
        let nonce = (*nonce).into();
        let tag: [u8; GCM_TAG] = tag.try_into().map_err(|_| SrtpError::Malformed)?;
        let opened = match self {
            Self::Galois128 { cipher, .. } => cipher.decrypt_inout_detached(&nonce, aad, body.into(), &tag.into()),
            Self::Galois256 { cipher, .. } => cipher.decrypt_inout_detached(&nonce, aad, body.into(), &tag.into()),
            Self::Counter { .. } => return Err(SrtpError::Malformed),
        };
        opened.map_err(|_| SrtpError::Unauthentic)
    }
}

/// The readable header and the index behind the packet, as what is authenticated beside the body (RFC 7714 §9.2).
fn rtcp_aad(packet: &[u8], flagged: [u8; 4]) -> [u8; RTCP_HEADER + 4] {
    let mut aad = [0; RTCP_HEADER + 4];
    aad[..RTCP_HEADER].copy_from_slice(&packet[..RTCP_HEADER]);
    aad[RTCP_HEADER..].copy_from_slice(&flagged);
    aad
}

/// HMAC-SHA1 over a packet and the rollover counter, which is not sent (RFC 3711 §4.2).
fn rtp_tag(auth: &Hmac<Sha1>, packet: &[u8], index: u64) -> [u8; 20] {
    let rollovers = ((index >> 16) as u32).to_be_bytes();
    auth.clone().chain_update(packet).chain_update(rollovers).finalize().into_bytes().into()
}

/// The first counter block of a packet (RFC 3711 §4.1.1).
fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut block = [0; 16];
    block[..14].copy_from_slice(salt);
    mix(&mut block[4..8], &ssrc.to_be_bytes());
    mix(&mut block[8..14], &index.to_be_bytes()[2..]);
    block
}

/// AES in counter mode; the counter is in the last two bytes of the block. Eight blocks at a time, which processors
/// encrypt side by side.
fn counter_mode(
    cipher: &impl BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
    first: [u8; 16],
    data: &mut [u8],
) {
    let mut number = 0_u16;
    for chunk in data.chunks_mut(8 * 16) {
        let mut blocks = [Block::from(first); 8];
        let count = chunk.len().div_ceil(16);
        for block in &mut blocks[..count] {
            block[14..].copy_from_slice(&number.to_be_bytes());
            number = number.wrapping_add(1);
        }
        cipher.encrypt_blocks(&mut blocks[..count]);
        for (bytes, block) in chunk.chunks_mut(16).zip(&blocks) {
            mix(bytes, block);
        }
    }
}

/// The key derivation: a keystream whose counter block has the label in it (RFC 3711 §4.3.3). Salts of 96 bits are
/// filled up with zeros (RFC 7714 §11).
fn derive(keys: &SrtpKeys, label: u8, out: &mut [u8]) {
    let mut block = [0; 16];
    block[..keys.salt().len()].copy_from_slice(keys.salt());
    block[7] ^= label;
    out.fill(0);
    if let Ok(key) = <&[u8; 32]>::try_from(keys.key()) {
        counter_mode(&Aes256::new(key.into()), block, out);
    } else if let Ok(key) = <&[u8; 16]>::try_from(keys.key()) {
        counter_mode(&Aes128::new(key.into()), block, out);
    }
}

fn mix(bytes: &mut [u8], with: &[u8]) {
    for (byte, other) in bytes.iter_mut().zip(with) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Session keys that are given as such, for both halves.
    fn session(suite: SrtpSuite, key: &str, salt: &str) -> SessionKeys {
        let (mut key_bytes, mut salt_bytes) = ([0; 32], [0; 14]);
        key_bytes[..key.len() / 2].copy_from_slice(&hex(key));
        salt_bytes[..salt.len() / 2].copy_from_slice(&hex(salt));
        let half = || Half::new(suite, &key_bytes, &salt_bytes, &[0; AUTH_KEY], 10);
        SessionKeys { rtp: half(), rtcp: half(), mki: [0; 16], mki_length: 0 }
    }

    #[test]
    fn rfc_3711_b2_keystream() {
        let key: [u8; 16] = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
        let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut stream = vec![0; 0xFF02 * 16];
        counter_mode(&Aes128::new(&key.into()), counter(&salt, 0, 0), &mut stream);
        assert_eq!(
            stream[..48],
            hex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0")
        );
        assert_eq!(
            stream[0xFEFF * 16..],
            hex("EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE6A2CC3787889374FBEB4C81B17BA6C44")
        );
    }

    #[test]
    fn rfc_3711_b3_key_derivation() {
        let master = hex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
        let keys = SrtpKeys::new(SrtpSuite::AesCm128HmacSha1_80, &master).unwrap();
        let derived = |label, length| {
            let mut out = vec![9; length];
            derive(&keys, label, &mut out);
            out
        };
        assert_eq!(derived(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF722709863\
                    71C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E47403576";
        assert_eq!(derived(1, 80), hex(auth)[..80]);
    }

    #[test]
    fn rfc_7714_packets() {
        let rtp =
            hex("8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573");
        let rtcp = hex(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let salt = "517569642070726f2071756f";
        for (suite, key, srtp, srtcp) in [
            (
                SrtpSuite::AeadAes128Gcm,
                &key[..32],
                "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
                "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
            ),
            (
                SrtpSuite::AeadAes256Gcm,
                key,
                "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
                "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
            ),
        ] {
            let keys = session(suite, key, salt);
            let mut buffer = [0; 128];
            buffer[..rtp.len()].copy_from_slice(&rtp);
            let length = keys.seal_rtp(&mut buffer, rtp.len(), 0xF17B).unwrap();
            assert_eq!(buffer[..length], hex(srtp), "{suite}");
            assert_eq!(keys.open_rtp(&mut buffer[..length], 0xF17B), Ok(rtp.len()));
            assert_eq!(buffer[..rtp.len()], rtp);
            buffer[..rtcp.len()].copy_from_slice(&rtcp);
            let length = keys.seal_rtcp(&mut buffer, rtcp.len(), 0x5D4).unwrap();
            assert_eq!(buffer[..length], hex(srtcp), "{suite}");
            assert_eq!(keys.rtcp_index(&buffer[..length]), Ok(0x5D4));
            assert_eq!(keys.open_rtcp(&mut buffer[..length]), Ok(rtcp.len()));
            assert_eq!(buffer[..rtcp.len()], rtcp);
        }
    }

    /// The packets that libsrtp's own tests have.
    #[test]
    fn packets_of_libsrtp() {
        let counter = "E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6";
        let galois = "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab";
        let payload = "abababababababababababababababab";
        for (suite, master, sealed_rtp, sealed_rtcp) in [
            (
                SrtpSuite::AesCm128HmacSha1_80,
                counter,
                "4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
                "7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
            ),
            (
                SrtpSuite::AeadAes128Gcm,
                galois,
                "c5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
                "c98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
            ),
        ] {
            let keys = SessionKeys::derive(&SrtpKeys::new(suite, &hex(master)).unwrap());
            let mut buffer = hex(&format!("800f1234decafbadcafebabe{payload}"));
            buffer.resize(28 + OVERHEAD, 0);
            let end = keys.seal_rtp(&mut buffer, 28, 0x1234).unwrap();
            assert_eq!(buffer[..end], hex(&format!("800f1234decafbadcafebabe{sealed_rtp}")), "{suite}");
            let mut buffer = hex(&format!("81c8000bcafebabe{payload}"));
            buffer.resize(24 + OVERHEAD, 0);
            let end = keys.seal_rtcp(&mut buffer, 24, 1).unwrap();
            assert_eq!(buffer[..end], hex(&format!("81c8000bcafebabe{sealed_rtcp}")), "{suite}");
        }
    }

    #[test]
    fn identifiers_are_where_each_suite_has_them() {
        for (suite, from_end) in
            [(SrtpSuite::AesCm128HmacSha1_80, 14), (SrtpSuite::AesCm128HmacSha1_32, 8), (SrtpSuite::AeadAes128Gcm, 4)]
        {
            let plain = SrtpKeys::random(suite, &[5; SrtpKeys::RANDOM]);
            let named = SrtpKeys::from_inline(suite, &format!("{}|{}:4", plain.to_inline(), 0x0102_0304)).unwrap();
            let keys = SessionKeys::derive(&named);
            let mut buffer = [0x80; 64];
            let end = keys.seal_rtp(&mut buffer, 20, 7).unwrap();
            assert_eq!(buffer[end - from_end..][..4], [1, 2, 3, 4], "{suite}");
            buffer[end - from_end] ^= 1;
            assert_eq!(keys.open_rtp(&mut buffer[..end], 7), Err(SrtpError::Unauthentic), "another key's");
        }
    }
}
