//! Published vectors, and the two sides against each other.

use super::client::MAX_STALE;
use super::*;
use crate::wire::{Method, StartLine, Uri};
use std::net::{IpAddr, Ipv4Addr};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn response(lines: &[(Field, &str)]) -> Message {
    let mut response = Message {
        start: StartLine::Response { status: 401, reason: String::new() },
        headers: Default::default(),
        body: Bytes::new(),
    };
    for (field, value) in lines {
        response.headers.push(*field, bytes(value)).unwrap();
    }
    response
}

fn alice() -> Client {
    Client::new(Credentials { username: "alice".to_owned(), password: "secret".to_owned(), realm: None })
}

#[test]
fn a_password_is_for_the_realm_that_it_was_given_for() {
    let credentials = |realm: &str| Credentials {
        username: "alice".to_owned(),
        password: "secret".to_owned(),
        realm: Some(realm.to_owned()),
    };
    let asked = response(&[
        (Field::ProxyAuthenticate, "Digest realm=\"somebody\", nonce=\"n1\", qop=\"auth\""),
        (Field::WwwAuthenticate, "Digest realm=\"carrier\", nonce=\"n2\", qop=\"auth\""),
    ]);
    let mut ours = Client::new(credentials("carrier"));
    ours.challenged(&asked).unwrap();
    let lines = ours.authorize(&Method::Invite, b"sip:a@b", "0123456789abcdef");
    assert_eq!(lines.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [Field::Authorization]);
    assert_eq!(Client::new(credentials("another")).challenged(&asked), Err(DigestError::NoChallenge));
}

