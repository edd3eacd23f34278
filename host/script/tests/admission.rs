//! What is let in and what is not, with the code and the words of each refusal.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use bytes::Bytes;
use callbox_dialogue::ScriptEnd;
use callbox_script::{AdmissionError, Manifest, ShapeLimits, Verdict, admit_shape, package};
use guests::{HELLO, Sim, encode, guest, manifest, module, packed, start};
use std::collections::BTreeMap;

/// A component in text whose `run` returns `ok`, with something more in it.
fn component(more: &str) -> String {
    format!(
        r#"(component
        {more}
        (core module $m
            (memory (export "memory") 1)
            (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result (error string))) (canon lift (core func $i "run") (memory (core memory $i "memory"))))
        (instance $script (export "run" (func $run)))
        (export "callbox:dialogue/script@0.1.0" (instance $script)))"#
    )
}

fn upload(text: &str) -> Bytes {
    packed(&wat::parse_str(text).unwrap(), &Manifest { name: "test".into(), ..Manifest::default() })
}

fn refused(wasm: &Bytes) -> AdmissionError {
    admit_shape(wasm, &ShapeLimits::default()).unwrap_err()
}

#[tokio::test]
async fn what_is_admitted_is_described() {
    let wasm = packed(&encode(&module(HELLO, "")), &manifest());
    let host = start(|_| ());
    let admission = host.host.admit(wasm.clone()).await.unwrap();
    assert!(admission.digest.starts_with("sha256:") && admission.digest.len() == 71);
    assert_eq!(admission.size, wasm.len() as u64);
    assert!(admission.manifest.sources["crm"].prefetch);
    assert_eq!(admission.assets, ["hello.wav"]);
    assert!(admission.imports.contains(&"callbox:dialogue/voice@0.1.0".to_owned()), "{:?}", admission.imports);
    assert!(admission.toolchain.as_deref().unwrap().contains("wit-component"));
    assert!(admission.checks.iter().all(|check| check.verdict == Verdict::Ok), "{:?}", admission.checks);
    assert_eq!(host.host.admit(wasm).await.unwrap(), admission, "the same again");
}

#[test]
fn files_of_other_kinds_are_told_apart() {
    let core = wat::parse_str("(module)").unwrap();
    let cases: &[(&[u8], &str, &str)] = &[
        (b"", "script_not_wasm", "empty"),
        (b"\x7fELF\x02\x01\x01", "script_precompiled", "compiled code"),
        (b"(component)", "script_not_wasm", "text format"),
        (b"MZ\x90\0", "script_not_wasm", "00 61 73 6d"),
        (b"\0asm", "script_not_wasm", "unknown version"),
        (b"\0asm\x0e\0\x01\0", "script_not_wasm", "unknown version"),
        (&core, "script_core_module", "wasm-tools component new"),
        (b"\0asm\x0d\0\x01\0\x01", "script_invalid", "byte"),
        (b"\0asm\x0d\0\x01\0", "script_export_missing", "nothing"),
    ];
    for (bytes, code, words) in cases {
        let error = refused(&Bytes::copy_from_slice(bytes));
        assert!(error.code() == *code && error.to_string().contains(words), "{}: {error}", error.code());
    }
}

