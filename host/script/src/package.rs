//! One artefact: the component, its manifest and its audio assets in one file.
//!
//! The manifest is the custom section `callbox:manifest`; each asset is a custom
//! section `callbox:asset:PATH`. Both stand at the end of the component, where
//! tools that know nothing of them leave them alone.

use crate::manifest::{Manifest, ManifestError};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Name of the manifest's section.
pub const MANIFEST_SECTION: &str = "callbox:manifest";
/// What the name of an asset's section begins with.
pub const ASSET_SECTION: &str = "callbox:asset:";
/// Bytes of an asset's path.
pub const MAX_ASSET_PATH: usize = 255;

/// `\0asm`, version 13, layer 1: a component.
const COMPONENT_HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// What a component carries besides its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Its audio files, by path. Views into the component's bytes.
    pub assets: BTreeMap<String, Bytes>,
}

/// What is wrong with a component as a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Not a component, or its sections cannot be told apart.
    #[error("not a WebAssembly component: {0}")]
    Broken(String),
    /// It says nothing about itself.
    #[error(
        "the component has no `{MANIFEST_SECTION}` section: build it with `callbox script build`, which adds the manifest"
    )]
    NoManifest,
    /// Two manifests.
    #[error("the component has more than one `{MANIFEST_SECTION}` section")]
    TwoManifests,
    /// The manifest is wrong.
    #[error("manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// An asset's name or content is wrong.
    #[error("asset `{path}`: {problem}")]
    Asset {
        /// Which.
        path: String,
        /// What, and what is expected.
        problem: String,
    },
    /// More assets than allowed.
    #[error("more than {limit} assets")]
    TooManyAssets {
        /// The limit.
        limit: u32,
    },
}

/// Puts a manifest and assets into a component, in place of what it may already
/// carry of them.
///
/// # Errors
/// When the component's sections cannot be told apart, the manifest does not
/// hold what it should, or a path or a WAV is wrong.
pub fn embed(
    component: &[u8],
    manifest: &Manifest,
    assets: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<u8>, PackageError> {
    let json = manifest.to_json()?;
    let mut out = Vec::with_capacity(component.len() + json.len() + assets.values().map(Vec::len).sum::<usize>());
    out.extend_from_slice(&COMPONENT_HEADER);
    for section in sections(component)? {
        let section = section?;
        if !section.name.is_some_and(|name| name == MANIFEST_SECTION || name.starts_with(ASSET_SECTION)) {
            out.extend_from_slice(section.whole);
        }
    }
    custom(&mut out, MANIFEST_SECTION, &json);
    for (path, bytes) in assets {
        check_asset(path, bytes)?;
        custom(&mut out, &format!("{ASSET_SECTION}{path}"), bytes);
    }
    Ok(out)
}

/// Reads what a component carries. Looks only at the sections of the component
/// itself, not at those of what is nested in it.
///
/// # Errors
/// When there is not exactly one valid manifest, or an asset is wrong.
pub fn read(component: &Bytes, max_assets: u32) -> Result<Package, PackageError> {
    let mut manifest = None;
    let mut assets = BTreeMap::new();
    for section in sections(component)? {
        let section = section?;
        let Some(name) = section.name else { continue };
        if name == MANIFEST_SECTION {
            if manifest.replace(Manifest::parse(section.content)?).is_some() {
                return Err(PackageError::TwoManifests);
            }
        } else if let Some(path) = name.strip_prefix(ASSET_SECTION) {
            check_asset(path, section.content)?;
            if assets.len() >= max_assets as usize {
                return Err(PackageError::TooManyAssets { limit: max_assets });
            }
            if assets.insert(path.to_owned(), component.slice_ref(section.content)).is_some() {
                return Err(asset(path, "is there twice"));
            }
        }
    }
    Ok(Package { manifest: manifest.ok_or(PackageError::NoManifest)?, assets })
}

fn check_asset(path: &str, bytes: &[u8]) -> Result<(), PackageError> {
    let good_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let good_char =
        |c: char| !c.is_control() && !matches!(c, '\\' | ':' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if path.len() > MAX_ASSET_PATH {
        return Err(asset(path, "the path is longer than 255 bytes"));
    }
    if !path.split('/').all(good_part) || !path.chars().all(good_char) {
        return Err(asset(path, "the path must be relative, without empty parts, `.`, `..`, `\\` or `:`"));
    }
    if !(bytes.len() >= 12 && bytes.starts_with(b"RIFF") && &bytes[8..12] == b"WAVE") {
        return Err(asset(path, "not a WAV file (it does not begin with RIFF….WAVE)"));
    }
    Ok(())
}

fn asset(path: &str, problem: &str) -> PackageError {
    PackageError::Asset { path: crate::text::printable(path, 80), problem: problem.to_owned() }
}

/// One section of a component.
struct Section<'a> {
    /// With its id and length.
    whole: &'a [u8],
    /// Of a custom section.
    name: Option<&'a str>,
    /// Of a custom section: what follows the name.
    content: &'a [u8],
}

/// The sections of a component, which need no understanding to be told apart: an
/// id, a length, so many bytes.
fn sections(component: &[u8]) -> Result<impl Iterator<Item = Result<Section<'_>, PackageError>>, PackageError> {
    let Some(mut rest) = component.strip_prefix(&COMPONENT_HEADER) else {
        return Err(PackageError::Broken("it does not begin like one".into()));
    };
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() || failed {
            return None;
        }
        let section = next_section(&mut rest);
        failed = section.is_none();
        Some(section.ok_or_else(|| PackageError::Broken("a section is longer than the file".into())))
    }))
}

