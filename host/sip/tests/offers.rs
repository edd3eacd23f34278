//! What telephones, PBXs and carriers offer, and what we answer: `offers/NAME.sdp` and `offers/NAME.answer`, which holds
//! what the media plane is told, too. `UPDATE_ANSWERS=1` writes the answers anew: read the difference.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::sdp::{Fingerprint, LocalMedia, Secrets, Security, Session, SessionIds};
use std::path::Path;

fn answer(offer: &[u8]) -> String {
    let local = LocalMedia {
        other: Some("2001:db8::9".parse().unwrap()),
        fingerprint: Some(Fingerprint::of(b"our certificate")),
        ..LocalMedia::new("192.0.2.9:20000".parse().unwrap())
    };
    let mut session = Session::new(SessionIds { id: 7, version: 1 }).with_secrets(Secrets::new([1; 32]));
    match session.answer(&local, offer) {
        Ok((answer, agreed)) => {
            // Keys are derived and random in life: only that they are there is of interest.
            let security = match &agreed.security {
                Security::None => "plain".to_owned(),
                Security::Sdes { send, receive } => format!("{} there, {} back", receive.suite(), send.suite()),
                Security::Dtls { role, fingerprint } => format!("{role:?} towards {fingerprint}"),
            };
            let lines: Vec<String> = String::from_utf8(answer)
                .unwrap()
                .lines()
                .map(|line| line.split_once("inline:").map_or(line, |(head, _)| head.trim_end()).to_owned())
                .collect();
            format!(
                "{}\n\ncodec {} {}, digits {:?}, noise {:?}, {} ms, fec {}, {}, to {} and {}, {security}\n",
                lines.join("\n"),
                agreed.codec,
                agreed.payload_type,
                agreed.dtmf,
                agreed.comfort_noise,
                agreed.ptime_ms,
                agreed.fec,
                agreed.direction.as_str(),
                agreed.remote,
                agreed.remote_rtcp,
            )
        }
        Err(error) => format!("{} {error}\n", error.status()),
    }
}

#[test]
fn offers_of_the_field_get_their_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/offers");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sdp") {
            continue;
        }
        seen += 1;
        // As it is on the wire, and as some send it.
        let text = std::fs::read_to_string(&path).unwrap();
        let answered = answer(text.replace('\n', "\r\n").as_bytes());
        assert_eq!(answered, answer(text.as_bytes()), "{}", path.display());
        let expected = path.with_extension("answer");
        if std::env::var_os("UPDATE_ANSWERS").is_some() {
            std::fs::write(&expected, &answered).unwrap();
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(answered, wanted, "{}: run with UPDATE_ANSWERS=1 and read the difference", path.display());
    }
    assert!(seen >= 10, "{seen} offers");
}
