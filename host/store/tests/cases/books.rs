//! Whatever happens in whatever order – also twice, also with crashes in between –
//! the books of every call come out right.

use crate::fixture::{Database, House, end};
use callbox_store::calls::CallState;
use callbox_store::outbox::NewPush;
use callbox_store::{PageRequest, calls::CallFilter};
use proptest::prelude::*;
use std::collections::BTreeMap;

const CALLS: usize = 4;

/// A database of a server takes longer to make than a file.
const CASES: u32 = match crate::IN {
    Database::Sqlite => 48,
    Database::Postgres => 8,
};

/// One thing that happens to one of a few calls.
#[derive(Clone, Copy, Debug)]
enum Step {
    Start(usize),
    Answer(usize),
    Push(usize, u32),
    Transfer(usize),
    Complete(usize),
    Crash,
    Time(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..CALLS).prop_map(Step::Start),
        2 => (0..CALLS).prop_map(Step::Answer),
        4 => (0..CALLS, 1_u32..4).prop_map(|(call, seq)| Step::Push(call, seq)),
        1 => (0..CALLS).prop_map(Step::Transfer),
        3 => (0..CALLS).prop_map(Step::Complete),
        1 => Just(Step::Crash),
        1 => (-5_000_i64..60_000).prop_map(Step::Time),
    ];
    proptest::collection::vec(step, 1..40)
}

async fn check(steps: Vec<Step>, subscribed: bool) {
    let mut house = House::new().await;
    if subscribed {
        house.webhook(&[]).await;
    }
    let starts: Vec<_> = (0..CALLS).map(|_| house.call()).collect();
    // What must be in the books: whether it was begun, and which pushes were acknowledged.
    let mut begun = [false; CALLS];
    let mut pushed: BTreeMap<(usize, u32), String> = BTreeMap::new();
    for step in steps {
        let (store, tenant) = (house.store.clone(), house.tenant());
        match step {
            Step::Start(n) => {
                store.start_call(starts[n].clone()).await.unwrap();
                begun[n] = true;
            }
            Step::Answer(n) => store.mark_answered(&starts[n], store.now()).await.unwrap(),
            Step::Push(n, seq) => {
                let push = NewPush {
                    tenant_id: tenant,
                    call_id: starts[n].id.clone(),
                    script_id: "scr_1".to_owned(),
                    push_seq: seq,
                    event_id: None,
                    destination: "d".to_owned(),
                    body: "{}".to_owned(),
                };
                match store.enqueue_push(push).await {
                    Ok(id) => assert_eq!(pushed.entry((n, seq)).or_insert_with(|| id.clone()), &id),
                    Err(error) => assert!(error.code() == "not_found" && !begun[n], "{error}"),
                }
            }
            Step::Transfer(n) => {
                let told =
                    store.emit_call_event(&tenant, &starts[n].id, "call.transferred", &serde_json::json!({})).await;
                assert!(told.is_ok() || !begun[n]);
            }
            Step::Complete(n) => {
                store.complete_call(end(&starts[n])).await.unwrap();
                begun[n] = true;
            }
            Step::Crash => {
                drop(store);
                house = house.reopen().await;
                house.store.start_host("host-a").await.unwrap();
                assert_eq!(house.store.active_calls(&house.tenant()).await.unwrap(), 0);
            }
            Step::Time(ms) => house.clock.advance(ms),
        }
    }
    let (store, tenant) = (house.store.clone(), house.tenant());
    for (n, start) in starts.iter().enumerate() {
        let events = store.call_events(&tenant, &start.id).await.unwrap();
        let sequences: Vec<_> = events.iter().map(|e| e.sequence.unwrap()).collect();
        assert_eq!(sequences, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>(), "a gap");
        let completed = events.iter().filter(|e| e.kind == "call.completed").count();
        let state = store.call(&tenant, &start.id).await.ok().map(|c| c.summary.state);
        let expected = match state {
            None => (false, 0),
            Some(CallState::Active) => (true, 0),
            Some(CallState::Completed) => (true, 1),
        };
        assert_eq!((begun[n], completed), expected);
        for ((_, seq), id) in pushed.iter().filter(|((of, _), _)| *of == n) {
            assert_eq!(events.iter().filter(|e| e.id == *id).count(), 1, "push {seq}");
        }
    }
    let listed = store.calls(&tenant, &CallFilter::default(), &PageRequest::default()).await.unwrap().data.len();
    assert_eq!(listed, begun.iter().filter(|b| **b).count());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_come_out_right(steps in steps(), subscribed: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps, subscribed));
    }
}
