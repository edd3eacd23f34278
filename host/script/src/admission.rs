//! Whether an upload may become a script: its size and shape, its validity, what
//! it asks for, what it says about itself.
//!
//! [`admit_shape`] is pure: bytes and limits in, a [`Shape`] or an error out. It
//! never compiles and never runs anything.

use crate::config::ShapeLimits;
use crate::manifest::Manifest;
use crate::package::{self, PackageError};
use crate::shape::{self, Counted};
use crate::text::printable;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The interfaces of `callbox:dialogue` that a script may import.
pub const INTERFACES: [&str; 12] =
    ["types", "wait", "call", "voice", "events", "clock", "random", "context", "llm", "results", "settings", "log"];

/// What admission learnt about an upload.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its imports: what it may do.
    pub imports: Vec<String>,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Its audio files, by path.
    pub assets: BTreeMap<String, Bytes>,
    /// What built it, as it says itself.
    pub toolchain: Option<String>,
    /// Its largest function, by name where it has one, and its size in bytes.
    pub largest: Option<(String, u32)>,
    /// What was looked at, for a person to read.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What, for example `imports`.
    pub name: String,
    /// Whether it is as it should be, or only allowed.
    pub verdict: Verdict,
    /// For a person to read.
    pub detail: String,
}

/// How a check came out. What is not allowed is an [`AdmissionError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Allowed, but the author may want to know.
    Warning,
}

impl Check {
    pub(crate) fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, detail: detail.into() }
    }

    pub(crate) fn warning(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Warning, detail: detail.into() }
    }
}

/// Why an upload was not admitted. The texts are for whoever uploaded it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// Too many bytes.
    #[error("the component has {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Bytes of the upload.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Native code. Never accepted, whoever made it.
    #[error("this is compiled code (an ELF file), not WebAssembly: upload the .wasm, the host compiles it itself")]
    Precompiled,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component: encode it with `callbox script build`, or with \
         `wasm-tools component new`"
    )]
    CoreModule,
    /// Something else.
    #[error("this is not a WebAssembly component: {0}")]
    NotWasm(String),
    /// Refused by the validator.
    #[error("invalid at byte {offset}: {message}")]
    Invalid {
        /// Where in the upload.
        offset: u64,
        /// What the validator says.
        message: String,
    },
    /// More of something than allowed.
    #[error("{what}: {found}, at most {limit} allowed")]
    Shape {
        /// Of what, where.
        what: String,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// Asks for something this platform does not give.
    #[error("the component imports `{import}`: {advice}")]
    Import {
        /// Which.
        import: String,
        /// What to do about it.
        advice: String,
    },
    /// Not a script.
    #[error(
        "the component does not export `callbox:dialogue/script@0.1.0` (it exports: {exports}): build it for the \
         world `dialogue` of callbox:dialogue@0.1.0"
    )]
    Export {
        /// What it exports.
        exports: String,
    },
    /// The manifest or an asset is missing or wrong.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A function it imports or exports has another type here.
    #[error("the component does not fit callbox:dialogue@0.1.0: {0}")]
    Incompatible(String),
    /// The compiler refused it.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// The compiler spent its time or memory.
    #[error("it is too much for the compiler: {0}")]
    CompileLimit(String),
    /// Too many uploads are waiting. Try again later.
    #[error("too many uploads are being compiled; try again in a moment")]
    Busy,
    /// The host could not do it, through no fault of the upload.
    #[error("the host could not compile it: {0}")]
    Host(String),
}

impl AdmissionError {
    /// The stable code of the API and the documentation.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "script_too_large",
            Self::Precompiled => "script_precompiled",
            Self::CoreModule => "script_core_module",
            Self::NotWasm(_) => "script_not_wasm",
            Self::Invalid { .. } => "script_invalid",
            Self::Shape { .. } => "script_shape",
            Self::Import { .. } => "script_import_denied",
            Self::Export { .. } => "script_export_missing",
            Self::Package(PackageError::NoManifest) => "script_manifest_missing",
            Self::Package(PackageError::Asset { .. } | PackageError::TooManyAssets { .. }) => "script_asset_invalid",
            Self::Package(PackageError::Broken(_)) => "script_not_wasm",
            Self::Package(_) => "script_manifest_invalid",
            Self::Incompatible(_) => "script_incompatible",
            Self::Compile(_) => "script_compile_failed",
            Self::CompileLimit(_) => "script_compile_limit",
            Self::Busy => "script_compile_busy",
            Self::Host(_) => "script_host_failed",
        }
    }

    /// Whether the same upload may be accepted later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Host(_))
    }
}

