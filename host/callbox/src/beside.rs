//! How one file names another.

use std::path::{Component, Path, PathBuf};

/// The path of `other` as seen from the folder of `file`, which need not be there yet; the whole path where the two have
/// nothing but the root in common.
pub(crate) fn beside(file: &Path, other: &Path) -> String {
    let real =
        |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let (folder, other) = (real(folder), real(other));
    let common = folder.components().zip(other.components()).take_while(|(one, two)| one == two).count();
    let up = folder.components().count() - common;
    if common <= 1 && up > 0 {
        return other.display().to_string();
    }
    let path: PathBuf = std::iter::repeat_n(Component::ParentDir, up).chain(other.components().skip(common)).collect();
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_file_is_named_from_the_other_s_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("scenarios")).unwrap();
        std::fs::create_dir_all(at("target")).unwrap();
        std::fs::write(at("target/a.wasm"), b"").unwrap();
        assert_eq!(beside(&at("scenarios/x.yaml"), &at("target/a.wasm")), "../target/a.wasm");
        assert_eq!(beside(&at("x.yaml"), &at("target/a.wasm")), "target/a.wasm");
        assert_eq!(beside(&at("target/x.yaml"), &at("target/a.wasm")), "a.wasm");
        assert_eq!(beside(&at("x.yaml"), Path::new("/no/such.wasm")), "/no/such.wasm");
        assert_eq!(beside(Path::new("/x.yaml"), Path::new("/no/such.wasm")), "no/such.wasm");
    }
}
