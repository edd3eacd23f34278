//! Which phones do not understand a challenge by SHA-256.
//!
//! RFC 8760 has one challenge for each hash, and who knows one of them takes that. Some phones in use (baresip before
//! 2, and desk phones of its age) give up when they see a hash they do not know, even where MD5 is offered beside it. So a
//! source that was offered both, and comes again with another request and still without credentials, is offered MD5
//! alone from then on. What that gives away is no more than what such a phone gives away anyhow; accounts without a hash
//! by MD5 stay closed to it.

use crate::wire::Message;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;

/// Sources remembered; a flood of them makes it begin anew.
const MAX_SOURCES: usize = 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ear {
    /// It was offered both, in answer to this request.
    Asked(u64),
    /// It answers.
    Hears,
    /// It does not, unless MD5 stands alone.
    Deaf,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hearing(HashMap<SocketAddr, Ear>);

impl Hearing {
    /// A request without credentials.
    pub(crate) fn unanswered(&mut self, source: SocketAddr, request: &Message) {
        let mut hash = DefaultHasher::new();
        request.call_id().map(|id| id.as_ref()).unwrap_or_default().hash(&mut hash);
        request.cseq().map(|cseq| cseq.seq).unwrap_or_default().hash(&mut hash);
        let name = hash.finish();
        if self.0.len() >= MAX_SOURCES && !self.0.contains_key(&source) {
            self.0.clear();
        }
        let ear = self.0.entry(source).or_insert(Ear::Asked(name));
        if matches!(ear, Ear::Asked(first) if *first != name) {
            *ear = Ear::Deaf;
        }
    }

    /// A request with credentials.
    pub(crate) fn answered(&mut self, source: SocketAddr) {
        if let Some(ear @ Ear::Asked(_)) = self.0.get_mut(&source) {
            *ear = Ear::Hears;
        }
    }

    /// Whether only MD5 is to be offered.
    pub(crate) fn is_deaf(&self, source: SocketAddr) -> bool {
        self.0.get(&source) == Some(&Ear::Deaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn request(cseq: u32) -> Message {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: {cseq} REGISTER\r\nContent-Length: 0\r\n\r\n"
        );
        wire::parse(text.as_bytes()).unwrap()
    }

    fn source(n: u32) -> SocketAddr {
        SocketAddr::from((n.to_be_bytes(), 5060))
    }

    #[test]
    fn who_does_not_answer_is_asked_more_simply() {
        let mut hearing = Hearing::default();
        let mut comes = |n, cseq| {
            hearing.unanswered(source(n), &request(cseq));
            hearing.is_deaf(source(n))
        };
        assert!(!comes(1, 1));
        assert!(!comes(1, 1), "a repetition: our challenge was lost");
        assert!(comes(1, 2));
        assert!(!comes(2, 1));
        hearing.answered(source(1));
        hearing.answered(source(2));
        assert!(hearing.is_deaf(source(1)), "its next challenge is to be as simple");
        hearing.unanswered(source(2), &request(7));
        assert!(!hearing.is_deaf(source(2)), "it showed that it understands");
    }

    #[test]
    fn it_stays_small() {
        let mut hearing = Hearing::default();
        for n in 0..3 * u32::try_from(MAX_SOURCES).unwrap() {
            hearing.unanswered(source(n), &request(1));
            assert!(hearing.0.len() <= MAX_SOURCES);
        }
    }
}
