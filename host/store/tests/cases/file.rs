//! What happens to a file: a full disk, a broken one, a newer schema, two processes at once, one that is killed.

use crate::fixture::{House, call, end};
use callbox_store::{PageRequest, Store, StoreError};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

async fn open(path: &Path) -> Result<Store, StoreError> {
    let folder = path.parent().unwrap().join("artefacts");
    Store::open(&format!("sqlite://{}", path.display()), &folder).await
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_store_goes_on_when_there_is_room() {
    let house = House::new().await;
    let before = house.call();
    house.store.start_call(before.clone()).await.unwrap();
    house.store.limit_pages(1).await.unwrap();
    // Several at once, so that the failure is in the middle of a batch.
    let mut all = Vec::new();
    for _ in 0..50 {
        let (store, mut completion) = (house.store.clone(), end(&house.call()));
        completion.tape = Some(vec![7; 100_000]);
        all.push(tokio::spawn(async move { (completion.start.id.clone(), store.complete_call(completion).await) }));
    }
    let mut stored = Vec::new();
    for one in all {
        match one.await.unwrap() {
            (id, Ok(_)) => stored.push(id),
            (_, Err(error)) => {
                assert_eq!(error.code(), "store_disk_full", "{error}");
                assert!(error.is_transient());
            }
        }
    }
    assert!(stored.is_empty(), "100 kB do not fit into a full file");
    // Reading goes on.
    assert_eq!(house.store.active_calls(&house.tenant()).await.unwrap(), 1);
    // One that waits is stored when there is room, without a restart.
    let waiting = {
        let (store, completion) = (house.store.clone(), end(&before));
        let mut completion = completion;
        completion.tape = Some(vec![7; 100_000]);
        tokio::spawn(async move { store.complete_call_at_last(completion).await })
    };
    tokio::task::yield_now().await;
    house.store.limit_pages(1_000_000).await.unwrap();
    assert!(waiting.await.unwrap().unwrap().first);
    assert_eq!(house.store.call_events(&house.tenant(), &before.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new().await;
    house.store.check().await.unwrap();
    for name in ["callbox.db", "callbox.db-wal", "callbox.db-shm"] {
        let mode = std::fs::metadata(house.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn files_that_are_no_database_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callbox.db");
    std::fs::write(&path, "this is not a database, but long enough to be taken for one ".repeat(100)).unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    let folder_as_file = folder.path().join("x");
    std::fs::write(&folder_as_file, "").unwrap();
    let error = open(&folder_as_file.join("callbox.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_) | StoreError::ReadOnly(_)), "{error:?}");
    let error = Store::open("mysql://user:hunter2@db/x", folder.path()).await.unwrap_err();
    assert!(matches!(&error, StoreError::BadUrl { .. }) && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_is_told() {
    let house = House::new().await;
    for _ in 0..200 {
        house.store.complete_call(end(&house.call())).await.unwrap();
    }
    house.store.close().await;
    assert_eq!(house.store.check().await.unwrap_err(), StoreError::Closed);
    let path = house.folder.path().join("callbox.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8_192..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let told = match open(&path).await {
        Ok(store) => {
            let tenant = store.default_tenant().clone();
            let calls =
                store.calls(&tenant, &callbox_store::calls::CallFilter::default(), &PageRequest::default()).await;
            calls.map(drop)
        }
        Err(error) => Err(error),
    };
    assert!(matches!(told, Err(StoreError::Corrupt(_))), "{told:?}");
}

#[tokio::test]
async fn a_newer_schema_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callbox.db");
    open(&path).await.unwrap().close().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::TooNew(_)), "{error:?}");
}

#[tokio::test]
async fn a_database_in_memory_works_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite::memory:", folder.path()).await.unwrap();
    let other = Store::open("sqlite::memory:", folder.path()).await.unwrap();
    assert_ne!(store.default_tenant(), other.default_tenant(), "two of them share nothing");
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let (store, start) = (store.clone(), call(&store));
            tokio::spawn(async move {
                store.complete_call(end(&start)).await.unwrap();
                store.call(&start.tenant_id, &start.id).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    store.check().await.unwrap();
}

#[tokio::test]
async fn two_processes_do_not_run_calls_on_one_file() {
    let house = House::new().await;
    house.store.start_host("a").await.unwrap();
    let second = house.another().await;
    assert!(matches!(second.start_host("b").await, Err(StoreError::InUse(_))));
    // It may still look and administer.
    assert_eq!(second.default_tenant(), house.store.default_tenant());
    second.check().await.unwrap();
}

const CHILD: &str = "CALLBOX_STORE_TEST_CHILD";

/// Not a test of its own: the process that [`what_was_acknowledged_survives_a_kill`]
/// kills. Tells each call it has begun and each it has completed, until it dies.
#[tokio::test]
async fn child_that_writes_until_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let store = open(&Path::new(&folder).join("callbox.db")).await.unwrap();
    store.start_host("host-a").await.unwrap();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, mut start) = (store.clone(), call(&store));
        all.spawn(async move {
            let tell = |word: &str, id: &str| {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{word} {id}").and_then(|()| out.flush()).unwrap();
            };
            loop {
                start.id = callbox_store::id::new("call");
                store.start_call(start.clone()).await.unwrap();
                tell("begun", &start.id);
                store.complete_call(end(&start)).await.unwrap();
                tell("done", &start.id);
            }
        });
    }
    // The first that ends has failed.
    all.join_next().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut begun = Vec::new();
    for lines in [1_usize, 20, 77, 150] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "file::child_that_writes_until_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let words = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let told: Vec<String> =
            words.filter(|l| l.starts_with("begun ") || l.starts_with("done ")).take(lines).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told.len(), lines);

        let store = open(&folder.path().join("callbox.db")).await.unwrap();
        let tenant = store.default_tenant().clone();
        for id in told.iter().filter_map(|l| l.strip_prefix("done ")) {
            let events = store.call_events(&tenant, id).await.unwrap();
            assert_eq!(events.len(), 1, "{id} was acknowledged");
        }
        begun.extend(told.iter().filter_map(|l| l.strip_prefix("begun ")).map(str::to_owned));
        store.start_host("host-a").await.unwrap();
        assert_eq!(store.active_calls(&tenant).await.unwrap(), 0);
        for id in &begun {
            assert_eq!(store.call_events(&tenant, id).await.unwrap().len(), 1, "{id} began");
        }
        store.close().await;
    }
}
