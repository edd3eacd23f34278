#![allow(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use str0m::ice::TransId;

fn hmac() -> &'static dyn Sha1HmacProvider {
    str0m::crypto::from_feature_flags().sha1_hmac_provider
}

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: name.into(), pwd: format!("{name}-password-of-enough-characters") }
}

fn path(port: u16) -> Path {
    Path { far: SocketAddr::from(([192, 0, 2, 7], port)), tcp: false }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Check {
    ours: &'static str,
    theirs: &'static str,
    password: String,
    choose: bool,
    controlling: bool,
}

impl Check {
    fn new(ours: &'static str, theirs: &'static str) -> Self {
        Self { ours, theirs, password: credentials(ours).pwd, choose: false, controlling: true }
    }

    fn choosing(ours: &'static str, theirs: &'static str) -> Self {
        Self { choose: true, ..Self::new(ours, theirs) }
    }

    fn bytes(&self) -> Vec<u8> {
        let name = format!("{}:{}", self.ours, self.theirs);
        let message = StunMessage::binding_request(&name, TransId::new(), self.controlling, 1, 99, self.choose);
        let mut buffer = vec![0; 256];
        let length =
            message.to_bytes(Some(self.password.as_bytes()), &mut buffer, |key, parts| hmac().sha1_hmac(key, parts));
        buffer.truncate(length.unwrap());
        buffer
    }
}

fn agent() -> Ice {
    Ice::new(credentials("ours"), credentials("them"), hmac(), ms(0))
}

fn check(ice: &mut Ice, now: u64, path: Path, check: &Check) -> Option<Checked> {
    let mut reply = [0; REPLY];
    let checked = ice.check(ms(now), path, &check.bytes(), &mut reply)?;
    // The far end takes the answer for ours.
    let answer = StunMessage::parse(&reply[..checked.reply]).unwrap();
    assert!(answer.verify(check.password.as_bytes(), |key, parts| hmac().sha1_hmac(key, parts)));
    if check.controlling {
        assert_eq!(answer.mapped_address(), Some(path.far));
    }
    Some(checked)
}

#[test]
fn the_way_that_the_far_end_chose_last_is_used() {
    let mut ice = agent();
    let first = check(&mut ice, 1, path(1), &Check::new("ours", "them")).unwrap();
    assert!(first.known && !first.selected);
    assert_eq!(ice.selected(), None);
    assert!(check(&mut ice, 2, path(1), &Check::choosing("ours", "them")).unwrap().selected);
    assert!(!check(&mut ice, 3, path(1), &Check::choosing("ours", "them")).unwrap().selected, "it is already");
    assert!(check(&mut ice, 4, path(2), &Check::choosing("ours", "them")).unwrap().selected);
    assert_eq!(ice.selected(), Some(path(2)));
    assert!(ice.knows(path(1)) && ice.knows(path(2)) && !ice.knows(path(3)));
    assert_eq!(ice.heard(), ms(4));
}

#[test]
fn who_does_not_know_the_password_is_nobody() {
    let mut ice = agent();
    for wrong in [
        Check { password: "guessed-but-not-the-right-one".into(), ..Check::choosing("ours", "them") },
        Check::choosing("else", "them"),
        Check::choosing("ours", "else"),
    ] {
        assert_eq!(check(&mut ice, 1, path(1), &wrong), None);
    }
    let mut cut = Check::choosing("ours", "them").bytes();
    cut.pop();
    assert_eq!(ice.check(ms(1), path(1), &cut, &mut [0; REPLY]), None);
    assert_eq!((ice.selected(), ice.paths().count(), ice.heard()), (None, 0, ms(0)));
}

#[test]
fn who_is_controlled_too_is_told() {
    let mut ice = agent();
    let lite = Check { controlling: false, ..Check::new("ours", "them") };
    let told = check(&mut ice, 1, path(1), &lite).unwrap();
    assert!(!told.known && told.reply > 0);
}

#[test]
fn after_a_restart_the_old_way_goes_on_until_the_new_one_is_chosen() {
    let mut ice = agent();
    check(&mut ice, 1, path(1), &Check::choosing("ours", "them")).unwrap();
    ice.restart(credentials("more"), credentials("anew"), ms(10));
    // It keeps its consent with the old credentials meanwhile, also after a change of its address.
    assert!(check(&mut ice, 20, path(1), &Check::choosing("ours", "them")).is_some());
    assert_eq!(ice.selected(), Some(path(1)));
    assert!(check(&mut ice, 30, path(2), &Check::choosing("more", "anew")).unwrap().selected);
    assert!(!check(&mut ice, 40, path(1), &Check::choosing("ours", "them")).unwrap().selected);
    assert_eq!(ice.selected(), Some(path(2)));
    assert_eq!(check(&mut ice, 40_000, path(1), &Check::choosing("ours", "them")), None, "long after");
    assert!(ice.is_with(&credentials("anew")) && !ice.is_with(&credentials("them")));
}

#[test]
fn ways_are_bounded_and_the_one_in_use_is_kept() {
    let mut ice = agent();
    check(&mut ice, 1, path(1), &Check::choosing("ours", "them")).unwrap();
    let mut forgotten = Vec::new();
    for port in 2..40 {
        let now = u64::from(port) * 50;
        forgotten.extend(check(&mut ice, now, path(port), &Check::new("ours", "them")).unwrap().forgotten);
    }
    assert_eq!(ice.paths().count(), MOST_PATHS);
    assert_eq!(forgotten.len(), 39 - MOST_PATHS);
    assert!(ice.knows(path(1)) && ice.knows(path(39)));
    ice.lose(path(1));
    assert_eq!((ice.selected(), ice.knows(path(1))), (None, false));
}

#[test]
fn a_flood_of_checks_is_not_computed() {
    let mut ice = agent();
    let forged = Check { password: "guessed-but-not-the-right-one".into(), ..Check::new("ours", "them") };
    for _ in 0..CHECKS {
        assert_eq!(check(&mut ice, 10, path(1), &forged), None);
    }
    assert_eq!(check(&mut ice, 11, path(1), &Check::new("ours", "them")), None, "the rest of the second is silent");
    assert!(check(&mut ice, 1_000, path(1), &Check::new("ours", "them")).is_some());
}
