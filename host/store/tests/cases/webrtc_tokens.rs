//! Tokens of web pages: good for one number, for a while, so many times.

use crate::fixture::{House, number, who};
use callbox_store::audit::AuditFilter;
use callbox_store::webrtc_tokens::{IssuedWebToken, NewWebToken, TokenCaller, TokenError, TokenSettings};
use callbox_store::{PageRequest, StoreError};
use serde_json::json;

fn token(number: &str) -> NewWebToken {
    let settings = TokenSettings { variables: Some(json!({ "pin": "5ecret" })), ..TokenSettings::default() };
    NewWebToken { number: number.to_owned(), settings, uses: 1, lifetime_ms: 60_000 }
}

async fn house() -> (House, String) {
    let house = House::in_order().await;
    let made = house.store.create_number(&house.tenant(), number("+493012345", None), &who()).await.unwrap();
    (house, made.id)
}

async fn made(house: &House, new: NewWebToken) -> IssuedWebToken {
    house.store.create_webrtc_token(&house.tenant(), new, &who()).await.unwrap()
}

#[tokio::test]
async fn a_number_is_named_by_its_id_or_as_it_is_dialled() {
    let (house, id) = house().await;
    for name in [id.as_str(), "+49 30 12345", "493012345"] {
        assert_eq!(made(&house, token(name)).await.token.number_id, id, "{name}");
    }
    for name in ["+4930", "", "num_0", "' OR 1=1"] {
        let error = house.store.create_webrtc_token(&house.tenant(), token(name), &who()).await.unwrap_err();
        let StoreError::Invalid(errors) = error else { panic!("{error}") };
        assert_eq!((errors[0].path.as_str(), errors[0].code.as_str()), ("number", "not_found"), "{name}");
    }
    let stranger = house.store.create_tenant("other", &who()).await.unwrap().id;
    assert!(house.store.create_webrtc_token(&stranger, token(&id), &who()).await.is_err(), "another's number");
}

#[tokio::test]
async fn it_is_known_by_its_text_alone_and_the_text_is_nowhere() {
    let (house, id) = house().await;
    let issued = made(&house, token(&id)).await;
    let text = issued.secret.expose();
    assert_eq!(house.store.webrtc_token_of(text).await.unwrap(), issued.token);
    let forged = {
        // The same id with another secret and the right checksum: what somebody makes who has seen the id.
        let other = made(&house, token(&id)).await;
        let (start, _) = text.split_at(4 + 32 + 1);
        format!("{start}{}", &other.secret.expose()[4 + 32 + 1..])
    };
    for wrong in ["", "cbt_", forged.as_str()] {
        assert_eq!(house.store.webrtc_token_of(wrong).await, Err(TokenError::Unknown), "{wrong}");
    }
    assert!(!house.holds(&text[4 + 32 + 1..]).await);
    let log = house.store.audit_log(&house.tenant(), &AuditFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(log.data[0].action, "webrtc_token.created");
    assert!(!serde_json::to_string(&log.data).unwrap().contains("5ecret"));
    assert!(!format!("{issued:?}").contains(text));
}

#[tokio::test]
async fn a_use_is_spent_once_and_can_be_given_back() {
    let (house, id) = house().await;
    let issued = made(&house, NewWebToken { uses: 3, ..token(&id) }).await.token;
    let spend = || house.store.spend_webrtc_token(&issued);
    let (a, b, c, d) = tokio::join!(spend(), spend(), spend(), spend());
    let refused: Vec<_> = [a, b, c, d].into_iter().filter_map(Result::err).collect();
    assert_eq!(refused, [TokenError::Spent(3)], "four at once with three uses");
    house.store.give_back_webrtc_token(&issued.id);
    spend().await.unwrap();
    let now = house.store.webrtc_token(&house.tenant(), &issued.id).await.unwrap();
    assert_eq!((now.used, now.check(house.store.now())), (3, Err(TokenError::Spent(3))));
}

#[tokio::test]
async fn whoever_comes_too_late_is_told_why() {
    let (house, id) = house().await;
    let [expires, revoked] = [made(&house, token(&id)).await, made(&house, token(&id)).await];
    let check = async |issued: &IssuedWebToken| {
        house.store.webrtc_token_of(issued.secret.expose()).await.unwrap().check(house.store.now())
    };
    assert_eq!((check(&expires).await, check(&revoked).await), (Ok(()), Ok(())));
    let row = house.store.revoke_webrtc_token(&house.tenant(), &revoked.token.id, &who()).await.unwrap();
    assert!(row.revoked_at.is_some());
    assert_eq!(check(&revoked).await, Err(TokenError::Revoked));
    assert_eq!(house.store.spend_webrtc_token(&revoked.token).await, Err(TokenError::Revoked));
    house.clock.advance(59_999);
    assert_eq!(check(&expires).await, Ok(()));
    house.clock.advance(1);
    let expired = Err(TokenError::Expired(expires.token.expires_at));
    assert_eq!(check(&expires).await, expired);
    assert_eq!(house.store.spend_webrtc_token(&expires.token).await, expired);
    // A day later nobody remembers, once there are new ones.
    house.clock.advance(24 * 3_600_000);
    made(&house, token(&id)).await;
    assert_eq!(house.store.webrtc_token_of(expires.secret.expose()).await, Err(TokenError::Unknown));
    let left = house.store.webrtc_tokens(&house.tenant(), &PageRequest::default()).await.unwrap();
    assert_eq!(left.data.len(), 1);
}

#[tokio::test]
async fn a_token_outlives_its_number_and_leads_nowhere() {
    let (house, id) = house().await;
    let issued = made(&house, token(&id)).await;
    house.store.delete_number(&house.tenant(), &id, &who()).await.unwrap();
    let token = house.store.webrtc_token_of(issued.secret.expose()).await.unwrap();
    assert!(matches!(
        house.store.route_number(&token.tenant_id, &token.number_id).await,
        Err(StoreError::NotFound { kind: "number", .. })
    ));
}

#[tokio::test]
async fn everything_that_is_wrong_is_told() {
    let (house, _) = house().await;
    let settings = TokenSettings {
        variables: Some(json!([1])),
        origins: vec!["https://shop.example".into(), "shop.example".into()],
        caller: TokenCaller { id: Some("a b".into()), display_name: Some("\n".into()), number: Some("030".into()) },
        external_id: Some(String::new()),
        relation_id: Some("x".repeat(256)),
    };
    let new = NewWebToken { number: "+49".into(), settings, uses: 0, lifetime_ms: 1 };
    let error = house.store.create_webrtc_token(&house.tenant(), new, &who()).await.unwrap_err();
    let StoreError::Invalid(errors) = error else { panic!("{error}") };
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "uses",
            "origins[1]",
            "variables",
            "caller.display_name",
            "external_id",
            "relation_id",
            "caller.id",
            "caller.number"
        ]
    );
}

#[tokio::test]
async fn a_token_for_a_page_is_for_that_page() {
    let (house, id) = house().await;
    let settings = TokenSettings { origins: vec!["https://Shop.example/".into()], ..TokenSettings::default() };
    let token = made(&house, NewWebToken { settings, ..token(&id) }).await.token;
    assert!(token.admits(Some("https://shop.example")) && token.admits(Some("https://SHOP.example")));
    for other in [
        None,
        Some("null"),
        Some("http://shop.example"),
        Some("https://shop.example.evil"),
        Some("https://a.shop.example"),
    ] {
        assert!(!token.admits(other), "{other:?}");
    }
}