fn next_section<'a>(rest: &mut &'a [u8]) -> Option<Section<'a>> {
    let start = *rest;
    let (id, after) = start.split_first()?;
    let (length, after) = leb128(after)?;
    let (body, after) = after.split_at_checked(length)?;
    *rest = after;
    let whole = &start[..start.len() - after.len()];
    if *id != 0 {
        return Some(Section { whole, name: None, content: &[] });
    }
    let (length, body) = leb128(body)?;
    let (name, content) = body.split_at_checked(length)?;
    Some(Section { whole, name: Some(std::str::from_utf8(name).ok()?), content })
}

/// An unsigned number of up to 32 bits, 7 bits a byte, the lowest first.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(u32::try_from(value).ok()?).ok()?, &bytes[i + 1..]));
        }
    }
    None
}

fn push_leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn custom(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut head = Vec::with_capacity(name.len() + 5);
    push_leb128(&mut head, name.len());
    head.extend_from_slice(name.as_bytes());
    out.push(0);
    push_leb128(out, head.len() + content.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn wav(n: u8) -> Vec<u8> {
        [b"RIFF\x04\0\0\0WAVE".as_slice(), &[n; 200]].concat()
    }

    fn manifest(name: &str) -> Manifest {
        Manifest { name: name.into(), ..Manifest::default() }
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let mut component = COMPONENT_HEADER.to_vec();
        custom(&mut component, "other", b"stays");
        let assets = BTreeMap::from([("hello/en.wav".to_owned(), wav(1)), ("b.wav".to_owned(), wav(2))]);
        let packed = embed(&component, &manifest("one"), &assets).unwrap();
        let again = embed(&packed, &manifest("two"), &BTreeMap::from([("b.wav".to_owned(), wav(3))])).unwrap();
        assert!(again.len() < packed.len());

        let read_back = read(&packed.into(), 2).unwrap();
        assert_eq!(read_back.manifest.name, "one");
        assert_eq!(read_back.assets["hello/en.wav"], wav(1));
        let read_back = read(&again.clone().into(), 2).unwrap();
        assert_eq!((read_back.manifest.name.as_str(), read_back.assets.len()), ("two", 1));
        assert!(again.windows(5).any(|w| w == b"stays"));
    }

    #[test]
    fn bad_paths_and_files_are_refused() {
        let empty = COMPONENT_HEADER.to_vec();
        for path in ["", "/a", "a//b", "../a", "a/..", "./a", "a\\b", "c:a", "a\nb", &"x".repeat(256)] {
            let error = embed(&empty, &manifest("a"), &BTreeMap::from([(path.to_owned(), wav(0))])).unwrap_err();
            assert!(matches!(error, PackageError::Asset { .. }), "{path}: {error}");
        }
        let error = embed(&empty, &manifest("a"), &BTreeMap::from([("a".to_owned(), b"ID3".to_vec())])).unwrap_err();
        assert!(error.to_string().contains("not a WAV"), "{error}");
    }

    #[test]
    fn broken_components_are_told_apart() {
        let with = |sections: &[(&str, &[u8])]| {
            let mut out = COMPONENT_HEADER.to_vec();
            for (name, content) in sections {
                custom(&mut out, name, content);
            }
            Bytes::from(out)
        };
        assert_eq!(read(&with(&[]), 9), Err(PackageError::NoManifest));
        let twice: &[(&str, &[u8])] = &[(MANIFEST_SECTION, br#"{"name":"a"}"#), (MANIFEST_SECTION, br#"{"name":"a"}"#)];
        assert_eq!(read(&with(twice), 9), Err(PackageError::TwoManifests));
        assert!(matches!(read(&with(&[(MANIFEST_SECTION, b"{")]), 9), Err(PackageError::Manifest(_))));
        let double: &[(&str, &[u8])] =
            &[(MANIFEST_SECTION, br#"{"name":"a"}"#), ("callbox:asset:a", &wav(0)), ("callbox:asset:a", &wav(0))];
        assert!(read(&with(double), 9).unwrap_err().to_string().contains("twice"));
        assert!(matches!(read(&Bytes::from_static(b"\0asm\x01\0\0\0"), 9), Err(PackageError::Broken(_))));
        let mut cut = with(twice).to_vec();
        cut.pop();
        assert!(matches!(read(&cut.into(), 9), Err(PackageError::Broken(_))));
        let huge = [COMPONENT_HEADER.as_slice(), &[0, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert!(matches!(read(&huge.into(), 9), Err(PackageError::Broken(_))));
    }
}
