//! Uploaded components are whole, or it is told that they are not.

use crate::fixture::{House, who};
use callbox_store::scripts::NewVersion;

#[tokio::test]
async fn artefacts_are_whole_or_told() {
    let house = House::new().await;
    let digest = house.store.put_blob(b"component".to_vec()).await.unwrap();
    assert_eq!(house.store.put_blob(b"component".to_vec()).await.unwrap(), digest);
    assert_eq!(house.store.blob(&digest).await.unwrap(), b"component");
    let hex = digest.trim_start_matches("sha256:");
    let path = house.folder.path().join("artefacts").join(&hex[..2]).join(hex);
    std::fs::write(&path, "compomemt").unwrap();
    assert_eq!(house.store.blob(&digest).await.unwrap_err().code(), "store_artefact");
    std::fs::remove_file(&path).unwrap();
    for none in [digest.as_str(), "sha256:../../etc/passwd", "", "sha256:é"] {
        assert_eq!(house.store.blob(none).await.unwrap_err().code(), "store_artefact", "{none}");
    }
    let script = house.script("s").await;
    let new = NewVersion {
        digest,
        size: 9,
        manifest: serde_json::json!({}),
        imports: Vec::new(),
        checks: serde_json::json!([]),
        toolchain: None,
        note: None,
    };
    let refused = house.store.add_version(&house.tenant(), &script.id, new, &who()).await.unwrap_err();
    assert_eq!(refused.code(), "store_artefact");
}