#[test]
fn imports_are_the_permission_list() {
    let import = |name: &str| refused(&upload(&component(&format!("(import \"{name}\" (instance))"))));
    let cases = [
        ("wasi:cli/environment@0.2.6", "without WASI"),
        ("wasi:http/outgoing-handler@0.2.0", "wasm32-unknown-unknown"),
        ("acme:db/store@1.0.0", "callbox:dialogue@0.1` only"),
        ("callbox:dialogue/voice@0.2.0", "serves version 0.1"),
        ("callbox:dialogue/voice@0.1.0-rc1", "serves version 0.1"),
        ("callbox:dialogue/telepathy@0.1.0", "there are: types, wait"),
        ("callbox:dialogue/script@0.1.0", "there is no such interface"),
        ("callbox:dialogue/voice", "version is missing"),
        ("env", "only"),
    ];
    for (name, words) in cases {
        let error = import(name);
        assert_eq!(error.code(), "script_import_denied", "{error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn a_guest_of_a_later_patch_runs_when_it_uses_what_is_there() {
    let host = start(|_| ());
    let later = component(r#"(import "callbox:dialogue/clock@0.1.7" (instance (export "now" (func (result u64)))))"#);
    let run = host.run(&upload(&later), Sim::default()).await;
    assert_eq!(run.end, ScriptEnd::Returned);
    for (import, words) in [
        (r#"(import "callbox:dialogue/clock@0.1.7" (instance (export "tomorrow" (func (result u64)))))"#, "tomorrow"),
        (r#"(import "callbox:dialogue/clock@0.1.0" (instance (export "now" (func (result string)))))"#, "now"),
    ] {
        let error = host.host.admit(upload(&component(import))).await.unwrap_err();
        assert_eq!(error.code(), "script_incompatible", "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_export_must_be_the_script() {
    let other = component("").replace("callbox:dialogue/script@0.1.0", "callbox:dialogue/script@0.2.0");
    let error = refused(&upload(&other));
    assert_eq!(error.code(), "script_export_missing");
    assert!(error.to_string().contains("script@0.2.0"), "{error}");
}

#[test]
fn proposals_the_engines_do_not_know_are_refused() {
    for core in [
        "(module (memory 1 1 shared))",
        "(module (memory i64 1))",
        "(module (func $f (return_call $f)))",
        "(module (type (struct)))",
        "(module (tag))",
    ] {
        let error = refused(&upload(&component(&core.replace("(module", "(core module"))));
        assert_eq!(error.code(), "script_invalid", "{core}: {error}");
    }
}

#[test]
fn the_shape_is_bounded() {
    let limits = ShapeLimits {
        core_modules: 3,
        components: 3,
        component_depth: 2,
        instances: 5,
        functions: 10,
        body: 1_000,
        locals: 100,
        memories: 2,
        tables: 2,
        table_elements: 50,
        initial_memory: 4 << 16,
        ..ShapeLimits::default()
    };
    let cases = [
        ("(core module) ".repeat(3), "core modules"),
        ("(component) ".repeat(4), "nested components"),
        ("(component (component (component)))".into(), "components inside one another"),
        (format!("(core module $e) {}", "(core instance (instantiate $e)) ".repeat(5)), "instances"),
        (format!("(core module {})", "(func) ".repeat(10)), "functions"),
        (format!("(core module (func {}))", "nop ".repeat(1_000)), "bytes of function 0"),
        (format!("(core module (func (local {})))", "i32 ".repeat(101)), "locals of function 0"),
        ("(core module (memory 1)) (core module (memory 1))".into(), "memories"),
        ("(core module (memory 4))".into(), "bytes of initial memory"),
        ("(core module (table 1 funcref) (table 1 funcref) (table 1 funcref))".into(), "tables"),
        ("(core module (table 51 funcref))".into(), "elements of a table"),
    ];
    assert!(admit_shape(&upload(&component("")), &limits).is_ok());
    for (more, what) in cases {
        let error = admit_shape(&upload(&component(&more)), &limits).unwrap_err();
        assert!(matches!(&error, AdmissionError::Shape { what: found, .. } if found == what), "{what}: {error}");
        assert_eq!(error.code(), "script_shape");
    }
    let wasm = upload(&component(""));
    let error = admit_shape(&wasm, &ShapeLimits { size: wasm.len() as u64 - 1, ..limits }).unwrap_err();
    assert_eq!(error.code(), "script_too_large");
}

#[test]
fn the_manifest_must_be_there_and_right() {
    let bare = Bytes::from(wat::parse_str(component("")).unwrap());
    let error = refused(&bare);
    assert!(error.code() == "script_manifest_missing" && error.to_string().contains("callbox script build"), "{error}");
    let with = |name: &str, content: &str| {
        let mut text = component("");
        text.truncate(text.rfind(')').unwrap());
        Bytes::from(wat::parse_str(format!("{text} (@custom \"{name}\" \"{content}\"))")).unwrap())
    };
    let error = refused(&with("callbox:manifest", r#"{\"name\":\"a\",\"sources\":{\"crm\":{\"url\":\"x\"}}}"#));
    assert_eq!(error.code(), "script_manifest_invalid");
    assert!(error.to_string().contains("sources.crm.url"), "{error}");
    let good = package::embed(&bare, &manifest(), &BTreeMap::new()).unwrap();
    assert!(admit_shape(&good.into(), &ShapeLimits::default()).is_ok());
    // The manifest of a nested component is not ours.
    let nested = component(r#"(component (@custom "callbox:manifest" "{\"name\":\"a\"}"))"#);
    assert_eq!(refused(&Bytes::from(wat::parse_str(nested).unwrap())).code(), "script_manifest_missing");
}

#[test]
fn names_are_looked_for() {
    let warned = |text: &str| {
        let shape = admit_shape(&upload(text), &ShapeLimits::default()).unwrap();
        shape.checks.iter().any(|check| check.name == "names" && check.verdict == Verdict::Warning)
    };
    assert!(warned(&component("")));
    assert!(!warned(&component("(core module (func $named))")));
    let wasm = guest("(call $long)", "(func $long (result i32) (nop) (nop) (nop) (nop) (nop) (nop) (i32.const 0))");
    let shape = admit_shape(&wasm, &ShapeLimits::default()).unwrap();
    assert_eq!(shape.largest.map(|(name, _)| name).as_deref(), Some("realloc"));
}

#[tokio::test]
async fn our_own_compiled_code_is_refused_like_any_other() {
    let host = start(|_| ());
    host.host.admit(guest(HELLO, "")).await.unwrap();
    let artefact = std::fs::read_dir(host.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "cwasm"))
        .unwrap();
    let code = std::fs::read(artefact).unwrap()[32..].to_vec();
    assert!(code.starts_with(b"\x7fELF"));
    assert_eq!(host.host.admit(code.into()).await.unwrap_err().code(), "script_precompiled");
}
