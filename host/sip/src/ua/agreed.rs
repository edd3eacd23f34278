//! What both sides described last (RFC 3264): what a refresh of the session repeats, and what a repeated offer gets.

use bytes::Bytes;

/// The outcome of the last completed exchange of offer and answer.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    ours: Option<Bytes>,
    theirs: Option<Bytes>,
    /// Whether theirs was the offer and ours its answer.
    answered: bool,
}

impl Agreed {
    /// We answered an offer of theirs.
    pub(crate) fn given(&mut self, offer: &Bytes, answer: &Bytes) {
        self.keep(answer, offer, true);
    }

    /// They answered an offer of ours.
    pub(crate) fn got(&mut self, offer: &Bytes, answer: &Bytes) {
        self.keep(offer, answer, false);
    }

    /// Copies, since a part of a message keeps the whole of it in memory for as long as the call lasts.
    fn keep(&mut self, ours: &Bytes, theirs: &Bytes, answered: bool) {
        self.ours = Some(Bytes::copy_from_slice(ours));
        self.theirs = Some(Bytes::copy_from_slice(theirs));
        self.answered = answered;
    }

    /// Our last description.
    pub(crate) fn ours(&self) -> Option<Bytes> {
        self.ours.clone()
    }

    /// What they said last, where that answers us.
    pub(crate) fn answer(&self) -> Option<Bytes> {
        self.theirs.clone().filter(|_| !self.answered)
    }

    /// Whether this is what they said last.
    pub(crate) fn is_known(&self, theirs: &[u8]) -> bool {
        self.theirs.as_deref() == Some(theirs)
    }

    /// The answer to an offer that repeats the last one byte for byte, its `o=` line included: the peer only refreshes
    /// the session. What we offered ourselves is no answer to it: it may name more than the peer took.
    pub(crate) fn repeated(&self, offer: &[u8]) -> Option<Bytes> {
        self.ours.clone().filter(|_| self.answered && self.is_known(offer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offer_that_was_answered_is_answered_again() {
        let (ours, theirs) = (Bytes::from_static(b"ours"), Bytes::from_static(b"theirs"));
        let mut agreed = Agreed::default();
        assert_eq!(agreed.repeated(b"theirs"), None);
        agreed.given(&theirs, &ours);
        assert_eq!(agreed.repeated(b"theirs"), Some(ours.clone()));
        assert_eq!(agreed.repeated(b"theirs "), None);
        agreed.got(&ours, &theirs);
        assert_eq!((agreed.repeated(b"theirs"), agreed.is_known(b"theirs")), (None, true));
        assert_eq!(agreed.ours(), Some(ours));
    }
}
