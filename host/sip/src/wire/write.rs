//! From a message to bytes.

use super::{Message, StartLine};

impl Message {
    /// Appends the message to `out`. Values go out byte for byte; `Content-Length` is counted here. A reason phrase
    /// loses its control characters, everything else could not take a line break in the first place.
    pub fn write(&self, out: &mut Vec<u8>) {
        let lines: usize =
            self.headers.iter().map(|header| header.name.as_str().len() + header.value().len() + 4).sum();
        out.reserve(lines + self.body.len() + 128);
        match &self.start {
            StartLine::Request { method, uri } => {
                out.extend_from_slice(method.as_str().as_bytes());
                out.push(b' ');
                out.extend_from_slice(uri.as_bytes());
                out.extend_from_slice(b" SIP/2.0\r\n");
            }
            StartLine::Response { status, reason } => {
                out.extend_from_slice(b"SIP/2.0 ");
                push_number(usize::from(*status), out);
                out.push(b' ');
                out.extend(reason.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
                out.extend_from_slice(b"\r\n");
            }
        }
        for header in self.headers.iter() {
            out.extend_from_slice(header.name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(header.value());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Length: ");
        push_number(self.body.len(), out);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
    }

    /// The message as bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

fn push_number(mut number: usize, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}
