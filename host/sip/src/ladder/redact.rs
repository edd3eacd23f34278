//! What nobody is to read in a kept message.

/// Headers whose value answers a challenge.
const ANSWERS: [&str; 2] = ["authorization", "proxy-authorization"];
/// The header that carries what lets a web page call (docs/webrtc.md), in lower case. Its value is a secret as a whole.
pub const TOKEN_HEADER: &str = "x-callbox-token";
/// What stands for a secret.
const MASK: &str = "…";

/// A message as text, without its secrets: credentials, tokens, SRTP keys (RFC 4568), passwords of ICE (RFC 8839),
/// digits in a body (RFC 6086 packages).
pub(crate) fn redact(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // As the parser reads it: line breaks before the message mean nothing, and line feeds alone end lines.
    let (before, text) = text.split_at(text.len() - text.trim_start_matches(['\r', '\n']).len());
    let lines = || text.split_inclusive('\n');
    let head = lines().position(|line| matches!(line, "\r\n" | "\n")).map_or(usize::MAX, |at| at + 1);
    let head = lines().take(head).map(str::len).sum();
    let (head, body) = text.split_at(head);
    let mut out = String::with_capacity(before.len() + text.len());
    out.push_str(before);
    let mut secret = false;
    let mut digits = false;
    for line in head.split_inclusive('\n') {
        let folded = line.starts_with([' ', '\t']);
        if folded && secret {
            continue;
        }
        let name = if folded { "" } else { line.split_once(':').map_or("", |(name, _)| name.trim()) };
        let token = name.eq_ignore_ascii_case(TOKEN_HEADER);
        secret = token || ANSWERS.iter().any(|answer| answer.eq_ignore_ascii_case(name));
        if secret {
            let scheme = line[name.len()..].trim_start_matches([' ', '\t', ':']).split_whitespace().next();
            let scheme = scheme.filter(|_| !token);
            out.push_str(name);
            out.push_str(": ");
            if let Some(scheme) = scheme {
                out.push_str(scheme);
                out.push(' ');
            }
            out.push_str(MASK);
            out.push_str("\r\n");
            continue;
        }
        digits |= (name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("c"))
            && line.to_ascii_lowercase().contains("dtmf");
        out.push_str(line);
    }
    if digits {
        if !body.is_empty() {
            out.push_str(MASK);
        }
        return out;
    }
    describe(body, &mut out);
    out
}

/// A session description without its secrets.
pub(super) fn description(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    describe(text, &mut out);
    out
}

fn describe(body: &str, out: &mut String) {
    for line in body.split_inclusive('\n') {
        // However it is written: whoever reads descriptions generously hides generously. A line may hold several keys.
        let small = line.to_ascii_lowercase();
        // RFC 8839 §5.4: with it somebody could take the media's way over.
        if let Some(at) = small.find("ice-pwd") {
            let end = line.trim_end_matches(['\r', '\n']).len();
            out.push_str(&line[..at + "ice-pwd".len()]);
            out.push(':');
            out.push_str(MASK);
            out.push_str(&line[end..]);
            continue;
        }
        let mut rest = line;
        while let Some(at) = small[line.len() - rest.len()..].find("inline:").filter(|_| small.contains("crypto")) {
            let (shown, key) = rest.split_at(at + "inline:".len());
            out.push_str(shown);
            out.push_str(MASK);
            rest = key.find([' ', '\t', '|', ';', '\r', '\n']).map_or("", |end| &key[end..]);
        }
        out.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::redact;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        let message = "INVITE sip:x SIP/2.0\r\nAuthorization: Digest username=\"u\", response=\"0a1b\"\r\n folded=\"0c\"\r\n\
            proxy-authorization :Digest nonce=\"n0nce\"\r\nX-A: b\r\n\r\nv=0\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0|2^20|1:4 KDR=1\r\na=crypto:2 X inline:Zz09\r\na=ptime:20\r\n\
            A = CRYPTO:3 X INLINE:b25l;inline:dHdv|2^20\r\na=ice-pwd:1cepwd\r\n";
        let message = message.replacen("X-A", "x-callbox-token: cbt_t0ken\r\n more\r\nX-A", 1);
        let text = redact(message.as_bytes());
        for secret in ["0a1b", "0c", "n0nce", "c2VjcmV0", "Zz09", "b25l", "dHdv", "1cepwd", "t0ken", "more"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for kept in [
            "Authorization: Digest …\r\n",
            "X-A: b\r\n\r\nv=0",
            "inline:…|2^20|1:4 KDR=1\r\n",
            "inline:…\r\na=ptime:20",
            "x-callbox-token: …\r\nX-A",
            "a=ice-pwd:…\r\n",
        ] {
            assert!(text.contains(kept), "{kept} not in {text}");
        }
    }

    #[test]
    fn digits_in_a_body_are_secret() {
        let info = "INFO sip:x SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=7\r\nDuration=160\r\n";
        let text = redact(info.as_bytes());
        assert!(!text.contains("Signal=7") && text.ends_with("\r\n\r\n…"), "{text}");
    }

    #[test]
    fn bare_line_feeds_hide_no_secret() {
        let message =
            "INVITE sip:x SIP/2.0\nAuthorization: Digest response=\"0a1b\"\n\nv=0\na=crypto:1 X inline:c2VjcmV0\n";
        let text = redact(message.as_bytes());
        assert!(!text.contains("0a1b") && !text.contains("c2VjcmV0"), "{text}");
        let info = "INFO sip:x SIP/2.0\r\nContent-Type: application/dtmf-relay\n\r\nSignal=7\r\n";
        assert!(!redact(info.as_bytes()).contains("Signal=7"));
        let late = format!("\r\n\r\n{message}");
        assert!(!redact(late.as_bytes()).contains("0a1b"), "breaks before the message");
    }

    proptest! {
        #[test]
        fn takes_anything(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            redact(&bytes);
        }

        #[test]
        fn a_message_without_secrets_is_unchanged(text in "[A-Za-z0-9 :;=@\r\n]{0,200}") {
            prop_assume!(!text.to_ascii_lowercase().contains("authorization") && !text.to_ascii_lowercase().contains("dtmf"));
            prop_assert_eq!(redact(text.as_bytes()), text);
        }
    }
}