/// Looks at an upload without compiling it: size, kind, shape, validity,
/// imports, export, manifest, assets, in this order.
///
/// # Errors
/// The first thing that keeps it out.
pub fn admit_shape(wasm: &Bytes, limits: &ShapeLimits) -> Result<Shape, AdmissionError> {
    let size = wasm.len() as u64;
    if size > limits.size {
        return Err(AdmissionError::TooLarge { size, limit: limits.size });
    }
    kind(wasm)?;
    let counted = shape::count(wasm, limits)?;
    wasmparser::Validator::new_with_features(crate::engine::features()).validate_all(wasm).map_err(invalid)?;
    for import in &counted.imports {
        check_import(import)?;
    }
    if !counted.exports.iter().any(|export| is_script(export)) {
        return Err(AdmissionError::Export { exports: list(&counted.exports) });
    }
    let package = package::read(wasm, limits.assets)?;
    let checks = checks(size, &counted, &package.manifest, package.assets.len());
    Ok(Shape {
        imports: counted.imports,
        manifest: package.manifest,
        assets: package.assets,
        toolchain: (!counted.tools.is_empty()).then(|| counted.tools.join(", ")),
        largest: counted.largest,
        checks,
    })
}

/// What the first bytes say. Compiled code has the magic number of an ELF file
/// and is refused before anything else looks at it.
fn kind(wasm: &[u8]) -> Result<(), AdmissionError> {
    if wasm.starts_with(b"\x7fELF") {
        return Err(AdmissionError::Precompiled);
    }
    if wasm.is_empty() {
        return Err(AdmissionError::NotWasm("it is empty".into()));
    }
    if wasm.starts_with(b"(") {
        return Err(AdmissionError::NotWasm("it is the text format; assemble it first".into()));
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(AdmissionError::NotWasm("it does not begin with the bytes 00 61 73 6d".into()));
    }
    if !wasmparser::Parser::is_component(wasm) {
        return Err(if wasmparser::Parser::is_core_wasm(wasm) {
            AdmissionError::CoreModule
        } else {
            AdmissionError::NotWasm("of an unknown version of the format".into())
        });
    }
    Ok(())
}

pub(crate) fn invalid(error: wasmparser::BinaryReaderError) -> AdmissionError {
    AdmissionError::Invalid { offset: error.offset() as u64, message: printable(error.message(), 400) }
}

fn check_import(import: &str) -> Result<(), AdmissionError> {
    let denied = |advice: String| Err(AdmissionError::Import { import: printable(import, 120), advice });
    if import.starts_with("wasi:") || import.starts_with("wasi_") {
        return denied(
            "scripts have no system interface: no files, environment, sockets or clocks of their own. Build \
             without WASI (Rust: target wasm32-unknown-unknown; componentize-js: disable all features; componentize-qjs \
             and componentize-py: --stub-wasi), and use `callbox:dialogue/clock`, `random` and `log` instead"
                .into(),
        );
    }
    let Some(rest) = import.strip_prefix("callbox:dialogue/") else {
        return denied("scripts may import interfaces of `callbox:dialogue@0.1` only".into());
    };
    let Some((interface, version)) = rest.split_once('@') else {
        return denied("the version is missing; build against callbox:dialogue@0.1.0".into());
    };
    if !is_0_1(version) {
        return denied("this host serves version 0.1; build against callbox:dialogue@0.1.0".into());
    }
    if !INTERFACES.contains(&interface) {
        return denied(format!("there is no such interface; there are: {}", INTERFACES.join(", ")));
    }
    Ok(())
}

fn is_script(export: &str) -> bool {
    export.strip_prefix("callbox:dialogue/script@").is_some_and(is_0_1)
}

/// `0.1.N`: the unit within which only additions happen.
fn is_0_1(version: &str) -> bool {
    version.strip_prefix("0.1.").is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".into();
    }
    let shown: Vec<_> = names.iter().take(8).map(|name| printable(name, 80)).collect();
    shown.join(", ")
}

fn checks(size: u64, counted: &Counted, manifest: &Manifest, assets: usize) -> Vec<Check> {
    let mut checks = vec![
        Check::ok("size", format!("{size} bytes")),
        Check::ok(
            "shape",
            format!(
                "{} core modules, {} functions, {} KiB of initial memory",
                counted.core_modules,
                counted.functions,
                counted.initial_memory >> 10
            ),
        ),
        Check::ok("valid", "WebAssembly component, checked with the engine's own features"),
        Check::ok("imports", format!("{} interfaces of callbox:dialogue, nothing else", counted.imports.len())),
        Check::ok("manifest", format!("`{}`, {assets} assets", manifest.name)),
    ];
    checks.push(if counted.has_names {
        Check::ok("names", "functions have names, so a trap can be read")
    } else {
        Check::warning(
            "names",
            "functions have no names: a trap will show numbers. Keep the name section when stripping",
        )
    });
    if let Some((name, bytes)) = counted.largest.as_ref().filter(|(_, bytes)| *bytes > 256 << 10) {
        checks.push(Check::warning(
            "largest function",
            format!("`{name}` has {bytes} bytes and may be too large for the optimising compiler"),
        ));
    }
    checks
}
