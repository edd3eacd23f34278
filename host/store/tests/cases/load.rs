//! Many at once: nobody is told that the database is locked, and one that fails
//! takes nothing of the others with it.

use crate::fixture::{House, end};
use callbox_store::PageRequest;
use callbox_store::calls::CallFilter;
use callbox_store::outbox::NewPush;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_readers_do_not_lock_each_other_out() {
    let house = House::new().await;
    house.webhook(&[]).await;
    // A second process looks on and changes things, as an administrator's command would.
    let other = house.another().await;
    let mut tasks = Vec::new();
    for n in 0..50 {
        let store = house.store.clone();
        let other = other.clone();
        let starts: Vec<_> = (0..10).map(|_| house.call()).collect();
        tasks.push(tokio::spawn(async move {
            for start in starts {
                store.start_call(start.clone()).await.unwrap();
                store.mark_answered(&start, start.created_at).await.unwrap();
                // Fails in the middle of other people's batches.
                let bad = NewPush {
                    tenant_id: start.tenant_id.clone(),
                    call_id: "call_none".to_owned(),
                    script_id: "scr_1".to_owned(),
                    push_seq: 1,
                    event_id: None,
                    destination: "d".to_owned(),
                    body: "1".to_owned(),
                };
                assert_eq!(store.enqueue_push(bad).await.unwrap_err().code(), "not_found");
                store.complete_call(end(&start)).await.unwrap();
                store.calls(&start.tenant_id, &CallFilter::default(), &PageRequest::default()).await.unwrap();
                if n % 10 == 0 {
                    other.check().await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let tenant = house.tenant();
    let mut page = PageRequest { cursor: None, limit: Some(200) };
    let mut seen = 0;
    loop {
        let calls = house.store.calls(&tenant, &CallFilter::default(), &page).await.unwrap();
        for call in &calls.data {
            let events = house.store.call_events(&tenant, &call.id).await.unwrap();
            let kinds: Vec<_> = events.iter().map(|e| e.kind.as_str()).collect();
            assert_eq!(kinds, ["call.started", "call.answered", "call.completed"]);
            seen += 1;
        }
        page.cursor = calls.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, 500);
}