/// RFC 7616 §3.9 (with erratum 4897), RFC 2617 §3.5, RFC 2069.
#[test]
fn published_vectors() {
    let mufasa = |nonce, auth| Proof {
        username: b"Mufasa",
        realm: b"http-auth@example.org",
        nonce,
        method: b"GET",
        uri: b"/dir/index.html",
        auth,
    };
    let nonce = b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    let auth = Some(("00000001".to_owned(), &b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"[..]));
    let proof = mufasa(nonce, auth);
    assert_eq!(proof.response(Algorithm::Md5, b"Circle of Life"), "8ca523f5e9506fed4657c9700eebdbec");
    assert_eq!(
        proof.response(Algorithm::Sha256, b"Circle of Life"),
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    );
    let old = Proof {
        realm: b"testrealm@host.com",
        auth: Some(("00000001".to_owned(), b"0a4f113b")),
        ..mufasa(b"dcd98b7102dd2f0e8b11d0f600bfb0c093", None)
    };
    assert_eq!(old.response(Algorithm::Md5, b"Circle Of Life"), "6629fae49393a05397450978507c4ef1");
    let older = Proof { auth: None, ..old };
    assert_eq!(older.response(Algorithm::Md5, b"Circle Of Life"), "670fd8c2df070c60b045671b8b24ff02");
    let doe = Proof {
        username: "J\u{e4}s\u{f8}n Doe".as_bytes(),
        realm: b"api@example.org",
        nonce: b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        method: b"GET",
        uri: b"/doe.json",
        auth: Some(("00000001".to_owned(), b"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v")),
    };
    assert_eq!(
        doe.response(Algorithm::Sha512_256, b"Secret, or not?"),
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    );
}

#[test]
fn challenges_come_strongest_first_and_unknown_ones_not_at_all() {
    let found = Challenge::all(&response(&[
        (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"1\", qop=\"auth,auth-int\""),
        (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"2\", algorithm=SHA-512-256, qop=\"auth\""),
        (Field::WwwAuthenticate, "digest algorithm=sha-256,realm=\"a, \\\"b\\\"\" ,nonce=\"3\",stale=TRUE,opaque=\"\""),
        (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"4\", qop=\"auth-int\""),
        (Field::WwwAuthenticate, "Digest realm=\"a\", nonce=\"5\", algorithm=AKAv1-MD5"),
        (Field::WwwAuthenticate, "NoOneKnowsThisScheme opaque-data=here"),
        (Field::WwwAuthenticate, "Digest realm=\"a\""),
        (Field::WwwAuthenticate, "Digest realm=\"a, nonce=\"6\""),
        (Field::WwwAuthenticate, "Digest"),
    ]));
    let nonces: Vec<_> = found.iter().map(|challenge| (challenge.nonce.as_ref(), challenge.algorithm)).collect();
    assert_eq!(nonces, [(&b"2"[..], Algorithm::Sha512_256), (b"3", Algorithm::Sha256), (b"1", Algorithm::Md5)]);
    assert_eq!(found[1].realm.as_ref(), br#"a, \"b\""#);
    assert!(found[1].stale && !found[1].qop && found[1].opaque.as_deref() == Some(b""));
}

#[test]
fn a_client_answers_counts_and_gives_up() {
    let mut client = alice();
    assert_eq!(client.challenged(&response(&[])), Err(DigestError::NoChallenge));
    let first = response(&[
        (Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=SHA-256, opaque=\"o\""),
        (Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=MD5"),
        (Field::ProxyAuthenticate, "Digest realm=\"p\", nonce=\"9\""),
    ]);
    client.challenged(&first).unwrap();
    let lines = client.authorize(&Method::Invite, b"sip:a@h", "c1");
    assert_eq!(lines.len(), 2);
    let (field, line) = &lines[0];
    assert_eq!(*field, Field::Authorization);
    let expected = Proof {
        username: b"alice",
        realm: b"r",
        nonce: b"1",
        method: b"INVITE",
        uri: b"sip:a@h",
        auth: Some(("00000001".to_owned(), b"c1")),
    };
    let expected = expected.response(Algorithm::Sha256, b"secret");
    assert_eq!(
        line,
        &format!(
            "Digest username=\"alice\", realm=\"r\", nonce=\"1\", uri=\"sip:a@h\", response=\"{expected}\", \
             algorithm=SHA-256, cnonce=\"c1\", qop=auth, nc=00000001, opaque=\"o\""
        )
    );
    assert_eq!(lines[1].0, Field::ProxyAuthorization);
    assert!(!lines[1].1.windows(3).any(|three| three == b"nc=" || three == b"alg"), "{:?}", lines[1].1);
    // The same realm asks again: wrong password. With `stale` it is only the nonce.
    assert_eq!(client.clone().challenged(&first), Err(DigestError::Refused));
    let stale = response(&[(Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"2\", qop=auth, stale=true")]);
    client.challenged(&stale).unwrap();
    let again = client.authorize(&Method::Bye, b"sip:a@h", "c2");
    assert!(again[0].1.ends_with(b"cnonce=\"c2\", qop=auth, nc=00000001"), "{:?}", again[0].1);
    let later = client.authorize(&Method::Bye, b"sip:a@h", "c3");
    assert!(later[0].1.ends_with(b"nc=00000002"));
    // A nonce that served runs out without a word about it.
    let silent = response(&[(Field::WwwAuthenticate, "Digest realm=\"r\", nonce=\"3\", qop=auth")]);
    client.challenged(&silent).unwrap();
}

#[test]
fn a_server_that_calls_every_nonce_stale_is_not_asked_for_ever() {
    let mut client = alice();
    let challenge = |nonce: u32| {
        response(&[(Field::WwwAuthenticate, &format!("Digest realm=\"r\", nonce=\"{nonce}\", stale=true"))])
    };
    let tries = (0..100)
        .take_while(|nonce| {
            let taken = client.challenged(&challenge(*nonce)).is_ok();
            client.authorize(&Method::Invite, b"sip:a@h", "c");
            taken
        })
        .count();
    assert_eq!(tries, 1 + usize::from(MAX_STALE));
}

fn request(client: &mut Client, method: Method) -> Message {
    let uri = Uri::from_text("sip:+1@h").unwrap();
    let lines = client.authorize(&method, uri.as_bytes(), "abc");
    let mut request = Message::request(method, uri);
    for (field, line) in lines {
        request.headers.push(field, line).unwrap();
    }
    request
}

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a server makes of a request, for accounts with these passwords.
fn verdict(server: &Server, request: &Message, now: u64) -> &'static str {
    let passwords = [("alice", "secret"), ("a\"b", "secret")];
    match server.read(request, now, SOURCE) {
        Presented::Missing => "missing",
        Presented::Stale => "stale",
        Presented::Signed(signed) => {
            let found = passwords.iter().find(|(name, _)| *name == signed.username);
            // What goes into the hash is the name between the quotes, escapes and all (RFC 7616 §3.4).
            let quoted = |name: &str| name.replace('"', "\\\"");
            let secret = found.map(|(name, pass)| signed.algorithm().secret(&quoted(name), server.realm(), pass));
            if signed.proves(secret.as_deref()) { "accepted" } else { "refused" }
        }
    }
}

#[test]
fn server_and_client_agree() {
    let server = Server::new("call\"box", [7; 32], 60);
    let challenged = |client: &mut Client, now, line: usize| {
        let lines = server.challenge(now, 5, SOURCE, false, false);
        assert_eq!(lines.len(), 2, "SHA-256 and MD5");
        client.challenged(&response(&[(Field::WwwAuthenticate, std::str::from_utf8(&lines[line]).unwrap())])).unwrap();
    };
    let check = |request: &Message, now| verdict(&server, request, now);
    for line in 0..2 {
        let mut client = alice();
        challenged(&mut client, 1000, line);
        let good = request(&mut client, Method::Register);
        assert_eq!(check(&good, 1000), "accepted");
        assert_eq!(check(&good, 1060), "accepted");
        assert_eq!(check(&good, 1061), "stale");
        assert_eq!(check(&good, 998), "stale");
        let elsewhere: IpAddr = [192, 0, 2, 1].into();
        assert!(matches!(server.read(&good, 1000, elsewhere), Presented::Stale), "a nonce belongs to an address");
        assert_eq!(verdict(&Server::new("callbox", [8; 32], 60), &good, 1000), "stale");
        assert_eq!(verdict(&Server::new("elsewhere", [7; 32], 60), &good, 1000), "missing");
        let mut moved = good.clone();
        moved.start = StartLine::Request { method: Method::Register, uri: Uri::from_text("sip:+1@proxy").unwrap() };
        assert_eq!(check(&moved, 1000), "accepted", "a proxy may change the host");
        moved.start = StartLine::Request { method: Method::Register, uri: Uri::from_text("sip:+2@h").unwrap() };
        assert_eq!(check(&moved, 1000), "missing");
        moved.start = StartLine::Request { method: Method::Invite, uri: Uri::from_text("sip:+1@h").unwrap() };
        assert_eq!(check(&moved, 1000), "refused");
        let Presented::Signed(signed) = server.read(&good, 1000, SOURCE) else { panic!("it was signed") };
        assert_eq!((signed.nonce, signed.count), (Nonce { issued: 1000, number: 5 }, 1));
        assert!(!signed.proves(None) && !signed.proves(Some("")));
    }
    for (username, password, expected) in
        [("alice", "Secret", "refused"), ("nobody", "", "refused"), ("a\"b", "secret", "accepted")]
    {
        let mut client =
            Client::new(Credentials { username: username.to_owned(), password: password.to_owned(), realm: None });
        challenged(&mut client, 1000, 0);
        assert_eq!(check(&request(&mut client, Method::Register), 1000), expected, "{username}");
    }
    assert_eq!(check(&request(&mut alice(), Method::Register), 1000), "missing");
}

#[test]
fn nothing_secret_is_printed() {
    assert!(!format!("{:?}", alice()).contains("secret"));
    assert!(!format!("{:?}", Server::new("r", [77; 32], 1)).contains("77"));
}
